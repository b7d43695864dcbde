"""Stage 4: average the n best checkpoints, and make of them a model folder that plain FunASR loads anywhere.

``python -m asr.average --exp exp/<tag> [--n 10]`` writes exp/<tag>/model.pt.avgN, avg.json and model/.

``python -m asr.average --exp exp/A exp/B exp/C --out exp/MERGED [--how uniform|greedy]`` merges the averages of several
runs of one base model (asr.averaging.soup).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from asr.averaging.best import average_run
from asr.core import errors
from asr.core.errors import UsageError
from asr.core.run_records import read_launch_plan


def main() -> None:
    """Parse the command line, and average one run or merge several."""
    parser = argparse.ArgumentParser(prog="python -m asr.average", description=__doc__.splitlines()[0])
    parser.add_argument("--exp", required=True, type=Path, nargs="+", help="exp/<tag>, trained by stage 3; or several")
    parser.add_argument("--n", type=int, help="how many of the best (default: train_conf.avg_nbest_model)")
    parser.add_argument("--out", type=Path, help="several runs: exp/<new tag>, gets their mean, avg.json and model/")
    parser.add_argument("--how", choices=("uniform", "greedy"), help="several runs: all, or those that lower the CER")
    parser.add_argument(
        "--ngpu", type=int, help="greedy decodes the validation set; 0 is the CPU (default: as trained)"
    )
    arguments = parser.parse_args()
    if arguments.n is not None and arguments.n < 1:
        raise UsageError(f"--n takes a whole number from 1, not {arguments.n}")
    if len(arguments.exp) == 1:
        if arguments.out or arguments.how:
            raise UsageError("--out and --how merge several runs: give --exp more than one")
        average_run(arguments.exp[0], arguments.n)
        return
    if arguments.out is None or arguments.n is not None:
        raise UsageError("several runs are merged from their averages: give --out exp/NAME, and no --n")
    from asr.averaging.soup import merge_runs

    ngpu, how = arguments.ngpu, arguments.how or "uniform"
    if ngpu is None:
        ngpu = read_launch_plan(arguments.exp[0])["ngpu"] if how == "greedy" else 0
    merge_runs(arguments.exp, arguments.out, how, ngpu)


if __name__ == "__main__":
    errors.run(main)
