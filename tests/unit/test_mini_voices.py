"""The mini corpus's table of speakers: who shares a voice with whom."""

import sys

from asr.scoring.groups import read_column
from tests.stage1 import ROOT

sys.path.insert(0, str(ROOT / "mini/make"))
from speakers import TEST_BLENDS, TRAIN_BLENDS, VAL_BLENDS, voice_groups  # mini/make's


def test_the_voice_groups_are_those_of_the_voices_that_the_corpus_is_made_of():
    blends = [*TRAIN_BLENDS, *VAL_BLENDS, *TEST_BLENDS]
    written = read_column(ROOT / "mini/corpus/speakers.tsv", "voice_group")
    assert list(written.values()) == voice_groups(blends)
    groups = {group: " ".join(name for name in written if written[name] == group) for group in written.values()}
    assert list(groups.values()) == ["01 03 05 06 09", "02 04 07 08 10", "11 12", "13 15", "14 16"]


def test_blends_that_two_others_join_are_of_one_group():
    assert voice_groups([{"a": 1}, {"b": 1}, {"c": 1}, {"a": 0.5, "b": 0.5}]) == ["A", "A", "B", "A"]
