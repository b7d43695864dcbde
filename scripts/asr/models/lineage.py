"""lineage.json in a model folder: which clips the model and those it comes from were trained on. No ids, no paths.

    {"schema_version": 1, "ancestors": [names], "not_known": [names], "clips": [sha256, …], "fingerprints": […],
     "texts": 197, "own": {"clips": 80, "known_before": 0}}

ancestors     the models that it was made from, oldest first; not_known: those whose clips nobody has recorded
clips         sorted: ``digest`` of each clip that it or an ancestor was trained on
fingerprints  sorted: asr.audio.fingerprint of each, which changed copies share; missing in older files
texts         how many different texts its own training had; null where that is not known
own           clips of its own training, and how many of them the models before it had been trained on, as far as known:
              had a shared model heard the speaker that it is tuned to? Missing in older files and in merges
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from asr.audio.fingerprint import any_alike, fingerprint
from asr.audio.reading import UnreadableError, resampled
from asr.core.errors import RecipeError
from asr.core.files import read_json, write_json
from asr.core.manifest import Utterance, read_manifest
from asr.core.processes import cores
from asr.core.run_folder import RunFolder
from asr.core.run_records import read_base

LINEAGE, SCHEMA_VERSION = "lineage.json", 1


class Clip(NamedTuple):
    """What tells a clip from others, its samples and its sound; both empty for silence."""

    digest: str
    fingerprint: str


def digest(samples: np.ndarray) -> str:
    """Return the sha256 of [n] float32 samples at 16 kHz, as training reads them and before it varies them, in 16 bits.

    So a clip has the same in every container that keeps its samples. Empty for silence, which is nobody's clip.
    """
    rounded = np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2")
    return hashlib.sha256(rounded.tobytes()).hexdigest() if rounded.any() else ""


def identify(utterances: Iterable[Utterance]) -> list[Clip | None]:
    """Read the clips and return what tells each from others, in order.

    None for one that is gone; empty for one that is there and cannot be read, which training left out.
    """

    def of(utterance: Utterance) -> Clip | None:
        try:
            samples = np.concatenate(list(resampled(utterance.source)))
        except UnreadableError:
            return Clip("", "") if os.path.exists(utterance.source) else None
        return Clip(digest(samples), fingerprint(samples))

    with ThreadPoolExecutor(cores()) as pool:  # reading and hashing let go of Python's lock
        return list(pool.map(of, utterances))


def name_of(base: str) -> str:
    """Return what a base model is called: its hub's id; of exp/TAG/model the tag, of another path its last part."""
    if base.count("/") == 1 and not base.startswith((".", "/", "~")):
        return base
    path = Path(base).expanduser().resolve()
    return path.parent.name if path.name == "model" else path.name


def read(folder: Path, name: str) -> dict[str, Any]:
    """Return the lineage of a model folder; where it has none, that the clips of ``name`` are not known."""
    path = folder / LINEAGE
    if not path.is_file():
        return {"ancestors": [], "not_known": [name], "clips": [], "fingerprints": [], "texts": None}
    record = read_json(path, "without it the clips are not known")
    if record.get("schema_version") != SCHEMA_VERSION:
        raise RecipeError(f"{path}: is not of schema_version {SCHEMA_VERSION}; without it the clips are not known")
    return {"fingerprints": [], **record}


def write(exp: Path, before: Sequence[dict[str, Any]], ancestors: Sequence[str], own: Sequence[Clip | None]) -> None:
    """Write exp/lineage.json of a model that was made from ``before`` and trained on ``own`` besides."""

    def all_of(key: str) -> list[str]:
        return [value for record in before for value in record[key]]

    clips, known = [clip for clip in own if clip], set(all_of("clips"))
    record = {
        "schema_version": SCHEMA_VERSION,
        "ancestors": list(dict.fromkeys([*all_of("ancestors"), *ancestors])),
        "not_known": list(dict.fromkeys([*all_of("not_known"), *[exp.name] * (None in own)])),
        "clips": sorted({*all_of("clips"), *(clip.digest for clip in clips)} - {""}),
        "fingerprints": sorted({*all_of("fingerprints"), *(clip.fingerprint for clip in clips)} - {""}),
        **({"own": {"clips": len(own), "known_before": sum(clip.digest in known for clip in clips)}} if own else {}),
        "texts": len({utterance.target for utterance in read_manifest(RunFolder(exp).manifests / "train.jsonl")}),
    }
    write_json(RunFolder(exp).lineage, record)


def write_of_run(exp: Path) -> None:
    """Write exp/lineage.json of a run that has been trained. Reads its clips."""
    base = read_base(exp)
    name = name_of(base["id"])
    before = [] if base.get("from_scratch") else [read(RunFolder(exp).base, name)]
    write(exp, before, [name] * len(before), identify(read_manifest(RunFolder(exp).manifests / "train.jsonl")))


def refuse(folder: Path, name: str, manifest: Path, adapters: Sequence[Path] = ()) -> None:
    """RecipeError where a clip of the manifest was trained on by the model of ``folder`` or by one it comes from.

    So is a changed copy of such a clip. ``adapters``: folders of adapters that decode beside the model.
    """
    record, utterances = read(folder, name), read_manifest(manifest)
    for path in adapters:
        other = read(path, path.name)
        record |= {key: [*record[key], *other[key]] for key in ("not_known", "clips", "fingerprints")}
        record["ancestors"].append(f"the adapter {path.name}")
    if record["not_known"]:
        unknown = ", ".join(dict.fromkeys(record["not_known"]))
        print(f"note: what {unknown} was trained on is not known: test clips may be among it")
    trained = set(record["clips"])
    clips = [clip or Clip("", "") for clip in identify(utterances)] if trained else []
    alike = any_alike([clip.fingerprint for clip in clips], record["fingerprints"])
    both = [
        utterance.key + ("" if clip.digest in trained else " (a copy of one, cut, louder, or coded anew)")
        for utterance, clip, is_alike in zip(utterances, clips, alike, strict=False)
        if clip.digest in trained or is_alike
    ]
    if both:
        by = ", ".join([name, *record["ancestors"]])
        raise RecipeError(
            f"{manifest}: {len(both):,} of its {len(utterances):,} clips were trained on (by one of {by}), first"
            f" {both[0]}: a score of them is worth nothing; give another --split or another --base, and a new --tag"
        )
