"""Stage 0: check the machine; the work is done in asr.system.machine."""

from asr.core import errors
from asr.system import machine

if __name__ == "__main__":
    errors.run(machine.main)
