"""RESULTS.md of a run, made from score.json and provenance.json; nothing in it is typed.

    python -m asr.report --exp exp/TAG

What a run did not record is said to be "not recorded". No path of a machine gets into the page.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from asr import errors
from asr.errors import RecipeError, at
from asr.files import write_text
from asr.public import public
from asr.score_tables import interval, percent
from asr.tables import markdown_table, markdown_text

SCHEMA_VERSION = 1
NOT_RECORDED = "not recorded"
SIMULATED = (
    "**The speech of this corpus is simulated.** It was synthesised and then impaired by a documented transformation; "
    "it shows that the recipe works and stands for no clinical claim."
)


def read_json(path: Path, missing: str) -> dict[str, Any]:
    """A JSON object; RecipeError with ``missing`` where there is no file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such file; {missing}") from None
    except json.JSONDecodeError as error:
        raise RecipeError(f"{at(path, error.lineno)}: not JSON ({error.msg}); {missing}") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: not UTF-8; {missing}") from None
    if not isinstance(value, dict):
        raise RecipeError(f"{path}: must be a JSON object; {missing}")
    return value


def results(tag: str, score: Mapping[str, Any], provenance: Mapping[str, Any]) -> str:
    """The page, as Markdown. ``provenance`` may lack any field."""
    provenance = public(dict(provenance))
    corpus = provenance.get("corpus") or {}
    blocks = [f"# Results of {markdown_text(tag)}"]
    if corpus.get("simulated"):
        blocks.append(SIMULATED)
    blocks += [_headline(score), *_reference_lines(score), _speakers(score), _texts(score), _lengths(score)]
    blocks += _splits(corpus)
    blocks.append(_provenance(score, provenance))
    blocks += _command(provenance) + _config(provenance)
    return "\n\n".join(blocks) + "\n"


def _headline(score: Mapping[str, Any]) -> str:
    rows = []
    for name, row in score["systems"].items():
        counts = [f"{row[key]:,}" for key in ("sub", "del", "ins")]
        rates = (f"**{percent(row['cer'])}**", interval(row["ci95"]), *counts, percent(row["ser"]))
        rows.append((name, *rates, row["n_empty"], row["n_missing"], percent(row["raw_cer"])))
    header = ("system", "CER %", "95 % interval", "sub", "del", "ins", "SER %", "empty", "missing", "raw CER %")
    lines = [markdown_table(header, rows), "", *_comparison(score["comparison"]), _about(score)]
    missing = [(name, row["missing"]) for name, row in score["systems"].items() if row["missing"]]
    for name, keys in missing:
        shown = ", ".join(keys[:10]) + (f" and {len(keys) - 10:,} more" if len(keys) > 10 else "")
        lines += ["", f"**{name}: {len(keys):,} missing hypotheses**, counted as deletions: {markdown_text(shown)}."]
    return "\n".join(lines)


def _comparison(comparison: Mapping[str, Any] | None) -> list[str]:
    if not comparison or comparison["absolute_reduction"] is None:
        return []
    reduction, relative = comparison["absolute_reduction"], percent(comparison["relative_reduction"], 1)
    verb = "lowers" if reduction > 0 else "**does not lower**"
    within = ""
    if comparison["relative_ci95"]:
        low, high = (percent(value, 1) for value in comparison["relative_ci95"])
        within = f" (95 % interval {low} to {high} %)"
    better, worse = comparison["utterances_better"], comparison["utterances_worse"]
    utterances = (
        f"{better:,} utterances got better, {worse:,} worse, {comparison['utterances_same']:,} stayed the same."
    )
    size = f"reduction {percent(reduction)} points, **{relative} % relative**{within}"
    return [f"Fine-tuning {verb} the CER: {size}. {utterances}", ""]


def _about(score: Mapping[str, Any]) -> str:
    reference, row = score["reference"], next(iter(score["systems"].values()))
    size = f"{reference['n_utt']:,} utterances, {row['ref_len']:,} characters, {reference['n_speakers']} speakers"
    how = "errors of all utterances over all reference characters; a missing hypothesis counts as deletions"
    text = f"CER is corpus-level ({how}) on normalised text (normaliser {score['normalizer']}; raw CER: text as it is)"
    note = row["ci95_note"]
    intervals = f"Intervals: {note}, seed {score['seed']}" if row["ci95"] else f"No interval: {note}"
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
    header = [first, "utterances", "characters"]
    for name in systems:
        header += [f"{name} CER %", "sub", "del", "ins"]
    rows = []
    for group, row in groups.items():
        cells = [group, f"{row['n_utt']:,}", f"{row['ref_len']:,}"]
        for name in systems:
            one = row[name]
            cells += [percent(one["cer"]), *(f"{one[key]:,}" for key in ("sub", "del", "ins"))] if one else ["n/a"] * 4
        rows.append(cells)
    return markdown_table(header, rows)


def _speakers(score: Mapping[str, Any]) -> str:
    return "## By speaker\n\n" + _group_table(score, "speaker", score["by_speaker"])


def _texts(score: Mapping[str, Any]) -> str:
    title = "## By text: seen or unseen in fine-tuning\n\n"
    groups = score["groups"]["text"]
    if groups is None:
        return title + "Not computed: the scorer was not given the train manifest."
    why = (
        "Seen: the exact text (normalised) is in train. The base model may have seen any text. n/a: no such utterance."
    )
    return title + why + "\n\n" + _group_table(score, "text", groups)


def _lengths(score: Mapping[str, Any]) -> str:
    return "## By length of the reference\n\n" + _group_table(score, "characters", score["groups"]["length"])


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
    times = ", ".join(f"{_stage(name)} {_time(value)}" for name, value in (provenance.get("times") or {}).items())
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
        ("averaged", _average(provenance.get("average"))),
        ("processor", provenance.get("processor")),
        ("GPU", gpu),
        ("versions", versions),
        ("time by stage", times),
    ]
    cells = [(name, value or NOT_RECORDED) for name, value in rows]
    return "## How it was made\n\n" + markdown_table(("", "recorded by the run"), cells, left=(0, 1))


def _stage(name: object) -> str:
    return f"stage {name}" if str(name).isdigit() else str(name)


def _time(seconds: Any) -> str:
    if not isinstance(seconds, (int, float)):
        return str(seconds)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _average(average: Mapping[str, Any] | None) -> str | None:
    """The averaged checkpoints of avg.json in words: how many, ranked by what, and each with its value."""
    if not average or not average.get("checkpoints"):
        return None
    words = []
    for item in average["checkpoints"]:
        name, value = (item.get("file", "?"), item.get("value")) if isinstance(item, Mapping) else (item, None)
        words.append(f"{name} ({value:.4g})" if isinstance(value, (int, float)) else str(name))
    by = f" by {average['ranked_by']}" if average.get("ranked_by") else ""
    return f"{average.get('file', 'the average')}: the {len(words)} best{by}: {', '.join(words)}"


def _command(provenance: Mapping[str, Any]) -> list[str]:
    command = provenance.get("command")
    if not command:
        return [f"Command: {NOT_RECORDED}."]
    line = command[0] if len(command) == 1 else shlex.join(map(str, command))
    return [f"Command (of a path outside the repository only the name is shown):\n\n```\n{line}\n```"]


def _config(provenance: Mapping[str, Any]) -> list[str]:
    config = provenance.get("config")
    if not config:
        return [f"Config: {NOT_RECORDED}."]
    text = yaml.safe_dump(config, allow_unicode=True, sort_keys=False, width=120).rstrip()
    return [f"Config, as resolved:\n\n```yaml\n{text}\n```"]


def main() -> None:
    """Write RESULTS.md of the run that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m asr.report", description=__doc__.splitlines()[0])
    parser.add_argument("--exp", type=Path, required=True, metavar="DIR", help="the run's folder, exp/TAG")
    exp: Path = parser.parse_args().exp
    score_file = exp / "score" / "score.json"
    score = read_json(score_file, "run stage 5, which scores, first")
    if score.get("schema_version") != SCHEMA_VERSION:
        version = score.get("schema_version")
        raise RecipeError(f"{score_file}: schema_version {version}, this report reads {SCHEMA_VERSION}; score again")
    recorded = exp / "provenance.json"
    provenance = read_json(recorded, "remove it or run stage 5 again") if recorded.exists() else {}
    write_text(exp / "RESULTS.md", results(exp.resolve().name, score, provenance))
    print(f"written to {exp}: RESULTS.md")


if __name__ == "__main__":
    errors.run(main)
