"""SenseVoice: FunASR's loss without its harm to batches, tags that come and go, text that no batch changes."""

import copy
import json
import shutil

import numpy as np
import pytest
import torch
import yaml

from asr.audio.reading import read_audio
from asr.config import load as config
from asr.core.errors import RecipeError
from asr.core.manifest import write_manifest
from asr.data.dataset import RecipeAudioDataset
from asr.models import base_folder, families, lora
from asr.models.loading import load
from asr.models.sensevoice import model as sensevoice
from asr.models.sensevoice.family import TAGS, tag_ids, without_tags
from tests import tiny, tiny_sensevoice
from tests.dozen import ROOT
from tests.trained import lora_conf, merge_adapters, weights

FAMILY = families.of("sensevoice")
ZH, FORM = 3, 15  # rows of the model's table: Mandarin, and digits as spoken
SECONDS = [0.4, 1.3, 0.7, 2.9, 0.06, 2.0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_sensevoice.make_model(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture(scope="module")
def recogniser(folder):
    return load(folder)


@pytest.fixture(scope="module")
def utterances(tmp_path_factory):
    return tiny.make_clips(tmp_path_factory.mktemp("clips"), SECONDS)


@pytest.fixture(scope="module")
def speech(recogniser, utterances):
    return recogniser.features([read_audio(item.source) for item in utterances])


@pytest.fixture
def folder_copy(folder, tmp_path):
    """A folder to spoil."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return tmp_path


def batch(tokenizer, seed=0, clips=5, shortest=20, longest=30):
    """A training batch as the collator makes it: tags and up to six characters, padded with -1."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(shortest, longest + 1, (clips, 1), generator=generator)
    lengths[0] = longest
    counts = torch.randint(2, 7, (clips, 1), generator=generator)
    counts[0] = 6
    text = torch.randint(7, 17, (clips, 6), generator=generator)
    text[torch.arange(6)[None, :] >= counts] = -1
    text = torch.cat((torch.tensor([tag_ids(tokenizer)] * clips), text), dim=1)
    speech = torch.randn(clips, longest, 560, generator=generator)
    speech[torch.arange(longest)[None, :] >= lengths] = 0
    return {"speech": speech, "speech_lengths": lengths, "text": text, "text_lengths": counts + 4}


def without_chance(model):
    """A copy in training that draws nothing but, perhaps, the language."""
    made = copy.deepcopy(model)
    made.specaug = None
    for part in made.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    return made.train()


def all_told(clips):
    """A seed with which FunASR tells every clip's language: it draws a number a clip, above 0.2."""
    for seed in range(1000):
        torch.manual_seed(seed)
        if all(torch.rand(1) > 0.2 for _ in range(clips)):
            return seed
    raise AssertionError("no such seed")


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("clips", [{}, {"clips": 1}, {"clips": 7, "shortest": 12, "longest": 90}])
def test_losses_and_gradients_are_funasrs(recogniser, monkeypatch, told, normalised, clips):
    given = batch(recogniser.tokenizer, **clips)
    number = len(given["speech"])
    ids = tag_ids(recogniser.tokenizer)
    theirs = without_chance(recogniser.model)
    theirs.length_normalized_loss = theirs.criterion_att.normalize_length = normalised
    ours = copy.deepcopy(theirs)
    theirs.lid_int_dict, theirs.textnorm_int_dict = {ids[0]: ZH} if told else {}, {ids[3]: FORM}
    torch.manual_seed(all_told(number))
    loss, stats, _ = theirs(**copy.deepcopy(given))
    loss.backward()
    sensevoice.use_fast_step(ours)
    monkeypatch.setattr(sensevoice, "UNTOLD", 0.0 if told else 1.1)
    own_loss, own_stats, own_weight = ours(**given)
    own_loss.backward()
    assert own_loss.item() == pytest.approx(loss.item(), rel=1e-5)
    for name in ("loss_ctc", "loss_rich", "acc_rich"):
        assert own_stats[name].item() == pytest.approx(stats[name].item(), rel=1e-5), name
    assert own_weight == number
    for (name, value), (_, own) in zip(theirs.named_parameters(), ours.named_parameters(), strict=True):
        assert torch.allclose(own.grad, value.grad, rtol=1e-3, atol=1e-6), name
    assert ours.state_dict().keys() == theirs.state_dict().keys()


def test_a_batch_keeps_its_lengths_where_funasr_changes_them(recogniser):
    given, ids = batch(recogniser.tokenizer), tag_ids(recogniser.tokenizer)
    before = copy.deepcopy(given)
    theirs = without_chance(recogniser.model)
    ours = copy.deepcopy(theirs)
    sensevoice.use_fast_step(ours)
    ours(**given)
    assert all(torch.equal(value, before[name]) for name, value in given.items())
    theirs.lid_int_dict, theirs.textnorm_int_dict = {ids[0]: ZH}, {ids[3]: FORM}
    theirs(**given)
    assert torch.equal(given["speech_lengths"], before["speech_lengths"] + 4)


def test_a_fifth_of_the_clips_is_not_told_its_language_in_training_and_every_clip_in_validation(recogniser):
    model, given, rows = without_chance(recogniser.model), batch(recogniser.tokenizer, clips=400), []
    sensevoice.use_fast_step(model)
    model.embed.register_forward_hook(lambda _, asked, __: rows.append(asked[0]))
    torch.manual_seed(0)
    with torch.no_grad():
        model(**given)
        model.eval()(**given)
    assert all(torch.equal(found[:, 1:], torch.tensor([[1, 2, FORM]] * 400)) for found in rows)
    assert set(rows[0][:, 0].tolist()) == {0, ZH}
    assert 0.14 < (rows[0][:, 0] == 0).float().mean() < 0.26
    assert (rows[1][:, 0] == ZH).all()


def test_a_clip_with_more_text_than_frames_is_named_and_leaves_the_loss_finite(
    recogniser, utterances, capsys, monkeypatch
):
    monkeypatch.setattr(sensevoice, "UNTOLD", 0.0)
    model, given = without_chance(recogniser.model), batch(recogniser.tokenizer)
    sensevoice.use_fast_step(model)
    given["speech_lengths"][1:] = 1
    given["text"][1:, 4:], given["text_lengths"][1:] = 7, 6  # twice the same in one frame
    loss, stats, _ = model(**given)
    loss.backward()
    alone = {name: value[:1] for name, value in given.items()}
    assert stats["loss_ctc"].item() == pytest.approx(model(**alone)[1]["loss_ctc"].item() / 5, rel=1e-4)
    assert all(torch.isfinite(value.grad).all() for value in model.parameters())
    FAMILY.manifest_fields(utterances[0])
    assert not capsys.readouterr().out
    FAMILY.manifest_fields(utterances[0]._replace(target_len=8, source_len=40))
    assert f"note: {utterances[0].key}: 8 characters in 7 frames of 60 ms" in capsys.readouterr().out


def greedy(*arguments):
    return [decoded.ids for decoded in sensevoice.greedy(*arguments)]


def test_a_clip_reads_the_same_alone_and_in_a_batch(recogniser, speech):
    features, lengths = speech
    model = copy.deepcopy(recogniser.model)
    with torch.no_grad():
        model.ctc.ctc_lo.weight *= 5  # so that every frame says something else
    together = greedy(model, features, lengths)
    alone = [greedy(model, features[n : n + 1, :length], lengths[n : n + 1])[0] for n, length in
             enumerate(lengths.tolist())]  # fmt: skip
    assert together == alone
    assert len({tuple(ids) for ids in together}) == len(SECONDS)
    noise = (
        features + torch.randn_like(features) * (torch.arange(features.size(1))[None, :] >= lengths[:, None])[..., None]
    )
    assert greedy(model, noise, lengths) == together


class Ids:
    """A tokenizer that leaves ids as they are."""

    decode = staticmethod(list)


def test_what_is_heard_is_what_funasrs_inference_hears(recogniser, speech, utterances):
    heard = greedy(recogniser.model, *speech)
    assert sum(map(len, heard)) > 20
    for item, own in zip(utterances, heard, strict=True):
        asked = {"language": "zh", "device": "cpu", "tokenizer": Ids(), "frontend": recogniser.frontend}
        clip = torch.from_numpy(read_audio(item.source))
        theirs = recogniser.model.inference([clip], key=["a"], **asked)[0][0]["text"]
        # FunASR reads the tags' frames as well: a token of the last of them and the same after it are one to it.
        before = len(theirs) - len(own)
        assert before <= 4
        assert theirs[max(before, 0) :] == own or theirs[before + 1 :] == own[1:]


def test_another_language_is_asked_for_by_name(recogniser, speech):
    features, lengths = speech
    rows = []
    hook = recogniser.model.embed.register_forward_hook(lambda _, asked, __: rows.append(asked[0][0, 0].item()))
    try:
        for language in ("zh", "yue", "auto"):
            FAMILY.decode_batch(recogniser.model, features, lengths, FAMILY.options({"language": language}))
    finally:
        hook.remove()
    assert rows == [3, 7, 0]
    assert len({FAMILY.method({"language": name}) for name in ("zh", "yue", "auto")}) == 3


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<|zh|><|NEUTRAL|><|Speech|><|woitn|>听音乐", "听音乐"),
        ("<|en|><|EMO_UNKNOWN|><|BGM|><|withitn|> play music", "play music"),
        ("听<|Laughter|>音乐<|Speech|>", "听音乐"),
        ("<|zh|><|NEUTRAL|><|Speech|><|woitn|>", ""),
        ("一<二|三>四<五>", "一<二|三>四<五>"),
        ("", ""),
    ],
)
def test_tags_are_taken_out_wherever_they_stand_and_nothing_else_is(text, left):
    assert without_tags(text) == left


def test_a_line_is_encoded_with_its_tags_and_read_without_them(recogniser, utterances):
    item = {**utterances[1].as_dict(), **FAMILY.manifest_fields(utterances[1])}
    assert {name: item[name] for name in TAGS} == TAGS
    ids = FAMILY.encode(recogniser.tokenizer, item)
    assert recogniser.tokenizer.decode(ids) == "<|zh|><|NEUTRAL|><|Speech|><|woitn|> " + item["target"]
    assert recogniser.detokenize(ids) == item["target"] == recogniser.detokenize(ids[4:])
    assert recogniser.detokenize([]) == ""


def test_a_character_that_the_tokenizer_does_not_know_is_never_trained_as_blank(recogniser):
    ids = FAMILY.encode(recogniser.tokenizer, {"key": "clip", "target": "一龘二"})
    assert recogniser.detokenize(ids) == "一二"
    assert 0 not in ids


def test_a_tokenizer_without_a_tag_is_refused_when_the_model_is_loaded(tmp_path):
    tags = [tag for tag in TAGS.values() if tag != "<|woitn|>"]
    tiny_sensevoice.write_folder(tmp_path, tiny_sensevoice.CHARACTERS, tags)
    tiny.save_random(tmp_path)
    with pytest.raises(RecipeError, match=r"does not know <\|woitn\|> as one token"):
        load(tmp_path)


def test_the_hubs_layout_is_a_base_model_and_its_tokenizer_part_of_the_digest(folder_copy):
    base_folder.check(folder_copy, family="sensevoice")
    found = base_folder.digest(folder_copy)
    assert tiny_sensevoice.BPE in found
    tiny_sensevoice.write_bpe(folder_copy / tiny_sensevoice.BPE, list("甲乙"), list(TAGS.values()))
    assert base_folder.digest(folder_copy)["digest"] != found["digest"]


def test_a_base_of_another_family_or_without_its_tokenizer_is_refused(folder_copy):
    with pytest.raises(RecipeError, match="is a SenseVoiceSmall, and family paraformer covers Paraformer"):
        base_folder.check(folder_copy, family="paraformer")
    path = folder_copy / "configuration.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    del written["file_path_metas"]["tokenizer_conf"]
    path.write_text(json.dumps(written), encoding="utf-8")
    with pytest.raises(RecipeError, match="no SentencePiece model"):
        base_folder.check(folder_copy, family="sensevoice")
    path.unlink()
    with pytest.raises(RecipeError, match="no SentencePiece model"):
        base_folder.check(folder_copy, family="sensevoice")
    (folder_copy / tiny_sensevoice.BPE).rename(folder_copy / "bpe.model")
    base_folder.check(folder_copy, family="sensevoice")


def test_settings_that_it_does_not_have_are_refused(tmp_path):
    values = yaml.safe_load((ROOT / "conf/sensevoice_3090.yaml").read_text(encoding="utf-8"))
    values["train_conf"]["avg_keep_nbest_models_type"] = "acc"
    (tmp_path / "acc.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(RecipeError, match="is acc; sensevoice can be ranked by cer, loss"):
        config.resolve(tmp_path / "acc.yaml", [])
    with pytest.raises(RecipeError, match=r"train_conf\.quick_step: false is FunASR's own training step"):
        FAMILY.patch_training_config({}, {"train_conf": {"quick_step": False}})
    with pytest.raises(RecipeError, match=r"decode_conf\.language"):
        config.resolve(ROOT / "conf/sensevoice_3090.yaml", ["++decode_conf.language=fr"])


def adapted(model, **conf):
    """A copy with adapters, random ones that change its output."""
    made = copy.deepcopy(model)
    lora.adapt(made, FAMILY, lora_conf(FAMILY, rank=3, dropout=0.0, **conf))
    torch.manual_seed(1)
    with torch.no_grad():
        for name, value in made.named_parameters():
            if "lora_B" in name:
                value.normal_(0, 0.5)
    return made


def test_merged_adapters_say_what_they_said_unmerged(recogniser, folder, speech):
    options, plain = FAMILY.options({}), copy.deepcopy(recogniser.model)
    model = adapted(plain)
    unmerged = FAMILY.decode_batch(model, *speech, options)
    assert FAMILY.decode_batch(plain, *speech, options) != unmerged
    trained = lora.trained_state(model)
    layers = len(plain.encoder.encoders0) + len(plain.encoder.encoders) + len(plain.encoder.tp_encoders)
    assert sum(name.endswith("lora_A") for name in trained) == 2 * layers
    state = merge_adapters({**weights(folder / "model.pt"), **trained}, lora.merging(FAMILY, lora_conf(FAMILY, rank=3)))
    plain.load_state_dict(state)
    assert FAMILY.decode_batch(plain, *speech, options) == unmerged


def test_adapters_are_trained_alone_and_need_layers_that_are_there(recogniser):
    model = adapted(recogniser.model).train()
    sensevoice.use_fast_step(model)
    model(**batch(recogniser.tokenizer))[0].backward()
    with_gradient = {name for name, value in model.named_parameters() if value.grad is not None}
    assert with_gradient == {name for name, _ in model.named_parameters() if ".lora_" in name}
    with pytest.raises(RecipeError, match=r"no linear layer 'linear_q'; it has .*linear_q_k_v"):
        adapted(recogniser.model, targets=["linear_q"])


@pytest.fixture
def clips(recogniser, utterances, tmp_path):
    """A dataset whose limits FunASR's own would pass three of its six clips over for: batches of 10 frames."""
    write_manifest(tmp_path / "train.jsonl", [item._replace(extra=FAMILY.manifest_fields(item)) for item in utterances])
    asked = {"tokenizer": recogniser.tokenizer, "frontend": recogniser.frontend, "batch_size": 10}
    return RecipeAudioDataset(str(tmp_path / "train.jsonl"), family="sensevoice", **asked)


def test_no_clip_is_replaced_by_another_one(clips, recogniser, utterances, speech):
    for number, item in enumerate(utterances):
        found = clips[number]
        assert int(found["speech_lengths"]) == int(speech[1][number])
        assert recogniser.detokenize(found["text"].tolist()) == item.target


def test_an_unreadable_clip_is_named_and_not_replaced(clips, utterances):
    path = utterances[1].source
    with open(path, "rb") as stream:
        whole = stream.read()
    try:
        with open(path, "wb") as stream:
            stream.write(np.random.default_rng(0).bytes(1000))
        batch = clips.collator([clips[0], clips[1], clips[2]])
    finally:
        with open(path, "wb") as stream:
            stream.write(whole)
    assert [item[:3] for item in batch["unreadable"]] == [(len(utterances), utterances[1].key, path)]
    whole = clips.collator([clips[0], clips[2]])
    assert all(torch.equal(whole[name], batch[name]) for name in whole)
