"""Kaldi data folders written: by the rules of Kaldi's validate_data_dir.sh, and so that they can be read back."""

import os
import re
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from asr.audio.clip import Cut
from asr.core.errors import RecipeError
from asr.core.manifest import Utterance
from asr.core.names import by_key, kaldi_id, kaldi_speakers, plain_name
from asr.preparation.corpora.kaldi import read_kaldi, write_kaldi
from asr.preparation.joining import unsafe_path
from asr.scoring.score import Request, score_hypotheses
from tests.kaldi_rules import broken_rules
from tests.stage1 import ROOT

KEYS = st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=1, max_size=5)
KEYS = KEYS.map(plain_name).filter(bool)
WORDS = st.text("你好天气ab", min_size=1, max_size=5)
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
SOURCES = NAMES.map(lambda name: f"/d/{name}").filter(lambda path: os.path.normpath(path) == path)


def utterance(key: str, source: str, target: str, speaker: str) -> Utterance:
    return Utterance(key, source, target, 100, len(target), speaker, 1.0, 16000)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(items={"k": ("/d/a b|c.wav", "好", "s")})
@example(items={"ﾱ": ("/d/a\u3000b", "好", "s"), "𠀀": ("/d/\ufeff.wav", "你", "ﾱ")})
@example(items={"a": ("/d/1", "好", "1"), "0": ("/d/2", "好", "10")})
@given(items=st.dictionaries(KEYS, st.tuples(SOURCES, WORDS, KEYS), min_size=1, max_size=6))
def test_what_is_written_can_be_read_back_in_byte_order_and_anything_else_is_refused(tmp_path, items):
    utterances = [utterance(key, *values) for key, values in items.items()]
    odd = [
        (kaldi_id(item.key, item.speaker), item.key)
        for item in utterances
        if unsafe_path(item.source) or re.search(r":\d+$", item.source)
    ]
    if odd:
        with pytest.raises(RecipeError, match=rf"wav\.scp: {min(odd)[1]}: Kaldi cannot have a path like this"):
            write_kaldi(tmp_path / "w", utterances)
        return
    write_kaldi(tmp_path / "w", utterances)
    assert broken_rules(tmp_path / "w") == []
    part = read_kaldi(tmp_path / "w")
    assert part.problems == []
    assert by_key({clip.key: (clip.audio, clip.text, clip.speaker) for clip in part.clips}, utterances) == items


def test_the_four_files_to_the_byte_and_nothing_else(tmp_path):
    items = [
        utterance("𠀀", "/d/1.wav", "你好 ok", "s2"),
        utterance("ﾱ", "/d/2.wav", "", "s1"),
        utterance("s2-B", "/d/3.wav", "再\n见", "s2"),
        utterance("s2B", "/d/4.wav", "好", "s10"),
    ]
    write_kaldi(tmp_path, items)
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == {
        "wav.scp": "s1-ﾱ /d/2.wav\ns10-s2B /d/4.wav\ns2-B /d/3.wav\ns2-𠀀 /d/1.wav\n",
        "text": "s1-ﾱ\ns10-s2B 好\ns2-B 再 见\ns2-𠀀 你好 ok\n",
        "utt2spk": "s1-ﾱ s1\ns10-s2B s10\ns2-B s2\ns2-𠀀 s2\n",
        "spk2utt": "s1 s1-ﾱ\ns10 s10-s2B\ns2 s2-B s2-𠀀\n",
    }
    for path in tmp_path.iterdir():
        subprocess.run(["sort", "-c", path], env={**os.environ, "LC_ALL": "C"}, check=True)


NAMES_THAT_MEET = st.text("1a-_,! ", min_size=1, max_size=4).filter(lambda name: name.strip())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(speakers={"1", "1-2", "1-2-3", "1_2-4", "1,2"})
@given(speakers=st.sets(NAMES_THAT_MEET, min_size=2, max_size=5))
def test_speakers_whose_names_begin_alike_keep_kaldis_order_or_are_refused(tmp_path, speakers):
    items = [utterance(f"{key}{at}", "/a.wav", "好", name) for at, name in enumerate(sorted(speakers)) for key in "2a"]
    if len(set(kaldi_speakers(speakers).values())) == len(speakers):
        write_kaldi(tmp_path, items)
        assert broken_rules(tmp_path) == []
    else:
        with pytest.raises(RecipeError, match="would both be"):
            write_kaldi(tmp_path, items)


def test_speakers_keep_their_names_unless_one_would_stand_within_anothers_utterances():
    assert kaldi_speakers(["spk-01", "spk-02", "1", "10"]) == {name: name for name in ("1", "10", "spk-01", "spk-02")}
    assert kaldi_speakers(["M01", "M01-post", "M01 b"]) == {"M01": "M01", "M01-post": "M01_post", "M01 b": "M01_b"}


def test_two_ids_that_would_be_one_are_refused(tmp_path):
    items = [utterance("s-1", "/a.wav", "好", "s"), utterance("1", "/b.wav", "好", "s")]
    with pytest.raises(RecipeError, match="utterances s-1 and 1 of speaker s would both be s-1 there"):
        write_kaldi(tmp_path, items)


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        ({"text": "s1-a 好\n"}, "text has other ids than utt2spk"),
        ({"wav.scp": "s2-b /b\ns1-a /a\n"}, "wav.scp is not sorted, or has an id twice"),
        ({"spk2utt": "s1 s1-a\ns2 s2-c\n"}, "spk2utt says something else than utt2spk"),
        ({"utt2spk": "s1-a s2\ns2-b s1\n"}, "utt2spk is not sorted when sorted by speaker"),
        ({"utt2spk": "s1-a s1 x\ns2-b s2\n"}, "utt2spk has not two words a line"),
        ({"text": "s1-a 好\ns2-b 好"}, "text does not end in a line break"),
    ],
)
def test_the_rules_notice_what_breaks_them(tmp_path, broken, rule):
    write_kaldi(tmp_path, [utterance("a", "/a", "好", "s1"), utterance("b", "/b", "好", "s2")])
    assert broken_rules(tmp_path) == []
    for name, text in broken.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert rule in broken_rules(tmp_path)


def test_both_names_of_an_utterance_are_known_and_what_could_be_two_is_left_as_it_is():
    items = [utterance("k1", "/a", "好", "01"), utterance("02-k2", "/a", "好", "02"), utterance("k4", "/a", "好", "03")]
    assert by_key({"01-k1": 1, "k2": 2, "k4": 3, "03-k4": 4, "x": 5}, items) == {
        "k1": 1,
        "02-k2": 2,
        "k4": 3,
        "03-k4": 4,
        "x": 5,  # the first has its key already, the second is nobody's
    }
    two = [utterance("01-k", "/a", "好", "01"), utterance("02-k", "/a", "好", "02")]
    assert by_key({"k": 1}, two) == {"k": 1}


def test_a_text_with_kaldis_ids_is_scored_as_one_with_the_manifests_keys(tmp_path):
    items = [utterance("k1", "/a", "你好", "01"), utterance("k2", "/a", "再见", "02")]
    (tmp_path / "keys").write_text("k1 你好\nk2 再\n", encoding="utf-8")
    (tmp_path / "ids").write_text("01-k1 你好\n02-k2 再\n", encoding="utf-8")
    by_keys, by_ids = (score_hypotheses(items, tmp_path / name, Request()) for name in ("keys", "ids"))
    assert by_ids == by_keys
    assert [one.counts.errors for one in by_ids] == [0, 1]
    (tmp_path / "ids").write_text("01-k1 你好\n03-k2 再\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="ids:2: key 03-k2 is not in the reference"):
        score_hypotheses(items, tmp_path / "ids", Request())


@pytest.mark.parametrize(
    "source", ["/d/a\nb.wav", "/d/a\rb.wav", "/d/rm -rf |", "/d/a.wav ", "/d/x.ark:7", "/d/\udcff"]
)
def test_a_path_that_kaldi_would_misread_is_refused_and_what_was_there_stays(tmp_path, source):
    write_kaldi(tmp_path, [utterance("old", "/d/a.wav", "好", "s")])
    with pytest.raises(RecipeError, match=r"wav\.scp: k: Kaldi cannot have a path like this"):
        write_kaldi(tmp_path, [utterance("k", source, "好", "s")])
    assert (tmp_path / "wav.scp").read_text() == "s-old /d/a.wav\n"


def test_speakers_with_blanks_are_one_word_and_two_may_not_become_one(tmp_path):
    write_kaldi(tmp_path, [utterance("k", "/a.wav", "好", "Li  Lei")])
    assert (tmp_path / "utt2spk").read_text() == "Li_Lei-k Li_Lei\n"
    assert (tmp_path / "spk2utt").read_text() == "Li_Lei Li_Lei-k\n"
    with pytest.raises(RecipeError, match="would both be Li_Lei"):
        write_kaldi(tmp_path, [utterance("k", "/a.wav", "好", "Li Lei"), utterance("l", "/a.wav", "好", "Li_Lei")])


def test_lhotse_reads_our_folder_and_we_read_lhotses(tmp_path):
    import numpy as np
    import soundfile
    from lhotse.kaldi import export_to_kaldi, load_kaldi_data_dir

    items = []
    for number in (1, 2):
        soundfile.write(tmp_path / f"{number} x.wav", np.zeros(16000 * number), 16000)
        items.append(utterance(f"k{number}", f"{tmp_path}/{number} x.wav", "你好", "s1"))
    write_kaldi(tmp_path / "ours", items)
    recordings, supervisions, _ = load_kaldi_data_dir(tmp_path / "ours", 16000)
    assert [(item.id, item.sources[0].source, item.duration) for item in recordings] == [
        ("s1-k1", items[0].source, 1.0),
        ("s1-k2", items[1].source, 2.0),
    ]
    assert [(item.id, item.text, item.speaker) for item in supervisions] == [(f"s1-k{n}", "你好", "s1") for n in (1, 2)]
    export_to_kaldi(recordings, supervisions, tmp_path / "theirs")
    part = read_kaldi(tmp_path / "theirs")
    assert [(clip.key, clip.audio, clip.text, clip.speaker) for clip in part.clips] == [
        (f"s1-{item.key}", item.source, "你好", "s1") for item in items
    ]
    assert [clip.cut for clip in part.clips] == [Cut(0.0, 1.0), Cut(0.0, 2.0)]
    assert part.problems == []


MEASURE = """
import sys, tracemalloc
from pathlib import Path
from asr.core.manifest import Utterance
from asr.preparation.corpora.kaldi import read_kaldi, write_kaldi
count, folder = int(sys.argv[1]), Path(sys.argv[2])
names = [f"S{number:06d}" for number in range(count)]
items = [Utterance(name, f"/corpus/Audio/{name}.wav", "今天天气很好", 100, 6, name[-2:], 1.0, 16000) for name in names]
for work in (lambda: write_kaldi(folder, items), lambda: read_kaldi(folder)):
    tracemalloc.start()
    part = work()
    print(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
assert len(part.clips) == count
"""


def test_memory_grows_by_less_than_a_kilobyte_an_utterance(tmp_path):
    """In a process of its own: what other tests have left in Python's tables would be counted too."""
    count = 20_000
    command = [sys.executable, "-c", MEASURE, str(count), str(tmp_path)]
    paths = {"PYTHONPATH": f"{ROOT / 'scripts'}:{ROOT / 'local'}"}
    done = subprocess.run(command, env={**os.environ, **paths}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written, read = map(int, done.stdout.split())
    assert written < 100 * count
    assert read < 900 * count
