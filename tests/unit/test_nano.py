"""Fun-ASR-Nano: its step and texts are FunASR's, for each clip alone; it learns from the audio; faults are named."""

import json
import shutil

import pytest
import torch
import yaml

from asr.audio.reading import read_audio
from asr.core.errors import RecipeError
from asr.core.manifest import write_manifest
from asr.models import base_folder, families
from asr.models.loading import compose, load, quiet
from asr.models.lora import adapt, merging, trained_state
from asr.models.nano.family import looped
from asr.models.nano.model import SYSTEM, USER, audio_tokens, chat_around_audio, listen, text_alone
from asr.models.package import package
from tests import tiny, tiny_nano
from tests.trained import lora_conf, merge_adapters

NANO = families.of("nano")
SECONDS = [0.9, 1.4, 0.9, 1.4, 0.9, 1.4]  # a clip's length does not say which it is


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    made = tiny.make_clips(tmp_path_factory.mktemp("clips"), SECONDS)
    texts = ["一二", "三四五", "六", "七八九十", "二一", "九九三"]
    return [item._replace(target=text, target_len=len(text)) for item, text in zip(made, texts, strict=True)]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_nano.make_model(tmp_path_factory.mktemp("nano") / "base", list("一二三四五六七八九十"))


def batch_of(recogniser, clips):
    speech, lengths = recogniser.features([read_audio(item.source) for item in clips])
    texts = [torch.tensor(NANO.encode(recogniser.tokenizer, item.as_dict())) for item in clips]
    counts = torch.tensor([[len(text)] for text in texts], dtype=torch.int32)
    text = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_value=-1)
    return {"speech": speech, "speech_lengths": lengths[:, None], "text": text, "text_lengths": counts}


def as_chat(item):
    """A clip as FunASR's own dataset reads it."""
    turns = {
        "system": SYSTEM,
        "user": f"{USER}<|startofspeech|>!{item.source}<|endofspeech|>",
        "assistant": item.target,
    }
    messages = [{"role": role, "content": content} for role, content in turns.items()]
    return item._replace(extra={"messages": messages, "speech_length": item.source_len, "text_length": item.target_len})


@pytest.fixture(scope="module")
def learned(base, clips, tmp_path_factory):
    """A folder whose model has six clips by heart, through the recipe's step."""
    torch.manual_seed(0)
    recogniser = load(base)
    model, batch = recogniser.model, batch_of(recogniser, clips)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)  # at 0.003 it depends on the CPU whether it learns
    for _ in range(500):
        model.train()
        loss, _, _ = model(**batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss < 0.01:
            break
    folder = tmp_path_factory.mktemp("learned") / "base"
    shutil.copytree(base, folder)
    torch.save({"state_dict": model.state_dict()}, folder / "model.pt")
    return folder


@pytest.fixture(scope="module")
def recogniser(learned):
    return load(learned, options=NANO.options({"max_new_tokens": 20}))


def funasrs_batches(recogniser, clips, folder):
    """What FunASR's own dataset makes of the manifest, a clip a batch."""
    from funasr.register import tables

    write_manifest(folder / "train.jsonl", map(as_chat, clips))
    conf = {"do_think": False, "batch_type": "example", "frontend": recogniser.frontend}
    made = tables.dataset_classes.get("FunASR")(
        str(folder / "train.jsonl"), index_ds="FunASR", tokenizer=recogniser.tokenizer, **conf
    )
    assert len(made) == len(clips)
    for number in range(len(made)):
        found = made.collator([made[number]])
        found.pop("item")
        yield found


def test_the_loss_accuracy_and_gradient_of_a_clip_are_those_of_funasrs_step_on_its_own_datasets_batch(
    base, clips, tmp_path
):
    recogniser = load(base)
    model = recogniser.model
    for item, theirs in zip(clips, funasrs_batches(recogniser, clips, tmp_path), strict=True):
        found = {}
        for name, result in (
            ("ours", lambda item=item: model(**batch_of(recogniser, [item]))),
            ("funasrs", lambda batch=theirs: type(model).forward(model, **batch)),
        ):
            model.zero_grad()
            loss, stats, _ = result()
            loss.backward()
            grads = [value.grad.clone() for value in model.parameters() if value.grad is not None]
            found[name] = loss.item(), float(stats["acc"]), grads
        assert found["ours"][:2] == pytest.approx(found["funasrs"][:2], abs=1e-5)
        assert len(found["ours"][2]) == len(found["funasrs"][2]) == len(list(model.parameters()))
        for ours, funasrs in zip(found["ours"][2], found["funasrs"][2], strict=True):
            assert torch.allclose(ours, funasrs, atol=1e-4)


def test_a_batch_has_the_loss_of_its_clips_weighted_by_their_tokens(base, clips):
    recogniser = load(base)
    with torch.no_grad():
        whole, _, weight = recogniser.model(**batch_of(recogniser, clips))
        alone = [recogniser.model(**batch_of(recogniser, [item])) for item in clips]
    assert weight == sum(count for _, _, count in alone) == sum(item.target_len + 1 for item in clips)
    assert sum(loss * count for loss, _, count in alone) / weight == pytest.approx(whole.item(), abs=1e-5)


def test_a_batch_of_very_unequal_clips_has_the_gradient_of_its_clips_weighted_by_their_tokens(base, clips, tmp_path):
    unequal = tiny.make_clips(tmp_path, [0.3, 4.0, 1.0])
    items = [
        item._replace(target=clip.target, target_len=clip.target_len)
        for item, clip in zip(unequal, clips, strict=False)
    ]
    recogniser = load(base)
    model, gradients = recogniser.model, {}
    total = sum(item.target_len + 1 for item in items)
    for name, batches in (("whole", [items]), ("alone", [[item] for item in items])):
        model.zero_grad()
        for batch in batches:
            loss, _, count = model(**batch_of(recogniser, batch))
            (loss * count / total).backward()
        gradients[name] = [value.grad.clone() for value in model.parameters()]
    for whole, alone in zip(gradients["whole"], gradients["alone"], strict=True):
        torch.testing.assert_close(whole, alone, rtol=1e-3, atol=1e-5)


def test_its_words_are_in_no_checkpoint_and_go_where_the_model_goes(base):
    model = load(base).model
    assert not {"before", "after"} & model.state_dict().keys()
    assert {name for name, _ in model.named_buffers()} >= {"before", "after"}


def test_a_batch_is_not_changed_by_a_step_so_that_validation_decodes_what_it_was_given(recogniser, clips):
    batch = batch_of(recogniser, clips)
    before = {name: value.clone() for name, value in batch.items()}
    with torch.no_grad():
        recogniser.model(**batch)
    assert all(torch.equal(batch[name], value) for name, value in before.items())
    heard = NANO.decode_batch(recogniser.model, batch["speech"], batch["speech_lengths"].view(-1), recogniser.options)
    assert [recogniser.detokenize(ids) for ids in heard] == [item.target for item in clips]


def test_in_bf16_it_computes_about_the_same_and_the_gradients_of_its_weights_stay_fp32(base, clips):
    model, batch = (recogniser := load(base)).model, batch_of(recogniser, clips)
    exact = model(**batch)[0].item()
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(**batch)[0]
    loss.backward()
    assert loss.item() == pytest.approx(exact, rel=0.02)
    assert loss.item() != exact
    assert all(value.grad.dtype == torch.float32 for value in model.parameters())
    assert all(torch.isfinite(value.grad).all() for value in model.parameters())


def test_it_learns_from_the_audio(recogniser, clips):
    audio = [read_audio(item.source) for item in clips]
    assert recogniser.transcribe(audio) == [item.target for item in clips]
    speech, lengths = recogniser.features(audio)
    deaf = [decoded.greedy for decoded in recogniser.decode_batch(torch.zeros_like(speech), lengths)]
    assert len(set(deaf)) <= 2  # one text a length
    assert sum(text == item.target for text, item in zip(deaf, clips, strict=True)) <= 2


def test_a_clips_text_and_embeddings_do_not_depend_on_its_batch(recogniser, clips, monkeypatch):
    audio = [read_audio(item.source) for item in clips]
    assert [recogniser.transcribe([clip])[0] for clip in audio] == recogniser.transcribe(audio)

    def largest_difference():
        speech, lengths = recogniser.features(audio)
        together, counts = listen(recogniser.model, speech, lengths)
        rows = []
        for number, clip in enumerate(audio):
            alone, (count,) = listen(recogniser.model, *recogniser.features([clip]))
            assert count == counts[number]
            rows.append((together[number, :count] - alone[0, :count]).abs().max().item())
        return max(rows)

    with torch.no_grad():
        assert largest_difference() < 1e-5
        monkeypatch.setattr("asr.models.nano.model.zero_padding", lambda encoded, lengths: encoded)
        assert largest_difference() > 1e-3  # what FunASR's would be


def test_a_packaged_model_works_in_plain_funasr_wherever_it_is_moved(learned, recogniser, clips, tmp_path):
    exp = tmp_path / "exp"
    base_folder.link(learned, exp)
    package(exp, learned / "model.pt", exp / "model", {})
    moved = tmp_path / "elsewhere"
    (exp / "model").rename(moved)
    shutil.rmtree(exp)
    assert str(tmp_path) not in (moved / "configuration.json").read_text() + (moved / "config.yaml").read_text()
    with quiet():
        from funasr import AutoModel

        theirs = AutoModel(model=str(moved), device="cpu", disable_update=True, disable_pbar=True)
        said = [theirs.generate(input=item.source, max_length=20)[0]["text"] for item in clips]
    assert said == [item.target for item in clips]
    again = load(moved, options=NANO.options({"max_new_tokens": 20}))
    assert again.transcribe([read_audio(item.source) for item in clips]) == said


def test_merged_adapters_give_the_unmerged_models_texts(learned, clips, tmp_path):
    conf = lora_conf(NANO, rank=4, alpha=8, targets=["q_proj", "v_proj"])
    adapted = load(learned, options=NANO.options({"max_new_tokens": 20}))
    before = adapted.transcribe([read_audio(item.source) for item in clips])
    trained = adapt(adapted.model, NANO, conf)
    parts = {name.split(".")[0] for name, value in adapted.model.named_parameters() if value.requires_grad}
    assert trained
    assert parts == {"llm", "audio_adaptor"}
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in adapted.model.named_parameters():
            if ".lora_B" in name:
                value.copy_(torch.randn(value.shape, generator=generator))
    adapted.model.eval()
    unmerged = adapted.transcribe([read_audio(item.source) for item in clips])
    assert unmerged != before
    state = torch.load(learned / "model.pt", weights_only=True)["state_dict"] | trained_state(adapted.model)
    folder = tmp_path / "merged"
    shutil.copytree(learned, folder)
    torch.save({"state_dict": merge_adapters(state, merging(NANO, conf))}, folder / "model.pt")
    merged = load(folder, options=NANO.options({"max_new_tokens": 20}))
    assert merged.transcribe([read_audio(item.source) for item in clips]) == unmerged


def test_a_projection_that_does_not_exist_is_named(learned):
    with pytest.raises(RecipeError, match=r"no linear layer 'q'; it has .*q_proj"):
        adapt(load(learned).model, NANO, lora_conf(NANO, targets=["q"]))


def test_every_part_is_trained_unless_freeze_param_says_otherwise_and_a_frozen_encoder_keeps_still(base, clips):
    recogniser = load(base)  # whose config.yaml says freeze: true of the encoder and the language model
    model = recogniser.model
    assert all(value.requires_grad for value in model.parameters())
    model.audio_encoder.requires_grad_(False)
    model.train()
    model(**batch_of(recogniser, clips[:2]))[0].backward()
    assert not model.audio_encoder.training
    assert model.llm.training
    assert {name.split(".")[0] for name, value in model.named_parameters() if value.grad is not None} == {
        "llm",
        "audio_adaptor",
    }


def test_the_language_model_reads_as_many_embeddings_as_funasrs_inference_takes():
    def funasrs(frames):
        half = 1 + (frames - 3 + 2) // 2
        quarter = 1 + (half - 3 + 2) // 2
        return (quarter - 1) // 2 + 1

    lengths = torch.arange(1, 500)
    assert audio_tokens(lengths, True).tolist() == list(map(funasrs, range(1, 500)))
    assert audio_tokens(lengths, False).tolist() == list(range(1, 500))


def test_the_prompt_is_funasrs_without_inverse_text_normalisation():
    from funasr.models.fun_asr_nano.model import FunASRNano

    assert FunASRNano.get_prompt(None, [], itn=False) == USER


def test_the_chat_follows_the_bases_settings(recogniser):
    decode = recogniser.tokenizer.decode
    assert recogniser.model.after.tolist() == recogniser.tokenizer.encode(
        "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )
    before, after = chat_around_audio(recogniser.tokenizer, {"sys_prompt": False})
    assert decode(before) == "<|im_start|>user\n语音转写，不进行文本规整："
    assert decode(after) == "<|im_end|>\n<|im_start|>assistant\n"


def test_ids_of_the_text_alone_come_out(recogniser):
    model = recogniser.model
    (start,) = recogniser.tokenizer.encode("<|im_start|>")
    assert text_alone(model, [9, start, 8, model.end_id, 7]) == [9, 8]


def test_a_text_that_ends_in_a_loop_is_counted():
    assert looped("我们" + "今天" * 8)
    assert looped("啊" * 16)
    assert looped("好" + "一二三四五六七八九十" * 4)
    assert not looped("")
    assert not looped("啊" * 15)
    assert not looped("今天天气很好" * 2 + "我们走吧一起去公园散步")
    assert not looped("今天" * 20 + "好")  # it went on
    assert NANO.counts(["啊" * 200, "今天天气好", ""]) == {"looped": 1}


def change(folder, block, key, value):
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    config[block][key] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / tiny_nano.LLM / "config.json").unlink(), "no config.json"),
        (lambda folder: (folder / tiny_nano.LLM / "tokenizer.json").unlink(), "no tokenizer.json"),
        (lambda folder: change(folder, "llm_conf", "init_param_path", "/somewhere"), "must name a folder in"),
        (lambda folder: change(folder, "tokenizer_conf", "init_param_path", "../x"), "must name a folder in"),
        (lambda folder: change(folder, "audio_adaptor_conf", "downsample_rate", 16), "at most 8"),
        (lambda folder: change(folder, "audio_adaptor_conf", "use_low_frame_rate", False), "at most 1"),
    ],
)
def test_a_base_that_lacks_something_is_refused_by_name(base, tmp_path, spoil, said):
    folder = tmp_path / "base"
    shutil.copytree(base, folder)
    base_folder.check(folder, family="nano")
    spoil(folder)
    with pytest.raises(RecipeError, match=said):
        base_folder.check(folder, family="nano")


def test_a_base_of_another_family_is_refused(base, tmp_path):
    with pytest.raises(RecipeError, match="is a Paraformer, and family nano covers FunASRNano"):
        base_folder.check(tiny.make_model(tmp_path / "paraformer"), family="nano")
    with pytest.raises(RecipeError, match="is a FunASRNano"):
        base_folder.check(base, family="paraformer")


def test_the_digest_knows_the_tokenizer(base, tmp_path):
    folder = tmp_path / "base"
    shutil.copytree(base, folder)
    before = base_folder.digest(folder)
    assert f"{tiny_nano.LLM}/tokenizer.json" in before
    assert f"{tiny_nano.LLM}/config.json" in before
    path = folder / tiny_nano.LLM / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "added": 1}))
    assert base_folder.digest(folder)["digest"] != before["digest"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"llm_conf": {"use_lora": True}}, "llm_conf.use_lora: has no effect; adapters are set in lora_conf"),
        ({"audio_encoder_conf": {"freeze": True}}, "freeze_param"),
        ({"llm_conf": {"llm_dtype": "bf16"}}, "use_bf16"),
        ({"train_conf": {"quick_step": False}}, "one training step"),
        ({"dataset": "AudioDataset"}, "RecipeAudioDataset"),
    ],
)
def test_what_would_have_no_effect_is_refused_by_name(values, said):
    with pytest.raises(RecipeError, match=said):
        NANO.patch_training_config({}, {"train_conf": {}, **values})


def test_weights_are_fp32_and_the_ctc_head_is_left_out_whatever_the_base_says(base, tmp_path):
    folder = tmp_path / "base"
    shutil.copytree(base, folder)
    change(folder, "llm_conf", "llm_dtype", "bf16")
    config = yaml.safe_load((folder / "config.yaml").read_text()) | {"ctc_decoder": "Transformer", "ctc_weight": 1.0}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    composed = compose(folder)
    assert "ctc_decoder" not in composed
    assert composed["llm_conf"]["llm_dtype"] == "fp32"
    assert {value.dtype for value in load(folder).model.parameters()} == {torch.float32}
