"""RESULTS.md as Markdown, made from score.json and provenance.json; nothing in it is typed.

What a run did not record is said to be "not recorded". No path of a machine gets into the page.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import yaml

from asr.core.publishable_paths import public
from asr.core.text_tables import markdown_table, markdown_text
from asr.scoring.tables import interval, p_equals, p_value, percent, speaker_count, speakers_in

NOT_RECORDED = "not recorded"
SIMULATED = (
    "**The speech of this corpus is simulated.** It was synthesised and then impaired by a documented transformation; "
    "it shows that the recipe works and stands for no clinical claim."
)


def results(tag: str, score: Mapping[str, Any], provenance: Mapping[str, Any]) -> str:
    """The page, as Markdown. ``provenance`` may lack any field."""
    provenance = public(dict(provenance))
    corpus = provenance.get("corpus") or {}
    blocks = [f"# Results of {markdown_text(tag)}"]
    if corpus.get("simulated"):
        blocks.append(SIMULATED)
    blocks += [_headline(score), *_reference_lines(score), _speakers(score), _texts(score), *_other_groups(score)]
    blocks.append(_mandarin(score["mandarin"]))
    blocks += _splits(corpus)
    blocks.append(_provenance(score, provenance))
    blocks += _command(provenance) + _config(provenance)
    return "\n\n".join(blocks) + "\n"


def _headline(score: Mapping[str, Any]) -> str:
    rows = []
    for name, row in score["systems"].items():
        counts = [f"{row[key]:,}" for key in ("sub", "del", "ins")]
        rates = (f"**{percent(row['cer'])}**", interval(row["ci95"]), interval(row["ci95_utterance"]), *counts)
        others = (percent(row["ser"]), row["n_empty"], row["n_missing"], _ratio(row["length_ratio"]))
        means = (percent(row[key]) for key in ("raw_cer", "speaker_mean_cer", "utterance_mean_cer"))
        rows.append((name, *rates, *others, *means))
    header = (
        "system",
        "CER %",
        "95 % over speakers",
        "over utterances",
        "sub",
        "del",
        "ins",
        "SER %",
        "empty",
        "missing",
    )
    header = (*header, "length ratio", "raw CER %", "mean of speakers' CER %", "of utterances' %")
    silent = score.get("silence_note")
    lines = [markdown_table(header, rows), "", *([f"**{silent['en']}**", ""] if silent else [])]
    lines += [*_comparison(score), _about(score)]
    lines += ["", f"**What the speakers can show.** {score['speaker_note']['en']}"]
    for name, row in score["systems"].items():
        if row["n_missing"]:
            lines += ["", f"**{name}: {row['n_missing']:,} missing hypotheses**, counted as deletions."]
    return "\n".join(lines)


def _ratio(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}"


def _comparison(score: Mapping[str, Any]) -> list[str]:
    comparison, note = score["comparison"], score["comparison_note"]
    if not comparison:
        return [f"**{note['en']}**", ""] if note else []
    better, worse = comparison["utterances_better"], comparison["utterances_worse"]
    utterances = (
        f"{better:,} utterances got better, {worse:,} worse, {comparison['utterances_same']:,} stayed the same."
    )
    within = comparison["relative_ci95"]
    relative = f" Relative reduction, 95 % interval over speakers: {interval(within, 1)} %." if within else ""
    return [f"**{comparison['verdict_note']['en']}**{relative} {utterances} {_tests(comparison)}", ""]


def _tests(comparison: Mapping[str, Any]) -> str:
    speakers, words = comparison["speakers"], []
    moved = f"{speakers['better']} speakers better, {speakers['worse']} worse, {speakers['same']} the same"
    if speakers["p"] is not None:
        words.append(
            f"{moved}; sign-flip test over speakers {p_equals(speakers['p'])} (it cannot be below"
            f" {p_value(speakers['smallest_p'])})."
        )
    test = comparison["mapsswe"]
    if test:
        note = f"; {test['note']}" if test["note"] else ""
        words.append(
            f"MAPSSWE: {test['segments']:,} segments, z = {_ratio(test['z'])}, {p_equals(test['p'])}{note} (segments"
            " taken as independent, which those of one speaker are not)."
        )
    return " ".join(words)


def _about(score: Mapping[str, Any]) -> str:
    reference, row = score["reference"], next(iter(score["systems"].values()))
    size = f"{reference['n_utt']:,} utterances, {row['ref_len']:,} characters, {speakers_in(reference)}"
    how = "errors of all utterances over all reference characters; a missing hypothesis counts as deletions"
    text = f"CER is corpus-level ({how}) on normalised text (normaliser {score['normalizer']}; raw CER: text as it is)"
    note = row["ci95_note"]
    intervals = f"Intervals: {note}" if row["ci95"] else f"No interval over speakers: {note}"
    intervals += f"; over utterances by the bootstrap, {score['replicates']:,} replicates, seed {score['seed']}"
    return f"{size}. {text}. {intervals}."


def _reference_lines(score: Mapping[str, Any]) -> list[str]:
    if not score["reference_lines"]:
        return []
    lines = [
        f"- {line['name']}: {percent(line['cer'])} % ({line['note']}; {line['source']})"
        for line in score["reference_lines"]
    ]
    return ["Other clips, other listeners: a reference, never a test passed.\n\n" + "\n".join(lines)]


def _group_table(score: Mapping[str, Any], first: str, groups: Mapping[str, Any]) -> str:
    systems = list(score["systems"])
    by_speaker = groups is score["by_speaker"]
    header = [first, "utterances", "characters", *["speakers"] * (not by_speaker)]
    for name in systems:
        header += [f"{name} CER %", "95 % interval", "sub", "del", "ins"]
    rows = []
    for group, row in groups.items():
        cells = [group, f"{row['n_utt']:,}", f"{row['ref_len']:,}", *[speaker_count(row)] * (not by_speaker)]
        for name in systems:
            one = row[name]
            if not one:
                cells += ["n/a"] * 5
                continue
            cells += [percent(one["cer"]), interval(one["ci95_utterance" if by_speaker else "ci95"])]
            cells += [f"{one[key]:,}" for key in ("sub", "del", "ins")]
        rows.append(cells)
    return markdown_table(header, rows)


def _speakers(score: Mapping[str, Any]) -> str:
    title = "## By speaker\n\nIntervals are over this speaker's utterances.\n\n"
    return title + _group_table(score, "speaker", score["by_speaker"])


def _texts(score: Mapping[str, Any]) -> str:
    title = "## By text: seen or unseen in fine-tuning\n\n"
    groups = score["groups"]["text"]
    if groups is None:
        return title + "Not computed: the scorer was not given the train manifest."
    why = (
        "Seen: the exact text (normalised) is in train. The base model may have seen any text. n/a: no such utterance."
    )
    rows = []
    for name, row in groups.items():
        cells = [name, f"{row['n_utt']:,}", f"{row['ref_len']:,}", speaker_count(row)]
        for system in score["systems"]:
            one = row[system] or {"cer": None, "ci95": None, "ci95_utterance": None}
            cells += [percent(one["cer"]), interval(one["ci95"]), interval(one["ci95_utterance"])]
        gain = score["comparison"] and score["comparison"]["text"][name]
        cells += [percent(gain["relative_reduction"], 1), interval(gain["relative_ci95"], 1)] if gain else ["n/a"] * 2
        rows.append(cells)
    header = ["text", "utterances", "characters", "speakers"]
    for system in score["systems"]:
        header += [f"{system} CER %", "95 % over speakers", "over utterances"]
    return title + why + "\n\n" + markdown_table([*header, "relative reduction %", "95 % over speakers"], rows)


_OVER = (
    "Intervals of groups are over speakers, of whom a group must have four; with fewer, or one of them with most of the"
    " characters, its figures are those of these speakers alone."
)


def _other_groups(score: Mapping[str, Any]) -> list[str]:
    groups = score["groups"]
    blocks = [
        f"## By length of the reference\n\n{_OVER}\n\n" + _group_table(score, "characters", groups["length"]),
        "## By duration of the clip\n\n" + _group_table(score, "seconds", groups["duration"]),
        "## By speaking rate\n\n" + _group_table(score, "characters per second", groups["rate"]),
    ]
    for column, table in (groups["speaker_table"] or {}).items():
        blocks.append(f"## By {markdown_text(column)}\n\n" + _group_table(score, column, table))
    return blocks


def _mandarin(mandarin: Mapping[str, Any]) -> str:
    names = ("syllable", "syllable_toneless", "tone", "initial", "final")
    rows = []
    for name, row in mandarin["systems"].items():
        same = row["homophones"]
        share = f"{percent(same['share'])} of {same['substitutions']:,}"
        rows.append((name, *(percent(row[key]["rate"]) for key in names), share))
    header = ("system", "syllable errors %", "without tone %", "tone errors %", "initial errors %", "final errors %")
    table = markdown_table((*header, "homophones among substitutions %"), rows)
    return (
        f"## Syllables and tones\n\n{table}\n\n{mandarin['note']} Tone errors are those of syllables that are right but"
        " for the tone; what was taken for what stands in score/confusions.tsv."
    )


def _splits(corpus: Mapping[str, Any]) -> list[str]:
    splits = corpus.get("splits")
    if not splits:
        return []
    rows = []
    for name, row in splits.items():
        hours = row.get("hours")
        utterances = row.get("utterances")
        cells = (row.get("speakers"), utterances and f"{utterances:,}", None if hours is None else f"{hours:.2f}")
        rows.append((name, *(NOT_RECORDED if cell is None else cell for cell in cells)))
    return ["## Data\n\n" + markdown_table(("split", "speakers", "utterances", "hours"), rows)]


def _provenance(score: Mapping[str, Any], provenance: Mapping[str, Any]) -> str:
    corpus, base = provenance.get("corpus") or {}, provenance.get("base") or {}
    gpu = provenance["gpu"] or "none" if "gpu" in provenance else None
    versions = ", ".join(f"{name} {version}" for name, version in (provenance.get("versions") or {}).items())
    times = ", ".join(f"{_stage(name)} {time_words(value)}" for name, value in (provenance.get("times") or {}).items())
    rows = [
        ("commit", provenance.get("commit")),
        ("corpus", corpus.get("name")),
        ("corpus digest", corpus.get("digest")),
        ("split", corpus.get("split")),
        ("split digest", corpus.get("split_digest")),
        ("test set digest", score["reference"]["digest"]),
        ("config file", provenance.get("conf")),
        ("base model", base.get("id")),
        ("base digest", base.get("digest")),
        ("averaged", averaged(provenance.get("average"))),
        ("decoding", decoding(provenance.get("decode"))),
        ("processor", provenance.get("processor")),
        ("GPU", gpu),
        ("versions", versions),
        ("time by stage, continuations together", times),
    ]
    cells = [(name, value or NOT_RECORDED) for name, value in rows]
    return "## How it was made\n\n" + markdown_table(("", "recorded by the run"), cells, left=(0, 1))


def _stage(name: object) -> str:
    return f"stage {name}" if str(name).isdigit() else str(name)


def time_words(seconds: Any) -> str:
    """Seconds in the unit that people would use."""
    if not isinstance(seconds, (int, float)):
        return str(seconds)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def averaged(average: Mapping[str, Any] | None) -> str | None:
    """The averaged checkpoints of avg.json in words: how many, ranked by what, and each with its value."""
    if not average or not average.get("checkpoints"):
        return None
    words = []
    for item in average["checkpoints"]:
        name, value = (item.get("file", "?"), item.get("value")) if isinstance(item, Mapping) else (item, None)
        words.append(f"{name} ({value:.4g})" if isinstance(value, (int, float)) else str(name))
    by = f" by {average['ranked_by']}" if average.get("ranked_by") else ""
    kind = f"{len(words)} runs merged" if average.get("how") else f"the {len(words)} best{by}"
    return f"{average.get('file', 'the average')}: {kind}: {', '.join(words)}"


def decoding(records: Mapping[str, Any] | None) -> str | None:
    """The decoding methods of both decode.json, once where they are the same, and what was counted in the texts."""
    known = {name: record for name, record in (records or {}).items() if (record or {}).get("inputs", {}).get("method")}
    if not known:
        return None
    methods = {name: record["inputs"]["method"] for name, record in known.items()}
    same = len(set(methods.values())) == 1
    words = [next(iter(methods.values()))] if same else [f"{name}: {method}" for name, method in methods.items()]
    for name, record in known.items():
        words += [f"{name}: {number} texts {kind}" for kind, number in (record.get("counts") or {}).items()]
    return ", ".join(words)


def _command(provenance: Mapping[str, Any]) -> list[str]:
    command = provenance.get("command")
    if not command:
        return [f"Command: {NOT_RECORDED}."]
    line = shlex.join(map(str, command))
    return [f"Command (/path/to/… stands for a path outside the repository):\n\n```\n{line}\n```"]


def _config(provenance: Mapping[str, Any]) -> list[str]:
    config = provenance.get("config")
    if not config:
        return [f"Config: {NOT_RECORDED}."]
    text = yaml.safe_dump(config, allow_unicode=True, sort_keys=False, width=120).rstrip()
    return [f"Config, as resolved:\n\n```yaml\n{text}\n```"]
