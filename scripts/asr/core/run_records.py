"""The JSON files of exp/<tag> that several parts read: what each holds, and how it is read and written.

A reader's RecipeError says what is wrong and which command makes the file; a writer writes the whole file or nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypedDict, cast

from typing_extensions import NotRequired

from asr.core.digests import sha256_file
from asr.core.errors import RecipeError
from asr.core.files import read_json, write_json
from asr.core.run_folder import DecodeFolder, RunFolder, read_stage_file


class BaseRecord(TypedDict):
    """base.json: the base model of stage 0."""

    id: str  # as the configuration names it
    from_scratch: bool
    digest: str  # over all files
    files: dict[str, str]  # {name: sha256}


class LaunchPlan(TypedDict):
    """launch.json: what the training processes are to do."""

    exp: str
    base: str
    ngpu: int
    values: dict[str, Any]  # conf/train.yaml
    dataset_conf: dict[str, Any]


class RunRecord(TypedDict):
    """run.json: what a training is tied to, its settings, and how these changed where it was resumed."""

    tied_to: dict[str, Any]
    settings: dict[str, Any]
    history: list[list[str]]


@dataclass(frozen=True)
class ResumePoint:
    """An entry of saves.json, newest first: the two files that a training is resumed from, and their digests."""

    weights: str
    weights_sha256: str
    state: str
    state_sha256: str

    def damage(self, exp: Path) -> str | None:
        """Return which file is not what was written, and how; None where both are."""
        for name, digest in ((self.weights, self.weights_sha256), (self.state, self.state_sha256)):
            path = exp / name
            if not path.is_file():
                return f"{name}: file missing"
            if sha256_file(path) != digest:
                return f"{name}: damaged ({path.stat().st_size:,} bytes, another sha256 than when it was written)"
        return None


class RankedCheckpoint(TypedDict):
    """A checkpoint by its file's name, and the value that it is ranked by."""

    file: str
    value: float


class RankingRecord(TypedDict):
    """checkpoints.json: the ranked checkpoints, best first."""

    ranked_by: str  # cer, acc or loss
    finished: bool
    epochs: int  # whole ones
    checkpoints: list[RankedCheckpoint]


class AveragedFile(TypedDict):
    """A checkpoint that was averaged, or a run's average that was merged: its value may not be known."""

    file: str
    value: float | None
    sha256: str


class Average(TypedDict):
    """avg.json: what an average was made of."""

    file: str
    sha256: str
    ranked_by: str | None
    checkpoints: list[AveragedFile]
    asked_for: NotRequired[int]  # of one run
    how: NotRequired[str]  # of several: uniform or greedy
    runs: NotRequired[list[str]]
    attempts: NotRequired[list[dict[str, Any]]]


class DecodeInputs(TypedDict):
    """What hypotheses depend on: digests of model and manifest, dither, and the family's method."""

    model: str
    manifest: str
    dither: float
    method: str
    adapters: NotRequired[str]


class DecodeRecord(TypedDict):
    """decode.json. The seconds are of the clips that the last process decoded; ``kept`` were decoded before."""

    inputs: DecodeInputs
    hyp_sha256: str
    nbest_sha256: str
    utterances: int
    empty: int
    batch_seconds: float
    shards: int
    unreadable: dict[str, str]  # {key: why}
    counts: dict[str, Any]
    audio_seconds: float
    kept: int
    decoded_audio_seconds: float
    decode_seconds: float
    real_time_factor: float | None
    load_seconds: float
    warm_up_seconds: float
    device: str | None
    parameters: int | None  # of the model; null where every clip had been decoded before


def read_base(exp: Path) -> BaseRecord:
    """Return base.json. RecipeError where stage 0 has not run, or ran for another base than is configured now."""
    path, wanted = RunFolder(exp).base_record, read_stage_file(exp, "base")["base"]
    record = cast(BaseRecord, read_json(path, "run stage 0 first"))
    if record["id"] != wanted:
        raise RecipeError(f"{path}: stage 0 set up {record['id']}, the configuration names {wanted}; run stage 0 again")
    return record


def write_base(exp: Path, record: BaseRecord) -> None:
    """Write base.json."""
    write_json(RunFolder(exp).base_record, record)


def read_launch_plan(exp: Path) -> LaunchPlan:
    """Return launch.json."""
    return cast(LaunchPlan, read_json(RunFolder(exp).launch_plan, "run stage 3, which writes it"))


def write_launch_plan(exp: Path, plan: LaunchPlan) -> None:
    """Write launch.json."""
    write_json(RunFolder(exp).launch_plan, plan)


def read_run(exp: Path) -> RunRecord:
    """Return run.json. RecipeError where nothing has been trained."""
    return cast(RunRecord, read_json(RunFolder(exp).run_record, "nothing has been trained; run stage 3 first"))


def write_run(exp: Path, record: RunRecord) -> None:
    """Write run.json."""
    write_json(RunFolder(exp).run_record, record)


def has_resume_points(exp: Path) -> bool:
    """Return whether there is a training to resume."""
    return RunFolder(exp).resume_points.is_file()


def read_resume_points(exp: Path) -> list[ResumePoint]:
    """Return the points that a training can be resumed from, newest first; none where nothing was saved yet."""
    path = RunFolder(exp).resume_points
    try:
        return [ResumePoint(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError):
        what = "not a list of resume points; give --restart, which throws this tag's checkpoints away"
        raise RecipeError(f"{path}: {what}") from None


def write_resume_points(exp: Path, points: Sequence[ResumePoint]) -> None:
    """Write saves.json."""
    write_json(RunFolder(exp).resume_points, [asdict(point) for point in points])


def note_digest(exp: Path, name: str, sha256: str) -> None:
    """Add the digest of exp/name, which has just been written, to digests.json; drop those of files that are gone."""
    kept = {key: value for key, value in read_digests(exp).items() if (exp / key).is_file()}
    write_json(RunFolder(exp).digests, {**kept, name: sha256})


def read_digests(exp: Path) -> dict[str, str]:
    """Return {file name: sha256 that the checkpoint was written with}; nothing where digests.json is not readable."""
    try:
        digests = read_json(RunFolder(exp).digests, "")
    except RecipeError:
        return {}
    return {name: sha256 for name, sha256 in digests.items() if isinstance(sha256, str)}


def read_ranking(exp: Path) -> RankingRecord:
    """Return checkpoints.json. RecipeError where no checkpoint has been ranked."""
    path = RunFolder(exp).ranking
    ranking = read_json(path, "no checkpoint has been ranked; run stage 3 first")
    if RankingRecord.__required_keys__ - ranking.keys():
        raise RecipeError(f"{path}: not a ranking; run stage 3 again, which writes it")
    return cast(RankingRecord, ranking)


def write_ranking(exp: Path, ranking: RankingRecord) -> None:
    """Write checkpoints.json."""
    write_json(RunFolder(exp).ranking, ranking)


def read_average(exp: Path) -> Average:
    """Return avg.json. RecipeError where stage 4 has not run."""
    return cast(Average, read_json(RunFolder(exp).average, "run stage 4 of this run first"))


def write_average(exp: Path, average: Average) -> None:
    """Write avg.json."""
    write_json(RunFolder(exp).average, average)


def read_decode(out: Path) -> DecodeRecord | None:
    """Return decode.json of a decode's folder; None where the decode has not ended."""
    path = DecodeFolder(out).record
    return cast(DecodeRecord, read_json(path, "remove it and decode again")) if path.is_file() else None


def write_decode(out: Path, record: Mapping[str, Any]) -> None:
    """Write decode.json."""
    write_json(DecodeFolder(out).record, record)
