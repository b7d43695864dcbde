"""Make a page for human listeners of a run's test clips: ``python -m asr.listening_test --help``.

The work is done in asr.reporting.listening_page.
"""

from asr.core import errors
from asr.reporting import listening_page

if __name__ == "__main__":
    errors.run(listening_page.main)
