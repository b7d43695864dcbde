"""A Conformer's folder without weights, to train from scratch in: configuration, tokens, mean and variance.

``python local/conformer_base.py --manifest data/…/train.jsonl --out exp/conformer_base`` makes of a training set
config.yaml (conformer_base.yaml: 12 encoder blocks of width 256, 6 decoder blocks), tokens.json (its characters),
am.mvn and configuration.json. Train in it with ``from_scratch: true``; conf/conformer_scratch_3090.yaml does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from asr.core import errors
from asr.models import skeleton

CONFIG: dict[str, Any] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))


def main() -> None:
    """Make the folder that the command line names."""
    skeleton.command(CONFIG, __doc__.splitlines()[0])


if __name__ == "__main__":
    errors.run(main)
