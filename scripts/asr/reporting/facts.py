"""How a result was made: the facts of provenance.json and score.json, named once for RESULTS.md and report.html."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

Provenance = Mapping[str, Any]


def facts(score: Mapping[str, Any], provenance: Provenance) -> dict[str, Any]:
    """Return the value of every fact by the key of its name; empty where the run did not record it."""
    corpus, base = provenance.get("corpus") or {}, provenance.get("base") or {}
    versions = {"Python": provenance.get("python"), **(provenance.get("versions") or {})}
    return {
        "fact_date": provenance.get("date"),
        "fact_commit": provenance.get("commit"),
        "fact_corpus": corpus.get("name"),
        "fact_corpus_digest": corpus.get("digest"),
        "fact_split": corpus.get("split"),
        "fact_split_digest": corpus.get("split_digest"),
        "fact_test_digest": score["reference"].get("digest"),
        "fact_conf": provenance.get("conf"),
        "fact_base": base.get("id"),
        "fact_base_digest": base.get("digest"),
        "fact_heard": _heard(provenance.get("heard")),
        "fact_averaged": _averaged(provenance.get("average")),
        "fact_decoding": _decoding(provenance.get("decode") or {}),
        "fact_normaliser": score["normalizer"],
        "fact_cpu": provenance.get("processor"),
        "fact_gpu": _gpu(provenance),
        "fact_memory": _memory(provenance),
        "fact_parameters": _parameters(provenance.get("decode") or {}),
        "fact_speed": _speed(provenance.get("decode") or {}),
        "fact_versions": ", ".join(f"{name} {version}" for name, version in versions.items() if version),
        "fact_times": _times(provenance.get("times") or {}),
    }


def command(provenance: Provenance) -> str | None:
    """Return the command as it was typed, if it was recorded."""
    if not provenance.get("command"):
        return None
    return re.sub(r"^'(\w+=)", r"\1'", shlex.join(provenance["command"]))  # CDSD_ROOT='…': not a command to a shell


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


def _gpu(provenance: Provenance) -> str | None:
    """Return the GPUs and their driver; "none" for a run on the CPU."""
    if "gpu" not in provenance:
        return None
    driver = f", driver {provenance['driver']}" if provenance.get("driver") else ""
    return f"{provenance['gpu']}{driver}" if provenance["gpu"] else "none"


def _memory(provenance: Provenance) -> str | None:
    peak = provenance.get("peak_memory_gb")
    where = "of the GPU" if provenance.get("gpu") else "of main memory"
    return f"{peak:.1f} GiB {where}, each training process" if peak else None


def _parameters(records: Mapping[str, Any]) -> str | None:
    """Return the tuned model's size, else the baseline's, from their decode.json."""
    sizes = [(records.get(name) or {}).get("parameters") for name in ("tuned", "baseline")]
    return next((f"{size / 1e6:,.1f} M" for size in sizes if size), None)


def _speed(records: Mapping[str, Any]) -> str | None:
    """Return each system's real-time factor, and what it was measured on."""
    parts = []
    for name, record in records.items():
        if record and record.get("real_time_factor"):
            factor = record["real_time_factor"]
            parts.append(f"{name} {factor:.2g} (1 s of audio in {1000 * factor:.2g} ms, {record.get('device')})")
    return ", ".join(parts) or None


def _times(times: Mapping[str, int]) -> str:
    """Return the seconds of the stages and of all together; stage 5, which makes the page, is not at its end."""
    stages = [f"{stage.replace('stage', 'stage ')} {_duration(seconds)}" for stage, seconds in times.items()]
    so_far = " until this page" if "stage5" in times else ""
    return f"{_duration(sum(times.values()))}: {', '.join(stages)}{so_far}" if times else ""


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _averaged(average: Mapping[str, Any] | None) -> str | None:
    """Return the averaged checkpoints of avg.json in words: how many, ranked by what, and each with its value."""
    if not average or not average.get("checkpoints"):  # what several runs have in common may be without them
        return None
    values = [(entry["file"], entry.get("value")) for entry in average["checkpoints"]]
    files = [name if value is None else f"{name} ({value:.4g})" for name, value in values]
    ranked_by = f" by {average['ranked_by']}" if average.get("ranked_by") else ""
    kind = f"{len(files)} runs merged" if average.get("how") else f"the {len(files)} best{ranked_by}"
    return f"{average.get('file', 'the average')}: {kind}: {', '.join(files)}"


def _heard(record: Mapping[str, Any] | None) -> str | None:
    """Return how many training clips the models before this one had been trained on, as far as that is known."""
    if not record or "clips" not in record:
        return None
    unknown = record["models_not_known"]
    more = f"; of {unknown} of these models the clips are not known"
    return f"{record['known_before']:,} of {record['clips']:,}" + more * bool(unknown)


def _decoding(records: Mapping[str, Any]) -> str | None:
    """Return both systems' decoding methods, once where they are the same, and what was counted in the texts."""
    methods = {name: (record or {}).get("inputs", {}).get("method") for name, record in records.items()}
    methods = {name: method for name, method in methods.items() if method}
    same = len(set(methods.values())) == 1
    parts = list(set(methods.values())) if same else [f"{name}: {method}" for name, method in methods.items()]
    for name in methods:
        parts += [f"{name}: {number} texts {kind}" for kind, number in records[name].get("counts", {}).items()]
        if own := records[name].get("adapted"):
            parts.append(f"{name}: {own['speakers']} of {own['of_speakers']} speakers by adapters of their own")
    return ", ".join(parts) or None
