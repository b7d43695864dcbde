"""The line that a person reads when a command fails."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("error", ['RecipeError("no room")', 'ConnectionResetError(104, "no room")'])
def test_an_error_line_is_written_in_one_piece(error):
    """A socket that keeps the bounds of writes tells: in two pieces, another process's words come in between."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    program = f"from asr.core import errors\nfrom asr.core.errors import RecipeError\ndef main(): raise {error}\n"
    program += "errors.run(main)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts"), "PYTHONUNBUFFERED": "1"}
    with ours, theirs:
        done = subprocess.run([sys.executable, "-c", program], env=environment, stderr=theirs, timeout=PATIENCE)
        assert done.returncode == 1
        assert ours.recv(1000) == b"error: no room\n"
