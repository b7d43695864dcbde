"""report.html of a run and its figures, made from score.json, per_utterance.tsv, provenance.json and TensorBoard.

The page is one file that opens from disk, asks the network for nothing, and holds no figure of its own. Unlike
RESULTS.md it holds transcripts and, with ``embed_audio``, the clips themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asr.core.files import write_text
from asr.core.publishable_paths import public
from asr.core.run_folder import RunFolder
from asr.pages.html import both, document, heading, part
from asr.pages.svg import Pen, drawing, save_for_paper
from asr.reporting.curves import Curves, read_curves
from asr.reporting.headline import top
from asr.reporting.provenance_table import how_it_was_made
from asr.reporting.rows import as_script, browser_data
from asr.reporting.sections import Plot, plots, sections
from asr.scoring.files import with_names

FIGURES = ("speakers", "text", "length", "duration", "rate", "tone", "initial_baseline", "initial_tuned", "training")
SIMULATED_SPEECH = {"en": "simulated speech", "zh": "模拟语音"}


def write_html(exp: Path, score: Mapping[str, Any], provenance: Mapping[str, Any], embed_audio: bool = False) -> None:
    """Write ``exp``/report.html and ``exp``/figures/NAME.LANGUAGE.{svg,png}.

    ``score`` is score.json (schema_version 3), ``provenance`` may lack any field. Clips are linked by paths relative to
    the page; with ``embed_audio`` they are in it, as MP3. RecipeError where per_utterance.tsv or a clip is not as it
    should be.
    """
    curves = read_curves(exp)
    html = page(exp, score, provenance, curves, embed_audio)
    simulated = (provenance.get("corpus") or {}).get("simulated") is True
    write_figures(exp / "figures", plots(score, curves), simulated)
    write_text(RunFolder(exp).report, html)


def page(
    exp: Path, score: Mapping[str, Any], provenance: Mapping[str, Any], curves: Curves, embed_audio: bool = False
) -> str:
    """report.html, the same bytes for the same run."""
    data = browser_data(exp, exp / "score" / "per_utterance.tsv", list(score["systems"]), embed_audio)
    tag = exp.resolve().name
    provenance = public(dict(provenance))
    body = [
        *top(tag, score, provenance.get("corpus") or {}, embed_audio),
        *sections(with_names(score, exp / "score"), curves),
    ]
    body += [_browser(data), how_it_was_made(score, provenance)]
    script = part("report.js") + part("report_browser.js")
    title = (f"Results: {tag}", f"结果：{tag}")
    return document(title, body, style=part("report.css"), script=script, policy="media-src 'self' file: data:")


def write_figures(folder: Path, found: Mapping[str, Plot], simulated: bool = False) -> None:
    """Every figure for a paper, in English and in Chinese; an earlier run's that this one has not is removed.

    What is ``simulated`` says so in each picture, which goes where its caption does not.
    """
    for name in FIGURES:
        for file in folder.glob(f"{name}.??.*"):
            if name not in found:
                file.unlink()
    for language in ("en", "zh"):
        pen = Pen(language)
        with drawing(pen):
            for name, plot in found.items():
                figure = plot(pen)
                if simulated:
                    figure.text(0.99, 0.01, SIMULATED_SPEECH[language], ha="right", va="bottom", fontsize=11)
                save_for_paper(figure, folder / f"{name}.{language}")


def _browser(data: Mapping[str, Any]) -> str:
    words = ("The utterances are shown by a script.", "语句列表由脚本显示。")
    return (
        f"{heading('Utterances', '逐句查看')}\n<noscript><p>{both(*words)}</p></noscript>\n"
        '<section id="browser" aria-label="Utterances" data-label-en="Utterances" data-label-zh="逐句查看"></section>\n'
        f'<script type="application/json" id="utterances">{as_script(data)}</script>'
    )
