"""Stages 2 and 5: decode a manifest: ``python -m asr.decode --help``.

``python -m asr.decode --model DIR --manifest data/…/test.jsonl --out exp/<tag>/tuned [--ngpu 1] [--exp exp/<tag>]``
writes OUT/hyp.txt (Kaldi text) and OUT/decode.json. The work is done in asr.decoding.run.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from asr.config.stage_files import read_decode_settings
from asr.core import errors
from asr.core.errors import UsageError
from asr.core.files import sweep
from asr.core.run_folder import RunFolder
from asr.decoding.run import check_run, run, untouched


def main() -> None:
    """Parse the command line, refuse what must not be decoded in a run, and decode."""
    parser = argparse.ArgumentParser(prog="python -m asr.decode", description="Decode a manifest; a line for each id.")
    parser.add_argument("--model", required=True, type=Path, help="FunASR model folder")
    parser.add_argument("--manifest", required=True, type=Path, help="JSONL from stage 1")
    parser.add_argument("--out", required=True, type=Path, help="gets hyp.txt and decode.json")
    parser.add_argument("--ngpu", type=int, default=1, help="GPUs, a process each; 0 is the CPU")
    parser.add_argument("--processes", type=int, help="on the CPU, each with a model of its own; changes speed alone")
    parser.add_argument("--exp", type=Path, help="exp/<tag>, for conf/decode.yaml")
    parser.add_argument("--batch-seconds", type=float, help="padded audio in a batch; changes speed, never the text")
    arguments = parser.parse_args()
    if arguments.ngpu < 0:
        raise UsageError(f"--ngpu takes a whole number from 0, not {arguments.ngpu}")
    if arguments.processes is not None and (arguments.processes < 1 or arguments.ngpu):
        raise UsageError("--processes takes a whole number from 1, and is for the CPU (--ngpu 0)")
    conf = read_decode_settings(arguments.exp)
    if arguments.exp and arguments.model.name == RunFolder(arguments.exp).base.name:
        conf = untouched(conf)
    skipped = check_run(arguments.exp, arguments.model, arguments.manifest, conf) if arguments.exp else {}
    conf["batch_seconds"] = arguments.batch_seconds or conf["batch_seconds"]
    conf["cpu_processes"] = arguments.processes or conf["cpu_processes"]
    sweep(arguments.out)
    run(arguments.model, arguments.manifest, arguments.out, arguments.ngpu, conf, skipped)


if __name__ == "__main__":
    errors.run(main)
