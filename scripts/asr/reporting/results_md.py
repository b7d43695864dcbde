"""RESULTS.md as Markdown, made from score.json and provenance.json; nothing in it is typed.

What a run did not record is said to be "not recorded". No path of a machine gets into the page.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asr.core.publishable_paths import public
from asr.core.text_tables import markdown_table, markdown_text
from asr.pages.html import Cell
from asr.pages.words import words
from asr.reporting import view
from asr.reporting.facts import command, configuration, facts
from asr.scoring.headline import headline

Score = Mapping[str, Any]


def results(title: str, score: Score, provenance: Mapping[str, Any]) -> str:
    """Return the page, as Markdown. ``provenance`` may lack any field."""
    provenance = public(dict(provenance))
    groups = score["groups"]
    blocks = [f"# Results of {markdown_text(title)}"]
    if (provenance.get("corpus") or {}).get("simulated"):
        blocks.append(f"**{words('simulated')}**")
    if score.get("pooled"):
        blocks.append(str(view.pooled_note(score)))
    blocks += [*_headline(score), *_reference_lines(score)]
    blocks += ["## By speaker\n\nIntervals are over this speaker's utterances."]
    blocks.append(_group(score, "speaker", score["by_speaker"]))
    blocks += ["## By text: seen or unseen in fine-tuning", *_texts(score)]
    for number, name in enumerate(view.GROUPS):
        blocks.append(f"## {words(f'by_{name}')}" + ("" if number else f"\n\n{words('group_intervals')}"))
        blocks.append(_group(score, words(f"{name}_column"), groups[name]))
    for column, table in (groups["speaker_table"] or {}).items():
        blocks += [f"## By {markdown_text(column)}", _group(score, column, table)]
    blocks += [*_sounds(score), *_how_made(score, provenance)]
    return "\n\n".join(blocks) + "\n"


def _group(score: Score, first: Cell, groups: Mapping[str, Any]) -> str:
    return markdown_table(*view.group_table(score, first, groups, counts=True))


def _headline(score: Score) -> list[str]:
    notes, systems, certainty = headline(score), view.systems(score), view.certainty(score)
    rows = [[row[0], f"**{row[1]}**", *row[2:]] for row in systems.rows]
    blocks = [markdown_table(systems.columns, rows), *(f"**{markdown_text(note['en'])}**" for note in notes.warnings)]
    blocks.append(" ".join([f"**{notes.finding['en']}**", *(note["en"] for note in notes.tests)]))
    blocks += [markdown_table(*certainty)] if certainty.rows else []
    about = " ".join(note["en"] for note in notes.about)
    blocks.append(f"{about} Texts are in the form of normaliser {score['normalizer']}; raw CER: as they are.")
    if notes.speakers:
        blocks.append(f"**What the speakers can show.** {notes.speakers['en']}")
    return blocks


def _reference_lines(score: Score) -> list[str]:
    lines = [f"- {line}" for line in view.reference_lines(score)]
    return ["Other clips, other listeners: a reference, never a test passed.", "\n".join(lines)] if lines else []


def _texts(score: Score) -> list[str]:
    groups = score["groups"]["text"]
    if groups is None:
        return [str(words("no_text_pooled" if score.get("pooled") else "no_text"))]
    why = "Seen: the exact text (normalised) is in train. The base model may have seen any text."
    return [f"{why} n/a: no such utterance.", _group(score, "text", groups)]


def _sounds(score: Score) -> list[str]:
    systems = view.sound_systems(score)
    if not systems:
        return []
    note = f"{score['mandarin']['note']} What was taken for what is in score/confusions.tsv."
    return ["## Syllables and tones", markdown_table(*view.sound_rates(systems)), note]


def _how_made(score: Score, provenance: Mapping[str, Any]) -> list[str]:
    unknown = view.unknown(score)
    sizes = view.split_sizes(provenance, unknown)
    recorded = [(words(key), value or unknown) for key, value in facts(score, provenance).items()]
    blocks = ["## Data", markdown_table(*sizes)] if sizes.rows else []
    blocks += ["## How it was made", markdown_table(("", words("recorded")), recorded, left=(0, 1))]
    line, config = command(provenance), configuration(provenance)
    blocks.append(f"{words('command')}:\n\n```\n{line}\n```" if line else f"Command: {unknown}.")
    blocks.append(f"Config, as resolved:\n\n```yaml\n{config}\n```" if config else f"Config: {unknown}.")
    return blocks
