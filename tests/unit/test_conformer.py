"""Conformer: text that does not depend on the batch, a ctc_weight that means what it says, decoding, adapters."""

import copy
import math
import shutil
import sys

import numpy as np
import pytest
import torch
from funasr.models.transformer.attention import LegacyRelPositionMultiHeadedAttention

import conformer_base
from asr.audio.reading import read_audio
from asr.core.errors import RecipeError
from asr.core.manifest import read_manifest
from asr.models import base_folder, lora
from asr.models.conformer import decoding, training
from asr.models.conformer.family import Conformer
from asr.models.families import check_options
from asr.models.loading import load
from asr.models.paraformer.family import Paraformer
from asr.models.skeleton import tokens
from tests import tiny
from tests.tiny_conformer import config, make_folder
from tests.trained import lora_conf, merge_adapters, weights

FAMILY = Conformer()
SECONDS = [0.06, 0.09, 0.3, 0.5, 0.71, 1.1, 1.3, 2.0, 2.9, 0.4]
KINDS = ("latest", "legacy", "transformer")


def configuration(kind):
    """Of a model with FunASR's newer or older positions, or of a Transformer."""
    if kind != "transformer":
        return config(rel_pos_type=kind)
    found = config()
    known = ("output_size", "attention_heads", "linear_units", "num_blocks", "dropout_rate", "input_layer")
    encoder = {name: found["encoder_conf"][name] for name in known}
    return found | {"model": "Transformer", "encoder": "TransformerEncoder", "encoder_conf": encoder}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("conformer")
    return {kind: make_folder(root / kind, conf=configuration(kind), seed=1) for kind in KINDS}


@pytest.fixture(scope="module")
def loaded(folders):
    return {kind: load(folder) for kind, folder in folders.items()}


@pytest.fixture(scope="module")
def speech(loaded, tmp_path_factory):
    """(B, T, 80) features and (B,) lengths of clips of 4 to 288 frames."""
    clips = tiny.make_clips(tmp_path_factory.mktemp("clips"), SECONDS)
    return loaded["latest"].features([read_audio(item.source) for item in clips])


def furthest(model, features, lengths):
    """How far an encoder output of a clip in the batch is from that of the clip alone, by FunASR's own layers."""
    encoded, counts = decoding._encode(model, features, lengths)
    worst = 0.0
    for row, count, clip, length in zip(encoded, counts, features, lengths.tolist(), strict=True):
        if length >= 7:
            alone, own = model.encode(clip[None, :length], torch.tensor([length]))
            assert own.tolist() == [count]
            worst = max(worst, (alone[0] - row[:count]).abs().max().item())
        else:
            assert count == 0  # two convolutions of three frames, by two, leave nothing of it
    return worst


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_is_encoded_in_a_batch_as_funasr_encodes_it_alone(loaded, speech, kind):
    with torch.inference_mode():
        assert furthest(loaded[kind].model, *speech) < 1e-4


@pytest.mark.parametrize("left_out", ["_count_frames", "_zero_padding", "_shift_by_clip"])
def test_each_mask_is_needed(loaded, speech, monkeypatch, left_out):
    """Fails if FunASR mends it, and our hook is to go."""
    funasrs = LegacyRelPositionMultiHeadedAttention.rel_shift if left_out == "_shift_by_clip" else lambda *_: None
    monkeypatch.setattr(decoding, left_out, funasrs)
    with torch.inference_mode(), pytest.raises(AssertionError):
        assert furthest(loaded["legacy"].model, *speech) < 1e-3


def ctc_greedy(*arguments):
    return [decoded.ids for decoded in decoding.ctc_greedy(*arguments)]


def beam(*arguments):
    return [decoded.ids for decoded in decoding.beam(*arguments)]


@pytest.mark.parametrize("kind", KINDS)
def test_ctc_text_does_not_depend_on_the_batch(loaded, speech, kind):
    model, (features, lengths) = loaded[kind].model, speech
    alone = [ctc_greedy(model, clip[None, :n], n[None])[0] for clip, n in zip(features, lengths, strict=True)]
    assert len({tuple(ids) for ids in alone}) > 3
    assert ctc_greedy(model, features, lengths) == alone
    padded = torch.nn.functional.pad(features, (0, 0, 0, 50))
    assert ctc_greedy(model, padded[:9], lengths[:9]) == alone[:9]
    assert ctc_greedy(model, features[:1], lengths[:1]) == [[]]  # 4 frames, and nothing else in the batch
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in model.modules())  # left as it was


def test_beam_search_texts_do_not_depend_on_the_batch_here(loaded, speech):
    """Scores differ by rounding, so on other clips a tie may fall otherwise; here none does."""
    model, (features, lengths) = loaded["latest"].model, (speech[0][:6], speech[1][:6])
    for weight in (0.0, 0.3):
        heard = beam(model, features, lengths, 3, weight)
        alone = [beam(model, clip[None, :n], n[None], 3, weight)[0] for clip, n in zip(features, lengths, strict=True)]
        assert heard == alone
        assert heard[0] == []
        assert any(heard)


def test_a_beam_of_one_is_the_decoders_greedy_choice(loaded, speech):
    model, (features, lengths) = loaded["latest"].model, (speech[0][5:7], speech[1][5:7])
    encoded, counts = decoding._encode(model, features, lengths)
    expected = []
    for clip, count in zip(encoded, counts, strict=True):
        ids = [model.sos]
        while len(ids) <= count and ids[-1] != model.eos:
            scores = model.decoder(
                clip[None, :count], torch.tensor([count]), torch.tensor([ids]), torch.tensor([len(ids)])
            )
            ids.append(int(scores[0][0, -1].argmax()))
        expected.append([token for token in ids if token not in (model.blank_id, model.sos, model.eos)])
    assert beam(model, features, lengths, 1, 0.0) == expected


def test_decoding_options_are_not_frozen_and_leave_nothing_in_the_model(loaded, speech):
    model, (features, lengths) = loaded["latest"].model, (speech[0][4:8], speech[1][4:8])
    before = list(model.state_dict())
    heard = {
        name: FAMILY.decode_batch(model, features, lengths, FAMILY.options(conf))
        for name, conf in {
            "ctc": {},
            "attention": {"method": "attention", "beam_size": 2},
            "joint": {"method": "joint", "beam_size": 2, "ctc_weight": 0.9},
            "again": {"method": "attention", "beam_size": 2},
        }.items()
    }
    assert heard["again"] == heard["attention"]
    assert len({str(texts) for texts in heard.values()}) == 3  # three methods, three answers
    assert list(model.state_dict()) == before
    assert model.beam_search is None


def test_more_hypotheses_than_tokens_are_as_many_as_there_are_tokens(loaded, speech):
    model, (features, lengths) = loaded["latest"].model, (speech[0][2:3], speech[1][2:3])
    tokens = len(tiny.TOKENS)
    assert beam(model, features, lengths, 1000, 0.3) == beam(model, features, lengths, tokens, 0.3)


def test_methods_that_may_give_other_texts_have_other_names():
    confs = [
        {},
        {"method": "attention"},
        {"method": "joint"},
        {"method": "joint", "ctc_weight": 0.5},
        {"method": "joint", "beam_size": 5},
        {"method": "attention", "beam_size": 5},
    ]
    names = [FAMILY.method(FAMILY.options(conf)) for conf in confs]
    assert len(set(names)) == len(names)
    assert FAMILY.method(FAMILY.options({"beam_size": 5})) == names[0]  # CTC has no beam
    with pytest.raises(RecipeError, match=r"decode_conf\.beam_size is for conformer; paraformer has no such option"):
        check_options(Paraformer(), {"beam_size": 5})


def uniform(recogniser, normalised):
    """The model with every token as likely as any other, everywhere, and no label smoothing."""
    model = copy.deepcopy(recogniser.model)
    for layer in (model.ctc.ctc_lo, model.decoder.output_layer):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    model.specaug, model.ctc_weight, model.length_normalized_loss = None, 0.3, normalised
    model.criterion_att.normalize_length = normalised
    model.criterion_att.confidence, model.criterion_att.smoothing = 1.0, 0.0
    return model


@pytest.mark.parametrize("normalised", [True, False])
def test_ctc_weight_is_the_share_of_ctc_in_like_units(loaded, normalised):
    """By hand: T frames spell L different characters in C(T + L, 2 L) ways of V ** T, one as likely as the other."""
    model = uniform(loaded["latest"], normalised)
    frames, texts, vocabulary = torch.tensor([100, 59]), [[3, 4, 5, 6], [7, 8]], len(tiny.TOKENS)
    lengths, text = torch.tensor([4, 2]), torch.tensor([texts[0], [*texts[1], -1, -1]])
    encoded = [24, 14]  # ((n - 1) // 2 - 1) // 2
    nats = [
        count * math.log(vocabulary) - math.log(math.comb(count + len(ids), 2 * len(ids)))
        for count, ids in zip(encoded, texts, strict=True)
    ]
    n = 4 + 2 + 2 if normalised else 2
    ctc, attention = sum(nats) / n, (4 + 2 + 2) * math.log(vocabulary) / n
    batch = (torch.randn(2, 100, 80), frames, text, lengths)
    theirs = model(*batch)[1]
    training.use_fast_step(model)
    loss, stats, _ = model(*batch)
    assert stats["loss_ctc"].item() == pytest.approx(ctc, rel=1e-5)
    assert stats["loss_att"].item() == pytest.approx(attention, rel=1e-5)
    assert loss.item() == pytest.approx(0.3 * ctc + 0.7 * attention, rel=1e-5)
    # FunASR's, per clip whatever the attention loss is per; its mask gives the second clip a frame of padding.
    assert theirs["loss_ctc"].item() == pytest.approx(sum(nats) / 2, rel=0.1)
    assert (theirs["loss_ctc"].item() > 3 * ctc) == normalised


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("lengths", [[100, 59, 91], [77], [400, 40, 60, 250]])
def test_losses_and_gradients_are_funasrs(loaded, kind, normalised, lengths):
    """But for the weight of CTC: FunASR's is by clip, and of a batch of B clips and n tokens ours is B / n of it."""
    torch.manual_seed(0)
    theirs = copy.deepcopy(loaded[kind].model).train()
    theirs.specaug, theirs.ctc_weight = None, 0.3
    theirs.length_normalized_loss = theirs.criterion_att.normalize_length = normalised
    for layer in theirs.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    clips, counts = len(lengths), torch.tensor([6, 2, 4, 3][: len(lengths)])
    text = torch.randint(3, 13, (clips, int(counts.max())))
    text[torch.arange(text.size(1))[None] >= counts[:, None]] = -1
    batch = torch.randn(clips, max(lengths), 80), torch.tensor(lengths)[:, None], text, counts[:, None]
    ours = copy.deepcopy(theirs)
    decoding.mask_padding(theirs)
    training.use_fast_step(ours)
    share = 0.3 * clips / int((counts + 1).sum()) if normalised else 0.3
    theirs.ctc_weight = share / (share + 0.7)
    loss, stats, weight = theirs(*batch)
    (loss * (share + 0.7)).backward()
    own_loss, own_stats, own_weight = ours(*batch)
    own_loss.backward()
    assert own_loss.item() == pytest.approx(loss.item() * (share + 0.7), rel=1e-5)
    assert own_weight.item() == weight.item()
    for name in ("loss_att", "acc"):
        assert own_stats[name].item() == pytest.approx(stats[name].item(), rel=1e-5), name
    assert own_stats["loss_ctc"].item() == pytest.approx(stats["loss_ctc"].item() * share / 0.3, rel=1e-5)
    for (name, value), (_, own) in zip(theirs.named_parameters(), ours.named_parameters(), strict=True):
        torch.testing.assert_close(own.grad, value.grad, rtol=1e-3, atol=1e-5, msg=name)
    for (name, value), (_, own) in zip(theirs.named_buffers(), ours.named_buffers(), strict=True):
        torch.testing.assert_close(own, value, msg=name)  # BatchNorm's


def test_a_batch_too_short_to_subsample_is_funasrs_error(loaded):
    from funasr.models.transformer.utils.subsampling import TooShortUttError

    model = copy.deepcopy(loaded["latest"].model).train()
    training.use_fast_step(model)
    with pytest.raises(TooShortUttError):
        model(torch.randn(1, 5, 80), torch.tensor([5]), torch.tensor([[3]]), torch.tensor([1]))


def test_a_text_longer_than_its_clip_is_left_out_of_ctc_and_said(loaded, caplog):
    model = uniform(loaded["latest"], True)
    training.use_fast_step(model)
    features, frames = torch.randn(2, 100, 80), torch.tensor([100, 15])  # 15 frames become 3, and 3, 3 takes 3
    text = torch.tensor([[3, 4, 5, 6], [3, 3, 4, -1]])
    lengths = torch.tensor([4, 3])
    loss, stats, _ = model(features, frames, text, lengths)
    loss.backward()
    assert all(value.grad is None or torch.isfinite(value.grad).all() for value in model.parameters())
    nats = 24 * math.log(len(tiny.TOKENS)) - math.log(math.comb(28, 8))
    assert stats["loss_ctc"].item() == pytest.approx(nats / 9, rel=1e-5)
    assert "1 of 2 clips of a batch have more characters than encoder frames" in caplog.text
    loss, stats, _ = model(features[1:, :20], frames[1:], text[1:], lengths[1:])  # and nothing else in the batch
    loss.backward()
    assert stats["loss_ctc"].item() == 0.0


def adapted(recogniser, **given):
    """The model with adapters, prepared for training; random ones that change its output."""
    model = copy.deepcopy(recogniser.model)
    lora.adapt(model, FAMILY, lora_conf(FAMILY, rank=3, dropout=0.0, **given))
    torch.manual_seed(1)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_B" in name:
                value.normal_(0, 0.3)
    FAMILY.optimise_for_training(model)
    return model


def batch_norms(model):
    return {name: value.clone() for name, value in model.named_buffers() if "running" in name or "batches" in name}


def test_frozen_batch_norm_stays_the_bases_in_training(loaded, speech):
    model, (features, lengths) = adapted(loaded["latest"]).train(), (speech[0][5:8], speech[1][5:8])
    before = batch_norms(model)
    assert len(before) == 6  # two blocks
    model.encode(features, lengths)
    assert all(torch.equal(value, before[name]) for name, value in batch_norms(model).items())
    whole = copy.deepcopy(loaded["latest"].model).train()
    training.use_fast_step(whole)
    whole.encode(features, lengths)
    assert not any(torch.equal(value, before[name]) for name, value in batch_norms(whole).items())


@pytest.mark.parametrize("method", ["ctc", "attention"])
def test_merged_adapters_say_what_they_said_unmerged(loaded, folders, speech, method):
    options = FAMILY.options({"method": method, "beam_size": 2})
    features, lengths = speech[0][3:8], speech[1][3:8]
    model = adapted(loaded["latest"]).eval()
    unmerged = FAMILY.decode_batch(model, features, lengths, options)
    plain = copy.deepcopy(loaded["latest"].model)
    assert FAMILY.decode_batch(plain, features, lengths, options) != unmerged
    trained = lora.trained_state(model)
    assert sum(name.endswith("lora_A") for name in trained) == 4 * (2 + 1 * 2)  # 2 blocks, and 1 with two attentions
    state = {**weights(folders["latest"] / "model.pt"), **trained}
    plain.load_state_dict(merge_adapters(state, lora.merging(FAMILY, lora_conf(FAMILY, rank=3))))
    assert FAMILY.decode_batch(plain, features, lengths, options) == unmerged


def test_adapters_need_layers_that_are_there(loaded):
    with pytest.raises(RecipeError, match=r"lora_conf\.targets: the model has no linear layer 'q'; it has .*linear_q"):
        adapted(loaded["latest"], targets=["q"])


@pytest.mark.parametrize(
    ("line", "other", "said"),
    [
        (
            "encoder: ConformerEncoder",
            "encoder: BranchformerEncoder",
            "encoder is BranchformerEncoder; the recipe knows",
        ),
        ("input_layer: conv2d", "input_layer: conv2dpad", "encoder_conf.input_layer is conv2dpad; the recipe knows"),
        ("ctc_weight: 0.3", "ctc_weight: 0.0", "model_conf.ctc_weight is 0, so the model has no CTC"),
        (
            "model: Conformer",
            "model: Paraformer",
            "is a Paraformer, and family conformer covers Conformer, Transformer",
        ),
    ],
)
def test_a_base_that_the_recipe_cannot_mask_or_decode_is_refused(folders, tmp_path, line, other, said):
    folder = tmp_path / "base"
    shutil.copytree(folders["latest"], folder)
    base_folder.check(folder, family="conformer")
    text = (folder / "config.yaml").read_text()
    assert line in text
    (folder / "config.yaml").write_text(text.replace(line, other))
    with pytest.raises(RecipeError, match=said):
        base_folder.check(folder, family="conformer")


@pytest.mark.parametrize("share", [0, 1, 1.0])
def test_one_loss_alone_is_refused(share):
    FAMILY.patch_training_config({"model_conf": {"ctc_weight": 0.3}}, {})
    with pytest.raises(RecipeError, match=r"model_conf\.ctc_weight is .*; it must be above 0 and below 1"):
        FAMILY.patch_training_config({"model_conf": {"ctc_weight": share}}, {})


def test_attention_without_a_decoder_is_refused(loaded, speech):
    model = copy.deepcopy(loaded["latest"].model)
    model.decoder = None
    with pytest.raises(RecipeError, match="the model has no attention decoder"):
        FAMILY.decode_batch(model, *speech, FAMILY.options({"method": "joint"}))


def test_a_base_to_train_from_scratch_is_made_of_a_manifest(tmp_path, monkeypatch, capsys):
    data = tiny.make_data(tmp_path / "data", [0.5, 1.0, 1.5])
    out = tmp_path / "base"
    words = ["conformer_base.py", "--manifest", str(data / "train.jsonl"), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", words)
    conformer_base.main()
    base_folder.check(out, from_scratch=True, family="conformer")
    items = read_manifest(data / "train.jsonl")
    assert set("".join(item.target for item in items)) == set(tokens(items)[3:-1])
    assert f"{len(tokens(items))} tokens" in capsys.readouterr().out

    from funasr.frontends.wav_frontend import WavFrontend

    frontend = WavFrontend(**conformer_base.CONFIG["frontend_conf"], cmvn_file=str(out / "am.mvn"))
    audio = [torch.from_numpy(read_audio(item.source))[None] for item in items]
    features = np.concatenate([frontend(clip, [clip.shape[1]])[0][0].numpy() for clip in audio])
    assert np.abs(features.mean(0)).max() < 1e-3
    assert np.abs(features.std(0) - 1).max() < 1e-3
    (out / "model.pt").touch()
    with pytest.raises(RecipeError, match="holds a model"):
        conformer_base.main()
