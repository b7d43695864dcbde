"""Where a result is from: exp/<tag>/provenance.json, which the report shows. Names and digests, no paths.

``python -m asr.provenance --exp exp/<tag> --data data/… --conf conf/….yaml [--ngpu 1] [--stage5 SECONDS]``
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import itertools
import json
import platform
import shlex
import subprocess
from pathlib import Path
from typing import Any

from asr.audio.unreadable import command as run_sh_command
from asr.config.stage_files import STAGE_FILES
from asr.core.files import write_json
from asr.core.manifest import corpus_digest, read_manifest, split_digest
from asr.core.names import UNKNOWN_SPEAKER
from asr.core.publishable_paths import public
from asr.core.run_folder import DecodeFolder, RunFolder, read_stage_file
from asr.progress.record import read as read_progress
from asr.system import machine

PACKAGES = ("torch", "torchaudio", "funasr", "modelscope", "soundfile", "soxr", "numpy")


def commit() -> str:
    """Return the recipe's commit, marked where the working tree differs from it; "unknown" outside git."""
    command = ["git", "describe", "--always", "--dirty= with uncommitted changes", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _load(path: Path) -> Any:
    """Return a JSON file's content, or None where there is no file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def trained_config(exp: Path) -> dict[str, Any]:
    """Return the configuration by stage; that of training as the run recorded it, with what changed later."""
    config = {name: read_stage_file(exp, name) for name in STAGE_FILES}
    run = _load(RunFolder(exp).run_record) or {}
    config["train"] = run.get("settings", config["train"])
    if run.get("history"):
        config["changed while training"] = run["history"]
    return config


def times(exp: Path, stage5: int | None = None) -> dict[str, int]:
    """Return the wall seconds of the stages, continuations included, but for those killed outright.

    ``stage5``: what that stage, which calls this, has taken until now.
    """
    files = sorted(RunFolder(exp).log.glob("stage[0-4].seconds"))
    seconds = {path.stem: sum(map(int, path.read_text(encoding="utf-8").split())) for path in files}
    return seconds if stage5 is None else {**seconds, "stage5": stage5}


def peak_memory(exp: Path) -> float | None:
    """Return the most memory, in GiB, that training processes noted: of their GPU, else of the machine."""
    noted = [record["memory_gb"] for record in read_progress(exp).train if record.get("memory_gb")]
    return max(noted, default=None)


def _corpus_name(about: dict[str, Any]) -> str:
    """Return what a corpus may be called: its folder's name may be anybody's, or claim to be CDSD."""
    if about.get("cdsd") is True:  # as stage 1 was told by --cdsd
        return "CDSD"
    return str(about.get("name", "")) if about.get("simulated") else "own corpus"


def corpus(data: Path) -> dict[str, Any]:
    """Return the corpus's name, digests and sizes by split, and whether the speech is simulated."""
    manifests = {name: read_manifest(data / f"{name}.jsonl") for name in ("train", "val", "test")}
    statistics = _load(data / "statistics.json") or {}
    about = statistics.get("corpus", {})
    return {
        "name": _corpus_name(about),
        "simulated": about.get("simulated"),
        "digest": corpus_digest(itertools.chain.from_iterable(manifests.values())),
        "split": statistics.get("split", {}).get("published"),
        "split_digest": split_digest(manifests),
        "splits": {
            name: {
                "speakers": len({utterance.speaker for utterance in utterances} - {UNKNOWN_SPEAKER}) or None,
                "utterances": len(utterances),
                "hours": round(sum(utterance.duration for utterance in utterances) / 3600, 3),
                "digest": corpus_digest(utterances),
            }
            for name, utterances in manifests.items()
        },
    }


def heard(exp: Path) -> dict[str, Any] | None:
    """Return how many training clips models before this one were trained on, and of how many models nobody knows."""
    record = _load(RunFolder(exp).lineage) or {}
    return {**record["own"], "models_not_known": len(record["not_known"])} if "own" in record else None


def _decoded(folder: Path) -> dict[str, Any] | None:
    """Return decode.json, of the clips that could not be read only how many."""
    record = _load(DecodeFolder(folder).record)
    return record and {**record, "unreadable": len(record["unreadable"])}


def gather(exp: Path, data: Path, conf: str, ngpu: int, stage5: int | None = None) -> dict[str, Any]:
    """Return everything that the report says about how its figures were made."""
    base = _load(RunFolder(exp).base_record) or {}
    gpus = machine.gpus()[:ngpu] if ngpu else []
    return {
        "tag": exp.name,
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "command": shlex.split(run_sh_command()),
        "commit": commit(),
        "conf": conf,
        "config": trained_config(exp),
        "corpus": corpus(data),
        "base": {"id": base.get("id", "unknown"), "digest": base.get("digest")},
        "heard": heard(exp),
        "average": _load(RunFolder(exp).average),
        "decode": {name: _decoded(exp / name) for name in ("baseline", "tuned")},
        "language": _load(RunFolder(exp).language),
        "processor": machine.cpu(),
        "gpu": ", ".join(gpu.name for gpu in gpus) or None,
        "driver": gpus[0].driver if gpus else None,
        "peak_memory_gb": peak_memory(exp),
        "python": platform.python_version(),
        "times": times(exp, stage5),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def main() -> None:
    """Write the provenance of the run that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m asr.provenance", description=__doc__.splitlines()[0])
    parser.add_argument("--exp", required=True, type=Path)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--conf", required=True)
    parser.add_argument("--ngpu", type=int, default=1)
    parser.add_argument("--stage5", type=int, help="seconds that stage 5 has taken until now")
    arguments = parser.parse_args()
    record = gather(arguments.exp, arguments.data, arguments.conf, arguments.ngpu, arguments.stage5)
    write_json(RunFolder(arguments.exp).provenance, public(record))
