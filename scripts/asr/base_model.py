"""Stage 0: resolve and check the base model, link it as exp/<tag>/base and write its digests to base.json.

``python -m asr.base_model --base NAME --exp exp/<tag>``; the checks are in asr.models.base_folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from asr.config.load import read_stage_file
from asr.core import errors
from asr.core.files import sweep, write_json
from asr.models import base_folder
from asr.training.start import refuse_another_base


def main() -> None:
    """Parse the command line and set up the base model."""
    parser = argparse.ArgumentParser(prog="python -m asr.base_model", description=__doc__.splitlines()[0])
    parser.add_argument("--base", required=True, help="ModelScope id, or a folder")
    parser.add_argument("--exp", required=True, type=Path, help="exp/<tag>; gets base (a link) and base.json")
    parser.add_argument("--restart", action="store_true", help="stage 3 will throw this tag's checkpoints away")
    arguments = parser.parse_args()
    values = read_stage_file(arguments.exp, "base")
    sweep(arguments.exp)
    from_scratch, family = bool(values.get("from_scratch")), values["family"]
    folder = base_folder.resolve(arguments.base, from_scratch, family)
    base_folder.check(folder, from_scratch, family)
    files = base_folder.digest(folder)
    digest = files.pop("digest")
    if not arguments.restart:
        refuse_another_base(arguments.exp, digest)
    base_folder.link(folder, arguments.exp)
    write_json(
        arguments.exp / "base.json",
        {"id": arguments.base, "from_scratch": from_scratch, "digest": digest, "files": files},
    )
    print(f"base model {arguments.base}: {len(files)} files, digest {digest[:12]}")


if __name__ == "__main__":
    errors.run(main)
