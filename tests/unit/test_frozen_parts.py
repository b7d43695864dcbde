"""What train_only, freeze_encoder_blocks and specaug_time_share make of a model, for every family."""

import types

import pytest
import torch
from funasr.models.specaug.specaug import SpecAugLFR
from torch import nn

from asr.core.errors import RecipeError
from asr.models import families
from asr.models.training_step import limit_time_masks, mask_without_asking
from asr.training.building import freeze
from tests import tiny, tiny_batches

OFF = {"freeze_param": []}


def trained(model):
    return {name for name, value in model.named_parameters() if value.requires_grad}


def of(model, *parts):
    return {name for name, _ in model.named_parameters() if name.startswith(parts)}


class Heard(nn.Module):
    """Names as Fun-ASR-Nano has them."""

    def __init__(self):
        super().__init__()
        self.audio_encoder, self.llm = nn.Module(), nn.Linear(2, 2)
        for name, count in (("encoders0", 1), ("encoders", 2), ("tp_encoders", 1)):
            setattr(self.audio_encoder, name, nn.ModuleList(nn.Linear(2, 2) for _ in range(count)))


@pytest.fixture(params=["paraformer", "sensevoice", "conformer", "nano", "whisper"])
def made(request, tmp_path):
    kind = request.param
    model = Heard() if kind == "nano" else tiny_batches.build(tmp_path, kind).model
    return families.of(kind), model


def test_the_encoder_alone_or_without_its_lowest_blocks(made):
    family, model = made
    freeze(model, family, OFF)
    everything = trained(model)
    assert everything == of(model, "") - {"encoder.embed_positions.weight"}  # whisper's are sines
    freeze(model, family, {**OFF, "train_only": "encoder"})
    assert trained(model) == everything & of(model, f"{family.encoder}.") < everything
    freeze(model, family, {**OFF, "train_only": "encoder", "freeze_encoder_blocks": 1})
    blocks = {"conformer": "encoders.0.", "whisper": "layers.0."}.get(family.name, "encoders0.0.")
    lowest = [f"{family.encoder}.{part}" for part in (blocks, "embed.", "conv1.", "conv2.")]
    assert trained(model) == everything & of(model, f"{family.encoder}.") - of(model, *lowest)
    with pytest.raises(
        RecipeError, match=rf"freeze_encoder_blocks: 99 of the \d+ that the model's {family.encoder} has"
    ):
        freeze(model, family, {**OFF, "freeze_encoder_blocks": 99})
    with pytest.raises(RecipeError, match="leave nothing to train"):
        freeze(model, family, {"freeze_param": [family.encoder], "train_only": "encoder"})


def test_a_step_moves_the_encoder_alone(tmp_path):
    made = tiny_batches.build(tmp_path, "paraformer")
    model, family = made.model, families.of("paraformer")
    freeze(model, family, {**OFF, "train_only": "encoder", "freeze_encoder_blocks": 1})
    family.optimise_for_training(model)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    optimizer = torch.optim.Adam([value for value in model.parameters() if value.requires_grad], 0.01)
    model.train()
    model(**tiny_batches.batch(made, "paraformer", [40, 60]))[0].backward()
    optimizer.step()
    moved = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert moved == trained(model) == of(model, "encoder.encoders.", "encoder.after_norm")


def masked(share=None):
    """[clips] the frames of which SpecAugment hides at most, in 40 draws."""
    specaug = SpecAugLFR(False, apply_freq_mask=False, lfr_rate=6, time_mask_width_range=(0, 12), num_time_mask=1)
    model = types.SimpleNamespace(specaug=specaug)
    mask_without_asking(specaug)
    if share:
        limit_time_masks(model, share)
    torch.manual_seed(0)
    lengths = torch.tensor([8, 20, 40])
    most = torch.zeros(3, dtype=torch.long)
    for _ in range(40):
        hidden = (specaug(torch.ones(3, 40, 7), lengths)[0] == 0).all(-1).sum(1)
        most = torch.maximum(most, hidden)
    return most.tolist()


def test_a_time_mask_is_no_wider_than_its_share_of_the_clip():
    assert masked() == [11, 11, 11]
    assert masked(0.1) == [0, 2, 4]
    assert masked(0.5) == [4, 10, 11]
    with pytest.raises(RecipeError, match="no time masks"):
        limit_time_masks(types.SimpleNamespace(specaug=None), 0.1)


def test_the_mini_base_has_time_masks(tmp_path):
    tiny.make_model(tmp_path)
    model = tiny.build(tmp_path).model
    mask_without_asking(model.specaug)
    limit_time_masks(model, 0.1)
    assert model.specaug.time_mask.time_share == 0.1
