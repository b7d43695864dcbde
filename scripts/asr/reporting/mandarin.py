"""The section of report.html on Mandarin's sounds: rates, heat maps and the most frequent confusions."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from asr.pages.html import Words, both, figure, heading, table
from asr.reporting.figures import SYSTEMS
from asr.scoring.tables import percent

_MOST_CONFUSIONS = 8
_KINDS: dict[str, Words] = {"tone": ("tones", "声调"), "initial": ("initials", "声母"), "final": ("finals", "韵母")}


def heat_maps(score: Mapping[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Kind, system ("" where all stand in one figure) and tables: tones side by side, initials each by itself."""
    systems = (score.get("mandarin") or {}).get("systems") or {}
    tables = {
        kind: {name: row["confusions"][kind] for name, row in systems.items() if row and row["confusions"].get(kind)}
        for kind in ("tone", "initial")
    }
    tables = {
        kind: {name: found for name, found in by_system.items() if any(map(any, found["matrix"]))}
        for kind, by_system in tables.items()
    }
    maps = [("tone", "", tables["tone"])] if tables["tone"] else []
    return maps + [("initial", name, {name: tables["initial"][name]}) for name in SYSTEMS if name in tables["initial"]]


def mandarin_section(score: Mapping[str, Any], drawn: Mapping[str, str]) -> list[str]:
    """HTML; empty where score.json has no such analysis. ``drawn`` is SVG by the figure's name."""
    found = score.get("mandarin")
    systems = {name: row for name, row in ((found or {}).get("systems") or {}).items() if row}
    if not systems:
        return []
    parts = [heading("Syllables, tones, initials, finals", "音节、声调、声母、韵母")]
    if found.get("note"):
        notes = (escape(str(found["note"])), escape(str(found.get("note_zh") or found["note"])))
        parts.append(f'<p class="muted">{both(*notes)}</p>')
    parts.append(_sound_rates(systems))
    caption = (
        "Tones: shade and number are the share of the row, in per cent. The diagonal is right.",
        "声调：颜色深浅与数字为占该行的百分比。对角线为正确。",
    )
    parts.append(_picture(drawn, "tone", caption))
    caption = (
        "Initials: shade and number are the share of the row, in per cent; ∅: none. The diagonal is right.",
        "声母：颜色深浅与数字为占该行的百分比；∅ 为零声母。对角线为正确。",
    )
    shown = [name for name in ("tuned", "baseline") if f"initial_{name}" in drawn]
    choices = [
        f'<div data-choice="{name}" data-choice-en="{SYSTEMS[name][0]}" data-choice-zh="{SYSTEMS[name][1]}">\n'
        f"{_picture(drawn, f'initial_{name}', caption)}\n</div>"
        for name in shown
    ]
    if choices:
        parts.append('<div class="choices">\n' + "\n".join(choices) + "\n</div>")
    return ["\n".join([*parts, _frequent(systems)])]


def _sound_rates(systems: Mapping[str, Any]) -> str:
    lines: list[tuple[Words, str, str]] = [
        (("syllable errors (with tone)", "音节错误（含声调）"), "syllable", "ref_len"),
        (("syllable errors (without tone)", "音节错误（不含声调）"), "syllable_toneless", "ref_len"),
        (("wrong tone, where the syllable is right", "音节正确时的声调错误"), "tone", "syllables"),
        (("wrong initial", "声母错误"), "initial", "pairs"),
        (("wrong final", "韵母错误"), "final", "pairs"),
    ]
    rows = []
    for words, measure, of in lines:
        cells = []
        for row in systems.values():
            one = row.get(measure) or {}
            wrong = one.get("errors", sum(one.get(key, 0) for key in ("sub", "del", "ins")))
            cells += [percent(one.get("rate")), f"{wrong:,} / {one.get(of, 0):,}"]
        rows.append((both(*words), *cells))
    cells = []
    for row in systems.values():
        one = row.get("homophones") or {}
        cells += [percent(one.get("share")), f"{one.get('same_tone', 0):,} / {one.get('substitutions', 0):,}"]
    rows.append((both("substitutions that sound the same", "替换成同音字"), *cells))
    header = [both("measure", "指标")]
    for name in systems:
        english, chinese = SYSTEMS[name]
        header += [both(f"{english} %", f"{chinese} %"), both("of", "数目")]
    return table("", header, rows)


def _frequent(systems: Mapping[str, Any]) -> str:
    """The most frequent confusions of the last system, said -> heard."""
    name = "tuned" if "tuned" in systems else next(iter(systems))
    rows = []
    for kind, words in _KINDS.items():
        found = systems[name]["confusions"].get(kind) or {"labels": [], "matrix": []}
        labels, matrix = found["labels"], found["matrix"]
        cells = [(count, said, heard) for said, row in enumerate(matrix) for heard, count in enumerate(row)]
        cells = sorted(
            (cell for cell in cells if cell[0] and cell[1] != cell[2]), key=lambda cell: (-cell[0], *cell[1:])
        )
        pairs = [
            f"{escape(labels[said] or '–')} → {escape(labels[heard] or '–')} ({count:,})"
            for count, said, heard in cells[:_MOST_CONFUSIONS]
        ]
        rows.append((both(*words), ", ".join(pairs) or both("none", "无")))
    title = both(
        f"Most frequent confusions, {SYSTEMS[name][0]}: said → heard",
        f"最常见的混淆（{SYSTEMS[name][1]}）：应说 → 听成",
    )
    return f"<h3>{title}</h3>\n{table('', ['', both('confusions', '混淆')], rows, words=(0, 1))}"


def _picture(drawn: Mapping[str, str], name: str, caption: Words) -> str:
    return figure(f"picture-{name}", drawn[name], [], caption) if name in drawn else ""
