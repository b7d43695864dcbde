"""How a result was made: the facts of provenance.json and score.json, named once for RESULTS.md and report.html."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

Provenance = Mapping[str, Any]


def facts(score: Mapping[str, Any], provenance: Provenance) -> dict[str, Any]:
    """Return the value of every fact by the key of its name; empty where the run did not record it."""
    corpus, base = provenance.get("corpus") or {}, provenance.get("base") or {}
    versions, times = provenance.get("versions") or {}, provenance.get("times") or {}
    return {
        "fact_commit": provenance.get("commit"),
        "fact_corpus": corpus.get("name"),
        "fact_corpus_digest": corpus.get("digest"),
        "fact_split": corpus.get("split"),
        "fact_split_digest": corpus.get("split_digest"),
        "fact_test_digest": (score.get("reference") or {}).get("digest"),
        "fact_conf": provenance.get("conf"),
        "fact_base": base.get("id"),
        "fact_base_digest": base.get("digest"),
        "fact_averaged": averaged(provenance.get("average")),
        "fact_decoding": decoding(provenance.get("decode")),
        "fact_normaliser": _flat(score.get("normalizer")),
        "fact_cpu": provenance.get("processor"),
        "fact_gpu": (provenance["gpu"] or "none") if "gpu" in provenance else None,
        "fact_versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "fact_times": ", ".join(f"{_stage(name)} {time_words(seconds)}" for name, seconds in times.items()),
    }


def command(provenance: Provenance) -> str | None:
    """Return the command as it was typed, if it was recorded."""
    return shlex.join(map(str, provenance["command"])) if provenance.get("command") else None


def configuration(provenance: Provenance) -> str | None:
    """Return the configuration as YAML, as it was resolved, if it was recorded."""
    config = provenance.get("config")
    return yaml.safe_dump(config, allow_unicode=True, sort_keys=False, width=120).rstrip() if config else None


def in_common(records: Sequence[Any]) -> Any:
    """Return what several runs' provenance has in common: values that are the same in all, at any depth."""
    first = records[0]
    if not all(isinstance(record, dict) for record in records):
        return first if all(record == first for record in records) else None
    shared = {
        key: in_common([record[key] for record in records]) for key in first if all(key in record for record in records)
    }
    return {key: value for key, value in shared.items() if value is not None or first[key] is None}


def _stage(name: object) -> str:
    return f"stage {name}" if str(name).isdigit() else str(name)


def time_words(seconds: Any) -> str:
    """Return seconds in the unit that people would use."""
    if not isinstance(seconds, int | float):
        return str(seconds)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def averaged(average: Mapping[str, Any] | None) -> str | None:
    """Return the averaged checkpoints of avg.json in words: how many, ranked by what, and each with its value."""
    if not average or not average.get("checkpoints"):
        return None
    files = []
    for entry in average["checkpoints"]:
        name, value = (entry.get("file", "?"), entry.get("value")) if isinstance(entry, Mapping) else (entry, None)
        files.append(f"{name} ({value:.4g})" if isinstance(value, int | float) else str(name))
    by = f" by {average['ranked_by']}" if average.get("ranked_by") else ""
    kind = f"{len(files)} runs merged" if average.get("how") else f"the {len(files)} best{by}"
    return f"{average.get('file', 'the average')}: {kind}: {', '.join(files)}"


def decoding(records: Mapping[str, Any] | None) -> str | None:
    """Return both systems' decoding methods, once where they are the same, and what was counted in the texts."""
    decoded = {
        name: record for name, record in (records or {}).items() if (record or {}).get("inputs", {}).get("method")
    }
    if not decoded:
        return None
    methods = {name: record["inputs"]["method"] for name, record in decoded.items()}
    same = len(set(methods.values())) == 1
    parts = [next(iter(methods.values()))] if same else [f"{name}: {method}" for name, method in methods.items()]
    for name, record in decoded.items():
        parts += [f"{name}: {number} texts {kind}" for kind, number in (record.get("counts") or {}).items()]
    return ", ".join(parts)


def _flat(value: Any) -> str | None:
    """Return a value of JSON on one line, without braces."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_flat(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return value if value is None or isinstance(value, str) else json.dumps(value)
