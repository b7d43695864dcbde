"""What RESULTS.md and report.html show of second texts (score.json) and of confidences (language.json)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asr.pages.html import Cell, Table
from asr.pages.words import Words, words
from asr.scoring.second_texts import GROUPS
from asr.scoring.tables import interval, percent

SUREST = 0.6  # share of the utterances that the sentence is about


def second_texts(score: Mapping[str, Any]) -> Table:
    """Return each second text's CER beside the greedy one's, over all and by where a text was read before."""
    rows: list[list[Cell]] = []
    for name, row in score.get("second_texts", {}).items():
        cells: list[Cell] = [words(name), percent(row["greedy_cer"]), percent(row["cer"])]
        cells += [percent(row["absolute_reduction"]), interval(row["absolute_ci95"])]
        cells += [_in_group((row["text"] or {}).get(group)) for group in GROUPS]
        rows.append(cells)
    columns = ("system", "greedy_cer", "second_cer", "reduction_points", "over_speakers")
    return Table([*map(words, columns), *(words(f"read_in_{group}") for group in GROUPS)], rows)


def _in_group(row: Mapping[str, Any] | None) -> str:
    return "n/a" if row is None else f"{percent(row['greedy_cer'])} → {percent(row['cer'])} ({row['n_utt']:,})"


def confidence(language: Mapping[str, Any] | None) -> Words | None:
    """Return in sentences how far confidences can be trusted; None where stage 5 has not recorded it."""
    if not language or not (quality := language["confidence"]):
        return None
    fitted, shown = quality["calibration"], quality["calibrated"]
    if fitted["method"] == "none":
        return words("not_calibrated", wrong=f"{fitted['wrong']:,}", characters=f"{fitted['characters']:,}")
    surest = next(row for row in quality["risk_coverage"] if row["coverage"] >= SUREST)
    return words(
        "calibrated",
        how=words(f"by_{fitted['method']}"),
        characters=f"{fitted['characters']:,}",
        coverage=percent(surest["coverage"], 0),
        cer=percent(surest["cer"]),
        before=percent(quality["raw"]["calibration_error"], 1),
        after=percent(shown["calibration_error"], 1),
        auc="n/a" if shown["auc"] is None else f"{shown['auc']:.2f}",
    )


def risk_coverage(language: Mapping[str, Any] | None) -> Table:
    """Return the CER of the surest tenth of the utterances, two tenths, and so on."""
    rows = language["confidence"]["risk_coverage"] if language and language["confidence"] else []
    cells: list[list[Cell]] = [[f"{percent(row['coverage'], 0)} %", percent(row["cer"])] for row in rows]
    return Table([words("surest"), words("cer_percent")], cells)


def second_texts_note(language: Mapping[str, Any] | None) -> Words | None:
    """Return what second texts are made with, and what a gain says; None where stage 5 has not recorded it."""
    if not language or not (about := language["second_texts"]):
        return None
    means = []
    if about["lm"]:
        lines = about["lm"]["train_lines"] + about["lm"]["file_lines"]
        perplexity = "n/a" if about["perplexity"] is None else f"{about['perplexity']:.1f}"
        name = "means_lm" if lines else "means_arpa"
        means.append(words(name, order=about["order"], lines=f"{lines:,}", perplexity=perplexity))
    means += [words("means_sounds")] * about["sounds_alike"]
    means += [words("means_phrases", count=about["phrases"])] * bool(about["phrases"])
    named = Words(", ".join(part.en for part in means), "、".join(part.zh for part in means))
    return words("second_texts_are", means=named)
