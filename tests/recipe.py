"""A copy of the repository, and run.sh in it, as a user has them: for tests and for what measures."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.patience import ended, wait_until
from tests.stage1 import hear_ctrl_c

REPOSITORY = Path(__file__).resolve().parents[1]


class Recipe:
    """A copy of the repository without anything generated, and run.sh in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        listed = ["git", "-C", str(REPOSITORY), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.run(listed, capture_output=True, check=True).stdout.decode().split("\0"):
            if name and (REPOSITORY / name).is_file():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(REPOSITORY / name, root / name)
        # The environment that runs these tests is the copy's active one; a .venv is tied to its own folder.
        folder = Path(sys.executable).parent
        self.environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
        for name in ("PYTHONPATH", "ASR_TTY"):
            self.environment.pop(name, None)
        self.environment["PYTHONFAULTHANDLER"] = "1"  # for what hangs: see tests.patience.ended
        self.environment["CDSD_ROOT"] = ""  # the mini corpus, whatever the user has set in path.sh

    def run(self, *words: str, command: tuple[str, ...] = ("bash", "run.sh"), **more: str):
        """Run run.sh (or another command) to its end; both streams as text, apart. A hang fails, with its stacks."""
        child = subprocess.Popen(
            [*command, *words],
            cwd=self.root,
            env={**self.environment, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        out, err = ended(child, self.root)
        return subprocess.CompletedProcess(child.args, child.returncode, out, err)

    def start(self, *words: str, output: int = subprocess.PIPE) -> subprocess.Popen:
        """run.sh in a process group of its own, which can be killed as a whole; both streams as text, in one."""
        return subprocess.Popen(
            ["bash", "run.sh", *words],
            cwd=self.root,
            env=self.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            preexec_fn=hear_ctrl_c,
        )

    def run_and_stop(
        self, *words: str, when: Callable[[], bool], how: int, may_end_first: bool = False
    ) -> tuple[int, str]:
        """Start run.sh, send a signal to all its processes as soon as ``when`` holds; its status and its output."""
        child = self.start(*words)
        wait_until(lambda: when() or child.poll() is not None, "the moment to stop")
        if child.poll() is None:
            os.killpg(child.pid, how)
        elif not may_end_first:
            raise AssertionError(f"ended before it was stopped: {child.communicate()[0]}")
        said = ended(child, self.root)[0]
        return child.returncode, said

    def json(self, name: str):
        return json.loads((self.root / name).read_text(encoding="utf-8"))
