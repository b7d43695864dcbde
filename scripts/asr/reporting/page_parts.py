"""What report.html alone shows of a score: cards, tables whose rows open the error browser, and confusions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from markupsafe import escape

from asr.pages.html import Card, Cell, Link, Table, filtered, trusted
from asr.pages.words import Words, speaker_table_words, words
from asr.reporting import view
from asr.reporting.figures import confusion_link

Score = Mapping[str, Any]
MOST_CONFUSIONS = 12  # of a kind


def cards(score: Score) -> list[Card]:
    """Return the numbers to see first, each with where a click on it goes."""
    names = {"baseline": words("cer_before"), "tuned": words("cer_after")}
    shown = [
        Card(names[system], _rate(row["cer"]), _interval(row["ci95"]), system, filtered(sort=system, down="1"))
        for system, row in score["systems"].items()
    ]
    shown += _unseen(score)
    comparison = score["comparison"]
    if comparison and comparison["absolute_reduction"] is not None:
        relative, by_change = _interval(comparison["relative_ci95"], 1), filtered(sort="change")
        value = _rate(comparison["relative_reduction"], 1)
        shown.append(Card(words("relative_reduction"), value, relative, link=by_change))
        counts = {kind: f"{comparison[f'utterances_{kind}']:,}" for kind in ("better", "worse", "same")}
        others = _joined(
            (Link(words(f"{kind}_count", count=counts[kind]), filtered(kind=kind)) for kind in ("worse", "same")), " · "
        )
        link = filtered(kind="better", sort="change")
        shown.append(Card(words("utterances_better"), counts["better"], others, link=link))
    reference, row = score["reference"], next(iter(score["systems"].values()))
    size = words("test_size", utterances=f"{reference['n_utt']:,}", characters=f"{row['ref_len']:,}")
    speakers = f"{reference['n_speakers']:,}" if reference["n_speakers"] else words("not_known")
    return [*shown, Card(words("test_speakers"), speakers, size, link=filtered(sort="speaker"))]


def _unseen(score: Score) -> list[Card]:
    """Return the last system's CER on text that was not trained on; none where that is not known."""
    system = list(score["systems"])[-1]
    row = ((score["groups"]["text"] or {}).get("unseen") or {}).get(system)
    if not row or row["cer"] is None:
        return []
    below = _interval(row["ci95"])
    return [Card(words("cer_unseen"), _rate(row["cer"]), below, system, filtered(text="unseen"))]


def _rate(rate: float | None, digits: int = 2) -> str:
    return view.NO_VALUE if rate is None else f"{view.signed(rate, digits)} %"


def _interval(ci95: Any, digits: int = 2) -> Words:
    interval = view.interval(ci95, digits).__html__()
    return words("interval_is", interval=interval) if ci95 else words("no_interval")


def _joined(links: Iterable[Link], between: str) -> Cell:
    return trusted(between).join(map(escape, links))


def transposed(table: Table) -> Table:
    """Return a table with a row for each of its columns: few columns fit every screen."""
    names, *columns = zip(*table.rows, strict=True)
    rows = [[name, *cells] for name, cells in zip(table.columns[1:], columns, strict=True)]
    return Table([table.columns[0], *names], rows)


def groups(score: Score) -> dict[str, Table]:
    """Return the rates of every kind of group that score.json has; a group without an utterance is left out."""
    kinds = {"speakers": score["by_speaker"], **{name: score["groups"][name] for name in ("text", *view.GROUPS)}}
    first = {"speakers": words("speaker"), "text": words("text")}
    tables = {}
    for kind, rows in kinds.items():
        if rows:
            table = view.group_table(score, first.get(kind) or words(f"{kind}_column"), rows)
            tables[kind] = _linked(table, list(rows), lambda name, kind=kind: view.group_link(kind, name))
    return tables


def speaker_tables(score: Score) -> list[tuple[Words, Table]]:
    """Return each column of the speaker table: its name, and the rates by its values."""
    found = []
    for column, rows in (score["groups"]["speaker_table"] or {}).items():
        name = speaker_table_words([column]).get(column) or Words(column, column)
        table, known = view.group_table(score, name, rows), speaker_table_words(rows)
        found.append((name, Table(table.columns, [[known.get(str(row[0]), row[0]), *row[1:]] for row in table.rows])))
    return found


def _linked(table: Table, names: Sequence[str], link: Callable[[str], str]) -> Table:
    rows = zip(names, table.rows, strict=True)
    return Table(table.columns, [[Link(row[0], link(name)), *row[1:]] for name, row in rows if row[1] != "0"])


def empty_groups(score: Score, kind: str) -> str:
    """Return the names of the groups of a kind that hold no utterance."""
    return ", ".join(name for name, row in (score["groups"][kind] or {}).items() if not row["n_utt"])


def frequent_confusions(score: Score, characters: Sequence[Mapping[str, str]]) -> dict[str, Table]:
    """Return the most frequent confusions of each system, by kind: ``characters`` are rows of confusions.tsv."""
    sounds, tables = view.sound_systems(score), {}
    for system in score["systems"]:
        rows: list[list[Cell]] = []
        mine = [row for row in characters if row["system"] == system and row["kind"] == "character"]
        kinds: dict[str, dict[tuple[str, str], int]] = {"substitutions": {}, "deletions": {}, "insertions": {}}
        for row in mine:
            kind = "insertions" if not row["said"] else "deletions" if not row["heard"] else "substitutions"
            kinds[kind][row["said"], row["heard"]] = int(row["count"])
        for name, counts in kinds.items() if characters else ():
            rows.append([words(name), f"{sum(counts.values()):,}", _most("char", counts, system)])
        for kind in view.KINDS if system in sounds else ():
            table = sounds[system]["confusions"][kind]
            counts, totals = _counted(table)
            wrong = {pair: count for pair, count in counts.items() if pair[0] != pair[1]}
            rows.append([words(f"{kind}s"), f"{sum(wrong.values()):,}", _most(kind, wrong, system, totals)])
        tables[system] = Table(["", words("errors"), words("most_frequent")], rows)
    return tables


def _counted(table: Mapping[str, Any]) -> tuple[dict[tuple[str, str], int], dict[str, int]]:
    """Return the counts of a matrix by pair, and those of its rows."""
    labels, matrix = table["labels"], table["matrix"]
    counts = {
        (labels[row], labels[column]): count
        for row, counts in enumerate(matrix)
        for column, count in enumerate(counts)
        if count
    }
    return counts, {label: sum(row) for label, row in zip(labels, matrix, strict=True)}


def _most(
    kind: str, counts: Mapping[tuple[str, str], int], system: str, totals: Mapping[str, int] | None = None
) -> Cell:
    """Return the most frequent pairs as links; with ``totals`` each with how many of its row it is."""
    most = sorted(counts, key=lambda pair: (-counts[pair], pair))[:MOST_CONFUSIONS]
    shown = []
    for said, heard in most:
        pair = f"{said or '∅'} → {heard or '∅'}" if kind != "char" or (said and heard) else said or heard
        of = f" / {totals[said]:,}" if totals else ""
        link = Link(pair, confusion_link(kind, said, heard, system))
        count = f"{counts[said, heard]:,}{of}"
        shown.append(trusted('<span class="pair">{} <small>{}</small></span>').format(link, count))
    return trusted(" ").join(shown) if shown else words("none")
