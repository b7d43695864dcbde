"""RESULTS.md and report.html of a run, made from its score folder and provenance.json.

    python -m asr.report --exp exp/TAG [--embed-audio] [--with exp/OTHER ...]

RESULTS.md (results_md.py) holds no transcript. report.html (page.py) holds all of them, and links to the clips; with
--embed-audio it holds the clips too. --with shows what the tuned models of other runs made of the same utterances. DIR
may be exp/NAME/SETTING of an experiment, whose score is pooled.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from asr.core.files import read_json, write_text
from asr.core.made_by import claim
from asr.core.run_folder import RunFolder
from asr.reporting.facts import in_common
from asr.reporting.others import read_others
from asr.reporting.page import write_html
from asr.reporting.results_md import results
from asr.scoring.files import read_score


def write_report(exp: Path, embed_audio: bool = False, others: Sequence[Path] = ()) -> None:
    """Write RESULTS.md, report.html and figures/ of a run, or of an experiment's setting, that is scored.

    ``others`` are runs scored on the same test set, whose tuned hypotheses stand beside in report.html.
    """
    score, folder = read_score(RunFolder(exp).score), exp.resolve()
    beside = read_others(exp, score, others)
    title, runs = folder.name, [exp]
    if pooled := score.get("pooled"):
        title, runs = f"{folder.parent.name}/{folder.name}", [folder.parents[1] / tag for tag in pooled["runs"]]
    files = [RunFolder(run).provenance for run in runs]
    records = [read_json(file, "remove it or run stage 5 again") for file in files if file.exists()]
    provenance = in_common(records) if records else {}
    if pooled:
        provenance.pop("language", None)  # each run has its own; what they have in common says nothing
    claim(exp, "report", ["RESULTS.md", "report.html", "figures/*"])
    write_text(RunFolder(exp).results, results(title, score, provenance))
    write_html(exp, title, score, provenance, embed_audio, beside)


def main() -> None:
    """Write the report of the run that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m asr.report", description=__doc__.splitlines()[0])
    parser.add_argument("--exp", type=Path, required=True, metavar="DIR", help="the run's folder, exp/TAG")
    parser.add_argument("--embed-audio", action="store_true", help="copy the clips into the page: it may be given away")
    other = "runs whose tuned texts stand beside in report.html; scored on the same test set"
    parser.add_argument("--with", dest="others", type=Path, nargs="+", default=[], metavar="DIR", help=other)
    arguments = parser.parse_args()
    write_report(arguments.exp, arguments.embed_audio, arguments.others)
    print(f"written to {arguments.exp}: RESULTS.md, report.html, figures/")
