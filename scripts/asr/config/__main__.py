"""Check a recipe's YAML and lay it out for the stages, or list the keys that it may hold.

``python -m asr.config --conf conf/finetune_3090.yaml --out exp/<tag>/conf [++a.b=c …]`` prints what run.sh reads, a
line each: the GPUs to use, ``data_conf.max_unknown_characters`` and ``report_conf.publish_columns`` (or nothing), and
the base model. ``python -m asr.config --keys`` prints every key with type, default and help.
"""

from __future__ import annotations

import argparse
import sys

from asr.config import keys
from asr.config.load import read_recipe
from asr.config.stage_files import write_stage_files
from asr.core import errors
from asr.core.errors import UsageError

LARGEST_RATE = 0.1  # a hundred times what conf/ has: a slip of the decimal point


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m asr.config", description="Check a YAML, or list its keys.")
    parser.add_argument("--conf", help="the YAML to read")
    parser.add_argument("--out", help="folder for the stages' files (default: only check)")
    parser.add_argument("--base", help="base model in place of the YAML's")
    parser.add_argument("--ngpu", help="GPUs in place of the YAML's; 0 is the CPU")
    parser.add_argument("--keys", action="store_true", help="list all keys in place of reading a YAML")
    parser.add_argument("--markdown", action="store_true", help="with --keys: as docs/configuration.md has them")
    arguments, overrides = parser.parse_known_args()
    if arguments.keys:
        print(keys.as_markdown() if arguments.markdown else keys.as_text())
        return
    if arguments.conf is None:
        parser.error("the following arguments are required: --conf (or --keys)")
    recipe = read_recipe(arguments.conf, overrides, arguments.base)
    ngpu = recipe.ngpu if arguments.ngpu is None else arguments.ngpu
    if not str(ngpu).isdigit():
        raise UsageError(f"--ngpu takes a whole number, not '{ngpu}'")
    if arguments.out:
        write_stage_files(recipe.model_dump(), arguments.out)
    if recipe.optim_conf.lr > LARGEST_RATE:
        what = "models of this kind are trained with 0.00001 to 0.001, and with so much they forget all they know"
        print(f"warning: optim_conf.lr is {recipe.optim_conf.lr:g}: {what}", file=sys.stderr)
    unknown = recipe.data_conf.max_unknown_characters
    columns = ",".join(recipe.report_conf.publish_columns)
    print(ngpu, "" if unknown is None else unknown, columns, recipe.base, sep="\n")


if __name__ == "__main__":
    errors.run(main)
