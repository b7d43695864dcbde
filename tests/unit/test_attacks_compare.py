"""Attacks on ``--compare``: of two honest runs one is changed, by hand or by being scored otherwise.

It is not compared then, and a line says why; the last tests are of what many runs do to p values.
"""

import re
import shutil

import pytest

import score as score_command
from asr.scoring.compare_runs import compare, read_runs
from tests.attacked import Scored, call, drop, fields


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    scored = Scored(folder)
    scored.score("one")
    scored.texts["tuned"] = {key: text.replace("错", "") for key, text in scored.tuned.items()}
    scored.score("two")
    return folder


@pytest.fixture
def pair(runs, tmp_path):
    for name in ("one", "two"):
        shutil.copytree(runs / name, tmp_path / name)
    return tmp_path


def edit(name, old, new):
    """Change a score folder's file by hand, once."""

    def attack(folder):
        path = folder / "two/score" / name
        text = path.read_text(encoding="utf-8")
        changed = re.sub(old, new, text, count=1, flags=re.DOTALL)
        assert changed != text
        path.write_text(changed, encoding="utf-8")

    return attack


def other_set(change, *options):
    def attack(folder):
        scored = Scored(folder)
        scored.options = list(options)
        change(scored)
        assert scored.score("two").status == 0

    return attack


def other_score(folder):
    shutil.copy(folder / "one/score/score.json", folder / "two/score/score.json")


def digest_too(change):
    """The digest of the first run's test set in the second's score.json."""

    def attack(folder):
        other_set(change)(folder)
        one = (folder / "one/score/score.json").read_text(encoding="utf-8")
        edit("score.json", '"digest": "[0-9a-f]+"', re.search('"digest": "[0-9a-f]+"', one)[0])(folder)

    return attack


def fewer(it):
    it.references.pop()
    for texts in it.texts.values():
        del texts["k071"]


def as_recognised(it):
    """Targets edited to what the tuned model writes."""
    for place, item in enumerate(it.references):
        it.reference(place, target=it.tuned[item.key] or item.target)


def one_character(it):
    it.reference(0, target="昨" + it.references[0].target[1:])


TUNED = '("tuned": {"cer": |"tuned": {\n *"cer": )[0-9.]+'
UNCOMPARED = {
    "a test set of fewer clips": (other_set(fewer), "scored on another test set"),
    "targets edited to what was recognised": (other_set(as_recognised), "scored on another test set"),
    "one character of a target edited": (other_set(one_character), "scored on another test set"),
    "the same, and its digest": (digest_too(one_character), "scored on another test set"),
    "other speakers": (other_set(fields(speaker="s1")), "scored on another test set"),
    "what is left out of both texts": (other_set(bool, "--without", "fillers"), "another test set|normalised by"),
    "another normaliser by name": (edit("score.json", '"zh-3"', '"zh-2"'), "normalised by zh-2, .* by zh-3"),
    "another version of the schema": (
        edit("score.json", '"schema_version": 3', '"schema_version": 2'),
        "schema_version",
    ),
    "an edited CER": (edit("score.json", TUNED, r"\g<1>0.01"), "not of one scoring"),
    "an edited share of wrong sentences": (
        edit("score.json", r'("systems".*?"tuned": \{.*?"ser": )[0-9.]+', r"\g<1>0.01"),
        "not of one scoring",
    ),
    "no missing hypothesis by hand": (
        lambda folder: (
            other_set(drop("tuned"))(folder),
            edit("score.json", '("systems".*?"tuned": {.*?"n_missing": )3', r"\g<1>0")(folder),
        ),
        "not of one scoring",
    ),
    "missing hypotheses": (other_set(drop("tuned")), "3 hypotheses of tuned are missing, first k000"),
    "the same missing in both systems": (
        other_set(drop("tuned", "baseline")),
        "a decode that is not whole is not compared",
    ),
    "edited counts of an utterance": (
        lambda folder: edit("per_utterance.tsv", r"(ok\t)[1-9](\t\d+\t\d+\t\d+)", r"\g<1>0\g<2>")(folder),
        "counts are not those of its alignment",
    ),
    "an edited alignment": (
        edit("per_utterance.tsv", r'\["s","(.)","错"\]', r'["=","\g<1>"]'),
        "counts are not those of its alignment",
    ),
    "no alignment": (edit("per_utterance.tsv", r"\[\[.*?\]\]", "x"), "counts are not those of its alignment"),
    "a row taken out": (edit("per_utterance.tsv", r"\nk00[^\n]*", ""), "not of one scoring"),
    "an easy row twice": (edit("per_utterance.tsv", r"\n(k00[^\n]*)\n[^\n]*", r"\n\g<1>\n\g<1>"), "not of one scoring"),
    "a table that is cut off": (edit("per_utterance.tsv", r"\t[^\t]*\n$", "\n"), "cells, the header has"),
    "score.json of another run": (other_score, "not of one scoring"),
    "no score.json": (lambda folder: (folder / "two/score/score.json").unlink(), "run stage 5"),
}


@pytest.mark.parametrize("name", UNCOMPARED)
def test_what_was_attacked_is_not_compared(pair, name):
    attack, words = UNCOMPARED[name]
    attack(pair)
    done = call(score_command.main, "--compare", pair / "one", pair / "two")
    assert done.status == 1, done.said
    assert re.search(words, done.said), done.said


@pytest.mark.parametrize("how", ["the same name", "a link"])
def test_a_run_is_not_compared_with_itself(pair, how):
    other = pair / "two"
    if how == "a link":
        shutil.rmtree(other)
        other.symlink_to(pair / "one")
    done = call(score_command.main, "--compare", pair / "one", other if how == "a link" else pair / "one/score")
    assert (done.status, "one is named twice" in done.said) == (1, True)


def test_choosing_among_many_runs_is_said_and_paid_for(pair):
    """Copies of a poor run make no p smaller, and the table says what choosing on the test set does."""
    two = compare(read_runs([pair / "one", pair / "two"]), count=50)
    names = [f"copy{number}" for number in range(5)]
    for name in names:
        shutil.copytree(pair / "one", pair / name)
    folders = [pair / name for name in ("one", "two", *names)]
    many = compare(read_runs(folders), count=50)
    for key in ("p_adjusted", "sign_flip_p_adjusted"):
        before, after = ({row["name"]: row[key] for row in found["systems"]} for found in (two, many))
        assert after["one"] > before["one"]
    said = call(score_command.main, "--compare", *folders).said
    assert "has a CER that is too good: choose on validation, or say how many were tried" in said
