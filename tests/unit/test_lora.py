"""Adapters: what is trained and saved, merging without a change of text, averages, and settings that cannot be."""

import copy

import numpy as np
import pytest
import torch

from asr.averaging.best import average_run
from asr.averaging.mean import mean_state
from asr.config.load import resolve
from asr.core.errors import RecipeError
from asr.models import lora
from asr.models.adapter_folder import Adapters
from asr.models.loading import compose, load, quiet
from asr.models.paraformer.family import Paraformer
from tests import tiny
from tests.trained import NO_CHANCE, lay_out, lora_conf, merge_adapters, train, weights


class WithPeft(Paraformer):
    """As if FunASR had no adapters for it."""

    native_lora = ()
    lora_targets = ("linear_q_k_v", "linear_out", "w_1")


CONF = {"rank": 3, "alpha": 12, "dropout": 0.0}
FAMILIES = [Paraformer(), WithPeft()]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.make_model(tmp_path_factory.mktemp("lora") / "base")


def adapted(base, family, conf=CONF, seed=None):
    """The base with adapters: fresh ones, or random ones that change its output."""
    with quiet():
        from funasr import AutoModel

        kwargs = compose(base)
        if family.native_lora:
            family.patch_training_config(kwargs, {"lora_conf": lora_conf(family, **conf)})
        model = AutoModel(
            **{**kwargs, "init_param": str(base / "model.pt"), "device": "cpu", "disable_log": True}
        ).model
    lora.adapt(model, family, lora_conf(family, **conf))
    if seed is not None:
        torch.manual_seed(seed)
        with torch.no_grad():
            for value in model.parameters():
                if value.requires_grad:
                    value.add_(torch.randn_like(value) * 0.2)
    return model.eval()


def features(base):
    recogniser = load(base)
    audio = [
        np.random.default_rng(number).normal(0, 0.1, 16000 + 4000 * number).astype("float32") for number in range(4)
    ]
    return recogniser, *recogniser.features(audio)


@pytest.mark.parametrize("family", FAMILIES)
def test_merged_weights_say_what_the_adapters_said(base, family):
    model = adapted(base, family, seed=1)
    recogniser, speech, lengths = features(base)
    plain = recogniser.family.decode_batch(recogniser.model, speech, lengths, {})
    unmerged = family.decode_batch(model, speech, lengths, {})
    assert unmerged != plain  # the adapters do something
    state = {**weights(base / "model.pt"), **lora.trained_state(model)}
    merged = merge_adapters(state, lora.merging(family, lora_conf(family, **CONF)))
    recogniser.model.load_state_dict(merged)  # strict: the plain model's tensors and no others
    assert family.decode_batch(recogniser.model, speech, lengths, {}) == unmerged
    encoded = [each.encode(speech.clone(), lengths.clone())[0] for each in (recogniser.model, model)]
    torch.testing.assert_close(*encoded, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("targets", [["q", "k", "v"], ["q", "v"], ["v", "o"]])
def test_adapters_are_placed_as_funasr_places_them_whatever_is_adapted(targets):
    from funasr.models.lora.layers import MergedLinear

    torch.manual_seed(0)
    theirs = MergedLinear(5, 12, r=2, enable_lora=[name in targets for name in "qkv"])
    torch.nn.init.normal_(theirs.lora_B)
    ours = copy.deepcopy(theirs)
    lora._place_without_copies(ours)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    # What is left of an index goes where the layer goes.
    assert not any(torch.is_tensor(value) for value in vars(ours).values())
    x, made = torch.randn(2, 7, 5), []
    for layer in (theirs, copy.deepcopy(ours)):
        added = layer(x.clone())
        added.square().sum().backward()
        made.append((added, *(value.grad for value in layer.parameters() if value.requires_grad)))
    assert all(torch.equal(one, other) for one, other in zip(*made, strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_fresh_adapters_change_nothing_and_only_they_and_the_predictor_are_trained(base, family):
    model = adapted(base, family)
    recogniser, speech, lengths = features(base)
    assert family.decode_batch(model, speech, lengths, {}) == family.decode_batch(recogniser.model, speech, lengths, {})
    trained = {lora.plain_name(name) for name, value in model.named_parameters() if value.requires_grad}
    assert {name.rpartition(".")[2] for name in trained if not name.startswith("predictor.")} == {"lora_A", "lora_B"}
    assert {name for name in weights(base / "model.pt") if name.startswith("predictor.")} <= trained
    assert trained <= lora.trained_state(model).keys()


@pytest.mark.parametrize("family", FAMILIES)
def test_what_was_saved_is_put_back_and_nothing_else_is_touched(base, family, tmp_path):
    model, other = adapted(base, family, seed=1), adapted(base, family, seed=2)
    torch.save({"state_dict": lora.trained_state(model)}, tmp_path / "model.pt.ep1")
    lora.load_trained(other, weights(tmp_path / "model.pt.ep1"))
    for (name, ours), theirs in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name
    with pytest.raises(RecipeError, match="adapters are not this run's"):
        lora.load_trained(adapted(base, family, {**CONF, "rank": 4}), weights(tmp_path / "model.pt.ep1"))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_average_is_of_the_products_and_frozen_weights_are_the_bases_to_the_bit(base, family, tmp_path):
    paths = [tmp_path / f"model.pt.ep{number}" for number in range(3)]
    for number, path in enumerate(paths):
        torch.save({"state_dict": lora.trained_state(adapted(base, family, seed=number))}, path)
    how = lora.merging(family, lora_conf(family, **CONF))
    mean = mean_state(paths, 0, how, base / "model.pt")
    below = weights(base / "model.pt")
    assert mean.keys() == below.keys()
    singles = [merge_adapters({**below, **weights(path)}, how) for path in paths]
    moved = [key for key in mean if not torch.equal(mean[key], below[key])]
    for key in mean:
        torch.testing.assert_close(
            mean[key], torch.stack([item[key] for item in singles]).mean(0), rtol=1e-5, atol=1e-6
        )
    sides = {"encoder", "predictor"} if "" in how else {"encoder", "decoder", "predictor"}
    assert sides <= {key.split(".")[0] for key in moved}
    assert "encoder.after_norm.weight" not in moved


def test_a_checkpoint_of_another_base_is_named(base, tmp_path):
    state = lora.trained_state(adapted(base, FAMILIES[0], seed=1))
    state["predictor.cif_output.weight"] = torch.zeros(3, 3)
    torch.save({"state_dict": state}, tmp_path / "model.pt.ep1")
    with pytest.raises(RecipeError, match=r"model\.pt\.ep1: tensor predictor\.cif_output\.weight is not one of .*base"):
        mean_state(
            [tmp_path / "model.pt.ep1"], 0, lora.merging(FAMILIES[0], lora_conf(FAMILIES[0], **CONF)), base / "model.pt"
        )


@pytest.mark.parametrize(
    ("conf", "what"),
    [
        (
            {"targets": ["linear_q_k_v", "linear_x"]},
            r"lora_conf\.targets: the model has no linear layer 'linear_x'; it has .*w_1",
        ),
        (
            {"also_train": ["bias_encoder"]},
            r"lora_conf\.also_train: the model has no part 'bias_encoder'; it has decoder, enc",
        ),
    ],
)
def test_what_the_model_does_not_have_is_named(base, conf, what):
    with pytest.raises(RecipeError, match=what):
        adapted(base, FAMILIES[1], {**CONF, **conf})


GOOD = """base: b
family: paraformer
dataset_conf: {batch_size: 100}
optim_conf: {lr: 1}
train_conf: {max_epoch: 1%s}
%s"""


@pytest.mark.parametrize(
    ("train", "more", "what"),
    [
        ("", "lora_conf: {rank: 0}", r"a\.yaml:6: 'lora_conf\.rank' is 0; it must be greater than or equal to 1"),
        ("", "lora_conf: {targets: [q, z]}", "paraformer has no projection 'z'; it has q, k, v, o"),
        ("", "lora_conf: {targets: []}", "targets is empty"),
        ("", "lora_conf: {dropout: 1}", "less than or equal to 0.9"),
        ("", "lora_conf: {rank: 4}\nfrom_scratch: true", "from_scratch has none"),
        (", use_deepspeed: true", "lora_conf: {rank: 4}", "do not go together"),
    ],
)
def test_settings_that_cannot_be_are_one_line_before_anything_is_loaded(tmp_path, train, more, what):
    (tmp_path / "a.yaml").write_text(GOOD % (train, more), encoding="utf-8")
    with pytest.raises(RecipeError, match=what):
        resolve(tmp_path / "a.yaml", [])


def test_funasrs_own_keys_are_refused_where_they_would_be_swallowed_or_saved_unmerged(base):
    with pytest.raises(RecipeError, match=r"encoder_conf\.lora_list: adapters are set in lora_conf"):
        compose(base, {"encoder_conf": {"lora_list": ["q"]}})


@pytest.mark.slow
def test_a_run_that_went_on_ends_as_one_that_was_never_stopped_and_stage_4_merges_it(tmp_path):
    conf = {"lora_conf": {"rank": 2}, **NO_CHANCE}
    whole = lay_out(tmp_path, "whole", clips=8, train_conf={"max_epoch": 3}, **conf)
    said = train(whole)
    assert "are trained: adapters, predictor" in said
    parted = lay_out(tmp_path, "parted", clips=8, train_conf={"max_epoch": 2}, **conf)
    train(parted)
    lay_out(tmp_path, "parted", clips=8, train_conf={"max_epoch": 3}, **conf)
    assert "resuming this run" in train(parted)
    ours, theirs = weights(whole / "model.pt.ep3"), weights(parted / "model.pt.ep3")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    base = weights(tmp_path / "base/model.pt")
    assert "encoder.after_norm.weight" in base.keys() - ours.keys()
    average_run(whole, 2)
    assert weights(whole / "model/model.pt").keys() == base.keys()
    assert "lora" not in (whole / "model/config.yaml").read_text()
    load(whole / "model")
    module = load(tmp_path / "base").model
    assert Adapters(whole / "adapter", tmp_path / "base", module).use("") == whole / "adapter"
    averaged = weights(whole / "model/model.pt")
    assert all(torch.equal(value, averaged[key]) for key, value in module.state_dict().items())
