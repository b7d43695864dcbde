"""The model card: README.md of an exported model and of ``exp/<tag>/model``, from what the run has recorded.

Its YAML head is what Hugging Face's and ModelScope's hubs read. No licence is named: a model tuned on recordings is
bound by their terms and by those of its base model, and neither is this recipe's to give. No transcript and no path is
in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from asr.core.digests import sha256_file
from asr.core.files import read_json, write_text
from asr.core.run_folder import RunFolder
from asr.models import families
from asr.pages.html import Table, fill

README = "README.md"
PARITY = "parity.json"
SYSTEMS = {
    "baseline": "base model",
    "tuned": "this model",
    "baseline_lm": "base model, second text*",
    "tuned_lm": "this model, second text*",
}
TEXTS = {"seen": "text that training has read", "unseen": "text that training has not read"}


class Facts(NamedTuple):
    """What is known of a model: its family, and, of a run's, score.json, provenance.json and parity.json."""

    name: str
    family: str
    score: Mapping[str, Any] | None
    provenance: Mapping[str, Any]
    parity: Mapping[str, Any] | None


def write_card(model: Path, deploy: Path | None, exp: Path | None) -> None:
    """Write the card into a run's model folder and, where it is exported, into ``deploy``.

    A model folder of no run is somebody's: its README.md stays.

    Args:
        model: a FunASR model folder.
        deploy: the exported model, with parity.json; None where there is none.
        exp: the run that the model is of; None where it is of none, and nothing is known of its figures.
    """
    score, provenance = {}, {}
    if exp:
        run = RunFolder(exp)
        again = f"make it again: bash run.sh --tag {exp.resolve().name} --stage 5 --stop-stage 5"
        score_file = run.score / "score.json"
        score = read_json(score_file, again) if score_file.is_file() else {}
        provenance = read_json(run.provenance, again) if run.provenance.is_file() else {}
    parity = read_json(deploy / PARITY, "export the model again") if deploy else None
    name = exp.resolve().name if exp else model.resolve().name
    text = card(Facts(name, families.of_folder(model).name, score or None, provenance, parity), _hashes(model, parity))
    for folder in filter(None, (exp and model, deploy)):
        write_text(folder / README, text)


def card(facts: Facts, hashes: Table) -> str:
    """Return the card, Markdown with a YAML head."""
    corpus = facts.provenance.get("corpus") or {}
    return fill(
        "model_card.md.j2",
        head=yaml.safe_dump(head(facts), allow_unicode=True, sort_keys=False),
        name=facts.name,
        family=facts.family,
        corpus=corpus,
        base=(facts.provenance.get("base") or {}).get("id", "not recorded"),
        commit=facts.provenance.get("commit", "not recorded"),
        score=facts.score,
        systems=_systems(facts.score) if facts.score else None,
        runtimes=_runtimes(facts.parity) if facts.parity else None,
        parity=facts.parity,
        offered=offered(facts.parity),
        hashes=hashes,
    )


def head(facts: Facts) -> dict[str, Any]:
    """Return the YAML head, as both hubs read it (model-index as Hugging Face's evaluation results)."""
    corpus = facts.provenance.get("corpus") or {}
    simulated = bool(corpus.get("simulated"))
    result: dict[str, Any] = {
        "language": ["zh"],
        "library_name": "funasr",
        "pipeline_tag": "automatic-speech-recognition",
        "tasks": ["auto-speech-recognition"],
        "frameworks": ["pytorch"],
        "tags": ["funasr", facts.family, "simulated-speech" if simulated else "impaired-speech"],
        "metrics": ["cer"],
    }
    if facts.score:
        result["model-index"] = [{"name": facts.name, "results": [*_results(facts.score, corpus)]}]
    return result


def _results(score: Mapping[str, Any], corpus: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the CER on all of the test set, on text that training has read, and on text that it has not."""
    about = corpus.get("name") or "own corpus"
    texts = score["groups"].get("text") or {}
    rows = {"": score["systems"]["tuned"]}
    rows |= {f", {text}": (texts.get(kind) or {}).get("tuned") for kind, text in TEXTS.items()}
    for suffix, row in rows.items():
        if row:
            name = f"{about}{', simulated speech' if corpus.get('simulated') else ''}, test set{suffix}"
            interval = f", 95 % over speakers {_bounds(row['ci95'])}" if row["ci95"] else ""
            metric = {"type": "cer", "value": round(100 * row["cer"], 2), "name": f"CER %, greedy{interval}"}
            yield {
                "task": {"type": "automatic-speech-recognition"},
                "dataset": {"type": about.replace(" ", "-").lower(), "name": name, "split": "test"},
                "metrics": [metric],
            }


def _percent(row: Mapping[str, Any] | None) -> str:
    return f"{100 * row['cer']:.2f}" if row else "n/a"


def _bounds(bounds: Any) -> str:
    return "{:.2f} to {:.2f}".format(*(100 * bound for bound in bounds)) if bounds else "none"


def _systems(score: Mapping[str, Any]) -> Table:
    """Return CER, its interval over speakers, and CER by text, of the base model, this one and their second texts."""
    texts = score["groups"].get("text") or {}
    rows = []
    for name, row in {**score["systems"], **(score.get("second_texts") or {})}.items():
        if name in SYSTEMS:
            read = row["text"] or {} if "text" in row else {kind: (texts.get(kind) or {}).get(name) for kind in texts}
            groups = [read.get("seen", read.get("training")), read.get("unseen")]
            rows.append([SYSTEMS[name], _percent(row), _bounds(row.get("ci95")), *map(_percent, groups)])
    return Table(["", "CER %", "95 % over speakers", *(f"on {text}" for text in TEXTS.values())], rows)


def _runtimes(parity: Mapping[str, Any]) -> Table:
    """Return what each runtime's texts were found to be, in fp32 and in int8."""
    rows = []
    for runtime, result in parity["runtimes"].items():
        if result.get("status") == "not offered":
            rows.append([runtime, "", "not offered", "", result["reason"]])
            continue
        for precision, found in result.items():
            equal = f"{found['equal']} of {found['of']}" if "of" in found else ""
            cer = f"{100 * found['cer']:.2f} ({_bounds(found.get('ci95'))})" if "cer" in found else ""
            rows.append([runtime, precision, found["status"], equal, cer or found.get("reason", "")])
    return Table(["runtime", "precision", "texts", "equal to the scored ones", "CER % (95 % over speakers)"], rows)


def offered(parity: Mapping[str, Any] | None) -> list[str]:
    """Return the runtimes that the export has a folder for."""
    runtimes = parity["runtimes"] if parity else {}
    return [name for name, result in runtimes.items() if result.get("status") != "not offered"]


def _hashes(model: Path, parity: Mapping[str, Any] | None) -> Table:
    """Return size and sha256 of each file: of the exported ones as parity.json has them, else of the model's."""
    if parity:
        rows = [[name, f"{about['bytes']:,}", about["sha256"]] for name, about in sorted(parity["files"].items())]
    else:
        files = sorted(path for path in model.iterdir() if path.is_file() and path.name != README)
        rows = [[path.name, f"{path.stat().st_size:,}", sha256_file(path)] for path in files]
    return Table(["file", "bytes", "sha256"], rows)
