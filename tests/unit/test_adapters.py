"""LoRA adapters: merged weights compute what FunASR's own layers compute, and are what is averaged."""

import pytest
import torch

from asr.averaging.best import average
from asr.averaging.mean import mean_state
from asr.core.errors import RecipeError
from asr.models import lora_merge
from asr.models.lora_merge import Lora
from asr.training.checkpoints import checkpoint
from tests.trained import merge_adapters


def layers(targets, rank=3, alpha=7, seed=0):
    """An encoder's attention with every projection FunASR adapts, its factors random: (modules, inputs)."""
    from funasr.models.lora import layers as lora

    torch.manual_seed(seed)
    how = {"r": rank, "lora_alpha": alpha, "lora_dropout": 0.0}
    qkv, kv = [name in targets for name in "qkv"], [name in targets for name in "kv"]
    plain = torch.nn.Linear
    built = {
        "linear_q_k_v": lora.MergedLinear(10, 24, enable_lora=qkv, **how) if any(qkv) else plain(10, 24),
        "linear_k_v": lora.MergedLinear(6, 16, enable_lora=kv, **how) if any(kv) else plain(6, 16),
        "linear_q": lora.Linear(8, 8, **how) if "q" in targets else plain(8, 8),
        "linear_out": lora.Linear(8, 8, **how) if "o" in targets else plain(8, 8),
    }
    for module in built.values():
        for name, value in module.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(value)
    return torch.nn.ModuleDict({"encoder": torch.nn.ModuleDict(built)})


CONF = {"encoder": Lora(("q", "k", "v", "o"), 3, 7)}


@pytest.mark.parametrize("targets", ["qkvo", "qv", "k", "o", "v", "ko"])
def test_merged_weights_compute_what_funasrs_layers_compute(targets):
    model = layers(targets)
    merged = merge_adapters(model.state_dict(), {"encoder": Lora(tuple(targets), 3, 7)})
    assert not any(map(lora_merge.is_factor, merged))
    for name, module in model["encoder"].items():
        x = torch.randn(2, 5, module.in_features)
        weight, bias = merged[f"encoder.{name}.weight"], merged[f"encoder.{name}.bias"]
        assert torch.allclose(torch.nn.functional.linear(x, weight, bias), module(x), atol=1e-4), name


def test_the_average_is_of_the_merged_weights_and_not_of_the_factors(tmp_path):
    states = [layers("qkvo", seed=seed).state_dict() for seed in range(3)]
    values = {f"model.pt.ep{i}": 0.1 for i in range(3)}
    for name, state in zip(values, states, strict=True):
        checkpoint.save({"state_dict": state}, tmp_path / name)
    checkpoint.write_ranking(tmp_path, "cer", values, 3, True)
    found = torch.load(tmp_path / average(tmp_path, 3, CONF)["file"])["state_dict"]
    merged = [merge_adapters(state, CONF) for state in states]
    factors = {key: sum(state[key] for state in states) / 3 for key in states[0]}
    assert list(found) == list(merged[0])
    for key, value in found.items():
        assert torch.allclose(value, sum(state[key] for state in merged) / 3, atol=1e-5), key
    wrong = merge_adapters(factors, CONF)["encoder.linear_q.weight"]
    assert not torch.allclose(found["encoder.linear_q.weight"], wrong, atol=0.1)


def test_adapters_without_settings_are_refused_by_name(tmp_path):
    checkpoint.save({"state_dict": layers("q").state_dict()}, tmp_path / "model.pt.ep1")
    with pytest.raises(RecipeError, match=r"model\.pt\.ep1: holds LoRA adapters"):
        mean_state([tmp_path / "model.pt.ep1"])


@pytest.mark.parametrize(
    ("lora", "message"),
    [
        ({"encoder": Lora(("q", "k"), 3, 7)}, r"linear_q_k_v: LoRA factors are \(9, 10\) and \(24, 3\); lora_conf"),
        ({"encoder": Lora(("q", "k", "v", "o"), 4, 7)}, "rank 4"),
        ({"decoder": Lora(("q", "k", "v", "o"), 3, 7)}, "lora_conf has none for it"),
        ({}, "lora_conf has none for it"),
    ],
)
def test_settings_that_do_not_fit_the_factors_are_refused(lora, message):
    with pytest.raises(RecipeError, match=message):
        merge_adapters(layers("qkvo").state_dict(), lora)


def test_half_an_adapter_is_refused():
    state = layers("qkvo").state_dict()
    del state["encoder.linear_q.lora_B"]
    with pytest.raises(RecipeError, match=r"encoder\.linear_q\.lora_B is not there"):
        merge_adapters(state, CONF)
