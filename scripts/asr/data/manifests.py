"""What stage 3 trains on: manifests that are read, checked against the YAML's limits, and written for the trainer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from asr.audio.unreadable import MAX_SHARE, Unreadable, check_folder
from asr.core.errors import RecipeError
from asr.core.files import atomic_open
from asr.core.manifest import Utterance, corpus_digest, read_manifest, write_manifest
from asr.data.augmentation import SAMPLES_PER_FRAME, augmentation, frames
from asr.models import families


def fit(utterances: list[Utterance], conf: dict[str, Any], name: str, exp: Path) -> list[Utterance]:
    """The utterances that the trainer's limits admit; the rest are listed in exp/left_out.tsv and counted aloud.

    RecipeError when a clip is longer than a whole batch: FunASR's sampler would put out an empty batch before it.
    """
    low, high = conf.get("min_source_length", 0), conf.get("max_source_length")
    kept = [item for item in utterances if low <= item.source_len and (high is None or item.source_len <= high)]
    left_out = [
        item for item in utterances if not (low <= item.source_len and (high is None or item.source_len <= high))
    ]
    path = exp / f"left_out.{name}.tsv"
    path.unlink(missing_ok=True)
    if left_out:
        with atomic_open(path) as stream:
            stream.writelines(f"{item.key}\t{item.duration:.2f}\t{item.source}\n" for item in left_out)
        print(f"{name}: {len(left_out)} of {len(utterances)} clips are outside min/max_source_length: {path}")
    if not kept:
        raise RecipeError(f"{name}: no clip is between min_source_length {low} and max_source_length {high}")
    longest = max(kept, key=lambda item: item.source_len)
    length = slowest_length(longest.source_len, conf) if name == "train" else longest.source_len
    if conf.get("batch_type", "token") != "example" and length > conf["batch_size"]:
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
    """FunASR's dataset_conf with limits that drop nothing: its own are 20.48 s, silently."""
    everything = [item for utterances in manifests.values() for item in utterances]
    most = max(item.source_len for item in everything)
    longest = max(most, slowest_length(most, values["dataset_conf"]))
    longest_text = max(item.target_len for item in everything)
    conf = {"index_ds": "IndexDSJsonl", "dataloader": "RecipeDataloader", "sampler_seed": values.get("seed", 0)}
    conf |= values["dataset_conf"]
    conf["max_source_length"] = longest
    conf["max_target_length"] = longest_text
    conf["max_token_length"] = longest + longest_text
    return conf


def prepare(exp: Path, data: Path, values: dict[str, Any]) -> tuple[dict[str, list[Utterance]], dict[str, str]]:
    """Read and check the manifests, write those that training reads to exp/manifest/, and digest them."""
    manifests, digests, family = {}, {}, families.of(values["family"])
    for name in ("train", "val"):
        utterances = read_manifest(data / f"{name}.jsonl")
        share = values.get("max_unreadable", MAX_SHARE)
        unreadable = Unreadable("training" if name == "train" else "validation", len(utterances), share, print)
        for item in utterances:
            if not os.path.exists(item.source):
                check_folder(item.source)
                unreadable.add(item.key, item.source, "is not there")
        manifests[name] = fit(utterances, values["dataset_conf"], name, exp)
        digests[name] = corpus_digest(manifests[name])
        lines = (item._replace(extra={**item.extra, **family.manifest_fields(item)}) for item in manifests[name])
        write_manifest(exp / "manifest" / f"{name}.jsonl", lines)
    return manifests, digests


def warn_of_warm_up(values: dict[str, Any], train: list[Utterance], processes: int) -> None:
    """Say so when the learning rate would rise for most of the run: the warm-up is in steps, whatever the corpus."""
    conf, warm_up = values["dataset_conf"], values.get("scheduler_conf", {}).get("warmup_steps", 25000)
    whole = len(train) if conf.get("batch_type", "token") == "example" else sum(item.source_len for item in train)
    steps = max(whole // (conf["batch_size"] * processes), 1) * values["train_conf"]["max_epoch"]
    if warm_up > steps / 2:
        print(f"note: scheduler_conf.warmup_steps {warm_up} is more than half of the run's about {steps} steps")
