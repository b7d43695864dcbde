"""Candidates beside the greedy text: of every family, the same in any batch, and the text is the best of them."""

import itertools
import math

import numpy as np
import pytest
import torch

from asr.core.nbest import CTC, HYPOTHESES, POSITIONS
from asr.models.loading import load
from asr.models.nbest import of_beam, of_frames, of_positions
from tests import tiny, tiny_conformer, tiny_nano, tiny_sensevoice, tiny_whisper

CHARACTERS = list("一二三四五六七八九十")
SECONDS = [0.9, 0.3, 1.6, 1.1]


def rows(*steps):
    return torch.tensor([[math.log(share) for share in step] for step in steps])


def test_positions_have_the_likeliest_first():
    decoded = of_positions([2], rows((0.2, 0.1, 0.7)))
    assert decoded.kind == POSITIONS
    assert [token for token, _ in decoded.steps[0]] == [2, 0, 1]
    assert [math.exp(score) for _, score in decoded.steps[0]] == pytest.approx([0.7, 0.2, 0.1])
    assert of_positions([], torch.empty(0, 3)).steps == []


def test_of_blank_frames_in_a_row_one_is_kept_and_repeats_stay_apart():
    blank, one = (0.9999, 0.00005, 0.00005), (0.1, 0.8, 0.1)
    decoded = of_frames([1, 1], rows(blank, blank, one, blank, blank, blank, one, (0.5, 0.4, 0.1), blank), blank=0)
    assert decoded.kind == CTC
    assert [step[0][0] for step in decoded.steps] == [0, 1, 0, 1, 0, 0]  # what is blank with 0.5 is kept beside blank
    assert decoded.blank == 0


def test_a_beams_texts_are_kept_once_and_there_is_always_one():
    assert of_beam([1], [([1], -0.1), ([2], -0.2), ([1], -0.3)]).beam == [([1], -0.1), ([2], -0.2)]
    assert of_beam([], []).beam == [([], 0.0)]


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return {
        "paraformer": tiny.make_model(folder / "paraformer"),
        "sensevoice": tiny_sensevoice.make_model(folder / "sensevoice", CHARACTERS),
        "conformer": tiny_conformer.make_model(folder / "conformer", CHARACTERS),
        "nano": tiny_nano.make_model(folder / "nano", CHARACTERS),
        "whisper": tiny_whisper.make_model(folder / "whisper", CHARACTERS),
    }


@pytest.mark.parametrize(
    ("name", "options", "kind"),
    [
        ("paraformer", {}, POSITIONS),
        ("sensevoice", {}, CTC),
        ("conformer", {}, CTC),
        ("conformer", {"method": "attention", "beam_size": 3}, HYPOTHESES),
        ("nano", {"nbest_beam": 3, "max_new_tokens": 6}, HYPOTHESES),
        ("whisper", {"nbest_beam": 3, "max_new_tokens": 6}, HYPOTHESES),
    ],
)
def test_every_family_gives_candidates_that_no_batch_changes(bases, name, options, kind):
    recogniser = load(bases[name])
    recogniser.options = recogniser.family.options(options)
    generator = np.random.default_rng(0)
    clips = [generator.normal(0, 0.1, int(16000 * seconds)).astype("float32") for seconds in SECONDS]
    together = recogniser.decode_batch(*recogniser.features(clips), keys=["a", "b", "c", "d"])
    assert [nbest.key for nbest in together] == ["a", "b", "c", "d"]
    assert {nbest.kind for nbest in together} == {kind}
    for clip, nbest in zip(clips, together, strict=True):
        (alone,) = recogniser.decode_batch(*recogniser.features([clip]))
        assert alone.greedy == nbest.greedy
        for own, other in zip((*nbest.steps, nbest.texts), (*alone.steps, alone.texts), strict=True):
            assert [text for text, _ in own] == [text for text, _ in other]
            assert [score for _, score in own] == pytest.approx([score for _, score in other], abs=1e-3)
            assert [score for _, score in own] == sorted((score for _, score in own), reverse=True)
    if kind == POSITIONS:
        assert ["".join(step[0][0] for step in nbest.steps).strip() for nbest in together] == [
            nbest.greedy for nbest in together
        ]
    elif kind == CTC:
        best = [[text for text, _ in itertools.groupby(step[0][0] for step in nbest.steps)] for nbest in together]
        assert ["".join(texts).replace(" ", "") for texts in best] == [
            nbest.greedy.replace(" ", "") for nbest in together
        ]
        assert any(nbest.greedy for nbest in together)
    else:
        assert any(len(nbest.texts) > 1 for nbest in together)


def test_nanos_greedy_text_is_the_same_with_and_without_a_beam(bases):
    recogniser = load(bases["nano"])
    clips = [np.random.default_rng(n).normal(0, 0.1, 16000).astype("float32") for n in range(3)]
    texts = []
    for beam in (0, 4):
        recogniser.options = recogniser.family.options({"nbest_beam": beam, "max_new_tokens": 6})
        texts.append(recogniser.transcribe(clips))
    assert texts[0] == texts[1]
    recogniser.options = recogniser.family.options({"max_new_tokens": 6})
    assert all(nbest.texts == ((nbest.greedy, 0.0),) for nbest in recogniser.decode_batch(*recogniser.features(clips)))


@pytest.mark.parametrize(
    ("token", "text"), [("你", "你"), ("hello", "hello "), ("hel@@", "hel"), ("<unk>", ""), ("</s>", ""), ("3", "3")]
)
def test_what_a_token_writes(bases, token, text):
    recogniser = load(bases["paraformer"])
    recogniser.tokenizer.token_list = ["x", token]
    assert recogniser.family.piece(recogniser.tokenizer, 1) == text
