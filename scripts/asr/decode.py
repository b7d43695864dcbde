"""Stages 2 and 5: decode a manifest with a FunASR model folder; one line per id, whatever the batch size.

``python -m asr.decode --model DIR --manifest data/…/test.jsonl --out exp/<tag>/tuned [--ngpu 1] [--exp exp/<tag>]``
writes OUT/hyp.txt (Kaldi text) and OUT/decode.json. No voice-activity detector: it drops and fragments impaired speech.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asr import errors, kaldi_text
from asr.base_model import digest, recorded
from asr.config import read_stage_file
from asr.errors import RecipeError
from asr.files import sha256_file, write_json
from asr.manifest import FRAMES_PER_SECOND, Utterance, read_manifest
from asr.progress import open_terminal

DEFAULTS = {"batch_seconds": 60.0, "dither": 0.0}
# What a change of this module's output would be called; recorded so that a kept result is never an older method's.
METHOD = "greedy-masked-1"


def batches(utterances: list[Utterance], batch_seconds: float) -> Iterator[list[Utterance]]:
    """Batches of clips of like length, longest first, each at most ``batch_seconds`` of padded audio (or one clip)."""
    order = sorted(utterances, key=lambda item: (-item.source_len, item.key))
    batch: list[Utterance] = []
    for item in order:
        if batch and batch[0].source_len * (len(batch) + 1) > batch_seconds * FRAMES_PER_SECOND:
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def decode(recogniser: Any, utterances: list[Utterance], batch_seconds: float) -> dict[str, str]:
    """{key: text} for every utterance, in the manifest's order.

    Raises RecipeError when a clip cannot be read or an id is left without a result: a crashed decode must never look
    like a good one.
    """
    from tqdm import tqdm

    from asr.funasr_model import read_audio

    found: dict[str, str] = {}
    with _bar(tqdm, len(utterances)) as bar:
        for batch in batches(utterances, batch_seconds):
            texts = recogniser.transcribe([read_audio(item.source) for item in batch])
            found.update((item.key, text) for item, text in zip(batch, texts, strict=True))
            bar.update(len(batch))
    missing = [item.key for item in utterances if item.key not in found]
    if missing:
        raise RecipeError(f"decoding gave no result for {len(missing)} clips, first {missing[0]}")
    return {item.key: found[item.key] for item in utterances}


def _bar(tqdm: Any, total: int) -> Any:
    stream = open_terminal() or sys.stderr
    return tqdm(total=total, unit="clip", file=stream, leave=False, disable=not stream.isatty())


def fingerprint(model: Path, manifest: Path, conf: dict[str, Any]) -> dict[str, Any]:
    """What hyp.txt depends on: every file of the model, the clips asked for, the method."""
    return {
        "model": digest(model)["digest"],
        "manifest": sha256_file(manifest),
        "dither": conf["dither"],
        "method": METHOD,
    }


def is_up_to_date(out: Path, inputs: dict[str, Any]) -> bool:
    """Whether OUT/hyp.txt is whole and was made from the same inputs."""
    try:
        record = json.loads((out / "decode.json").read_text(encoding="utf-8"))
        return record["inputs"] == inputs and record["hyp_sha256"] == sha256_file(out / "hyp.txt")
    except (OSError, ValueError, KeyError):
        return False


def run(model: Path, manifest: Path, out: Path, ngpu: int, conf: dict[str, Any]) -> None:
    """Decode and write OUT/hyp.txt and OUT/decode.json, unless they are there and of the same inputs."""
    utterances = read_manifest(manifest)
    for path in (model / "model.pt", model / "config.yaml"):
        if not path.is_file():
            raise RecipeError(f"{path}: not there; run stage {'4' if model.name == 'model' else '0'} first")
    inputs = fingerprint(model, manifest, conf)
    if is_up_to_date(out, inputs):
        print(f"{out / 'hyp.txt'}: of this model and these clips already; kept")
        return
    import torch

    from asr.funasr_model import load

    recogniser = load(model, ngpu, conf["dither"])
    began = time.perf_counter()
    texts = decode(recogniser, utterances, conf["batch_seconds"])
    seconds = time.perf_counter() - began
    (out / "decode.json").unlink(missing_ok=True)
    kaldi_text.write_text(out / "hyp.txt", texts.items())
    audio = sum(item.duration for item in utterances)
    write_json(
        out / "decode.json",
        {
            "inputs": inputs,
            "hyp_sha256": sha256_file(out / "hyp.txt"),
            "utterances": len(texts),
            "empty": sum(not text for text in texts.values()),
            "audio_seconds": round(audio, 2),
            "decode_seconds": round(seconds, 2),
            "device": torch.cuda.get_device_name(0) if recogniser.device == "cuda" else "cpu",
            "batch_seconds": conf["batch_seconds"],
        },
    )
    print(f"{len(texts)} clips, {audio / 60:.1f} min of audio in {seconds:.1f} s -> {out / 'hyp.txt'}")


def refuse_trained_clips(exp: Path, manifest: Path) -> None:
    """RecipeError when a clip to decode is one that the run was trained on: its score would be worth nothing."""
    trained = exp / "manifest" / "train.jsonl"
    if not trained.is_file():
        return
    seen = {(item.key, item.target, item.num_samples) for item in read_manifest(trained)}
    both = [item.key for item in read_manifest(manifest) if (item.key, item.target, item.num_samples) in seen]
    if both:
        raise RecipeError(
            f"{manifest}: {len(both)} of its clips were trained on in {exp}, first {both[0]}; the data folder now holds"
            " another split: rerun stage 1 as it was, or give this split a --tag of its own"
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m asr.decode", description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, type=Path, help="FunASR model folder")
    parser.add_argument("--manifest", required=True, type=Path, help="JSONL from stage 1")
    parser.add_argument("--out", required=True, type=Path, help="gets hyp.txt and decode.json")
    parser.add_argument("--ngpu", type=int, default=1, help="0 is the processor")
    parser.add_argument("--exp", type=Path, help="exp/<tag>, for conf/decode.yaml")
    parser.add_argument("--batch-seconds", type=float, help="padded audio in a batch; changes speed, never the text")
    arguments = parser.parse_args()
    given = read_stage_file(arguments.exp, "decode").get("decode_conf", {}) if arguments.exp else {}
    conf = {**DEFAULTS, **given}
    if arguments.exp and arguments.model.name == "base":
        recorded(arguments.exp)
    elif arguments.exp:
        refuse_trained_clips(arguments.exp, arguments.manifest)
    if arguments.batch_seconds:
        conf["batch_seconds"] = arguments.batch_seconds
    run(arguments.model, arguments.manifest, arguments.out, arguments.ngpu, conf)


if __name__ == "__main__":
    errors.run(main)
