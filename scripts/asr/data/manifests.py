"""What stage 3 trains on: manifests that are read, checked against the YAML's limits, and written for the trainer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from asr.audio.unreadable import Unreadable, check_folder
from asr.core.errors import RecipeError
from asr.core.files import write_text
from asr.core.manifest import Utterance, corpus_digest, read_manifest, write_manifest
from asr.data.augmentation import SAMPLES_PER_FRAME, augmentation, frames
from asr.data.extra import extra_clips, refuse_held_out
from asr.models import families


def fit(utterances: list[Utterance], conf: dict[str, Any], name: str, exp: Path) -> list[Utterance]:
    """Return the utterances within the YAML's limits; the rest are listed in exp/left_out.NAME.tsv and counted aloud.

    RecipeError when a clip is longer than a whole batch: FunASR's sampler would put out an empty batch before it.
    """
    low, high = conf["min_source_length"], conf["max_source_length"]
    kept, left_out = [], []
    for utterance in utterances:
        fits = low <= utterance.source_len and (high is None or utterance.source_len <= high)
        (kept if fits else left_out).append(utterance)
    path = exp / f"left_out.{name}.tsv"
    path.unlink(missing_ok=True)
    if left_out:
        write_text(path, "".join(f"{clip.key}\t{clip.duration:.2f}\t{clip.source}\n" for clip in left_out))
        print(f"{name}: {len(left_out)} of {len(utterances)} clips are outside min/max_source_length: {path}")
    if not kept:
        raise RecipeError(f"{name}: no clip is between min_source_length {low} and max_source_length {high}")
    longest = max(kept, key=lambda clip: clip.source_len)
    length = slowest_length(longest.source_len, conf) if name == "train" else longest.source_len
    if conf["batch_type"] != "example" and length > conf["batch_size"]:
        keys = " and ".join(key for key, _ in augmentation(conf, 0).length_factors)
        slowed = f", {length} at the slowest {keys}" if length > longest.source_len else ""
        raise RecipeError(
            f"{longest.source}: {longest.duration:.1f} s ({longest.source_len} frames{slowed}) is longer than a whole"
            f" batch (dataset_conf.batch_size {conf['batch_size']}); raise it, or set max_source_length to leave the"
            " clip out"
        )
    return kept


def slowest_length(source_len: int, conf: dict[str, Any]) -> int:
    """Return the most 10-ms frames that a clip of ``source_len`` can have in an epoch of a dataset_conf."""
    return int(frames(augmentation(conf, 0).longest((source_len + 1) * SAMPLES_PER_FRAME - 1)))


def dataset_conf(values: dict[str, Any], manifests: dict[str, list[Utterance]]) -> dict[str, Any]:
    """Return FunASR's dataset_conf with limits that drop nothing: its own are 20.48 s, silently."""
    everything = [utterance for utterances in manifests.values() for utterance in utterances]
    most = max(utterance.source_len for utterance in everything)
    longest = max(most, slowest_length(most, values["dataset_conf"]))
    longest_text = max(utterance.target_len for utterance in everything)
    return {
        "index_ds": "IndexDSJsonl",  # for FunASR's AudioDataset alone; ours has RecipeIndex
        "dataloader": "RecipeDataloader",
        "sampler_seed": values["seed"],
        **values["dataset_conf"],
        "max_source_length": longest,
        "max_target_length": longest_text,
        "max_token_length": longest + longest_text,
    }


def prepare(exp: Path, data: Path, values: dict[str, Any]) -> tuple[dict[str, list[Utterance]], dict[str, str]]:
    """Read and check the manifests, write those that training reads to exp/manifest/, and digest them."""
    manifests, digests, family = {}, {}, families.of(values["family"])
    for name in ("train", "val"):
        utterances = read_manifest(data / f"{name}.jsonl")
        if name == "train" and (extra := extra_clips(values["dataset_conf"], values["seed"])):
            refuse_held_out(extra, data)
            print(f"train: {len(utterances)} clips and {len(extra)} of dataset_conf.extra")
            utterances += extra
        of = "training" if name == "train" else "validation"
        unreadable = Unreadable(of, len(utterances), values["max_unreadable"], print)
        for clip in utterances:
            if not os.path.exists(clip.source):
                check_folder(clip.source)
                unreadable.add(clip.key, clip.source, "is not there")
        manifests[name] = fit(utterances, values["dataset_conf"], name, exp)
        digests[name] = corpus_digest(manifests[name])
        lines = (item._replace(extra={**item.extra, **family.manifest_fields(item)}) for item in manifests[name])
        write_manifest(exp / "manifest" / f"{name}.jsonl", lines)
    return manifests, digests


def warn_of_warm_up(values: dict[str, Any], train: list[Utterance], processes: int) -> None:
    """Say so when the learning rate would rise for most of the run: the warm-up is in updates, whatever the corpus."""
    conf, warm_up = values["dataset_conf"], values["scheduler_conf"]["warmup_steps"]
    batches = conf["batch_size"] * processes * values["train_conf"]["accum_grad"]  # an update's
    whole = len(train) if conf["batch_type"] == "example" else sum(clip.source_len for clip in train)
    updates = max(whole // batches, 1) * values["train_conf"]["max_epoch"]
    if warm_up > updates / 2:
        print(f"note: scheduler_conf.warmup_steps {warm_up} is more than half of the run's about {updates} updates")
