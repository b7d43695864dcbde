"""Errors for the person who meets them: one line that says what, where, and what to do."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from asr.core.names import visible

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class RecipeError(Exception):
    """Something the user can act on. The message is one line: what, where (file and line), what to do."""

    exit_status = EXIT_FAILED


class UsageError(RecipeError):
    """The command line itself is wrong (exit status 2)."""

    exit_status = EXIT_USAGE


def at(path: object, line: int | None = None) -> str:
    """Return ``file:line`` in the form that editors and terminals make clickable."""
    return f"{path}:{line}" if line is not None else f"{path}"


def report(message: str) -> None:
    """Write the error line to stderr in one piece, so that what other processes write cannot come into the middle."""
    sys.stderr.write(f"error: {visible(message)}\n")


def stop_as_by_ctrl_c() -> None:
    """Let SIGTERM (kill, docker stop) and SIGHUP (a lost connection) raise KeyboardInterrupt in this process, once.

    They may come twice, and are not to cut the clean-up short. A process that is forked just ends, as by default. A
    signal that is ignored (nohup) stays so.
    """
    ours, signals = os.getpid(), (signal.SIGTERM, signal.SIGHUP)

    def stop(number: int, _: Any) -> None:
        if os.getpid() != ours:
            os._exit(128 + number)
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in signals:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, stop)


def run(main: Callable[[], int | None]) -> None:
    """Run a command's ``main`` and exit with the recipe's statuses: 0 done, 1 failed, 2 usage, 130 interrupted.

    A RecipeError, a full disk, a missing file or a refused one becomes one line on stderr. Anything else is a
    fault in the recipe and keeps its traceback.
    """
    stop_as_by_ctrl_c()
    try:
        status = main() or 0
        sys.stdout.flush()
    except RecipeError as error:
        report(str(error))
        status = error.exit_status
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = EXIT_INTERRUPTED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        report(f"{where}{error.strerror or error}")
        status = EXIT_FAILED
    sys.exit(status)
