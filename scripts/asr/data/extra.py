"""dataset_conf.extra: clips of other manifests that are trained on too, so many times an epoch as their weight says.

A weight of 2 has each clip twice in every epoch, varied twice; 0.25 a quarter of them, the same quarter in all epochs,
drawn by the seed. What comes of it is exp/TAG/manifest/train.jsonl: batches, resume and lineage know of nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError
from asr.core.manifest import Utterance, read_manifest
from asr.data.chance import draws, fractions, hashes_of
from asr.models.lineage import identify

TAKEN = 13  # a purpose of chance, apart from asr.data.augmentation's and the sampler's


def extra_clips(conf: Mapping[str, Any], seed: int) -> list[Utterance]:
    """Return the clips of a dataset_conf's ``extra`` under keys of their own: extra1-KEY, and extra1x2-KEY again."""
    return [clip for number, entry in enumerate(conf.get("extra") or [], 1) for clip in _of(number, entry, seed)]


def _of(number: int, entry: Mapping[str, Any], seed: int) -> Iterator[Utterance]:
    clips = read_manifest(entry["manifest"])
    whole, share = divmod(entry["weight"], 1)
    for copy in range(1, int(whole) + 1):
        prefix = f"extra{number}" + (f"x{copy}" if copy > 1 else "")
        yield from (clip._replace(key=f"{prefix}-{clip.key}") for clip in clips)
    taken = fractions(draws(hashes_of(clip.key for clip in clips), seed, number, TAKEN)) < share
    prefix = f"extra{number}" + (f"x{int(whole) + 1}" if whole else "")
    yield from (clip._replace(key=f"{prefix}-{clip.key}") for clip, takes in zip(clips, taken, strict=True) if takes)


def refuse_held_out(extra: Sequence[Utterance], data: Path) -> None:
    """RecipeError where a clip of ``extra`` is one to validate or to test by, whatever its key and its file."""
    if not extra:
        return
    sources = {clip.source: clip for clip in extra}
    known = {clip.digest: source for clip, source in zip(identify(sources.values()), sources, strict=True) if clip}
    for name in ("val", "test"):
        path = data / f"{name}.jsonl"
        held_out = read_manifest(path) if path.is_file() else []
        for utterance, clip in zip(held_out, identify(held_out), strict=True):
            if clip and clip.digest and clip.digest in known:
                raise RecipeError(
                    f"dataset_conf.extra: {known[clip.digest]} is clip {utterance.key} of {path}; take what is held out"
                    " out of the extra manifest"
                )
