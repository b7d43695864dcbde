"""Score hypotheses against a manifest: join by key, count, group. The result is score.json, the one source of figures.

Every reference counts. A key without a hypothesis is all deletions, so a decode that crashed half-way can never look
better than one that finished; a key that the reference does not have is an error. docs/scores.md says what every field
of score.json is.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from asr.core.digests import sha256_file
from asr.core.errors import RecipeError, at
from asr.core.kaldi_text import read_lines
from asr.core.manifest import Utterance, corpus_digest
from asr.core.names import UNKNOWN_SPEAKER, by_key, published_names
from asr.scoring import bootstrap, groups, intervals, mandarin
from asr.scoring.cer import Alignment, ErrorCounts, align
from asr.scoring.normalize import scoring_form, version
from asr.scoring.notes import note, silence_note, speaker_note
from asr.scoring.number_readings import nearest
from asr.scoring.score_warnings import ScoreWarning, clips_per_speaker, decode_record
from asr.scoring.speaker_interval import interval, rate, speaker_sums

SCHEMA_VERSION = 3
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
    replicates: int = bootstrap.REPLICATES


def score_hypotheses(references: Iterable[Utterance], path: str | os.PathLike[str], request: Request) -> list[Scored]:
    """Align the hypotheses of ``path`` with the references, in order of speaker and key.

    RecipeError for a duplicate key, a key that no reference has, and a hyp.txt that is not the one of the decode.json
    beside it; a missing hypothesis counts as the empty one.
    """
    hypotheses = read_lines(path)
    record = decode_record(Path(path))
    if record is not None and record.get("hyp_sha256") != sha256_file(path):
        raise RecipeError(f"{path}: not as it was decoded (decode.json): decode again, or score a copy elsewhere")
    ordered = sorted(references, key=lambda utterance: (utterance.speaker, utterance.key))
    hypotheses, keys = by_key(hypotheses, ordered), {utterance.key for utterance in ordered}
    extra = [key for key in hypotheses if key not in keys]
    if extra:
        where, more = at(path, hypotheses[extra[0]].number), f" (and {len(extra) - 1:,} more keys)" * (len(extra) > 1)
        raise RecipeError(f"{where}: key {extra[0]}{more} is not in the reference; was another test set decoded?")
    train = None
    if request.train is not None:
        train = {scoring_form(utterance.target, request.without) for utterance in request.train}
    texts = {key: line.text for key, line in hypotheses.items()}
    return [score_text(utterance, texts.get(utterance.key), train, request.without) for utterance in ordered]


def score_text(
    utterance: Utterance, decoded: str | None, train: Collection[str] | None, without: Collection[str]
) -> Scored:
    """Align one text, None where it is missing. ``train``: the texts of the training set in scoring form."""
    reference = scoring_form(utterance.target, without)
    hypothesis, another_reading = nearest(reference, decoded or "", without)
    written = str(utterance.extra.get("transcript", utterance.target))  # before stage 1 normalised it
    text = "" if train is None else groups.SEEN if reference in train else groups.UNSEEN
    alignment, raw = align(reference, hypothesis), align(written, decoded or "").counts
    return Scored(utterance, decoded, reference, hypothesis, alignment, raw, text, another_reading)


def total(scored: Iterable[Scored]) -> ErrorCounts:
    """Return the sum of the counts: rates are taken of sums, never averaged."""
    return ErrorCounts.total(one.counts for one in scored)


def count_of(scored: System) -> dict[str, Any]:
    """Return a *count* of docs/scores.md: what is said of one system on some utterances."""
    counts, size, statuses = total(scored), len(scored), [one.status for one in scored]
    missing, empty = statuses.count("missing"), statuses.count("empty")
    wrong = sum(one.counts.errors > 0 or one.decoded is None for one in scored)
    decoded = counts.hits + counts.sub + counts.ins
    return {
        **counts.as_dict(),
        "n_utt": size,
        "n_missing": missing,
        "n_empty": empty,
        "ser": wrong / size if size else None,
        "empty_rate": (missing + empty) / size if size else None,
        "length_ratio": decoded / counts.ref_len if counts.ref_len else None,
    }


def _system(scored: System, by_speaker: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what is said of a whole system; ``by_speaker`` are its counts on each speaker that is known."""
    return {
        **count_of(scored),
        "ci95": None,
        "ci95_note": None,
        "ci95_utterance": None,
        "raw_cer": ErrorCounts.total(one.raw for one in scored).cer,
        "speaker_mean_cer": _mean(count["cer"] for count in by_speaker),
        "utterance_mean_cer": _mean(one.counts.cer for one in scored),
        "n_empty_ref": sum(one.counts.ref_len == 0 for one in scored),
        "n_number_readings": sum(one.number_reading for one in scored),
    }


def _mean(rates: Iterable[float | None]) -> float | None:
    known = [rate for rate in rates if rate is not None]
    return sum(known) / len(known) if known else None


def _by(systems: Mapping[str, System], group_of: Callable[[Scored], str], names: Iterable[str] = ()) -> dict[str, Any]:
    """Return {name: *group* of docs/scores.md} of the utterances that all systems share."""
    first = next(iter(systems.values()))
    members = defaultdict(list)
    for place, one in enumerate(first):
        members[group_of(one)].append(place)
    known = all(one.utterance.speaker != UNKNOWN_SPEAKER for one in first)
    return {
        name: _group({system: [scored[place] for place in members[name]] for system, scored in systems.items()}, known)
        for name in names or sorted(members)
    }


def _group(systems: Mapping[str, System], all_speakers_known: bool) -> dict[str, Any]:
    """Return a *group*; one without utterances has null for its systems."""
    first = next(iter(systems.values()))
    speakers = [one.utterance.speaker for one in first]
    counts: dict[str, Any] = dict.fromkeys(systems)
    for name, scored in systems.items():
        if scored:
            table = np.array([(one.counts.ref_len, one.counts.errors) for one in scored])
            ci95 = interval(speaker_sums(table, speakers), rate(0), 0.0) if all_speakers_known else None
            counts[name] = {**count_of(scored), "ci95": ci95}
    known = {*speakers} - {UNKNOWN_SPEAKER}
    return {"n_utt": len(first), "n_speakers": len(known), "ref_len": total(first).ref_len, **counts}


def _groups(systems: Mapping[str, System], request: Request) -> dict[str, Any]:
    by, table = partial(_by, systems), request.speaker_table
    by_length = by(lambda one: groups.length_group(one.counts.ref_len), groups.LENGTHS)
    if not by_length["0"]["n_utt"]:
        del by_length["0"]
    return {
        "text": None if request.train is None else by(lambda one: one.text, (groups.SEEN, groups.UNSEEN)),
        "length": by_length,
        "duration": by(_duration_group, groups.names_between(groups.DURATIONS)),
        "rate": by(_rate_group, groups.names_between(groups.RATES)),
        "speaker_table": table and {column: _by_column(systems, table, column) for column in table.columns},
    }


def _duration_group(one: Scored) -> str:
    """Return the group by length in seconds; none where the reference does not say how long its clips are."""
    return groups.between(one.utterance.duration, groups.DURATIONS) if one.utterance.duration else ""


def _rate_group(one: Scored) -> str:
    rate = groups.rate(one.counts.ref_len, one.utterance.duration)
    return "" if rate is None else groups.between(rate, groups.RATES)


def _by_column(systems: Mapping[str, System], table: groups.SpeakerTable, column: str) -> dict[str, Any]:
    speakers = {one.utterance.speaker for one in next(iter(systems.values()))}
    return _by(systems, lambda one: table.value(column, one.utterance.speaker), table.values(column, speakers))


def _reference(references: Sequence[Utterance], n_empty_ref: int) -> dict[str, Any]:
    seconds = [utterance.duration for utterance in references]
    return {
        "n_utt": len(references),
        "n_speakers": len({utterance.speaker for utterance in references} - {UNKNOWN_SPEAKER}),
        "clips_per_speaker": clips_per_speaker(references),
        "n_empty_ref": n_empty_ref,
        "hours": sum(seconds) / 3600 if all(seconds) else None,
        "digest": corpus_digest(references),
    }


def score(
    references: Sequence[Utterance],
    systems: Mapping[str, System],
    request: Request,
    warnings: Iterable[ScoreWarning] = (),
) -> dict[str, Any]:
    """Return score.json. ``systems`` is {"tuned": …} or {"baseline": …, "tuned": …}, each of ``score_hypotheses``.

    Speakers' names are left out, and keys, which tell them too: per_speaker.tsv and per_utterance.tsv have both.
    """
    systems = {name: systems[name] for name in SYSTEMS if name in systems}
    speakers = {utterance.speaker for utterance in references}
    known = UNKNOWN_SPEAKER not in speakers
    by_speaker = _by(systems, lambda one: one.utterance.speaker)
    rows = {
        name: _system(scored, [row[name] for row in by_speaker.values()] if known else ())
        for name, scored in systems.items()
    }
    result: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "normalizer": version(request.without),
        "seed": request.seed,
        "replicates": request.replicates,
        "reference": _reference(references, next(iter(rows.values()))["n_empty_ref"]),
        "warnings": [warning.published() for warning in warnings],
        "systems": rows,
        "by_speaker": by_speaker,
        "groups": _groups(systems, request),
        "comparison": None,
        "comparison_note": None,
        "mandarin": _sounds(systems),
        "speaker_note": speaker_note(len(speakers), known),
        "silence_note": silence_note(rows),
        "reference_lines": list(request.reference_lines),
    }
    intervals.add_intervals(result, systems, request.seed, request.replicates)
    names = published_names(by_speaker)
    result["by_speaker"] = {names[speaker]: row for speaker, row in by_speaker.items()}
    return result


def _sounds(systems: Mapping[str, System]) -> dict[str, Any]:
    """Return what the characters' readings say: syllables, tones, initials, finals."""
    pairs = {name: [(one.reference, one.hypothesis) for one in scored] for name, scored in systems.items()}
    about, sounds = note("syllables"), {name: mandarin.analyse(texts) for name, texts in pairs.items()}
    return {"note": about["en"], "note_zh": about["zh"], "systems": sounds}
