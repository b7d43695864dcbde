"""The scorer's tables on the screen, and how figures are written in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asr.core.text_tables import text_table
from asr.scoring.headline import headline, speakers

HEADER = ("", "CER %", "95 % interval", "sub", "del", "ins", "SER %", "empty", "missing", "length ratio", "raw CER %")


def percent(rate: float | None, digits: int = 2) -> str:
    """A fraction as per cent, without the sign; ``n/a`` where there is none."""
    return "n/a" if rate is None else f"{100 * rate:.{digits}f}"


def interval(ci95: Sequence[float] | None, digits: int = 2) -> str:
    """An interval of fractions as per cent; ``n/a`` where there is none."""
    return f"{percent(ci95[0], digits)} to {percent(ci95[1], digits)}" if ci95 else "n/a"


def speakers_in(reference: Mapping[str, Any]) -> str:
    """Return ``5 speakers (130 to 410 clips each, median 210)`` of score.json's ``reference``."""
    return speakers(reference)[0]


def speaker_count(group: Mapping[str, Any]) -> str:
    """How many speakers a group of score.json has; ``unknown`` where nobody knows them."""
    return str(group["n_speakers"] or ("unknown" if group["n_utt"] else 0))


def screen_table(result: Mapping[str, Any]) -> str:
    """The result in one look: each system, the reduction, each speaker, and the reference lines."""
    rows = []
    for name, row in result["systems"].items():
        counts = [f"{row[key]:,}" for key in ("sub", "del", "ins")]
        ratio = "n/a" if row["length_ratio"] is None else f"{row['length_ratio']:.2f}"
        others = (percent(row["ser"]), row["n_empty"], row["n_missing"], ratio, percent(row["raw_cer"]))
        rows.append((name, percent(row["cer"]), interval(row["ci95"]), *counts, *others))
    found = headline(result)
    size = found.about[0]["en"].removesuffix(".")
    blocks = [f"{size}, normaliser {result['normalizer']}", text_table(HEADER, rows)]
    touched = [f"{name} {row['n_number_readings']:,}" for name, row in result["systems"].items()]
    blocks.append(f"utterances with a number in digits that counts by another listed reading: {', '.join(touched)}")
    reasons = dict.fromkeys(row["ci95_note"] for row in result["systems"].values() if not row["ci95"])
    blocks += [f"no interval over speakers: {reason}" for reason in reasons]
    blocks += [result["silence_note"]["en"]] if result.get("silence_note") else []
    blocks.append("\n".join(note["en"] for note in (found.finding, *found.tests)))
    groups = [(f"speaker {name}", row) for name, row in result["by_speaker"].items()]
    groups += [(f"{name} text", row) for name, row in (result["groups"]["text"] or {}).items()]
    systems = list(result["systems"])
    lines = [("mean of speakers", "", "", *(percent(result["systems"][key]["speaker_mean_cer"]) for key in systems))]
    lines += [
        (name, f"{row['n_utt']:,}", f"{row['ref_len']:,}", *(percent(row[key] and row[key]["cer"]) for key in systems))
        for name, row in groups
    ]
    blocks.append(text_table(("", "utterances", "characters", *(f"{name} CER %" for name in systems)), lines))
    blocks += [_sounds(result["mandarin"]["systems"]), result["speaker_note"]["en"]]
    lines = [f"{line['name']} {percent(line['cer'])} % ({line['note']})" for line in result["reference_lines"]]
    if lines:
        blocks.append("\n".join(["for reference, never a test passed:", *(f"  {line}" for line in lines)]))
    return "\n\n".join(blocks)


def _sounds(systems: Mapping[str, Any]) -> str:
    header = ("", "syllable error %", "without tone %", "tone %", "initial %", "final %", "homophones of subs %")
    rows = []
    for name, row in systems.items():
        rates = [row[key]["rate"] for key in ("syllable", "syllable_toneless", "tone", "initial", "final")]
        rows.append((name, *map(percent, rates), percent(row["homophones"]["share"])))
    return text_table(header, rows)
