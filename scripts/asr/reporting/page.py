"""report.html of a run and its figures, made from score.json, per_utterance.tsv, provenance.json and progress.jsonl.

The page is one file that opens from disk, asks the network for nothing, and holds no figure of its own. Unlike
RESULTS.md it holds transcripts and, with ``embed_audio``, the clips themselves. The page itself is
asr/pages/templates/report.html.j2; view.py says what it shows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from asr.core.files import write_text
from asr.core.run_folder import RunFolder
from asr.pages.html import as_script, render, trusted
from asr.pages.svg import Pen, drawing, save_for_paper, svg
from asr.pages.words import Words, browser_words, words
from asr.progress import record as progress_file
from asr.progress.curves import marked
from asr.progress.record import Records, points
from asr.reporting import page_parts as parts
from asr.reporting import view
from asr.reporting.curve_figure import Chosen
from asr.reporting.figures import MOST_NAMED
from asr.reporting.rows import Row, browser_data, read_confidences
from asr.scoring.files import read_table, with_names
from asr.scoring.tables import percent

CONFUSIONS = ("tone", "initial_baseline", "initial_tuned", "final_baseline", "final_tuned")
FIGURES = ("speakers", "text", "length", "duration", "rate", *CONFUSIONS, "confidence", "training")
BROWSER = ("search", "notes", "player", "rows", "browser")  # report_NAME.js
Score = Mapping[str, Any]


def write_html(
    exp: Path,
    title: str,
    score: Score,
    provenance: Mapping[str, Any],
    embed_audio: bool = False,
    others: Mapping[str, Mapping[str, Row]] | None = None,
) -> None:
    """Write ``exp``/report.html and ``exp``/figures/NAME.LANGUAGE.{svg,png}.

    ``score`` is score.json, ``provenance`` may lack any field. Clips are linked by paths relative to the page; with
    ``embed_audio`` they are in it, as MP3. ``others`` are other runs' rows (others.py). RecipeError where
    per_utterance.tsv or a clip is not as it should be.
    """
    html = page(exp, title, score, provenance, embed_audio, others)
    simulated = (provenance.get("corpus") or {}).get("simulated") is True
    write_figures(
        exp / "figures", view.plots(score, progress_file.read(exp), _chosen(exp), provenance.get("language")), simulated
    )
    write_text(RunFolder(exp).report, html)


def page(
    exp: Path,
    title: str,
    score: Score,
    provenance: Mapping[str, Any],
    embed_audio: bool = False,
    others: Mapping[str, Mapping[str, Row]] | None = None,
) -> str:
    """Return report.html, the same bytes for the same run."""
    folder = RunFolder(exp).score
    sure = {} if score.get("pooled") else read_confidences(RunFolder(exp).tuned.confidence)
    data = browser_data(exp, folder / "per_utterance.tsv", list(score["systems"]), embed_audio, others, sure)
    named, records = with_names(score, folder), progress_file.read(exp)
    drawn = {}
    with drawing():
        for name, plot in view.plots(named, records, _chosen(exp), provenance.get("language")).items():
            pen = Pen()
            drawn[name] = svg(plot(pen), f"picture-{name}", pen)
    confusions = folder / "confusions.tsv"
    characters = read_table(confusions) if confusions.is_file() else []
    return html_of(title, named, provenance, records, data, drawn, characters)


def _chosen(exp: Path) -> Chosen:
    ranked_by, files, _ = marked(exp)
    return Chosen(ranked_by, files)


def html_of(
    title: str,
    score: Score,
    provenance: Mapping[str, Any],
    records: Records,
    data: Mapping[str, Any],
    drawn: Mapping[str, str],
    characters: Sequence[Row] = (),
) -> str:
    """Return the page of a score; ``data`` is the error browser's, ``drawn`` the pictures by name, as SVG.

    ``characters`` are the rows of confusions.tsv.
    """
    content = view.content(score, provenance)
    groups = {
        kind: [name for name, row in (score["groups"][kind] or {}).items() if row["n_utt"]] for kind in view.GROUPS
    }
    kept = {"run": title, "digest": str(score["reference"].get("digest"))[:12], "groups": groups}
    return render(
        "report.html.j2",
        words("results_of", name=title),
        ["report.css", "report_browser.css"],
        ["report.js", *(f"report_{name}.js" for name in BROWSER)],
        policy="media-src 'self' file: data:",
        cards=parts.cards(score),
        result=parts.transposed(content["systems"]),
        transposed=parts.transposed,
        holds=_holds(content["corpus"], data["embedded"]),
        legend=[(name, words(name)) for name in score["systems"]],
        pictures={name: trusted(picture) for name, picture in drawn.items()},
        many_speakers=len(score["by_speaker"]) > MOST_NAMED,
        no_characters=not characters,
        confusions=parts.frequent_confusions(score, characters) if characters or content["sounds"] else {},
        tables=parts.groups(score),
        empty_groups=lambda kind: parts.empty_groups(score, kind),
        speaker_tables=parts.speaker_tables(score),
        lowest_cer=_lowest_cer(records),
        data=as_script({**data, **kept, "words": browser_words()}),
        **content,
    )


def write_figures(folder: Path, plots: Mapping[str, Callable[[Pen], Any]], simulated: bool = False) -> None:
    """Write every figure for a paper, in English and in Chinese; remove an earlier run's that this one has not.

    What is ``simulated`` says so in each picture, which goes where its caption does not.
    """
    for file in folder.glob("*.??.*"):
        name = file.name.split(".")[0]
        if (name in FIGURES or re.fullmatch(r"table_\d+", name)) and name not in plots:
            file.unlink()
    for language in ("en", "zh"):
        pen = Pen(language)
        with drawing(pen):
            for name, plot in plots.items():
                figure = plot(pen)
                if simulated:
                    note = getattr(words("simulated_speech"), language)
                    figure.text(0.99, 0.01, note, ha="right", va="bottom", fontsize=11)
                save_for_paper(figure, folder / f"{name}.{language}")


def _holds(corpus: Mapping[str, Any], embedded: bool) -> list[Words]:
    """Return what the page holds, and whose terms apply to it."""
    terms = "terms_cdsd" if "cdsd" in str(corpus.get("name", "CDSD")).lower() else "terms_own"
    if corpus.get("simulated"):
        terms = "terms_simulated"
    return [words("holds_audio" if embedded else "holds_audio_links"), words(terms)]


def _lowest_cer(records: Records) -> list[Words]:
    """Return the lowest CER of validation and its step in a sentence; none where CER was not validated."""
    rates = points(records.validation, "cer")
    if not rates:
        return []
    step, rate = min(rates, key=lambda point: point[1])
    return [words("lowest_cer", cer=percent(rate), step=f"{step:,}")]
