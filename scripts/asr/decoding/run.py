"""Stages 2 and 5: decode a manifest with a FunASR model folder; one line per id, whatever the batch size.

One process a GPU, or as many as asked for on the CPU (asr.decoding.shards). A decode that was stopped is resumed
(asr.decoding.partial). No voice-activity detector: it drops and fragments impaired speech. A clip that cannot be read
has no line, and is named in decode.json (asr.audio.unreadable).
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from asr.audio.unreadable import Unread, Unreadable, command
from asr.config.stage_files import read_decode_settings
from asr.core import kaldi_text
from asr.core.digests import sha256_file, sha256_text
from asr.core.errors import RecipeError
from asr.core.made_by import claim
from asr.core.manifest import Utterance, read_manifest
from asr.core.nbest import NBest, write_nbest
from asr.core.run_folder import DecodeFolder, RunFolder, rerun
from asr.core.run_records import DecodeInputs, DecodeRecord, read_base, read_decode, write_decode
from asr.decoding import shards
from asr.decoding.batches import Results, batches
from asr.decoding.partial import Partial
from asr.models import families, lineage
from asr.models.adapter_folder import RECORD, find
from asr.models.base_folder import digest
from asr.progress.reporter import open_bar

DEFAULTS = read_decode_settings()


def readable(results: Results, unreadable: Unreadable) -> dict[str, NBest]:
    """Return {key: text and candidates} of a batch; its other clips are added to ``unreadable``."""
    for clip, result in results:
        if isinstance(result, Unread):
            unreadable.add(clip.key, clip.source, result.why)
    return {clip.key: result for clip, result in results if isinstance(result, NBest)}


def in_order(utterances: list[Utterance], results: dict[str, NBest], unreadable: Unreadable) -> list[NBest]:
    """Return ``results`` in the manifest's order. RecipeError where an id that can be read has no result.

    A crashed decode must never look like a good one.
    """
    asked = [utterance.key for utterance in utterances if utterance.key not in unreadable.found]
    missing = [key for key in asked if key not in results]
    if missing:
        raise RecipeError(f"decoding gave no result for {len(missing)} clips, first {missing[0]}")
    return [results[key] for key in asked]


def fingerprint(model: Path, manifest: Path, conf: dict[str, Any], model_digest: str | None = None) -> DecodeInputs:
    """Return what hyp.txt depends on: every file of the model (or ``model_digest`` of them), the clips, the method."""
    family = families.of_folder(model)
    inputs: DecodeInputs = {
        "model": model_digest or digest(model)["digest"],
        "manifest": sha256_file(manifest),
        "dither": conf["dither"],
        "method": family.method(family.options(conf)),
    }
    return {**inputs, "adapters": adapters_digest(Path(conf["adapter"]))} if conf["adapter"] else inputs


def adapters_digest(folder: Path) -> str:
    """Return what tells the adapters of a folder, and whose they are, from others. RecipeError where there is none."""
    return sha256_text("".join(f"{name} {sha256_file(path / RECORD)}\n" for name, path in find(folder).items()))


def untouched(conf: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the baseline is decoded: by the base model alone, as it is."""
    return {**conf, "adapter": ""}


def finished(out: Path, inputs: DecodeInputs) -> DecodeRecord | None:
    """Return OUT/decode.json where hyp.txt and nbest.jsonl are whole and were made from these inputs, else None."""
    try:
        record = read_decode(out)
        same = record and (record["inputs"], record["hyp_sha256"], record["nbest_sha256"]) == (
            inputs,
            sha256_file(DecodeFolder(out).hypotheses),
            sha256_file(DecodeFolder(out).nbest),
        )
    except (RecipeError, OSError, KeyError):
        return None
    return record if same else None


def is_up_to_date(out: Path, inputs: DecodeInputs) -> bool:
    """Return whether there is nothing to decode. Clips that were unreadable may be whole now."""
    record = finished(out, inputs)
    return record is not None and not record.get("unreadable")


def check_model(model: Path) -> None:
    """RecipeError unless the folder holds a model, with the stage that makes it."""
    for path in (model / "model.pt", model / "config.yaml"):
        if not path.is_file():
            raise RecipeError(f"{path}: not there; run stage {'4' if model.name == 'model' else '0'} first")


def run(
    model: Path, manifest: Path, out: Path, ngpu: int, conf: dict[str, Any], skipped: Mapping[str, str] | None = None
) -> None:
    """Decode and write OUT/hyp.txt, nbest.jsonl and decode.json, unless they are there and of the same inputs.

    Resumes what a decode that was stopped has left in OUT. ``skipped``: clips to treat as unreadable, and why.
    """
    utterances, folder, skipped = read_manifest(manifest), DecodeFolder(out), skipped or {}
    check_model(model)
    inputs = fingerprint(model, manifest, conf)
    claim(out, "decode", [path.name for path in folder.files])
    if not skipped and is_up_to_date(out, inputs):
        folder.partial.unlink(missing_ok=True)
        print(f"{folder.hypotheses}: of this model and these clips already; kept")
        return
    unreadable = Unreadable("decoded", len(utterances), conf["max_unreadable"], print)
    for utterance in utterances:
        if utterance.key in skipped:
            unreadable.add(utterance.key, utterance.source, skipped[utterance.key])
    asked = [utterance for utterance in utterances if utterance.key not in skipped]
    with Partial(out, dict(inputs), {utterance.key for utterance in utterances}) as partial:
        for note in partial.notes:
            print(note)
        if partial.results:
            done = f"{len(partial.results)} of {len(utterances)} clips are decoded already"
            print(f"{partial.path}: {done}; resuming", flush=True)
        left = [utterance for utterance in asked if utterance.key not in partial.results]
        facts = decode_left(left, model, ngpu, conf, partial, unreadable)
        results = in_order(utterances, partial.results, unreadable)
        counts = families.of_folder(model).counts(result.greedy for result in results)
        record = {"inputs": inputs, "batch_seconds": conf["batch_seconds"], "unreadable": unreadable.found}
        if conf["adapter"]:
            record["adapted"] = adapted_share(find(Path(conf["adapter"])), utterances)
        write_results(out, utterances, results, {**record, "counts": counts, **measured(facts, asked, left)})
        partial.path.unlink()
    print(f"{summary(facts, asked, left)} -> {folder.hypotheses}")


def decode_left(
    left: list[Utterance], model: Path, ngpu: int, conf: dict[str, Any], partial: Partial, unreadable: Unreadable
) -> dict[str, Any]:
    """Decode the utterances that are left, into ``partial``; return decode.json's shards, device and seconds."""
    adapted = find(Path(conf["adapter"])) if conf["adapter"] else {}
    plan = batches(left, conf["batch_seconds"], adapted)
    options = families.of_folder(model).options(conf)
    job = {"folder": model, "ngpu": ngpu, "dither": conf["dither"], "options": options, "adapter": conf["adapter"]}
    processes = shards.process_count(ngpu, conf["cpu_processes"], len(plan))
    with open_bar(len(left), unit="clip") as bar:

        def keep(results: Results) -> None:
            partial.add(readable(results, unreadable))
            bar.update(len(results))

        return shards.decode(job, plan, processes, partial.path.parent, keep)


def adapted_share(adapters: Collection[str], utterances: Sequence[Utterance]) -> dict[str, int]:
    """Return how many of the speakers, and of their clips, are decoded with an adapter of their own."""
    own = [item.speaker for item in utterances if "" in adapters or item.speaker in adapters]
    speakers = {item.speaker for item in utterances}
    return {"speakers": len(set(own)), "of_speakers": len(speakers), "clips": len(own), "of_clips": len(utterances)}


def measured(facts: dict[str, Any], utterances: list[Utterance], left: list[Utterance]) -> dict[str, Any]:
    """Return decode.json's figures. The seconds and the real-time factor are of the clips that this run decoded.

    real_time_factor: decode_seconds, wall time without loading and first clip, by the seconds of their audio.
    """
    audio = sum(utterance.duration for utterance in left)
    return {
        "audio_seconds": round(sum(utterance.duration for utterance in utterances), 2),
        "kept": len(utterances) - len(left),
        "decoded_audio_seconds": round(audio, 2),
        "real_time_factor": round(facts["decode_seconds"] / audio, 6) if audio else None,
        **{key: round(value, 2) if isinstance(value, float) else value for key, value in facts.items()},
    }


def summary(facts: dict[str, Any], utterances: list[Utterance], left: list[Utterance]) -> str:
    """Return the last line: how many clips, how fast."""
    if not left:
        return f"{len(utterances)} clips, all decoded before"
    audio, seconds = sum(utterance.duration for utterance in left), facts["decode_seconds"]
    kept = f" ({len(utterances) - len(left)} more were decoded before)" if len(left) < len(utterances) else ""
    return (
        f"{len(left)} clips{kept}, {audio / 60:.1f} min of audio in {seconds:.1f} s"
        f" ({audio / max(seconds, 1e-9):.0f} x real time), model loaded in {facts['load_seconds']:.0f} s"
    )


def write_results(out: Path, utterances: list[Utterance], results: list[NBest], record: dict[str, Any]) -> None:
    """Write hyp.txt and nbest.jsonl, then decode.json: without it they are not taken for whole."""
    folder = DecodeFolder(out)
    folder.record.unlink(missing_ok=True)
    kaldi_text.write_text(folder.hypotheses, ((result.key, result.greedy) for result in results))
    write_nbest(folder.nbest, results)
    digests = {"hyp_sha256": sha256_file(folder.hypotheses), "nbest_sha256": sha256_file(folder.nbest)}
    counts = {"utterances": len(utterances), "empty": sum(not result.greedy for result in results)}
    write_decode(out, {"inputs": record["inputs"], **digests, **counts, **record})


# What a run's decodes have to do with each other --------------------------------------------------------------------


def check_run(exp: Path, model: Path, manifest: Path, conf: dict[str, Any]) -> dict[str, str]:
    """Refuse what must not be decoded in a run; return the clips to skip, and why.

    RecipeError where the model, or one that it comes from, was trained on a clip of the manifest, and where the
    baseline that it is compared with is not of the same clips and options.
    """
    check_model(model)
    if model.name == RunFolder(exp).base.name:
        base = read_base(exp)
        if not base.get("from_scratch"):
            lineage.refuse(model, lineage.name_of(base["id"]), manifest)
        return {}
    refuse_another_baseline(exp, manifest, conf)
    beside = find(Path(conf["adapter"])) if conf["adapter"] else {}
    lineage.refuse(model, exp.name, manifest, list(beside.values()))
    return unreadable_before(RunFolder(exp).baseline.path)


def refuse_another_baseline(exp: Path, manifest: Path, conf: dict[str, Any]) -> None:
    """RecipeError unless exp/baseline, where there is one, is as it was decoded: of this base, these clips and options.

    The tuned model's texts would be compared with those of other clips or another method.
    """
    baseline = RunFolder(exp).baseline
    inputs = fingerprint(RunFolder(exp).base, manifest, untouched(conf), read_base(exp)["digest"])
    if not baseline.hypotheses.is_file() or finished(baseline.path, inputs):
        return
    raise RecipeError(
        f"{baseline.hypotheses}: not as stage 2 wrote it, or of another base model, other clips or other decoding"
        f" options than the tuned model's; decode it again: {rerun(exp, 2)}"
    )


def unreadable_before(baseline: Path) -> dict[str, str]:
    """Return the clips that stage 2 could not read: not decoded by the tuned model either, for the two are compared."""
    record = read_decode(baseline)
    again = f"rm -r {shlex.quote(str(baseline))}; {command()} --stage 2"
    why = f"could not be read in stage 2, so it is not compared (if it can be now: {again})"
    return dict.fromkeys(record.get("unreadable", {}) if record else {}, why)
