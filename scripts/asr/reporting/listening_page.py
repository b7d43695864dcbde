"""The listening test: one page that plays test clips in random order and takes down what a listener hears.

    python -m asr.listening_test --exp exp/TAG [--clips 100] [--seed 0]

CDSD's published human line is of other clips and listeners. This makes a lab's own: give listening_test.html to people
who know none of the texts, collect the listening-CODE.json that it gives each of them, and score these with
``local/score.py --listeners``. The page holds the clips, and no text of them; it asks the network for nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from asr.core.errors import RecipeError, UsageError
from asr.core.files import read_json, write_text
from asr.core.made_by import claim
from asr.core.run_folder import RunFolder, rerun
from asr.pages.html import as_script, render
from asr.pages.words import words
from asr.reporting.rows import clip_path, mp3_uri
from asr.scoring.files import read_score, read_table
from asr.scoring.listeners import SCHEMA_VERSION

Row = Mapping[str, str]


def draw(rows: Sequence[Row], count: int, seed: int) -> list[Row]:
    """Return ``count`` of per_utterance.tsv's rows, in random order: as many of each speaker as can be, and of a
    speaker as many whose text is seen in training as unseen."""
    random = np.random.default_rng(seed)
    turns: list[tuple[int, int, Row]] = []
    for speaker in sorted({row["speaker"] for row in rows}):
        of_text: dict[str, int] = {}
        own = [row for row in rows if row["speaker"] == speaker]
        for number in random.permutation(len(own)):
            text = own[number]["text"]
            of_text[text] = of_text.get(text, 0) + 1
            turns.append((of_text[text], len(turns), own[number]))
    # A speaker's clips in the order in which they are taken: the first of each kind of text, the second of each, …
    by_speaker: dict[str, list[Row]] = {}
    for _, _, row in sorted(turns, key=lambda turn: turn[:2]):
        by_speaker.setdefault(row["speaker"], []).append(row)
    rounds = [own[turn] for turn in range(len(rows)) for own in by_speaker.values() if turn < len(own)]
    chosen = rounds[:count]
    return [chosen[number] for number in random.permutation(len(chosen))]


def page(exp: Path, clips: int, seed: int) -> tuple[str, list[Row]]:
    """Return the page's HTML and the rows that it plays. RecipeError where the run is not scored or a clip is gone."""
    score = read_score(RunFolder(exp).score)
    if score.get("pooled"):
        raise RecipeError(f"{exp}: pooled scores have no clips of their own; name one of the runs")
    path = RunFolder(exp).score / "per_utterance.tsv"
    rows = read_table(path)
    playable = [row for row in rows if row["audio"]]
    chosen = draw(playable, clips, seed)
    if not chosen:
        raise RecipeError(f"{exp}: no clip of the test set can be played")
    provenance = RunFolder(exp).provenance
    corpus = read_json(provenance, "run stage 5 again").get("corpus", {}) if provenance.exists() else {}
    data = {
        "schema_version": SCHEMA_VERSION,
        "manifest": score["reference"]["digest"],
        "clips": [[row["key"], mp3_uri(clip_path(path, row["audio"]))] for row in chosen],
    }
    html = render(
        "listening_test.html.j2",
        words("listening_title"),
        ["listening_test.css"],
        ["listening_test.js"],
        policy="media-src data:",
        corpus=corpus,
        count=len(chosen),
        minutes=max(round(sum(float(row["duration"] or 0) for row in chosen) * 6 / 60), 1),
        data=as_script(data),
    )
    return html, chosen


def main() -> None:
    """Write the page of the run that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m asr.listening_test", description=__doc__.splitlines()[0])
    parser.add_argument("--exp", type=Path, required=True, metavar="DIR", help="a run that stage 5 has scored, exp/TAG")
    parser.add_argument("--clips", type=int, default=100, help="how many clips (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw: the same gives the same clips (default: 0)")
    arguments = parser.parse_args()
    if arguments.clips < 1:
        raise UsageError(f"--clips takes a whole number from 1, not {arguments.clips}")
    html, chosen = page(arguments.exp, arguments.clips, arguments.seed)
    path = RunFolder(arguments.exp).listening_test
    claim(arguments.exp, "listening_test", [path.name])
    write_text(path, html)
    speakers = len({row["speaker"] for row in chosen})
    if len(chosen) < arguments.clips:
        print(f"note: the test set has {len(chosen)} clips, fewer than --clips {arguments.clips}")
    print(f"written to {path}: {len(chosen)} clips of {speakers} speakers, no text of them")
    folder = RunFolder(arguments.exp).listeners
    print(f"next: each listener opens it and gives you listening-CODE.json; put these into {folder}, and then")
    print(f"  {rerun(arguments.exp, 5)}")
