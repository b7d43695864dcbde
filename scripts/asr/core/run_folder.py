"""exp/<tag>, the folder of a run: where each of its files lies, and how to run one of its stages again.

``RunFolder(exp).model`` is a path. What the JSON files hold, and their readers and writers, is in core.run_records. A
file that one module alone writes and reads is a path here and a format there: progress.jsonl in progress.record,
lineage.json in models.lineage, score.json in scoring. README.md says what the files are for.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import yaml

from asr.core.errors import RecipeError
from asr.core.made_by import RUN, refuse_older

_TAG = re.compile(r" --tag (?:'(?:[^']|'\\'')*'|[^ ']+)")  # as lib.sh's ``quoted`` has written it


class RunFolder:
    """The paths of a run's files, by the stage that writes them."""

    def __init__(self, exp: Path) -> None:
        self.path = exp
        self.command = exp / "command"  # run.sh's, as it was last given, without the stages
        self.lock = exp / ".lock"  # holds the process id of the run.sh at work
        self.conf = exp / "conf"  # base, data, train, decode, average and report.yaml: the resolved configuration
        self.stamps = exp / "stamps"  # stage0 … stage5: what a stage was made from and made
        self.log = exp / "log"
        self.base = exp / "base"  # stage 0: a link to the base model
        self.made_base = exp / "base_made"  # the base model, where it came in another form
        self.base_record = exp / "base.json"
        # stages 2 and 5
        self.baseline = DecodeFolder(exp / "baseline")
        self.tuned = DecodeFolder(exp / "tuned")
        self.language = exp / "language.json"  # how the second texts and the confidences were made
        # stage 3
        self.launch_plan = exp / "launch.json"
        self.run_record = exp / "run.json"
        self.manifests = exp / "manifest"  # train.jsonl and val.jsonl, as they are trained on
        self.resume_points = exp / "saves.json"  # not in checkpoints.json, which is the ranking
        self.ranking = exp / "checkpoints.json"
        self.digests = exp / "digests.json"
        self.oom_limits = exp / "too_large.json"
        self.latest = exp / "model.pt"  # a link to the newest weights
        self.progress = exp / "progress.jsonl"
        self.curves = exp / "curves.png"
        self.train_log = exp / "train.log"
        self.tensorboard = exp / "tensorboard"
        self.batch_plan = exp / "plan.json"  # of python -m asr.plan
        # stage 4
        self.average = exp / "avg.json"
        self.lineage = exp / "lineage.json"  # the clips of this training and of the models before it
        self.model = exp / "model"
        self.adapter = exp / "adapter"  # of a run with lora_conf: the same model, as what is added to its base
        # stage 5
        self.score = exp / "score"
        self.provenance = exp / "provenance.json"
        self.results = exp / "RESULTS.md"
        self.report = exp / "report.html"
        self.listening_test = exp / "listening_test.html"  # of python -m asr.listening_test
        self.listeners = exp / "listeners"  # the listening-CODE.json files that it gave them, which stage 5 scores

    def stage_log(self, stage: int) -> Path:
        """Return the log of a stage."""
        return self.log / f"stage{stage}.log"

    def stage_seconds(self, stage: int) -> Path:
        """Return the file with the seconds that a stage took, a line for each time that it was begun or resumed."""
        return self.log / f"stage{stage}.seconds"

    def checkpoints(self) -> list[Path]:
        """Return every file that holds weights or a training state."""
        return sorted([*self.path.glob("model.pt*"), *self.path.glob("state.pt*")])


class DecodeFolder:
    """The paths of a decode's files: exp/<tag>/baseline, exp/<tag>/tuned, or any other --out of asr.decode."""

    def __init__(self, out: Path) -> None:
        self.path = out
        self.hypotheses = out / "hyp.txt"  # Kaldi text, a line an utterance
        self.nbest = out / "nbest.jsonl"  # what else there might have been in each utterance
        self.second = out / "hyp.lm.txt"  # what a language model, phrases and sounds make of nbest.jsonl
        self.text_groups = out / "text_groups.tsv"  # where each text was read before: training, lm, unseen
        self.confidence = out / "confidence.jsonl"  # how sure each character of hyp.txt is
        self.record = out / "decode.json"  # what was decoded, and how fast
        self.partial = out / "hyp.partial"  # the results of a decode that has not ended
        self.fault = out / "decode_fault.txt"  # the traceback of a decoding process that failed
        self.files = (self.hypotheses, self.nbest, self.record, self.partial, self.fault)


def rerun(exp: Path, stage: int) -> str:
    """Return the command that runs one stage of a run, with the options that run.sh was last given for it."""
    return f"{read_command(exp)} --stage {stage} --stop-stage {stage}"


def read_command(exp: Path) -> str:
    """Return run.sh's command as it was last given for this run, without the stages."""
    try:
        return RunFolder(exp).command.read_text(encoding="utf-8").strip()
    except OSError:
        return f"bash run.sh --tag {exp.resolve().name}"


def command_for(exp: Path, tag: str) -> str:
    """Return run.sh's command as it was last given for this run, for another tag."""
    command, word = read_command(exp), f" --tag {shlex.quote(tag)}"
    changed, count = _TAG.subn(lambda _: word, command, count=1)
    return changed if count else command + word


def read_stage_file(exp: Path, name: str) -> dict[str, Any]:
    """Return the part of the configuration that a stage may read: exp/<tag>/conf/<name>.yaml."""
    path = RunFolder(exp).conf / f"{name}.yaml"
    if not path.is_file():
        raise RecipeError(f"{path}: not there; run.sh writes it, or: python -m asr.config --conf … --out {path.parent}")
    refuse_older(path.parent, RUN, exp)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        values = None
    if not isinstance(values, dict):
        raise RecipeError(f"{path}: not as run.sh wrote it; write it again: {read_command(exp)}")
    return values
