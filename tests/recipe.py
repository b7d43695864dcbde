"""A copy of the repository, and run.sh in it, as a user has them: for tests and for what measures."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

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
        self.environment["CDSD_ROOT"] = ""  # the mini corpus, whatever the user has set in path.sh

    def run(self, *words: str, command: tuple[str, ...] = ("bash", "run.sh"), **more: str):
        """Run run.sh (or another command) to its end; both streams as text, apart."""
        return subprocess.run(
            [*command, *words],
            cwd=self.root,
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

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
        while not when() and child.poll() is None:
            time.sleep(0.02)
        if child.poll() is None:
            os.killpg(child.pid, how)
        elif not may_end_first:
            raise AssertionError(f"ended before it was stopped: {child.communicate()[0]}")
        said = child.communicate()[0]
        return child.returncode, said

    def json(self, name: str):
        return json.loads((self.root / name).read_text(encoding="utf-8"))
