"""Stages 2 and 5: decode a manifest with a FunASR model folder; one line per id, whatever the batch size.

``python -m asr.decode --model DIR --manifest data/…/test.jsonl --out exp/<tag>/tuned [--ngpu 1] [--exp exp/<tag>]``
writes OUT/hyp.txt (Kaldi text) and OUT/decode.json, with one process a GPU, or ``--processes`` on the processor
(asr.decode_shards). A run that was stopped goes on from what it has decoded (asr.decode_results). No voice-activity
detector: it drops and fragments impaired speech.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from asr import decode_shards, errors, families, kaldi_text
from asr.base_model import digest, recorded
from asr.config import read_stage_file
from asr.decode_batches import Decoder, Readers, batches, clips
from asr.decode_results import PARTIAL, Partial
from asr.decode_shards import Facts, Job
from asr.errors import RecipeError, UsageError
from asr.files import sha256_file, write_json
from asr.made_by import claim
from asr.manifest import Utterance, read_manifest

DEFAULTS = {"batch_seconds": 60.0, "dither": 0.0, "cpu_processes": 1}


def decode(recogniser: Any, utterances: list[Utterance], batch_seconds: float) -> dict[str, str]:
    """{key: text} for every utterance, in the manifest's order, decoded in this process.

    Raises RecipeError when a clip cannot be read or an id is left without a result: a crashed decode must never look
    like a good one.
    """
    found: dict[str, str] = {}
    planned = list(batches(utterances, batch_seconds))
    with _bar(len(utterances)) as bar, Readers(recogniser) as readers:
        plan = [clips(batch) for batch in planned]
        for number, texts in Decoder(recogniser).run(plan, range(len(plan)), readers):
            found.update(zip((item.key for item in planned[number]), texts, strict=True))
            bar.update(len(texts))
    return in_order(utterances, found)


def in_order(utterances: list[Utterance], found: dict[str, str]) -> dict[str, str]:
    """``found`` in the manifest's order. RecipeError where an id has no result."""
    missing = [item.key for item in utterances if item.key not in found]
    if missing:
        raise RecipeError(f"decoding gave no result for {len(missing)} clips, first {missing[0]}")
    return {item.key: found[item.key] for item in utterances}


def _bar(total: int) -> Any:
    from tqdm import tqdm

    from asr.progress import open_terminal

    stream = open_terminal() or sys.stderr
    return tqdm(total=total, unit="clip", file=stream, leave=False, disable=not stream.isatty())


def fingerprint(model: Path, manifest: Path, conf: dict[str, Any]) -> dict[str, Any]:
    """What hyp.txt depends on: every file of the model, the clips asked for, the method."""
    family = families.of_folder(model)
    return {
        "model": digest(model)["digest"],
        "manifest": sha256_file(manifest),
        "dither": conf["dither"],
        "method": family.method(family.options(conf)),
    }


def is_up_to_date(out: Path, inputs: dict[str, Any]) -> bool:
    """Whether OUT/hyp.txt is whole and was made from the same inputs."""
    try:
        record = json.loads((out / "decode.json").read_text(encoding="utf-8"))
        return record["inputs"] == inputs and record["hyp_sha256"] == sha256_file(out / "hyp.txt")
    except (OSError, ValueError, KeyError):
        return False


def run(model: Path, manifest: Path, out: Path, ngpu: int, conf: dict[str, Any]) -> None:
    """Decode and write OUT/hyp.txt and OUT/decode.json, unless they are there and of the same inputs.

    Goes on from what a run that was stopped has left in OUT.
    """
    utterances = read_manifest(manifest)
    for path in (model / "model.pt", model / "config.yaml"):
        if not path.is_file():
            raise RecipeError(f"{path}: not there; run stage {'4' if model.name == 'model' else '0'} first")
    inputs = fingerprint(model, manifest, conf)
    claim(out, "decode", ["hyp.txt", "decode.json", PARTIAL, decode_shards.FAULT])
    if is_up_to_date(out, inputs):
        (out / PARTIAL).unlink(missing_ok=True)
        print(f"{out / 'hyp.txt'}: of this model and these clips already; kept")
        return
    with Partial(out, inputs, {item.key for item in utterances}) as partial:
        for note in partial.notes:
            print(note)
        kept = len(partial.texts)
        left = [item for item in utterances if item.key not in partial.texts]
        if kept:
            print(f"{out / PARTIAL}: {kept} of {len(utterances)} clips are decoded already; going on", flush=True)
        planned = list(batches(left, conf["batch_seconds"]))
        shards = decode_shards.shards(ngpu, conf.get("cpu_processes", DEFAULTS["cpu_processes"]), len(planned))
        family = families.of_folder(model)
        job = Job(model, ngpu, conf["dither"], list(map(clips, planned)), shards, family.options(conf))
        facts = decode_left(job, planned, out, partial) if left else Facts([], 0.0, 0.0)
        texts = in_order(utterances, partial.texts)
        record = {"inputs": inputs, "batch_seconds": conf["batch_seconds"], "shards": shards if left else 0}
        record["counts"] = family.counts(texts.values())
        write_results(out, utterances, texts, record | measured(facts, utterances, left))
        partial.remove()
    print(f"{told(facts, utterances, left)} -> {out / 'hyp.txt'}")


def decode_left(job: Job, planned: list[list[Utterance]], out: Path, partial: Partial) -> Facts:
    """Decode the planned batches in shards into ``partial``."""
    with _bar(sum(map(len, planned))) as bar:

        def keep(number: int, texts: list[str]) -> None:
            partial.add([item.key for item in planned[number]], texts)
            bar.update(len(texts))

        return decode_shards.decode(job, out, keep)


def measured(facts: Facts, utterances: list[Utterance], left: list[Utterance]) -> dict[str, Any]:
    """decode.json's figures. The seconds and the real-time factor are of the clips that this run decoded.

    real_time_factor: decode_seconds, wall time without loading and first clip, by the seconds of their audio.
    """
    audio = sum(item.duration for item in left)
    return {
        "audio_seconds": round(sum(item.duration for item in utterances), 2),
        "kept": len(utterances) - len(left),
        "decoded_audio_seconds": round(audio, 2),
        "decode_seconds": round(facts.decode_seconds, 2),
        "real_time_factor": round(facts.decode_seconds / audio, 6) if audio else None,
        "load_seconds": round(facts.load_seconds, 2),
        "warm_up_seconds": round(facts.warm_up_seconds, 2),
        "device": ", ".join(facts.devices) or None,
    }


def told(facts: Facts, utterances: list[Utterance], left: list[Utterance]) -> str:
    """The last line: how many clips, how fast."""
    if not left:
        return f"{len(utterances)} clips, all decoded before"
    audio, seconds = sum(item.duration for item in left), facts.decode_seconds
    kept = f" ({len(utterances) - len(left)} more were decoded before)" if len(left) < len(utterances) else ""
    return (
        f"{len(left)} clips{kept}, {audio / 60:.1f} min of audio in {seconds:.1f} s"
        f" ({audio / max(seconds, 1e-9):.0f} x real time), model loaded in {facts.load_seconds:.0f} s"
    )


def write_results(out: Path, utterances: list[Utterance], texts: dict[str, str], record: dict[str, Any]) -> None:
    """hyp.txt, then decode.json: without it hyp.txt is not taken for whole."""
    (out / "decode.json").unlink(missing_ok=True)
    kaldi_text.write_text(out / "hyp.txt", texts.items())
    counts = {"utterances": len(utterances), "empty": sum(not text for text in texts.values())}
    record = {"inputs": record.pop("inputs"), "hyp_sha256": sha256_file(out / "hyp.txt"), **counts, **record}
    write_json(out / "decode.json", record)


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
    parser.add_argument("--ngpu", type=int, default=1, help="GPUs, a process each; 0 is the processor")
    parser.add_argument("--processes", type=int, help="on the processor, each with a model of its own; never the text")
    parser.add_argument("--exp", type=Path, help="exp/<tag>, for conf/decode.yaml")
    parser.add_argument("--batch-seconds", type=float, help="padded audio in a batch; changes speed, never the text")
    arguments = parser.parse_args()
    if arguments.ngpu < 0:
        raise UsageError(f"--ngpu takes a whole number from 0, not {arguments.ngpu}")
    if arguments.processes is not None and (arguments.processes < 1 or arguments.ngpu):
        raise UsageError("--processes takes a whole number from 1, and is for the processor (--ngpu 0)")
    given = read_stage_file(arguments.exp, "decode").get("decode_conf", {}) if arguments.exp else {}
    conf = {**DEFAULTS, **given}
    if arguments.exp and arguments.model.name == "base":
        recorded(arguments.exp)
    elif arguments.exp:
        refuse_trained_clips(arguments.exp, arguments.manifest)
    if arguments.batch_seconds:
        conf["batch_seconds"] = arguments.batch_seconds
    if arguments.processes:
        conf["cpu_processes"] = arguments.processes
    run(arguments.model, arguments.manifest, arguments.out, arguments.ngpu, conf)


if __name__ == "__main__":
    errors.run(main)
