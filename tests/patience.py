"""How long a test waits for what must happen: a guard against hanging for ever, never a measure of the machine."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

PATIENCE = 600.0  # seconds; a machine that does other work besides may take a hundred times as long as a quiet one


def wait_until(happens: Callable[[], object], what: str, *children: subprocess.Popen) -> None:
    """Return once ``happens()`` is true. AssertionError that says ``what`` was waited for, after PATIENCE seconds, or
    as soon as one of the ``children`` that are to bring it about has ended."""
    deadline = time.monotonic() + PATIENCE
    while not happens():
        for child in children:
            assert child.poll() is None or happens(), f"ended before {what}: {child.communicate()}"
        assert time.monotonic() < deadline, f"waited {PATIENCE:g} s for {what}"
        time.sleep(0.02)
