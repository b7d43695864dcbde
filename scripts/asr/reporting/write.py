"""RESULTS.md and report.html of a run, made from its score folder and provenance.json.

    python -m asr.report --exp exp/TAG [--embed-audio]

RESULTS.md (results.py) holds no transcript. report.html (html_report.py) holds all of them, and links to the clips;
with --embed-audio it holds the clips too.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError
from asr.core.files import read_json, write_text
from asr.core.made_by import claim
from asr.core.run_folder import RunFolder, rerun
from asr.reporting.results_md import results

SCHEMA_VERSION = 3


def read_score(folder: Path) -> dict[str, Any]:
    """The score.json of a score folder. RecipeError where there is none of this version."""
    path = folder / "score.json"
    score = read_json(path, "run stage 5, which scores, first")
    version = score.get("schema_version")
    if version != SCHEMA_VERSION:
        again = rerun(folder.resolve().parent, 5)
        raise RecipeError(f"{path}: schema_version {version}, not {SCHEMA_VERSION}: score again: {again}")
    return score


def main() -> None:
    """Write the report of the run that the command line names."""
    from asr.reporting.page import write_html

    parser = argparse.ArgumentParser(prog="python -m asr.report", description=__doc__.splitlines()[0])
    parser.add_argument("--exp", type=Path, required=True, metavar="DIR", help="the run's folder, exp/TAG")
    parser.add_argument("--embed-audio", action="store_true", help="copy the clips into the page: it may be given away")
    arguments = parser.parse_args()
    exp: Path = arguments.exp
    score = read_score(RunFolder(exp).score)
    recorded = RunFolder(exp).provenance
    provenance = read_json(recorded, "remove it or run stage 5 again") if recorded.exists() else {}
    claim(exp, "report", ["RESULTS.md", "report.html", "figures/*"])
    write_text(RunFolder(exp).results, results(exp.resolve().name, score, provenance))
    write_html(exp, score, provenance, arguments.embed_audio)
    print(f"written to {exp}: RESULTS.md, report.html, figures/")
