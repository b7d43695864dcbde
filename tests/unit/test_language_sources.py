"""What a language model is made of, what of the test set is in it, and the weight that validation chooses."""

from __future__ import annotations

import gzip
import math

import pytest

from asr.core.errors import RecipeError
from asr.core.nbest import POSITIONS, NBest
from asr.language import sources, tuning
from asr.language.arpa import write_arpa
from asr.language.channel import Channel
from asr.language.kneser_ney import estimate
from asr.language.ngram import NGram
from asr.language.sources import build, check_leakage, read_lm_text, text_group, without_id
from asr.language.tuning import CHANNEL_WEIGHTS, LM_WEIGHTS, choose

TEST = ["给我一杯水吧", "我要去医院看病", "今天天气很好", "他在上海上班", "水", "药"]


def write(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_train_and_files_are_one_estimate_over_texts_in_scoring_form(tmp_path):
    one = write(tmp_path / "a.txt", ["給我，水！", "", "3点"])
    two = tmp_path / "b.txt.gz"
    two.write_bytes(gzip.compress("我要水\n".encode()))
    text = read_lm_text([one, two])
    assert text.lines == ("给我水", "三点", "我要水")
    assert build(text, ["我要 水。"], 2).log_probs == estimate(["我要水", "给我水", "三点", "我要水"], 2).log_probs
    with pytest.raises(RecipeError, match=r"c\.txt: holds no text"):
        read_lm_text([write(tmp_path / "c.txt", ["。", ""])])


def test_an_arpa_model_goes_alone(tmp_path):
    write_arpa(tmp_path / "lm.arpa", estimate(["给我水", "我要水"], 2))
    plain = write(tmp_path / "a.txt", ["水"])
    alone = read_lm_text([tmp_path / "lm.arpa"])
    assert isinstance(build(alone), NGram)
    for text, train in ((alone, ["水"]), (read_lm_text([tmp_path / "lm.arpa", plain]), [])):
        with pytest.raises(RecipeError, match=r"lm\.arpa: an ARPA model goes alone"):
            build(text, train)


@pytest.mark.parametrize(
    ("lines", "inside"),
    [
        (["今天天气很好"], 1),
        (["今天 天气，很好！"], 1),
        (["S001T010 今天天气很好"], 1),  # as in Kaldi's text
        (["今天天气很好吗", "明天今天天气很好"], 0),  # no whole line
        (["水", "药"], 0),  # too short to say anything
        (["他在上海上班"], 0),  # in training
        (["我们 今天天气很好"], 1),  # a name before it, for all one can see
    ],
)
def test_test_utterances_that_are_whole_lines_are_counted(tmp_path, monkeypatch, lines, inside):
    monkeypatch.setattr(sources, "MOST", 0.5)
    text = read_lm_text([write(tmp_path / "a.txt", ["我喝", *lines])])
    leakage = check_leakage(text, TEST, ["他在上海上班"])
    assert (leakage.inside, leakage.of) == (inside, 3)
    assert leakage.examples == ((f"{tmp_path / 'a.txt'}:2",) if inside else ())
    assert leakage.as_dict() == {"inside": inside, "of": 3, "share": inside / 3, "unchecked": 0}


def test_a_file_that_holds_the_answers_is_refused_by_numbers_not_by_text(tmp_path):
    texts = [f"这是第{number}句话" for number in "一二三四五六七八九十"]
    file = write(tmp_path / "a.txt", ["我喝", *texts[:2]])
    assert check_leakage(read_lm_text([file]), texts, []).share == 0.2
    more = write(tmp_path / "b.txt", texts[2:3])
    with pytest.raises(RecipeError) as error:
        check_leakage(read_lm_text([file, more]), texts, [])
    assert f"{file}, {more}: holds 3 of the 10 test utterances" in str(error.value)
    assert f"(30%, at most 20% may be), such as {file}:2, {file}:3, {more}:1" in str(error.value)
    assert not any(char in str(error.value) for char in "这句话")
    assert check_leakage(read_lm_text([file]), texts, texts[:1]).of == 9  # one of them is in training
    assert check_leakage(read_lm_text([file]), ["水"], []).share == 0.0


def test_an_arpa_model_cannot_be_looked_into(tmp_path):
    write_arpa(tmp_path / "lm.arpa", estimate(TEST, 5))
    leakage = check_leakage(read_lm_text([tmp_path / "lm.arpa"]), TEST, [])
    assert (leakage.inside, leakage.unchecked) == (0, ("lm.arpa",))


def test_groups_of_texts():
    for form, group in (("给我水", "training"), ("我要水", "lm"), ("他要水", "unseen")):
        assert text_group(form, {"给我水"}, {"给我水": 1, "我要水": 2}) == group


# Tuning ------------------------------------------------------------------------------------------------------------


def item(key: str, *steps: dict[str, float]) -> NBest:
    """Candidates of positions; the greedy text takes the first of each."""
    made = tuple(tuple((token, math.log(prob)) for token, prob in step.items()) for step in steps)
    return NBest(key, POSITIONS, "".join(next(iter(step)) for step in steps), made)


def test_the_weight_with_the_fewest_errors_is_chosen_and_the_smaller_of_equals():
    lm = estimate(["给我水"] * 5 + ["水"], 3)
    # In scores: 给 then 我 (right) against 给 then 饿, which is a little likelier by sound alone.
    references = {"a": "给我水", "b": "水", "c": "饿"}
    items = [
        item("a", {"给": 0.9}, {"饿": 0.6, "我": 0.4}, {"水": 0.9}),
        item("b", {"水": 0.9}),
        item("c", {"饿": 0.6, "水": 0.4}),
    ]
    chosen = choose(items, references, lm)
    errors = {cell.lm_weight: cell.errors for cell in chosen.grid}
    assert tuple(errors) == LM_WEIGHTS
    assert errors[0.0] == 1  # 饿 for 我
    assert errors[1.0] == 1  # 水 for 饿
    assert min(errors.values()) == 0
    assert chosen.best.lm_weight == min(weight for weight, count in errors.items() if count == 0)
    assert chosen.best.cer == 0
    assert chosen.priors.lm_weight == chosen.best.lm_weight
    assert chosen.priors.bonus == pytest.approx(lm.entropy(references.values()))
    record = chosen.as_dict()
    assert record["grid"][0] == {"lm_weight": 0.0, "channel_weight": 0.0, "errors": 1, "ref_len": 5, "cer": 0.2}


def test_where_nothing_helps_the_weight_is_zero_and_the_text_greedy():
    lm = estimate(["水"], 3)
    chosen = choose([item("a", {"给": 0.9, "水": 0.1})], {"a": "给"}, lm)
    assert chosen.best.lm_weight == 0.0
    assert chosen.priors.off


def test_errors_are_counted_as_scoring_does():
    lm = estimate(["水"], 3)
    chosen = choose([NBest("a", POSITIONS, "200个，", ())], {"a": "二百个"}, lm)
    assert (chosen.best.errors, chosen.best.ref_len) == (0, 3)


def test_the_channel_is_tuned_on_utterances_that_it_was_not_made_of():
    lm = estimate(["给我水"] * 5 + ["我要水", "我要睡"], 3)
    items = [item(str(number), {"给": 0.9}, {"我": 0.9}, {"睡": 0.9}) for number in range(20)]
    references = dict.fromkeys(map(str, range(20)), "给我水")
    chosen = choose(items, references, lm, with_channel=True)
    assert {cell.channel_weight for cell in chosen.grid} == set(CHANNEL_WEIGHTS)
    assert len(chosen.grid) == len(LM_WEIGHTS) * len(CHANNEL_WEIGHTS)
    assert chosen.best.errors == 0
    assert chosen.best.channel_weight > 0


def test_no_utterance_is_tuned_with_its_own_errors(monkeypatch):
    made = []
    estimated = Channel.estimate

    def note(pairs, frequencies):
        made.append([reference for reference, _ in pairs])
        return estimated(pairs, frequencies)

    monkeypatch.setattr(Channel, "estimate", note)
    searched = []
    monkeypatch.setattr(
        tuning, "search", lambda item, priors, beam: searched.append((item.key, id(priors.channel))) or item.greedy
    )
    items = [item(str(number), {"水": 0.9}) for number in range(5)]
    chosen = choose(
        items, {str(number): "水" * (number + 1) for number in range(5)}, estimate(["水"]), with_channel=True
    )
    assert made == [["水" * size for size in sizes] for sizes in ([1, 2, 3, 4, 5], [2, 4], [1, 3, 5])]
    channels = dict(searched[:5])
    assert len({channels["0"], channels["1"], id(chosen.priors.channel)}) == 3
    assert channels["0"] == channels["2"] == channels["4"]


@pytest.mark.parametrize(
    "line",
    [
        "S1T0N1 今天天气很好",
        "S1T0N1\t今天天气很好",
        "S1T0N1\u3000今天天气很好",
        "今天天气很好 (s1-n1)",
        "12、今天天气很好",
        "说话人1 今天天气很好",
        "别的话。今天天气很好！再见",
        "别的话\r今天天气很好",
    ],
)
def test_a_test_text_is_found_however_a_line_has_it(tmp_path, line):
    path = tmp_path / "lm.txt"
    path.write_text(line + "\n" + "没有的话\n" * 3, encoding="utf-8", newline="")
    others = [f"第{n}句话是新的" for n in "一二三四五"]
    assert check_leakage(read_lm_text([path]), ["今天天气很好", *others], []).inside == 1


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("S1T0N1 今天", "今天"),
        ("S1T0N1\t今天 天气", "今天 天气"),
        ("今天 (s1-n1)", "今天"),
        ("卡拉 OK", "卡拉 OK"),
        ("OK 好", "OK 好"),
        ("3 号", "号"),
        ("今天（笑）", "今天（笑）"),
    ],
)
def test_an_id_is_no_part_of_a_sentence(line, sentence):
    assert without_id(line) == sentence


def test_a_manifest_is_no_text(tmp_path):
    (tmp_path / "test.jsonl").write_text('{"key": "a", "target": "今天"}\n')
    with pytest.raises(RecipeError, match=r"test\.jsonl: a manifest, not a text"):
        read_lm_text([tmp_path / "test.jsonl"])
