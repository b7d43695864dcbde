"""Stage 0: resolve and check the base model: ``python -m asr.base_model --help``.

The work is done in asr.models.base_folder.
"""

from asr.core import errors
from asr.models import base_folder

if __name__ == "__main__":
    errors.run(base_folder.main)
