"""Stage 0: resolve and check the base model, link it as exp/<tag>/base and write its digests to base.json.

``python -m asr.base_model --base NAME --exp exp/<tag>``; the checks are in asr.models.base_folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from asr.core import errors
from asr.core.errors import RecipeError
from asr.core.files import sweep
from asr.core.run_folder import RunFolder, read_stage_file
from asr.core.run_records import has_resume_points, read_run, write_base
from asr.models import base_folder, families


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
    if families.of(family).is_source(folder):
        folder = families.of(family).convert(folder, RunFolder(arguments.exp).made_base.absolute(), values)
    base_folder.check(folder, from_scratch, family)
    files = base_folder.digest(folder)
    digest = files.pop("digest")
    if not arguments.restart:
        refuse_another_base(arguments.exp, digest)
    base_folder.link(folder, arguments.exp)
    record = {"id": arguments.base, "from_scratch": from_scratch, "digest": digest, "files": files}
    write_base(arguments.exp, record)
    print(f"base model {arguments.base}: {len(files)} files, digest {digest[:12]}")


def refuse_another_base(exp: Path, digest: str) -> None:
    """RecipeError before anything of a trained run is replaced: its checkpoints are of another base model."""
    if not RunFolder(exp).run_record.is_file() or not has_resume_points(exp):
        return
    if read_run(exp)["tied_to"]["base model"] != digest:
        raise RecipeError(
            f"{exp}: this run was trained with another base model; keep it and give --tag another name, or give"
            " --restart to throw it away"
        )


if __name__ == "__main__":
    errors.run(main)
