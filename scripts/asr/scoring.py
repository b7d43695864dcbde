"""Score hypotheses against a manifest: join by key, count, group. The result is score.json, the one source of figures.

Every reference counts. A key without a hypothesis is all deletions, so a decode that crashed half-way can never look
better than one that finished; a key that the reference does not have is an error.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asr import bootstrap
from asr.cer import ErrorCounts, align
from asr.errors import RecipeError
from asr.kaldi_text import read_text
from asr.manifest import Utterance, corpus_digest
from asr.normalize import VERSION, normalize

SCHEMA_VERSION = 1
SYSTEMS = ("baseline", "tuned")
LENGTHS = (("0", 0, 0), ("1", 1, 1), ("2", 2, 2), ("3-5", 3, 5), ("6-10", 6, 10), ("11+", 11, None))
SEEN, UNSEEN = "seen", "unseen"


@dataclass(frozen=True, slots=True)
class Scored:
    """One hypothesis beside its reference. ``hypothesis`` is as it was decoded; None where it is missing."""

    utterance: Utterance
    hypothesis: str | None
    counts: ErrorCounts
    raw: ErrorCounts

    @property
    def status(self) -> str:
        """``ok``, ``empty`` (nothing is left of it when normalised) or ``missing``."""
        if self.hypothesis is None:
            return "missing"
        return "ok" if normalize(self.hypothesis) else "empty"


System = Sequence[Scored]


def score_hypotheses(references: Iterable[Utterance], path: str | os.PathLike[str]) -> list[Scored]:
    """Align the hypotheses of ``path`` with the references, in order of speaker and key.

    A key twice, or one that no reference has, is a RecipeError; a missing one counts as the empty hypothesis.
    """
    hypotheses = read_text(path)
    ordered = sorted(references, key=lambda item: (item.speaker, item.key))
    extra = hypotheses.keys() - {item.key for item in ordered}
    if extra:
        first = next(key for key in hypotheses if key in extra)
        line = list(hypotheses).index(first) + 1
        more = f" (and {len(extra) - 1:,} more keys)" if len(extra) > 1 else ""
        raise RecipeError(f"{path}:{line}: key {first}{more} is not in the reference; was another test set decoded?")
    return [_scored(item, hypotheses.get(item.key)) for item in ordered]


def _scored(utterance: Utterance, hypothesis: str | None) -> Scored:
    said, heard = normalize(utterance.target), hypothesis or ""
    written = str(utterance.extra.get("transcript", utterance.target))  # before stage 1 normalised it
    counts = align(said, normalize(heard)).counts
    raw = counts if (written, heard) == (said, normalize(heard)) else align(written, heard).counts
    return Scored(utterance, hypothesis, counts, raw)


def total(scored: Iterable[Scored]) -> ErrorCounts:
    """The sum of the counts: rates are taken of sums, never averaged."""
    return sum((item.counts for item in scored), ErrorCounts())


def summarise(scored: System) -> dict[str, Any]:
    """What is said of one system on one set of utterances."""
    wrong = sum(item.counts.errors > 0 or item.status == "missing" for item in scored)
    return {
        **total(scored).as_dict(),
        "n_utt": len(scored),
        "n_missing": sum(item.status == "missing" for item in scored),
        "n_empty": sum(item.status == "empty" for item in scored),
        "ser": wrong / len(scored) if scored else None,
    }


def _system(scored: System) -> dict[str, Any]:
    raw = sum((item.raw for item in scored), ErrorCounts())
    return {
        **summarise(scored),
        "ci95": None,
        "ci95_note": None,
        "raw_cer": raw.cer,
        "n_empty_ref": sum(item.counts.ref_len == 0 for item in scored),
        "missing": [item.utterance.key for item in scored if item.status == "missing"],
    }


def split_by(
    systems: Mapping[str, System], group_of: Callable[[Scored], str], names: Sequence[str] = ()
) -> dict[str, Any]:
    """{group: {n_utt, ref_len, baseline, tuned}}; a group of ``names`` without utterances has null for its systems."""
    groups: dict[str, Any] = {}
    found = {name: _grouped(scored, group_of) for name, scored in systems.items()}
    any_system = next(iter(found.values()))
    for group in names or sorted(any_system):
        members = any_system.get(group, [])
        groups[group] = {"n_utt": len(members), "ref_len": total(members).ref_len}
        for name, grouped in found.items():
            groups[group][name] = summarise(grouped[group]) if members else None
    return groups


def _grouped(scored: System, group_of: Callable[[Scored], str]) -> dict[str, list[Scored]]:
    groups: dict[str, list[Scored]] = {}
    for item in scored:
        groups.setdefault(group_of(item), []).append(item)
    return groups


def length_group(item: Scored) -> str:
    """The group of a reference's normalised length."""
    length = item.counts.ref_len
    return next(name for name, low, high in LENGTHS if length >= low and (high is None or length <= high))


def _groups(systems: Mapping[str, System], train: Iterable[Utterance] | None) -> dict[str, Any]:
    by_length = split_by(systems, length_group, [name for name, _, _ in LENGTHS])
    if not by_length["0"]["n_utt"]:
        del by_length["0"]
    if train is None:
        return {"text": None, "length": by_length}
    texts = {normalize(item.target) for item in train}

    def seen(item: Scored) -> str:
        return SEEN if normalize(item.utterance.target) in texts else UNSEEN

    return {"text": split_by(systems, seen, (SEEN, UNSEEN)), "length": by_length}


def score(
    references: Sequence[Utterance],
    systems: Mapping[str, System],
    train: Sequence[Utterance] | None = None,
    seed: int = 0,
    reference_lines: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """score.json. ``systems`` is {"tuned": …} or {"baseline": …, "tuned": …}, each from ``score_hypotheses``."""
    names = [name for name in SYSTEMS if name in systems]
    systems = {name: systems[name] for name in names}
    result: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "normalizer": VERSION,
        "seed": seed,
        "reference": {
            "n_utt": len(references),
            "n_speakers": len({item.speaker for item in references}),
            "digest": corpus_digest(references),
        },
        "systems": {name: _system(systems[name]) for name in names},
        "by_speaker": split_by(systems, lambda item: item.utterance.speaker),
        "groups": _groups(systems, train),
        "comparison": _comparison(systems) if len(names) == len(SYSTEMS) else None,
        "reference_lines": list(reference_lines),
    }
    _add_intervals(result, systems, seed)
    return result


def _comparison(systems: Mapping[str, System]) -> dict[str, Any]:
    """How much lower the tuned CER is, and how many utterances got better or worse."""
    before, after = (total(systems[name]).cer for name in SYSTEMS)
    pairs = list(zip(systems["baseline"], systems["tuned"], strict=True))
    reduction = None if before is None or after is None else before - after
    return {
        "from": "baseline",
        "to": "tuned",
        "absolute_reduction": reduction,
        "relative_reduction": reduction / before if reduction is not None and before else None,
        "absolute_ci95": None,
        "relative_ci95": None,
        "utterances_better": sum(new.counts.errors < old.counts.errors for old, new in pairs),
        "utterances_worse": sum(new.counts.errors > old.counts.errors for old, new in pairs),
        "utterances_same": sum(new.counts.errors == old.counts.errors for old, new in pairs),
    }


def _add_intervals(result: dict[str, Any], systems: Mapping[str, System], seed: int) -> None:
    names = list(systems)
    scored = systems[names[0]]
    reason = bootstrap.why_not(result["reference"]["n_speakers"])
    reason = reason or (None if total(scored).ref_len else "the references have no character")
    if reason:
        for name in names:
            result["systems"][name]["ci95_note"] = reason
        return
    errors = [[item.counts.errors for item in systems[name]] for name in names]
    lengths = [item.counts.ref_len for item in scored]
    replicates = bootstrap.resample_speakers(errors, lengths, [item.utterance.speaker for item in scored], seed)
    speakers = result["reference"]["n_speakers"]
    for index, name in enumerate(names):
        result["systems"][name]["ci95"] = list(replicates.interval(index))
        note = f"two-level bootstrap over {speakers} speakers, {bootstrap.REPLICATES:,} replicates"
        result["systems"][name]["ci95_note"] = note
    if result["comparison"]:
        result["comparison"]["absolute_ci95"] = list(replicates.reduction(0, 1))
        relative = replicates.relative_reduction(0, 1)
        result["comparison"]["relative_ci95"] = list(relative) if relative else None
