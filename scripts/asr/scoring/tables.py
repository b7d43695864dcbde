"""The scorer's tables on the screen, and how figures are written in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from asr.core.text_tables import text_table
from asr.scoring.headline import headline

HEADER = ("", "CER %", "95 % interval", "sub", "del", "ins", "SER %", "empty", "missing", "length ratio", "raw CER %")
SOUNDS = ("syllable", "syllable_toneless", "tone", "initial", "final")
SOUNDS_HEADER = ("", "syllable error %", "without tone %", "tone %", "initial %", "final %", "homophones of subs %")


def percent(rate: float | None, digits: int = 2) -> str:
    """Return a fraction as per cent, without the sign; ``n/a`` where there is none."""
    return "n/a" if rate is None else f"{100 * rate:.{digits}f}"


def interval(ci95: Sequence[float] | None, digits: int = 2) -> str:
    """Return an interval of fractions as per cent; ``n/a`` where there is none."""
    return f"{percent(ci95[0], digits)} to {percent(ci95[1], digits)}" if ci95 else "n/a"


def speaker_count(group: Mapping[str, Any]) -> str:
    """Return how many speakers a group of score.json has; ``unknown`` where nobody knows them."""
    return str(group["n_speakers"] or ("unknown" if group["n_utt"] else 0))


def screen_table(result: Mapping[str, Any]) -> str:
    """Return the result in one look: each system, the reduction, each speaker, and the reference lines."""
    systems, shown = result["systems"], headline(result)
    readings = ", ".join(f"{name} {row['n_number_readings']:,}" for name, row in systems.items())
    reasons = dict.fromkeys(row["ci95_note"] for row in systems.values() if not row["ci95"])
    sounds = result["mandarin"]["systems"].items()
    blocks = [
        f"{shown.about[0]['en'].removesuffix('.')}, normaliser {result['normalizer']}",
        text_table(HEADER, [_system(name, row) for name, row in systems.items()]),
        f"utterances with a number in digits that counts by another listed reading: {readings}",
        *(f"no interval over speakers: {reason}" for reason in reasons),
        *([result["silence_note"]["en"]] if result["silence_note"] else []),
        "\n".join(note["en"] for note in (shown.finding, *shown.tests)),
        _groups(result),
        text_table(SOUNDS_HEADER, [_sounds(name, row) for name, row in sounds]),
        result["speaker_note"]["en"],
    ]
    lines = [f"  {line['name']} {percent(line['cer'])} % ({line['note']})" for line in result["reference_lines"]]
    if lines:
        blocks.append("\n".join(["for reference, never a test passed:", *lines]))
    return "\n\n".join(blocks)


def others(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each listener, and for each second text."""
    for code, row in result.get("listeners", {}).items():
        models = ", ".join(f"{name} {percent(count['cer'])} %" for name, count in row["systems"].items())
        yield f"listener {code}: CER {percent(row['cer'])} % on {row['n_clips']} clips ({models} on the same)"
    for name, row in result.get("second_texts", {}).items():
        points = f"{percent(row['absolute_reduction'])} points lower than {row['from']}'s"
        yield f"{name}: CER {percent(row['cer'])} %, {points} (95 % over speakers {interval(row['absolute_ci95'])})"


def _system(name: str, row: Mapping[str, Any]) -> Sequence[object]:
    counts = [f"{row[key]:,}" for key in ("sub", "del", "ins")]
    ratio = "n/a" if row["length_ratio"] is None else f"{row['length_ratio']:.2f}"
    others = (percent(row["ser"]), row["n_empty"], row["n_missing"], ratio, percent(row["raw_cer"]))
    return (name, percent(row["cer"]), interval(row["ci95"]), *counts, *others)


def _groups(result: Mapping[str, Any]) -> str:
    systems = result["systems"]
    header = ("", "utterances", "characters", *(f"{name} CER %" for name in systems))
    rows = [("mean of speakers", "", "", *(percent(row["speaker_mean_cer"]) for row in systems.values()))]
    groups = {f"speaker {name}": row for name, row in result["by_speaker"].items()}
    groups |= {f"{name} text": row for name, row in (result["groups"]["text"] or {}).items()}
    for name, row in groups.items():
        rates = (percent(row[system] and row[system]["cer"]) for system in systems)
        rows.append((name, f"{row['n_utt']:,}", f"{row['ref_len']:,}", *rates))
    return text_table(header, rows)


def _sounds(name: str, row: Mapping[str, Any]) -> Sequence[str]:
    return (name, *(percent(row[sound]["rate"]) for sound in SOUNDS), percent(row["homophones"]["share"]))
