"""Settings x seeds x folds over run.sh, and one score of all folds.

    bash scripts/experiment.sh FILE.yaml

Each run is an ordinary tag, NAME-<setting>-s<seed>-f<fold>, whose counts and cost are published when it is whole
(asr.experiments.results); what is published is not done again, and what exp/ has whole is published as it is. A run
that fails is named, and the others go on. Where exp/ has all runs of a setting, exp/NAME/<setting>/score has them
pooled (asr.experiments.pooled). ``--compare`` makes a table of what is published; mini/experiment.yaml explains the
keys.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from asr.core.errors import RecipeError
from asr.core.locks import alone
from asr.core.made_by import claim
from asr.core.run_folder import RunFolder
from asr.experiments import compare, pooled, results
from asr.experiments.plan import Experiment, Run, plan, read
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
        """Free the places of runs that have ended, publish those that are whole, and name those that failed."""
        time.sleep(0.2)
        for child in [child for child in self.working if child.poll() is not None]:
            run, place = self.working.pop(child)
            self.free.append(place)
            if why := _failed(run) if child.returncode else _not_published(run):
                print(f"failed: {run.tag}: {why} ({run.log})", flush=True)
                self.failed.append(run)


def _failed(run: Run) -> str:
    """Return what a run's log says that the fault was."""
    lines = ["", *filter(None, run.log.read_text(encoding="utf-8", errors="replace").splitlines())]
    last = next((line for line in reversed(lines) if line.startswith("error: ")), lines[-1])
    return last.removeprefix("error: ") or "it ended without a word"


def _not_published(run: Run) -> str:
    """Publish a run that is whole; return why that cannot be done, nothing where it is."""
    try:
        results.publish(run)
    except RecipeError as error:
        return str(error)
    return ""


def main() -> None:
    """Do the experiment that the command line names. RecipeError, at the end, that names the runs that failed."""
    parser = argparse.ArgumentParser(prog="bash scripts/experiment.sh", description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, metavar="FILE.yaml", help="the experiment; see mini/experiment.yaml")
    parser.add_argument("--compare", action="store_true", help="run nothing; a table and a plot of what is published")
    asked = parser.parse_args()
    path = asked.file.resolve()
    experiment, lines = read(asked.file)
    os.chdir(ROOT)  # paths in the YAML are run.sh's
    path = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    runs = plan(experiment, lines, path, corpus=not asked.compare)
    if asked.compare:
        print(compare.write(experiment, runs, results.read_all(runs), path))
        return
    _work(experiment, runs, f"bash scripts/experiment.sh {shlex.quote(str(path))}")


def _work(experiment: Experiment, runs: Sequence[Run], again: str) -> None:
    """Run what is not published, publish it, and pool what exp/ has whole."""
    folder = Path("exp", experiment.name)
    corpus = {} if experiment.corpus else {"CDSD_ROOT": ""}
    with alone(folder):
        claim(folder, "experiment")
        todo = _to_do(runs)
        free = [{**place, **corpus} for place in places(todo, experiment.jobs)] if todo else []
        failed = Driver(todo, free).work()
        _pool(experiment, runs, {run.setting for run in failed})
    results.read_all(runs)  # what has been published fits together
    print(f"to compare: {again} --compare")
    if failed:
        tags = ", ".join(run.tag for run in failed)
        raise RecipeError(
            f"{len(failed)} of {len(runs)} runs failed, and nothing is pooled of their settings: {tags}; again: {again}"
        )


def _to_do(runs: Sequence[Run]) -> list[Run]:
    """Return the runs that are not published, once those that exp/ has whole are."""
    done = results.read_all(runs)
    for run in runs:
        if run not in done and results.finished(run):
            results.publish(run)
            print(f"{run.result}: of the finished run {run.tag}", flush=True)
            done[run] = {}
    if done:
        print(f"{len(done)} of {len(runs)} runs are done: {runs[0].result.parent}", flush=True)
    return [run for run in runs if run not in done]


def _pool(experiment: Experiment, runs: Sequence[Run], failed: Collection[str]) -> None:
    """Write the pooled score of each setting of which nothing failed and exp/ has every run."""
    for setting in experiment.settings:
        of = [run for run in runs if run.setting == setting]
        out = Path("exp", experiment.name, setting, "score")
        for earlier in (out / "score.json", RunFolder(out.parent).results):  # what they are pooled of may be redone
            earlier.unlink(missing_ok=True)
        if setting in failed:
            continue
        if away := [run.tag for run in of if not Path("exp", run.tag, "score/score.json").is_file()]:
            print(f"{setting}: published, but not pooled: exp/ has not {', '.join(away)}", flush=True)
            continue
        result = pooled.write(out, of, experiment)
        write_report(out.parent)
        print(f"{out}: {pooled.line(result)}; see {out.parent}/RESULTS.md", flush=True)
