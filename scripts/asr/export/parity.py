"""Proof that a runtime writes the texts that were scored: every clip decoded by torch and by the runtime.

Texts are compared without blanks and in lower case: the runtimes put blanks between Latin letters, and write those in
capitals, each in its own way. Nothing else may differ. What fp32 writes must be equal; what 8-bit weights write is
counted and scored, with its interval.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asr.core.digests import sha256_file
from asr.core.errors import RecipeError
from asr.core.kaldi_text import read_text
from asr.core.manifest import Utterance
from asr.core.names import UNKNOWN_SPEAKER
from asr.core.run_folder import DecodeFolder, RunFolder, rerun
from asr.core.run_records import read_decode
from asr.models.base_folder import digest
from asr.models.family import Family
from asr.scoring import bootstrap
from asr.scoring.score import score_text, total
from asr.scoring.speaker_interval import interval, rate, speaker_sums

Texts = Mapping[str, str]
EQUAL, DIFFERS, NOT_OFFERED = "equal", "differs", "not offered"


def drawn(utterances: Sequence[Utterance], count: int | None) -> tuple[list[Utterance], str]:
    """Return the clips to compare, and how they were chosen: all, or ``count`` in turn of each speaker, by key."""
    if count is None or count >= len(utterances):
        return list(utterances), "all"
    by_speaker = defaultdict(list)
    for utterance in sorted(utterances, key=lambda utterance: utterance.key):
        by_speaker[utterance.speaker].append(utterance)
    turns = [(place, speaker) for speaker, clips in by_speaker.items() for place in range(len(clips))]
    chosen = [by_speaker[speaker][place] for place, speaker in sorted(turns)[:count]]
    return chosen, f"{count} of {len(utterances)}, in turn of each speaker, in order of keys"


def plain(text: str) -> str:
    """Return a text as it is compared."""
    return "".join(text.split()).casefold()


def different(one: Texts, other: Texts) -> list[str]:
    """Return the keys of clips whose texts differ, in order of ``one``."""
    return [key for key, text in one.items() if plain(text) != plain(other[key])]


def show(keys: Sequence[str], name: str, reference: Texts, texts: Texts, most: int) -> None:
    """Print both texts of ``most`` clips that differ, and how many more there are."""
    for key in keys[:most]:
        print(f"  {key}: scored {reference[key]!r}, {name} {texts[key]!r}")
    if len(keys) > most:
        print(f"  and {len(keys) - most} more")


def wrong_reference(reference: Texts, texts: Texts, exp: Path | None) -> list[str]:
    """Return, in a sentence, that torch does not write here what was scored, and print where; nothing where it does."""
    keys, again = different(reference, texts), ""
    show(keys, "torch", reference, texts, len(keys))
    record = exp and read_decode(RunFolder(exp).tuned.path)
    if exp and record and (device := record.get("device", "cpu")) != "cpu":
        tuned = shlex.quote(str(RunFolder(exp).tuned.path))
        again = f" (decoded on {device}; on this processor: rm -r {tuned}; {rerun(exp, 5)} --ngpu 0)"
    return [f"torch itself writes {len(keys)} of {len(reference)} texts otherwise than hyp.txt{again}"] if keys else []


def wrong_runtimes(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return, a sentence each, which runtimes write other texts in fp32."""
    differ = {name: row["fp32"] for name, row in rows.items() if row.get("fp32", {}).get("status") == DIFFERS}
    return [f"{name} writes {row['of'] - row['equal']} of {row['of']} texts otherwise" for name, row in differ.items()]


def scored_texts(exp: Path, model: Path, manifest_digest: str, family: Family) -> tuple[dict[str, str], str]:
    """Return {key: text} of exp/tuned/hyp.txt, and why it is not what a greedy decode is compared with.

    That is an empty text where it is; else there are no texts. RecipeError where it is of another model.
    """
    folder = DecodeFolder(RunFolder(exp).tuned.path)
    record = read_decode(folder.path) if folder.hypotheses.is_file() else None
    if record is None:
        return {}, f"there is no {folder.hypotheses}"
    inputs = record["inputs"]
    if inputs["manifest"] != manifest_digest:
        return {}, f"{folder.hypotheses} is of other clips"
    if inputs["method"] != (method := family.method(family.options({}))):
        return {}, f"{folder.hypotheses} was decoded by {inputs['method']}, and runtimes decode by {method}"
    if record["hyp_sha256"] != sha256_file(folder.hypotheses):
        raise RecipeError(f"{folder.hypotheses}: not as it was decoded; decode again: {rerun(exp, 5)}")
    if inputs["model"] != digest(model)["digest"]:
        raise RecipeError(f"{folder.hypotheses}: of another model than {model}; decode again: {rerun(exp, 5)}")
    return read_text(folder.hypotheses), ""


@dataclass(frozen=True)
class Scores:
    """Character error rate of texts against what was said, with its 95 % interval."""

    cer: float | None
    ci95: list[float] | None
    over: str

    @classmethod
    def of(cls, utterances: Sequence[Utterance], texts: Texts) -> Scores:
        """Score texts: an interval over speakers where there are enough of them, else over utterances."""
        scored = [score_text(item, texts[item.key], None, ()) for item in utterances]
        table = np.array([(one.counts.ref_len, one.counts.errors) for one in scored])
        speakers = [item.utterance.speaker for item in scored]
        if UNKNOWN_SPEAKER not in speakers and (ends := interval(speaker_sums(table, speakers), rate(0), 0.0)):
            return cls(total(scored).cer, ends, "speakers")
        ends = bootstrap.interval(bootstrap.resample_utterances(table, seed=0), rate(0), 0.0)
        return cls(total(scored).cer, ends, "utterances")


def result(utterances: Sequence[Utterance], reference: Texts, texts: Texts) -> dict[str, Any]:
    """Return what parity.json has of a runtime's texts; no text is in it."""
    keys, scores = different(reference, texts), Scores.of(utterances, texts)
    found: dict[str, Any] = {
        "status": DIFFERS if keys else EQUAL,
        "equal": len(reference) - len(keys),
        "of": len(reference),
        "cer": scores.cer,
        "ci95": scores.ci95,
        "ci95_over": scores.over,
    }
    return {**found, "differences": keys} if keys else found


def in_words(name: str, precision: str, found: Mapping[str, Any]) -> str:
    """Return a line for the screen."""
    cer = "no CER" if found["cer"] is None else f"CER {found['cer']:.2%}"
    ends = f" ({found['ci95'][0]:.2%} to {found['ci95'][1]:.2%} over {found['ci95_over']})" if found["ci95"] else ""
    return f"{name} {precision}: {found['equal']} of {found['of']} texts equal, {cer}{ends}"
