"""Stages 2 and 5: decode a manifest with a FunASR model folder; one line per id, whatever the batch size.

``python -m asr.decode --model DIR --manifest data/…/test.jsonl --out exp/<tag>/tuned [--ngpu 1] [--exp exp/<tag>]``
writes OUT/hyp.txt (Kaldi text) and OUT/decode.json, with one process a GPU, or ``--processes`` on the processor
(asr.decoding.shards). A run that was stopped goes on from what it has decoded (asr.decoding.partial). No voice-activity
detector: it drops and fragments impaired speech. A clip that cannot be read has no line, and is named in decode.json
(asr.audio.unreadable).
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from asr.audio.unreadable import MAX_SHARE, Unread, Unreadable, command
from asr.config.load import read_stage_file, rerun
from asr.core import kaldi_text
from asr.core.errors import RecipeError, UsageError
from asr.core.files import sha256_file, sweep, write_json
from asr.core.made_by import claim
from asr.core.manifest import Utterance, read_manifest
from asr.decoding import shards as decode_shards
from asr.decoding.batches import Decoder, Readers, batches, clips
from asr.decoding.partial import PARTIAL, Partial
from asr.decoding.shards import Facts, Job
from asr.models import families, lineage
from asr.models.base_folder import digest, recorded
from asr.progress.reporter import open_bar

DEFAULTS = {"batch_seconds": 60.0, "dither": 0.0, "cpu_processes": 1}
NOTHING: Mapping[str, str] = MappingProxyType({})


def decode(recogniser: Any, utterances: list[Utterance], batch_seconds: float) -> dict[str, str]:
    """{key: text} for every utterance that can be read, in the manifest's order, decoded in this process.

    Raises RecipeError when too many cannot be read or an id is left without a result: a crashed decode must never look
    like a good one.
    """
    found: dict[str, str] = {}
    unreadable = Unreadable("decoded", len(utterances), MAX_SHARE, print)
    planned = list(batches(utterances, batch_seconds))
    with open_bar(len(utterances), unit="clip") as bar, Readers(recogniser) as readers:
        plan = [clips(batch) for batch in planned]
        for number, texts in Decoder(recogniser).run(plan, range(len(plan)), readers):
            found.update(readable(planned[number], texts, unreadable))
            bar.update(len(texts))
    return in_order(utterances, found, unreadable)


def readable(batch: list[Utterance], texts: list[str | Unread], unreadable: Unreadable) -> dict[str, str]:
    """{key: text} of a batch; its other clips are added to ``unreadable``."""
    pairs = list(zip(batch, texts, strict=True))
    for item, text in pairs:
        if isinstance(text, Unread):
            unreadable.add(item.key, item.source, text.why)
    return {item.key: text for item, text in pairs if isinstance(text, str)}


def in_order(utterances: list[Utterance], found: dict[str, str], unreadable: Unreadable) -> dict[str, str]:
    """``found`` in the manifest's order. RecipeError where an id that can be read has no result."""
    asked = [item.key for item in utterances if item.key not in unreadable.found]
    missing = [key for key in asked if key not in found]
    if missing:
        raise RecipeError(f"decoding gave no result for {len(missing)} clips, first {missing[0]}")
    return {key: found[key] for key in asked}


def fingerprint(model: Path, manifest: Path, conf: dict[str, Any], known: str | None = None) -> dict[str, Any]:
    """What hyp.txt depends on: every file of the model (or their ``known`` digest), the clips asked for, the method."""
    family = families.of_folder(model)
    return {
        "model": known or digest(model)["digest"],
        "manifest": sha256_file(manifest),
        "dither": conf["dither"],
        "method": family.method(family.options(conf)),
    }


def recorded_of(out: Path, inputs: dict[str, Any]) -> dict[str, Any] | None:
    """Return OUT/decode.json where OUT/hyp.txt is whole and was made from these inputs, else None."""
    try:
        record = json.loads((out / "decode.json").read_text(encoding="utf-8"))
        same = record["inputs"] == inputs and record["hyp_sha256"] == sha256_file(out / "hyp.txt")
        return record if same else None
    except (OSError, ValueError, KeyError):
        return None


def is_up_to_date(out: Path, inputs: dict[str, Any]) -> bool:
    """Whether there is nothing to decode. Clips that were unreadable may be whole now."""
    record = recorded_of(out, inputs)
    return record is not None and not record.get("unreadable")


def check_model(model: Path) -> None:
    """RecipeError unless the folder holds a model, with the stage that makes it."""
    for path in (model / "model.pt", model / "config.yaml"):
        if not path.is_file():
            raise RecipeError(f"{path}: not there; run stage {'4' if model.name == 'model' else '0'} first")


def run(
    model: Path,
    manifest: Path,
    out: Path,
    ngpu: int,
    conf: dict[str, Any],
    without: Mapping[str, str] = NOTHING,
) -> None:
    """Decode and write OUT/hyp.txt and OUT/decode.json, unless they are there and of the same inputs.

    Goes on from what a run that was stopped has left in OUT. ``without``: clips to leave out as unreadable, and why.
    """
    utterances = read_manifest(manifest)
    check_model(model)
    inputs = fingerprint(model, manifest, conf)
    claim(out, "decode", ["hyp.txt", "decode.json", PARTIAL, decode_shards.FAULT])
    if not without and is_up_to_date(out, inputs):
        (out / PARTIAL).unlink(missing_ok=True)
        print(f"{out / 'hyp.txt'}: of this model and these clips already; kept")
        return
    with Partial(out, inputs, {item.key for item in utterances}) as partial:
        for note in partial.notes:
            print(note)
        kept = len(partial.texts)
        unreadable = Unreadable("decoded", len(utterances), conf.get("max_unreadable", MAX_SHARE), print)
        for item in utterances:
            if item.key in without:
                unreadable.add(item.key, item.source, without[item.key])
        asked = [item for item in utterances if item.key not in without]
        left = [item for item in asked if item.key not in partial.texts]
        if kept:
            print(f"{out / PARTIAL}: {kept} of {len(utterances)} clips are decoded already; going on", flush=True)
        planned = list(batches(left, conf["batch_seconds"]))
        shards = decode_shards.shards(ngpu, conf.get("cpu_processes", DEFAULTS["cpu_processes"]), len(planned))
        family = families.of_folder(model)
        job = Job(model, ngpu, conf["dither"], list(map(clips, planned)), shards, family.options(conf))
        facts = decode_left(job, planned, out, partial, unreadable) if left else Facts([], 0.0, 0.0)
        texts = in_order(utterances, partial.texts, unreadable)
        record = {"inputs": inputs, "batch_seconds": conf["batch_seconds"], "shards": shards if left else 0}
        record["unreadable"] = unreadable.found
        record["counts"] = family.counts(texts.values())
        write_results(out, utterances, texts, record | measured(facts, asked, left))
        partial.remove()
    print(f"{told(facts, asked, left)} -> {out / 'hyp.txt'}")


def decode_left(job: Job, planned: list[list[Utterance]], out: Path, partial: Partial, unreadable: Unreadable) -> Facts:
    """Decode the planned batches in shards into ``partial``."""
    with open_bar(sum(map(len, planned)), unit="clip") as bar:

        def keep(number: int, texts: list[str | Unread]) -> None:
            found = readable(planned[number], texts, unreadable)
            partial.add(found.keys(), found.values())
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


def refuse_another_baseline(exp: Path, manifest: Path, conf: dict[str, Any]) -> None:
    """RecipeError unless exp/baseline, where there is one, is as it was decoded: of this base, these clips and options.

    The tuned model's texts would be compared with those of other clips or another method.
    """
    out, base = exp / "baseline", exp / "base"
    inputs = fingerprint(base, manifest, conf, recorded(exp)["digest"])
    if not (out / "hyp.txt").is_file() or recorded_of(out, inputs):
        return
    raise RecipeError(
        f"{out / 'hyp.txt'}: not as stage 2 wrote it, or of another base model, other clips or other decoding options"
        f" than the tuned model's; decode it again: {rerun(exp, 2)}"
    )


def unreadable_before(baseline: Path) -> dict[str, str]:
    """Clips that stage 2 could not read: left out of the tuned model's texts too, for the two are compared."""
    path = baseline / "decode.json"
    found = json.loads(path.read_text(encoding="utf-8")).get("unreadable", {}) if path.is_file() else {}
    again = f"rm -r {shlex.quote(str(baseline))}; {command()} --stage 2"
    return dict.fromkeys(found, f"could not be read in stage 2, so it is not compared (if it can be now: {again})")


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
    given = read_stage_file(arguments.exp, "decode") if arguments.exp else {}
    conf = {**DEFAULTS, **given.pop("decode_conf", {}), **given}
    without: dict[str, str] = {}
    check_model(arguments.model)
    if arguments.exp and arguments.model.name == "base":
        base = recorded(arguments.exp)
        if not base.get("from_scratch"):
            lineage.refuse(arguments.model, lineage.name_of(base["id"]), arguments.manifest)
    elif arguments.exp:
        refuse_another_baseline(arguments.exp, arguments.manifest, conf)
        lineage.refuse(arguments.model, arguments.exp.name, arguments.manifest)
        without = unreadable_before(arguments.exp / "baseline")
    if arguments.batch_seconds:
        conf["batch_seconds"] = arguments.batch_seconds
    if arguments.processes:
        conf["cpu_processes"] = arguments.processes
    sweep(arguments.out)
    run(arguments.model, arguments.manifest, arguments.out, arguments.ngpu, conf, without)
