"""What holds of every score: dropping hypotheses never helps, and no order of lines changes anything."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.scoring.score import Request, score_hypotheses, total
from tests.scored import CLIPS, REFERENCES, scores, utterance, write_hypotheses


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("scoring")


hypotheses = st.dictionaries(st.sampled_from([clip[0] for clip in CLIPS]), st.text("数字语音好今天 。", max_size=8))


@settings(max_examples=50)
@given(texts=hypotheses, data=st.data())
def test_dropping_hypotheses_never_lowers_the_cer(folder, texts, data):
    """A missing hypothesis is as bad as an empty one: all deletions.

    Only one thing is worse, and dropping it would lower the CER: a hypothesis with more errors than its reference has
    characters, that is one with insertions beyond its hits.
    """
    dropped = data.draw(st.sets(st.sampled_from(sorted(texts)))) if texts else set()
    write_hypotheses(folder / "all.txt", texts)
    write_hypotheses(folder / "empty.txt", {key: "" if key in dropped else text for key, text in texts.items()})
    write_hypotheses(folder / "some.txt", {key: text for key, text in texts.items() if key not in dropped})
    names = ("all", "empty", "some")
    every, empty, some = (score_hypotheses(REFERENCES, folder / f"{name}.txt", Request()) for name in names)
    assert total(some) == total(empty)
    if all(item.counts.errors <= item.counts.ref_len for item in every):
        assert total(some).cer >= total(every).cer


@settings(max_examples=25)
@given(texts=hypotheses, chance=st.randoms())
def test_the_order_of_lines_changes_nothing(folder, texts, chance):
    lines, references = list(texts.items()), list(REFERENCES)
    chance.shuffle(lines), chance.shuffle(references)
    write_hypotheses(folder / "a.txt", texts)
    write_hypotheses(folder / "b.txt", dict(lines))
    assert scores(REFERENCES, folder / "a.txt") == scores(references, folder / "b.txt")


def test_intervals_do_not_depend_on_the_order_of_lines(folder):
    speakers = [f"{number:02d}" for number in range(6)]
    references = [
        utterance(f"{speaker}-{n}", speaker, "今天天气很好"[: n % 6 + 1]) for speaker in speakers for n in range(9)
    ]
    written = {item.key: "今天很好" if item.speaker < "03" else "天很好" for item in references}
    write_hypotheses(folder / "h.txt", written)
    one, two = (scores(order, folder / "h.txt") for order in (references, references[::-1]))
    low, high = one["systems"]["tuned"]["ci95"]
    assert low <= one["systems"]["tuned"]["cer"] <= high
    assert one == two
