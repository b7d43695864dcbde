"""NIST's own programs, sclite and sc_stats (Debian package sctk), count and test as we do."""

import os
import random
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from asr.scoring.cer import ErrorCounts
from asr.scoring.files import write_trn
from asr.scoring.significance import mapsswe, segments
from tests.patience import PATIENCE
from tests.scored import systems_of

PATH = f"{os.environ['PATH']}:/usr/lib/sctk/bin"  # where Debian has them, behind a program called sctk
ALPHABET = "的一是了我不人在他有这个上们来到时大地为子中你说生国年着就那和要她出也得里后自以会abc"

pytestmark = pytest.mark.skipif(shutil.which("sclite", path=PATH) is None, reason="needs sclite (Debian package sctk)")


def nist(folder: Path, *words: str, text: bytes = b"") -> None:
    done = subprocess.run(
        words, cwd=folder, input=text, capture_output=True, env={**os.environ, "PATH": PATH}, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr[-500:]


def sclite(folder: Path, name: str, report: str) -> None:
    nist(folder, "sclite", "-r", "ref.trn", "trn", "-h", f"{name}.trn", "trn", "-i", "rm", "-e", "utf-8", "-o", report)


def said(count: int, chance: random.Random) -> list[str]:
    return ["".join(chance.choices(ALPHABET, k=chance.randrange(1, 14))) for _ in range(count)]


def garbled(text: str, chance: random.Random) -> str:
    kept = [char if chance.random() > 0.2 else chance.choice(ALPHABET) for char in text if chance.random() > 0.15]
    for _ in range(chance.randrange(3)):
        kept.insert(chance.randrange(len(kept) + 1), chance.choice(ALPHABET))
    return "".join(kept)


def test_sclite_counts_what_we_count(tmp_path):
    """On 2,000 utterances: characters, wrong utterances, and the sum of the errors.

    Of several alignments sclite takes the cheapest by weights of its own (a substitution 4, a gap 3), which may have an
    error more than the fewest that are possible, but never one fewer.
    """
    chance = random.Random(0)
    systems = systems_of(tmp_path, [(text, garbled(text, chance), text) for text in said(2000, chance)])[1]
    write_trn(tmp_path, systems)
    for name, scored in systems.items():
        sclite(tmp_path, name, "rsum")
        line = next(line for line in (tmp_path / f"{name}.trn.raw").read_text().splitlines() if "| Sum " in line)
        utterances, words, right, sub, del_, ins, errors, wrong = map(int, re.findall(r"\d+", line))
        counts = ErrorCounts.total(item.counts for item in scored)
        assert (utterances, words) == (2000, counts.ref_len)
        assert wrong == sum(item.counts.errors > 0 for item in scored)
        assert (right + sub + del_, sub + del_ + ins) == (words, errors)
        assert counts.errors <= errors <= counts.errors * 1.001
        if name == "tuned":
            assert errors == 0


def test_brackets_in_ids_and_bars_in_speakers_do_not_break_the_files(tmp_path):
    names = [("a(1)", "k(1)"), ("a_b", "c"), ("a", "b_c"), ("a-1", "k%281%29"), ("甲 乙", "k)"), ("a(1)", "k2")]
    texts = [("今天很好", "今天很好", "今天"), ("好", "不好", "好")] * 3
    systems = systems_of(tmp_path, texts)[1]
    for scored in systems.values():
        for place, (speaker, key) in enumerate(names):
            utterance = scored[place].utterance._replace(speaker=speaker, key=key)
            scored[place] = replace(scored[place], utterance=utterance)
    write_trn(tmp_path, systems)
    ids = [line.rpartition(" ")[2] for line in (tmp_path / "ref.trn").read_text(encoding="utf-8").splitlines()]
    assert len(set(ids)) == len(names)
    sclite(tmp_path, "tuned", "rsum")
    lines = (tmp_path / "tuned.trn.raw").read_text(encoding="utf-8").splitlines()
    total = next(line for line in lines if "| Sum " in line)
    assert list(map(int, re.findall(r"\d+", total)))[:2] == [6, 15]
    speakers = {line.split("|")[1].strip() for line in lines if "%" in line or "| a " in line}
    assert {"a", "a%281%29", "a%5fb", "a%2d1"} <= {name.lower() for name in speakers}


@pytest.mark.parametrize("seed", range(4))
def test_sc_stats_finds_our_p_of_the_matched_pairs_test(tmp_path, seed):
    """Two systems with nearly the same rate. sc_stats looks z up in a table of two decimals."""
    chance = random.Random(seed)

    def heard(text: str, share: float) -> str:
        return "".join(chance.choice(ALPHABET) if chance.random() < share else char for char in text)

    texts = [(text, heard(text, 0.30), heard(text, 0.29)) for text in said(600, chance)]
    systems = systems_of(tmp_path, texts)[1]
    write_trn(tmp_path, systems)
    for name in systems:
        sclite(tmp_path, name, "sgml")
    both = b"".join((tmp_path / f"{name}.trn.sgml").read_bytes() for name in systems)
    nist(tmp_path, "sc_stats", "-p", "-t", "mapsswe", "-u", "-n", "out", text=both)
    report = (tmp_path / "out.stats.unified").read_text(encoding="utf-8")
    theirs = float(
        next(re.findall(r"0\.\d+", line)[0] for line in report.splitlines() if " MP " in line and "||" in line)
    )
    pairs = zip(systems["baseline"], systems["tuned"], strict=True)
    found = mapsswe(part for one, two in pairs for part in segments(one.alignment.chunks, two.alignment.chunks))
    assert found["p"] == pytest.approx(theirs, abs=0.012)
