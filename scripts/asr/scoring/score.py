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
from asr.scoring.score_json import SCHEMA_VERSION
from asr.scoring.score_warnings import ScoreWarning, clips_per_speaker
from asr.scoring.silence_note import silence_note
from asr.scoring.speaker_interval import interval, rate, speaker_sums
from asr.scoring.speaker_note import speaker_note

SYSTEMS = ("baseline", "tuned")


@dataclass(frozen=True, slots=True)
class Scored:
    """A hypothesis aligned with its reference.

    ``decoded`` is the text as it was decoded, None where it is missing. ``reference`` and ``hypothesis`` are in scoring
    form, and ``alignment`` is theirs; ``raw`` counts the errors of the texts as written.
    """

    utterance: Utterance
    decoded: str | None
    reference: str
    hypothesis: str
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
        if self.decoded is None:
            return "missing"
        return "ok" if self.hypothesis else "empty"


System = Sequence[Scored]


@dataclass(frozen=True)
class Request:
    """How to score: the training set, the speaker table, what is left out of both texts, the bootstrap."""

    train: Sequence[Utterance] | None = None
    speaker_table: groups.SpeakerTable | None = None
    without: Collection[str] = frozenset()
    seed: int = 0
    reference_lines: Sequence[Mapping[str, Any]] = ()
    replicates: int = field(default=bootstrap.REPLICATES)

    def form(self, text: str) -> str:
        """Return ``text`` as it is compared."""
        return scoring_form(text, self.without)


def score_hypotheses(references: Iterable[Utterance], path: str | os.PathLike[str], request: Request) -> list[Scored]:
    """Align the hypotheses of ``path`` with the references, in order of speaker and key.

    RecipeError for a duplicate key, a key that no reference has, and a hyp.txt that is not the one of the decode.json
    beside it; a missing hypothesis counts as the empty one.
    """
    hypotheses = read_text(path)
    _refuse_edited(Path(path))
    ordered = sorted(references, key=lambda utterance: (utterance.speaker, utterance.key))
    _refuse_other_keys(path, hypotheses, {utterance.key for utterance in ordered})
    decoded = [hypotheses.get(utterance.key) for utterance in ordered]
    forms = [request.form(utterance.target) for utterance in ordered]
    readings = [nearest(form, text or "", request.without) for form, text in zip(forms, decoded, strict=True)]
    pairs = [(form, text) for form, (text, _) in zip(forms, readings, strict=True)]
    # The transcript before stage 1 normalised it, and the text as it was decoded.
    written = [str(utterance.extra.get("transcript", utterance.target)) for utterance in ordered]
    raw_pairs = [(text, raw or "") for text, raw in zip(written, decoded, strict=True)]
    aligned = align_all(pairs + raw_pairs)  # most are the same pair twice
    alignments, raw = aligned[: len(pairs)], aligned[len(pairs) :]
    seen = groups.seen_in(request.train, request.form)
    return [
        Scored(utterance, text, *pair, alignment, as_written.counts, seen(pair[0]), another)
        for utterance, text, pair, alignment, as_written, (_, another) in zip(
            ordered, decoded, pairs, alignments, raw, readings, strict=True
        )
    ]


def _refuse_other_keys(path: str | os.PathLike[str], hypotheses: Mapping[str, str], keys: Collection[str]) -> None:
    extra = [(line, key) for line, key in enumerate(hypotheses, 1) if key not in keys]
    if extra:
        line, first = extra[0]
        more = f" (and {len(extra) - 1:,} more keys)" if len(extra) > 1 else ""
        raise RecipeError(f"{path}:{line}: key {first}{more} is not in the reference; was another test set decoded?")


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
    """Return the sum of the counts: rates are taken of sums, never averaged."""
    return ErrorCounts.total(one.counts for one in scored)


def _table(scored: System) -> np.ndarray:
    """Return int [utterances, 7]: substitutions, deletions, insertions, hits, missing, empty or missing, wrong."""
    rows = []
    for one in scored:
        counts, missing = one.counts, one.decoded is None
        kinds = (counts.sub, counts.del_, counts.ins, counts.hits)
        rows.append((*kinds, missing, not one.hypothesis, missing or counts.errors > 0))
    return np.array(rows, dtype=np.int64).reshape(-1, 7)


def _count(table: np.ndarray) -> dict[str, Any]:
    """Return a *count* of docs/scores.md: what is said of one system on the utterances of ``table``."""
    *kinds, missing, without_text, wrong = table.sum(axis=0).tolist()
    counts, size = ErrorCounts(*kinds), len(table)
    decoded = counts.hits + counts.sub + counts.ins
    return {
        **counts.as_dict(),
        "n_utt": size,
        "n_missing": missing,
        "n_empty": without_text - missing,
        "ser": wrong / size if size else None,
        "empty_rate": without_text / size if size else None,
        "length_ratio": decoded / counts.ref_len if counts.ref_len else None,
    }


def _system(scored: System, by_speaker: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what is said of a whole system; ``by_speaker`` are its counts on each speaker that is known."""
    raw = ErrorCounts.total(one.raw for one in scored)
    each = [one.counts.cer for one in scored if one.counts.ref_len]
    speakers = [count["cer"] for count in by_speaker if count["ref_len"]]
    return {
        **_count(_table(scored)),
        "ci95": None,
        "ci95_note": None,
        "ci95_utterance": None,
        "raw_cer": raw.cer,
        "speaker_mean_cer": sum(speakers) / len(speakers) if speakers else None,
        "utterance_mean_cer": sum(each) / len(each) if each else None,
        "n_empty_ref": sum(one.counts.ref_len == 0 for one in scored),
        "n_number_readings": sum(one.number_reading for one in scored),
        "missing": [one.utterance.key for one in scored if one.decoded is None],
    }


class Divider:
    """Divides the utterances that all systems share into groups, and says of each group what is said of the whole."""

    def __init__(self, systems: Mapping[str, System]) -> None:
        self.scored = next(iter(systems.values()))
        self._tables = {name: _table(scored) for name, scored in systems.items()}
        self._speakers = np.array([one.utterance.speaker for one in self.scored])
        self._all_known = UNKNOWN_SPEAKER not in self._speakers

    def by(self, group_of: Callable[[Scored], str], names: Sequence[str] = ()) -> dict[str, Any]:
        """Return {name: *group* of docs/scores.md}; a group without utterances has null for its systems."""
        labels = np.array([group_of(one) for one in self.scored])
        return {name: self._group(np.flatnonzero(labels == name)) for name in names or np.unique(labels).tolist()}

    def _group(self, members: np.ndarray) -> dict[str, Any]:
        speakers = self._speakers[members]
        counts = {name: self._count(table[members], speakers) for name, table in self._tables.items()}
        size, known = len(members), set(speakers.tolist()) - {UNKNOWN_SPEAKER}
        ref_len = next(iter(counts.values()))["ref_len"]
        shown = {name: count if size else None for name, count in counts.items()}
        return {"n_utt": size, "n_speakers": len(known), "ref_len": ref_len, **shown}

    def _count(self, table: np.ndarray, speakers: np.ndarray) -> dict[str, Any]:
        # Of _table's columns: characters are substituted, deleted or right; errors may be inserted too.
        pairs = np.stack([table[:, [0, 1, 3]].sum(axis=1), table[:, :3].sum(axis=1)], axis=1)
        ci95 = interval(speaker_sums(pairs, speakers), rate(0), 0.0) if self._all_known else None
        return {**_count(table), "ci95": ci95}


def _speaker(one: Scored) -> str:
    return one.utterance.speaker


def _rate(one: Scored) -> str:
    rate = groups.rate(one.counts.ref_len, one.utterance.duration)
    return "" if rate is None else groups.between(rate, groups.RATES)


def _groups(divide: Divider, request: Request) -> dict[str, Any]:
    by_length = divide.by(lambda one: groups.length_group(one.counts.ref_len), [name for name, _, _ in groups.LENGTHS])
    if not by_length["0"]["n_utt"]:
        del by_length["0"]
    return {
        "text": None if request.train is None else divide.by(lambda one: one.text, (groups.SEEN, groups.UNSEEN)),
        "length": by_length,
        "duration": divide.by(
            lambda one: groups.between(one.utterance.duration, groups.DURATIONS),
            groups.names_between(groups.DURATIONS),
        ),
        "rate": divide.by(_rate, groups.names_between(groups.RATES)),
        "speaker_table": _by_table(divide, request.speaker_table),
    }


def _by_table(divide: Divider, table: groups.SpeakerTable | None) -> dict[str, Any] | None:
    if table is None:
        return None
    speakers = set(map(_speaker, divide.scored))

    def by(column: str) -> dict[str, Any]:
        return divide.by(lambda one: table.value(column, one.utterance.speaker), table.values(column, speakers))

    return {column: by(column) for column in table.columns}


def score(
    references: Sequence[Utterance],
    systems: Mapping[str, System],
    request: Request,
    warnings: Iterable[ScoreWarning] = (),
) -> dict[str, Any]:
    """Return score.json. ``systems`` is {"tuned": …} or {"baseline": …, "tuned": …}, each of ``score_hypotheses``."""
    systems = {name: systems[name] for name in SYSTEMS if name in systems}
    divide = Divider(systems)
    speakers = {utterance.speaker for utterance in references}
    by_speaker = divide.by(_speaker)
    known = [] if UNKNOWN_SPEAKER in by_speaker else list(by_speaker.values())
    rows = {name: _system(scored, [row[name] for row in known]) for name, scored in systems.items()}
    result: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "normalizer": version(request.without),
        "seed": request.seed,
        "replicates": request.replicates,
        "reference": {
            "n_utt": len(references),
            "n_speakers": len(speakers - {UNKNOWN_SPEAKER}),
            "clips_per_speaker": clips_per_speaker(references),
            "n_empty_ref": next(iter(rows.values()))["n_empty_ref"],
            "hours": sum(utterance.duration for utterance in references) / 3600,
            "digest": corpus_digest(references),
        },
        "warnings": [warning.published() for warning in warnings],
        "systems": rows,
        "by_speaker": by_speaker,
        "groups": _groups(divide, request),
        "comparison": None,
        "comparison_note": None,
        "mandarin": _mandarin(systems),
        "speaker_note": speaker_note(len(speakers), UNKNOWN_SPEAKER not in speakers),
        "silence_note": silence_note(rows),
        "reference_lines": list(request.reference_lines),
    }
    comparison.add_intervals(result, systems, request.seed, request.replicates)
    _publish(result)
    return result


def _publish(result: dict[str, Any]) -> None:
    """Take out speakers' names, and keys, which tell them too; per_speaker.tsv and per_utterance.tsv have both."""
    names = published_names(result["by_speaker"])
    result["by_speaker"] = {names[speaker]: row for speaker, row in result["by_speaker"].items()}
    for row in result["systems"].values():
        del row["missing"]


def _mandarin(systems: Mapping[str, System]) -> dict[str, Any]:
    sounds = {
        name: mandarin.analyse((one.reference, one.hypothesis) for one in scored) for name, scored in systems.items()
    }
    return {"note": mandarin.NOTE, "note_zh": mandarin.NOTE_ZH, "systems": sounds}
