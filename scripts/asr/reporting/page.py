"""report.html of a run and its figures, made from score.json, per_utterance.tsv, provenance.json and progress.jsonl.

The page is one file that opens from disk, asks the network for nothing, and holds no figure of its own. Unlike
RESULTS.md it holds transcripts and, with ``embed_audio``, the clips themselves. The page itself is
asr/pages/templates/report.html.j2; view.py says what it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from asr.core.files import write_text
from asr.core.run_folder import RunFolder
from asr.pages.html import Card, as_script, render, trusted
from asr.pages.svg import Pen, drawing, save_for_paper, svg
from asr.pages.words import Words, browser_words, words
from asr.progress import record as progress_file
from asr.progress.record import Records, points
from asr.reporting import view
from asr.reporting.figures import MOST_NAMED
from asr.reporting.rows import browser_data
from asr.scoring.files import with_names
from asr.scoring.tables import percent

FIGURES = ("speakers", "text", "length", "duration", "rate", "tone", "initial_baseline", "initial_tuned", "training")
Score = Mapping[str, Any]


def write_html(exp: Path, title: str, score: Score, provenance: Mapping[str, Any], embed_audio: bool = False) -> None:
    """Write ``exp``/report.html and ``exp``/figures/NAME.LANGUAGE.{svg,png}.

    ``score`` is score.json, ``provenance`` may lack any field. Clips are linked by paths relative to the page; with
    ``embed_audio`` they are in it, as MP3. RecipeError where per_utterance.tsv or a clip is not as it should be.
    """
    html = page(exp, title, score, provenance, embed_audio)
    simulated = (provenance.get("corpus") or {}).get("simulated") is True
    write_figures(exp / "figures", view.plots(score, progress_file.read(exp)), simulated)
    write_text(RunFolder(exp).report, html)


def page(exp: Path, title: str, score: Score, provenance: Mapping[str, Any], embed_audio: bool = False) -> str:
    """Return report.html, the same bytes for the same run."""
    data = browser_data(exp, exp / "score" / "per_utterance.tsv", list(score["systems"]), embed_audio)
    named, records = with_names(score, exp / "score"), progress_file.read(exp)
    with drawing():
        drawn = {name: svg(plot(Pen()), f"picture-{name}") for name, plot in view.plots(named, records).items()}
    return html_of(title, named, provenance, records, data, drawn)


def html_of(
    title: str,
    score: Score,
    provenance: Mapping[str, Any],
    records: Records,
    data: Mapping[str, Any],
    drawn: Mapping[str, str],
) -> str:
    """Return the page of a score; ``data`` is the error browser's, ``drawn`` the pictures by name, as SVG."""
    content, sounds = view.content(score, provenance), view.sound_systems(score)
    last = list(sounds)[-1] if sounds else ""
    return render(
        "report.html.j2",
        words("results_of", name=title),
        ["report.css"],
        ["report.js", "report_browser.js"],
        policy="media-src 'self' file: data:",
        cards=_cards(score),
        holds=_holds(content["corpus"], data["embedded"]),
        legend=[(name, words(name)) for name in score["systems"]],
        pictures={name: trusted(picture) for name, picture in drawn.items()},
        many_speakers=len(score["by_speaker"]) > MOST_NAMED,
        confusions=view.frequent_confusions(sounds[last]) if sounds else None,
        last_system=last,
        lowest_cer=_lowest_cer(records),
        data=as_script({**data, "words": browser_words()}),
        **content,
    )


def write_figures(folder: Path, plots: Mapping[str, Callable[[Pen], Any]], simulated: bool = False) -> None:
    """Write every figure for a paper, in English and in Chinese; remove an earlier run's that this one has not.

    What is ``simulated`` says so in each picture, which goes where its caption does not.
    """
    for name in set(FIGURES) - plots.keys():
        for file in folder.glob(f"{name}.??.*"):
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


def _cards(score: Score) -> list[Card]:
    names = {"baseline": words("cer_before"), "tuned": words("cer_after")}
    cards = [
        Card(names[system], _rate(row["cer"]), _interval(row["ci95"]), system)
        for system, row in score["systems"].items()
    ]
    comparison = score["comparison"]
    if comparison and comparison["absolute_reduction"] is not None:
        relative = _interval(comparison["relative_ci95"], 1)
        cards.append(Card(words("relative_reduction"), _rate(comparison["relative_reduction"], 1), relative))
        better, worse, same = (f"{comparison[f'utterances_{kind}']:,}" for kind in ("better", "worse", "same"))
        cards.append(Card(words("utterances_better"), better, words("worse_same", worse=worse, same=same)))
    reference, row = score["reference"], next(iter(score["systems"].values()))
    size = words("test_size", utterances=f"{reference['n_utt']:,}", characters=f"{row['ref_len']:,}")
    speakers = f"{reference['n_speakers']:,}" if reference["n_speakers"] else words("not_known")
    return [*cards, Card(words("test_speakers"), speakers, size)]


def _rate(rate: float | None, digits: int = 2) -> str:
    return view.NO_VALUE if rate is None else f"{view.signed(rate, digits)} %"


def _interval(ci95: Any, digits: int = 2) -> Words:
    interval = view.interval(ci95, digits).__html__()
    return words("interval_is", interval=interval) if ci95 else words("no_interval")


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
