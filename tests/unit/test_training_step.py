"""Parts of a training step that synchronise with no GPU are FunASR's: encoders, masks, losses, sentence ends."""

import copy
import math

import pytest
import torch
from funasr.losses.label_smoothing_loss import LabelSmoothingLoss
from funasr.models.specaug.specaug import SpecAug, SpecAugLFR
from funasr.models.transformer.embedding import SinusoidalPositionEncoder
from funasr.models.transformer.utils.add_sos_eos import add_sos_eos as their_add_sos_eos

from asr.models.training_step import (
    accuracy,
    add_positions,
    add_sos_eos,
    augmented,
    ctc_losses,
    length_mask,
    mask_without_asking,
    smoothed_loss,
)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("per_token", [True, False])
def test_the_loss_is_label_smoothing(smoothing, per_token):
    torch.manual_seed(0)
    scores, target = torch.randn(3, 5, 11, requires_grad=True), torch.randint(0, 11, (3, 5))
    target[0, 3:] = -1
    theirs = LabelSmoothingLoss(11, -1, smoothing, per_token)
    one, other = theirs(scores, target), smoothed_loss(theirs, scores, target)
    assert other.item() == pytest.approx(one.item(), rel=1e-5)
    gradients = [torch.autograd.grad(loss, scores)[0] for loss in (one, other)]
    torch.testing.assert_close(*gradients)


def test_sentence_ends_are_funasrs():
    targets = torch.tensor([[5, 6, 7], [8, -1, -1], [9, 4, -1]])
    assert [each.tolist() for each in add_sos_eos(targets, 1, 2, -1)] == [
        each.tolist() for each in their_add_sos_eos(targets, 1, 2, -1)
    ]


def test_masks_and_accuracy_by_hand():
    assert length_mask(torch.tensor([1, 3]), 3).tolist() == [[True, False, False], [True, True, True]]
    assert length_mask(torch.tensor([0]), 2).tolist() == [[False, False]]
    scores = torch.eye(3)[torch.tensor([[0, 1], [2, 2]])]
    assert accuracy(scores, torch.tensor([[0, 2], [2, -1]]), -1).item() == pytest.approx(2 / 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_positions_are_funasrs_to_the_bit(dtype):
    x = torch.randn(2, 70, 32, dtype=dtype)
    theirs = SinusoidalPositionEncoder()
    assert torch.equal(add_positions(x), theirs(x))


TIME = {"apply_freq_mask": False, "num_time_mask": 2}
FREQ = {"apply_time_mask": False, "num_freq_mask": 2}


@pytest.mark.parametrize(
    ("kind", "conf", "parts"),
    [
        (SpecAug, {**TIME, "time_mask_width_range": [0, 12]}, 1),
        (SpecAug, {**FREQ, "freq_mask_width_range": [0, 12]}, 1),
        (SpecAugLFR, {**TIME, "time_mask_width_range": [0, 12], "lfr_rate": 6}, 1),
        (SpecAugLFR, {**FREQ, "freq_mask_width_range": [1, 3], "lfr_rate": 6}, 7),
    ],
)
def test_spectra_are_masked_as_often_and_as_widely_as_funasr_masks_them(kind, conf, parts):
    theirs = kind(apply_time_warp=False, **conf)
    ours = copy.deepcopy(theirs)
    mask_without_asking(ours)
    clips, size = 4000, 35 if parts > 1 else 40
    shape = (clips, 3, size) if "num_freq_mask" in conf else (clips, size, 3)
    shares, lengths = [], torch.full((clips,), 40)
    for specaug in (theirs, ours):
        torch.manual_seed(5)
        masked, same = specaug(torch.ones(shape), lengths)
        assert same is lengths
        masked = 1 - (masked[:, 0] if "num_freq_mask" in conf else masked[:, :, 0])
        part = masked.view(clips, parts, -1)
        assert (part == part[:, :1]).all()
        assert part[:, 0].sum(1).max() <= (4 if parts > 1 else 22)
        shares.append(masked.mean(0))
    assert shares[0].max() > 0.05
    torch.testing.assert_close(*shares, atol=0.03, rtol=0)  # four standard deviations of a share among 4000


def test_spectra_are_masked_in_training_alone_and_normalised_always():
    model = torch.nn.Module()
    model.specaug = SpecAug(apply_time_warp=False, **TIME, time_mask_width_range=[3, 4])
    model.normalize = lambda speech, lengths: (speech * 2, lengths)
    speech, lengths = torch.ones(2, 20, 3), torch.tensor([20, 9])
    assert set(augmented(model.train(), speech.clone(), lengths)[0].unique().tolist()) == {0.0, 2.0}
    assert augmented(model.eval(), speech, lengths)[0].unique().tolist() == [2.0]


def test_masks_are_one_models_and_not_all_of_the_process():
    one, other = (SpecAug(apply_time_warp=False, **TIME, time_mask_width_range=[0, 12]) for _ in range(2))
    mask_without_asking(one)
    mask_without_asking(None)
    assert "forward" in one.time_mask.__dict__
    assert "forward" not in other.time_mask.__dict__
    assert "forward" in copy.deepcopy(one).time_mask.__dict__
    assert copy.deepcopy(one).time_mask.forward.__self__ is not one.time_mask


def test_ctc_by_hand_and_what_is_impossible_adds_nothing():
    """Every class as likely: T frames spell L different characters in C(T + L, 2 L) ways of V ** T."""
    scores = torch.zeros(4, 6, 5, requires_grad=True)
    text = torch.tensor([[1, 2, -1], [3, -1, -1], [1, 1, -1], [-1, -1, -1]])
    lengths, counts = torch.tensor([6, 2, 2, 3]), torch.tensor([2, 1, 2, 0], dtype=torch.int32)
    losses, impossible = ctc_losses(scores, lengths, text, counts, 0)
    # The third: twice the same needs a blank between, a third frame. The fourth: blanks alone.
    ways = [(6, math.comb(8, 4)), (2, math.comb(3, 2)), (3, 1)]
    nats = [frames * math.log(5) - math.log(count) for frames, count in ways]
    assert losses.tolist() == pytest.approx([*nats[:2], 0.0, nats[2]], rel=1e-5)
    assert impossible == 1
    losses.sum().backward()
    assert torch.isfinite(scores.grad).all()
    assert scores.grad[2].abs().max() == 0
    assert scores.grad[1, 2:].abs().max() == 0  # behind the clip
    assert scores.grad[0].abs().max() > 0


def test_ctc_of_a_batch_of_empty_texts():
    losses, impossible = ctc_losses(
        torch.zeros(2, 3, 5), torch.tensor([3, 1]), torch.zeros(2, 0, dtype=torch.long), torch.tensor([0, 0]), 0
    )
    assert impossible == 0
    assert losses.tolist() == pytest.approx([3 * math.log(5), math.log(5)], rel=1e-5)
