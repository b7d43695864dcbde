"""What is known of CDSD: its parts, their split files, and published results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

_HERE = Path(__file__).resolve().parent
# The parts, and the default split of each, with the published counts of utterances where there are some.
SPLIT_FILES = {part: _HERE.parent / "conf" / f"split_cdsd_{part}.yaml" for part in ("1h", "10h")}
PARTS = tuple(SPLIT_FILES)
REFERENCE_LINES: tuple[dict[str, Any], ...] = tuple(
    yaml.safe_load((_HERE / "reference_lines.yaml").read_text(encoding="utf-8"))
)
