"""Settings x seeds x folds over run.sh, and one score of all folds.

    bash scripts/experiment.sh FILE.yaml

Each run is an ordinary tag, NAME-<setting>-s<seed>-f<fold>. What is done is not done again: run.sh's stamps say so. A
run that fails is named, and the others go on. Where all runs of a setting are whole, exp/NAME/<setting>/score has them
pooled (asr.experiments.pooled); mini/experiment.yaml explains the keys.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from asr.core.errors import RecipeError
from asr.core.locks import alone
from asr.core.made_by import claim
from asr.core.run_folder import RunFolder
from asr.experiments import pooled
from asr.experiments.plan import Run, plan, read
from asr.reporting.write import write_report
from asr.system import machine

ROOT = Path(__file__).resolve().parents[3]


def places(runs: Sequence[Run], jobs: int | None) -> list[dict[str, str]]:
    """Return what the environment of each run that works at a time has besides: a GPU each, or nothing on the CPU."""
    if not any(run.on_gpu for run in runs):
        return [{} for _ in range(jobs or 1)]
    gpus, why = machine.query_gpus()
    if not gpus:
        raise RecipeError(f"no GPU: {why}; ++ngpu=0 in a setting, or ngpu: 0 in the conf, trains on the CPU")
    return [{"CUDA_VISIBLE_DEVICES": gpu.uuid or str(gpu.index)} for gpu in gpus[:jobs]]


class Driver:
    """As many runs at a time as there are places; stages 0 and 1, which share files, of one at a time."""

    def __init__(self, runs: Sequence[Run], free: list[dict[str, str]]) -> None:
        self.runs, self.free = runs, free
        self.working: dict[subprocess.Popen, tuple[Run, dict[str, str]]] = {}
        self.failed: list[Run] = []

    def work(self) -> list[Run]:
        """Do all runs; return those that failed. Where this is stopped, run.sh is, and saves first."""
        try:
            for number, run in enumerate(self.runs, 1):
                while not self.free:
                    self._collect()
                print(f"[{number}/{len(self.runs)}] {run.tag}", flush=True)
                place = self.free.pop(0)
                run.log.parent.mkdir(parents=True, exist_ok=True)
                run.log.unlink(missing_ok=True)
                child = self._start(run, place, "--stop-stage", "1")
                if child.wait() == 0:
                    del self.working[child]
                    self._start(run, place, "--stage", "2")
            while self.working:
                self._collect()
        finally:
            for child in self.working:
                child.terminate()
            for child in self.working:
                child.wait()
        return self.failed

    def _start(self, run: Run, place: dict[str, str], *stages: str) -> subprocess.Popen:
        command = ["bash", str(ROOT / "run.sh"), *run.words, *stages]
        with open(run.log, "a") as log:
            out = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
            child = subprocess.Popen(command, env={**os.environ, **place}, **out)
        self.working[child] = (run, place)
        return child

    def _collect(self) -> None:
        """Free the places of runs that have ended, and name those that failed."""
        time.sleep(0.2)
        for child in [child for child in self.working if child.poll() is not None]:
            run, place = self.working.pop(child)
            self.free.append(place)
            if child.returncode:
                lines = ["", *filter(None, run.log.read_text(encoding="utf-8", errors="replace").splitlines())]
                last = next((line for line in reversed(lines) if line.startswith("error: ")), lines[-1])
                print(f"failed: {run.tag}: {last.removeprefix('error: ')} ({run.log})", flush=True)
                self.failed.append(run)


def main() -> None:
    """Do the experiment that the command line names. RecipeError, at the end, that names the runs that failed."""
    parser = argparse.ArgumentParser(prog="bash scripts/experiment.sh", description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, metavar="FILE.yaml", help="the experiment; see mini/experiment.yaml")
    path = parser.parse_args().file
    experiment, lines = read(path)
    again = f"bash scripts/experiment.sh {shlex.quote(str(path.resolve()))}"
    os.chdir(ROOT)  # paths in the YAML are run.sh's
    runs, folder = plan(experiment, lines, path), Path("exp", experiment.name)
    corpus = {} if experiment.corpus else {"CDSD_ROOT": ""}
    with alone(folder):
        claim(folder, "experiment")
        failed = Driver(runs, [{**place, **corpus} for place in places(runs, experiment.jobs)]).work()
        whole = [name for name in experiment.settings if name not in {run.setting for run in failed}]
        for setting in experiment.settings:
            out = folder / setting / "score"
            for earlier in (out / "score.json", RunFolder(out.parent).results):  # what they are pooled of may be redone
                earlier.unlink(missing_ok=True)
            if setting in whole:
                result = pooled.write(out, [run for run in runs if run.setting == setting], experiment)
                write_report(out.parent)
                print(f"{out}: {pooled.line(result)}; see {out.parent}/RESULTS.md", flush=True)
    if len(whole) > 1:
        print(f"to compare: python local/score.py --compare {shlex.join(str(folder / name) for name in whole)}")
    if failed:
        tags = ", ".join(run.tag for run in failed)
        raise RecipeError(
            f"{len(failed)} of {len(runs)} runs failed, and nothing is pooled of their settings: {tags}; again: {again}"
        )
