"""Score hypotheses against a manifest: join by key, count, group. The result is score.json, the one source of figures.

Every reference counts. A key without a hypothesis is all deletions, so a decode that crashed half-way can never look
better than one that finished; a key that the reference does not have is an error. docs/scores.md says what every field
of score.json is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from asr.core.digests import sha256_file
from asr.core.errors import RecipeError
from asr.core.kaldi_text import read_text
from asr.core.manifest import Utterance, corpus_digest
from asr.core.names import UNKNOWN_SPEAKER, published_names
from asr.scoring import bootstrap, comparison, groups, mandarin
from asr.scoring.cer import Alignment, ErrorCounts, align_all
from asr.scoring.normalize import scoring_form, version
from asr.scoring.number_readings import nearest
from asr.scoring.silence_note import silence_note
from asr.scoring.speaker_interval import interval, rate, speaker_sums
from asr.scoring.speaker_note import speaker_note

SCHEMA_VERSION = 3
SYSTEMS = ("baseline", "tuned")


@dataclass(frozen=True, slots=True)
class Scored:
    """One hypothesis beside its reference. ``hypothesis`` is as it was decoded; None where it is missing.

    ``said`` and ``heard`` are in scoring form, and ``alignment`` is theirs; ``raw`` counts the texts as written.
    """

    utterance: Utterance
    hypothesis: str | None
    said: str
    heard: str
    alignment: Alignment
    raw: ErrorCounts
    text: str  # seen, unseen, or empty where it is not known
    number_reading: bool = False  # a number of the hypothesis counts by another than its first reading

    @property
    def counts(self) -> ErrorCounts:
        """Errors of the normalised text."""
        return self.alignment.counts

    @property
    def status(self) -> str:
        """``ok``, ``empty`` (nothing is left of it when normalised) or ``missing``."""
        if self.hypothesis is None:
            return "missing"
        return "ok" if self.heard else "empty"


System = Sequence[Scored]


@dataclass(frozen=True)
class Request:
    """How to score: what is trained on, what is known of the speakers, what is left out of both texts, the seed."""

    train: Sequence[Utterance] | None = None
    speaker_table: groups.SpeakerTable | None = None
    without: Collection[str] = frozenset()
    seed: int = 0
    reference_lines: Sequence[Mapping[str, Any]] = ()
    replicates: int = field(default=bootstrap.REPLICATES)

    def form(self, text: str) -> str:
        """``text`` as it is compared."""
        return scoring_form(text, self.without)


def score_hypotheses(references: Iterable[Utterance], path: str | os.PathLike[str], request: Request) -> list[Scored]:
    """Align the hypotheses of ``path`` with the references, in order of speaker and key.

    A key twice, one that no reference has, or a hyp.txt that decode.json beside it does not know is a RecipeError; a
    missing hypothesis counts as the empty one.
    """
    hypotheses = read_text(path)
    _refuse_edited(Path(path))
    ordered = sorted(references, key=lambda item: (item.speaker, item.key))
    extra = hypotheses.keys() - {item.key for item in ordered}
    if extra:
        first = next(key for key in hypotheses if key in extra)
        line = list(hypotheses).index(first) + 1
        more = f" (and {len(extra) - 1:,} more keys)" if len(extra) > 1 else ""
        raise RecipeError(f"{path}:{line}: key {first}{more} is not in the reference; was another test set decoded?")
    heard = [hypotheses.get(item.key) for item in ordered]
    said = [request.form(item.target) for item in ordered]
    read = [nearest(form, text or "", request.without) for form, text in zip(said, heard, strict=True)]
    pairs = [(form, text) for form, (text, _) in zip(said, read, strict=True)]
    # What was said before stage 1 normalised it; as it was decoded.
    written = [str(item.extra.get("transcript", item.target)) for item in ordered]
    raw_pairs = [(text, raw or "") for text, raw in zip(written, heard, strict=True)]
    aligned = align_all(pairs + raw_pairs)  # most are the same pair twice
    alignments, raw = aligned[: len(pairs)], aligned[len(pairs) :]
    seen = groups.seen_in(request.train, request.form)
    return [
        Scored(item, text, *pair, alignment, as_written.counts, seen(pair[0]), otherwise)
        for item, text, pair, alignment, as_written, (_, otherwise) in zip(
            ordered, heard, pairs, alignments, raw, read, strict=True
        )
    ]


def _refuse_edited(path: Path) -> None:
    record = path.with_name("decode.json")
    if path.name != "hyp.txt" or not record.is_file():
        return
    try:
        same = json.loads(record.read_text(encoding="utf-8"))["hyp_sha256"] == sha256_file(path)
    except (ValueError, KeyError):
        same = False
    if not same:
        raise RecipeError(f"{path}: not as it was decoded ({record}): decode again, or score a copy elsewhere")


def total(scored: Iterable[Scored]) -> ErrorCounts:
    """The sum of the counts: rates are taken of sums, never averaged."""
    return ErrorCounts.total(item.counts for item in scored)


def _table(scored: System) -> np.ndarray:
    """int [utterances, 7]: substitutions, deletions, insertions, hits, missing, empty or missing, wrong."""
    rows = []
    for item in scored:
        counts, missing = item.counts, item.hypothesis is None
        row = (counts.sub, counts.del_, counts.ins, counts.hits, missing, not item.heard, missing or counts.errors > 0)
        rows.append(row)
    return np.array(rows, dtype=np.int64).reshape(-1, 7)


def summarise(scored: System) -> dict[str, Any]:
    """A *count* of docs/scores.md: what is said of one system on one set of utterances."""
    return _summary(_table(scored))


def _summary(table: np.ndarray) -> dict[str, Any]:
    *numbers, missing, unheard, wrong = table.sum(axis=0).tolist()
    counts, size = ErrorCounts(*numbers), len(table)
    heard = counts.hits + counts.sub + counts.ins
    return {
        **counts.as_dict(),
        "n_utt": size,
        "n_missing": missing,
        "n_empty": unheard - missing,
        "ser": wrong / size if size else None,
        "empty_rate": unheard / size if size else None,
        "length_ratio": heard / counts.ref_len if counts.ref_len else None,
    }


def _system(scored: System, by_speaker: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """``by_speaker`` are the counts of this system on each known speaker."""
    raw = ErrorCounts.total(item.raw for item in scored)
    each = [item.counts.cer for item in scored if item.counts.ref_len]
    speakers = [count["cer"] for count in by_speaker if count["ref_len"]]
    return {
        **summarise(scored),
        "ci95": None,
        "ci95_note": None,
        "ci95_utterance": None,
        "raw_cer": raw.cer,
        "speaker_mean_cer": sum(speakers) / len(speakers) if speakers else None,
        "utterance_mean_cer": sum(each) / len(each) if each else None,
        "n_empty_ref": sum(item.counts.ref_len == 0 for item in scored),
        "n_number_readings": sum(item.number_reading for item in scored),
        "missing": [item.utterance.key for item in scored if item.hypothesis is None],
    }


class Divider:
    """Divides the utterances that all systems share into groups, and says of each group what is said of the whole."""

    def __init__(self, systems: Mapping[str, System]) -> None:
        self.scored = next(iter(systems.values()))
        self._tables = {name: _table(scored) for name, scored in systems.items()}
        self._speakers = np.array([item.utterance.speaker for item in self.scored])
        self._known = UNKNOWN_SPEAKER not in self._speakers

    def by(self, group_of: Callable[[Scored], str], names: Sequence[str] = ()) -> dict[str, Any]:
        """{name: *group* of docs/scores.md}; a group of ``names`` without utterances has null for its systems."""
        labels = np.array([group_of(item) for item in self.scored])
        return {name: self._group(np.flatnonzero(labels == name)) for name in names or np.unique(labels).tolist()}

    def _group(self, members: np.ndarray) -> dict[str, Any]:
        tables = {name: table[members] for name, table in self._tables.items()}
        counts = {name: _summary(table) for name, table in tables.items()}
        size, speakers = len(members), self._speakers[members]
        ref_len = next(iter(counts.values()))["ref_len"]
        for name, table in tables.items():
            # Of _table's columns: characters are substituted, deleted or right; errors may be inserted too.
            pairs = np.stack([table[:, [0, 1, 3]].sum(axis=1), table[:, :3].sum(axis=1)], axis=1)
            counts[name]["ci95"] = interval(speaker_sums(pairs, speakers), rate(0), 0.0) if self._known else None
        shown = {name: count if size else None for name, count in counts.items()}
        known = len(set(speakers.tolist()) - {UNKNOWN_SPEAKER})
        return {"n_utt": size, "n_speakers": known, "ref_len": ref_len, **shown}


def _speaker(item: Scored) -> str:
    return item.utterance.speaker


def _length(item: Scored) -> str:
    return groups.length_group(item.counts.ref_len)


def _duration(item: Scored) -> str:
    return groups.between(item.utterance.duration, groups.DURATIONS)


def _rate(item: Scored) -> str:
    rate = groups.rate(item.counts.ref_len, item.utterance.duration)
    return "" if rate is None else groups.between(rate, groups.RATES)


def _groups(divide: Divider, request: Request) -> dict[str, Any]:
    by_length = divide.by(_length, [name for name, _, _ in groups.LENGTHS])
    if not by_length["0"]["n_utt"]:
        del by_length["0"]
    text = divide.by(lambda item: item.text, (groups.SEEN, groups.UNSEEN)) if request.train is not None else None
    return {
        "text": text,
        "length": by_length,
        "duration": divide.by(_duration, groups.names_between(groups.DURATIONS)),
        "rate": divide.by(_rate, groups.names_between(groups.RATES)),
        "speaker_table": _by_table(divide, request.speaker_table),
    }


def _by_table(divide: Divider, table: groups.SpeakerTable | None) -> dict[str, Any] | None:
    if table is None:
        return None
    speakers = set(map(_speaker, divide.scored))

    def by(column: str) -> dict[str, Any]:
        return divide.by(lambda item: table.value(column, item.utterance.speaker), table.values(column, speakers))

    return {column: by(column) for column in table.columns}


def score(references: Sequence[Utterance], systems: Mapping[str, System], request: Request) -> dict[str, Any]:
    """score.json. ``systems`` is {"tuned": …} or {"baseline": …, "tuned": …}, each from ``score_hypotheses``."""
    names = [name for name in SYSTEMS if name in systems]
    systems = {name: systems[name] for name in names}
    divide = Divider(systems)
    speakers = {item.speaker for item in references}
    by_speaker = divide.by(_speaker)
    known = [] if UNKNOWN_SPEAKER in by_speaker else list(by_speaker.values())
    result: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "normalizer": version(request.without),
        "seed": request.seed,
        "replicates": request.replicates,
        "reference": {
            "n_utt": len(references),
            "n_speakers": len(speakers - {UNKNOWN_SPEAKER}),
            "n_empty_ref": sum(item.counts.ref_len == 0 for item in systems[names[0]]),
            "hours": sum(item.duration for item in references) / 3600,
            "digest": corpus_digest(references),
        },
        "systems": {name: _system(systems[name], [row[name] for row in known]) for name in names},
        "by_speaker": by_speaker,
        "groups": _groups(divide, request),
        "comparison": None,
        "comparison_note": None,
        "mandarin": _mandarin(systems),
        "speaker_note": speaker_note(len(speakers), UNKNOWN_SPEAKER not in speakers),
        "silence_note": silence_note({name: summarise(systems[name]) for name in names}),
        "reference_lines": list(request.reference_lines),
    }
    comparison.add_intervals(result, systems, request.seed, request.replicates)
    _publish(result)
    return result


def _publish(result: dict[str, Any]) -> None:
    """Take out who the speakers are, and ids, which name them too; per_speaker.tsv and per_utterance.tsv have these."""
    names = published_names(result["by_speaker"])
    result["by_speaker"] = {names[speaker]: row for speaker, row in result["by_speaker"].items()}
    for row in result["systems"].values():
        del row["missing"]


def _mandarin(systems: Mapping[str, System]) -> dict[str, Any]:
    found = {name: mandarin.analyse([(item.said, item.heard) for item in scored]) for name, scored in systems.items()}
    return {"note": mandarin.NOTE, "note_zh": mandarin.NOTE_ZH, "systems": found}
