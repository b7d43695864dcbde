"""How long a test waits for what must happen: a guard against hanging for ever, never a measure of the machine."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil

PATIENCE = 600.0  # seconds; a machine that does other work besides may take a hundred times as long as a quiet one

HANGS = 1200.0  # seconds; the whole mini run takes four minutes on a quiet machine


def ended(child: subprocess.Popen, root: Path) -> tuple[str, str]:
    """Return both streams of a child that has ended. AssertionError where it hangs: its processes, and where each is.

    Python processes that were started with PYTHONFAULTHANDLER write their stacks on SIGABRT; those of torchrun's
    workers go to files below ``root``.
    """
    try:
        return child.communicate(timeout=HANGS)
    except subprocess.TimeoutExpired:
        since, lines = time.time(), []
        for process in reversed([psutil.Process(child.pid), *psutil.Process(child.pid).children(recursive=True)]):
            with contextlib.suppress(psutil.Error):  # it has ended meanwhile
                lines.append(f"{process.pid} {process.status()} {process.cmdline()}")
                process.send_signal(signal.SIGABRT if "python" in process.name() else signal.SIGKILL)
        written = [path for path in root.glob("exp/**/*.*") if path.is_file() and path.stat().st_mtime > since]
        lines += [path.read_text(errors="replace")[-6000:] for path in written if path.suffix in (".log", ".txt")]
        streams = [stream or "" for stream in child.communicate()]
        raise AssertionError("hangs\n" + "\n".join([*lines, *streams])) from None


def wait_until(happens: Callable[[], object], what: str, *children: subprocess.Popen) -> None:
    """Return once ``happens()`` is true. AssertionError that says ``what`` was waited for, after PATIENCE seconds, or
    as soon as one of the ``children`` that are to bring it about has ended."""
    deadline = time.monotonic() + PATIENCE
    while not happens():
        for child in children:
            assert child.poll() is None or happens(), f"ended before {what}: {child.communicate()}"
        assert time.monotonic() < deadline, f"waited {PATIENCE:g} s for {what}"
        time.sleep(0.02)
