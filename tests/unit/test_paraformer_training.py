"""The quick training step is FunASR's: losses, gradients, and the sampler's distribution."""

import copy

import numpy as np
import pytest
import torch
from funasr.models.paraformer.cif_predictor import cif_v1
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.models.loading import load
from asr.models.paraformer.training import decode, encode, integrate, predict, sample, use_fast_step
from asr.models.training_step import length_mask
from tests import tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load(tiny.make_model(tmp_path_factory.mktemp("base"))).model


def batch(seed=0, clips=5, shortest=20, longest=30):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(shortest, longest + 1, (clips, 1), generator=generator)
    lengths[0] = longest
    counts = torch.randint(2, 7, (clips, 1), generator=generator)
    counts[0] = 6
    text = torch.randint(3, 13, (clips, 6), generator=generator)
    text[torch.arange(6)[None, :] >= counts] = -1
    speech = torch.randn(clips, longest, 560, generator=generator)
    speech[torch.arange(longest)[None, :] >= lengths] = 0
    return {"speech": speech, "speech_lengths": lengths, "text": text, "text_lengths": counts}


def without_chance(model, ratio):
    made = copy.deepcopy(model)
    made.specaug, made.sampling_ratio = None, ratio
    for part in made.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
        if hasattr(part, "dropout_rate"):
            part.dropout_rate = 0.0
    return made.train()


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize(
    "data", [batch(0), batch(1), batch(2), batch(3, clips=1), batch(4, clips=9, shortest=12, longest=90)]
)
def test_losses_and_gradients_are_funasrs(model, data, normalised):
    theirs = without_chance(model, 0.0)
    theirs.length_normalized_loss = theirs.criterion_att.normalize_length = normalised
    theirs.predictor.register_forward_pre_hook(lambda _, given: (given[0] * given[2].transpose(1, 2), *given[1:]))
    theirs.double()  # cif_v1 loses the last token where float32 keeps its sum below the threshold
    ours = copy.deepcopy(theirs)
    ours.predictor._forward_pre_hooks.clear()
    loss, stats, weight = theirs(**{k: v.double() if k == "speech" else v for k, v in data.items()})
    loss.backward()
    ours.float()
    assert use_fast_step(ours)
    own_loss, own_stats, own_weight = ours(**data)
    own_loss.backward()
    assert own_loss.item() == pytest.approx(loss.item(), rel=1e-4)
    assert own_weight.item() == weight.item()
    assert own_stats["acc"].item() == pytest.approx(stats["acc"].item(), abs=1e-6)
    assert own_stats["loss_pre"].item() == pytest.approx(stats["loss_pre"].item(), rel=1e-4)
    norms = []
    for (name, one), (_, other) in zip(theirs.named_parameters(), ours.named_parameters(), strict=True):
        if one.grad is None:
            assert other.grad is None, name
            continue
        norms.append(one.grad.norm().item())
        assert (one.grad - other.grad).norm() <= 1e-3 * one.grad.norm() + 1e-5, name
    assert max(norms) > 0.01


def test_padding_does_not_change_a_clip(model):
    quick = without_chance(model, 0.0)
    use_fast_step(quick)
    data = batch(4, 3)
    shorter = {name: value[2:] for name, value in data.items()}
    for name in ("speech", "text"):
        shorter[name] = shorter[name][:, : int(shorter[f"{name}_lengths"].max())]
    assert shorter["speech"].size(1) < 30
    encoded = [encode(quick, each["speech"], each["speech_lengths"][:, 0])[0][-1:] for each in (data, shorter)]
    masks = [length_mask(data["speech_lengths"][2:, 0], each.size(1)) for each in encoded]
    alphas = [
        predict(quick.predictor, one, mask, data["text"][2:] != -1)[2] for one, mask in zip(encoded, masks, strict=True)
    ]
    torch.testing.assert_close(alphas[0][:, : alphas[1].size(1)], alphas[1])


def test_parameters_keep_their_names(model):
    quick = copy.deepcopy(model)
    assert use_fast_step(quick)
    assert list(quick.state_dict()) == list(model.state_dict())


def test_another_model_is_left_alone():
    assert not use_fast_step(torch.nn.Linear(2, 2))


@settings(max_examples=50)
@given(
    st.lists(st.lists(st.floats(0.01, 0.95), min_size=12, max_size=12), min_size=1, max_size=4),
    st.integers(0, 10**6),
)
def test_integration_is_cif_where_cif_fires_every_token(weights, seed):
    alphas = torch.tensor(weights, dtype=torch.float64)
    wanted = alphas.sum(1).floor().clamp(min=1)
    alphas = alphas * ((wanted + 0.01) / alphas.sum(1))[:, None]  # above the last threshold, whatever the rounding
    alphas = alphas.clamp(max=0.999)
    hidden = torch.from_numpy(np.random.default_rng(seed).standard_normal((len(weights), 12, 3)))
    total = alphas.cumsum(1)
    if ((total - total.round()).abs() < 1e-6).any():
        return  # on a threshold: rounding decides which frame fires
    theirs, _ = cif_v1(hidden, alphas, 1.0)
    ours = integrate(hidden, alphas, theirs.size(1))
    for row, clip in enumerate(total[:, -1].floor().int().tolist()):
        torch.testing.assert_close(ours[row, :clip], theirs[row, :clip], atol=1e-4, rtol=1e-4)


def test_integration_shares_a_frame_between_its_tokens():
    # Running sums 0.5, 1.2, 2.5: the second frame gives 0.5 to token 0 and 0.2 to token 1, the third 0.8 and 0.5.
    hidden = torch.tensor([[[1.0], [10.0], [100.0]]])
    made = integrate(hidden, torch.tensor([[0.5, 0.7, 1.3]]), 3)
    torch.testing.assert_close(made[0, :, 0], torch.tensor([0.5 + 5.0, 2.0 + 80.0, 50.0]))


def test_the_sampler_shows_its_share_at_places_drawn_evenly(model):
    quick = without_chance(model, 0.5)
    use_fast_step(quick)
    text = torch.full((2, 8), 3)
    text[1, 6:] = -1
    embeds = torch.zeros(2, 8, tiny.WIDTH)
    encoded, counts = torch.randn(2, 20, tiny.WIDTH), torch.tensor([8, 6])
    with torch.no_grad():
        first = decode(quick.decoder, encoded, torch.tensor([20, 20]), embeds, counts)
        wrong = int((first.argmax(-1)[1, :6] != 3).sum())
        shown = torch.zeros(8)
        for seed in range(600):
            torch.manual_seed(seed)
            mixed, _ = sample(quick, encoded, torch.tensor([20, 20]), text, counts, embeds)
            chosen = mixed[1].abs().sum(-1) > 0
            assert int(chosen.sum()) == int(wrong * 0.5)
            shown += chosen
    assert wrong >= 2
    assert not shown[6:].any()
    share = int(wrong * 0.5) / 6
    # Five standard deviations of a binomial count at each place.
    assert (shown[:6] - 600 * share).abs().max() < 5 * (600 * share * (1 - share)) ** 0.5


def test_inference_is_untouched(model):
    quick = copy.deepcopy(model)
    use_fast_step(quick)
    data = batch()
    with torch.no_grad():
        one, other = (
            each.eval().calc_predictor(*each.encode(data["speech"], data["speech_lengths"][:, 0]))
            for each in (model, quick)
        )
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
