"""What the processes of a training and the one that starts them tell each other, in two files on each machine.

exp/<tag>/log/worker.json  {"state": "running"}, then perhaps {"state": "failed", "error": "…"}: the first error; its
                           traceback is in log/torchrun.log. "saved": torchrun asked them to stop, as when the machines
                           that train together change. "stopped": a person did
exp/<tag>/log/worker.stop  is there once this machine's training was asked to stop: it is not to be restarted
"""

from __future__ import annotations

import json
from pathlib import Path

from asr.core.files import write_json

RUNNING, FAILED, SAVED, STOPPED = "running", "failed", "saved", "stopped"


class StatusFile:
    """See the module. ``path`` is that of worker.json."""

    def __init__(self, path: Path) -> None:
        self.path, self.stop = path, path.with_suffix(".stop")

    def clear(self) -> None:
        """Begin a training."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        self.stop.unlink(missing_ok=True)

    def write(self, state: str, error: str = "") -> None:
        """Write the state; an error only if it is the first."""
        if not (error and self.error):
            write_json(self.path, {"state": state, "error": error})

    @property
    def state(self) -> str:
        """Return the state; empty where none was written."""
        return self._read("state")

    @property
    def error(self) -> str:
        """Return the first error; empty where there is none."""
        return self._read("error")

    def _read(self, key: str) -> str:
        return json.loads(self.path.read_text(encoding="utf-8"))[key] if self.path.is_file() else ""

    @property
    def is_stopped(self) -> bool:
        """Return whether the training is not to be restarted."""
        return self.stop.exists() or self.state == STOPPED
