"""Whisper: Transformers' scores at 30 s, lengths as they are, three forms of a base, texts that no batch changes."""

import random
import shutil

import numpy as np
import pytest
import torch
import yaml

from asr.core.errors import RecipeError
from asr.core.manifest import write_manifest
from asr.data.dataset import RecipeAudioDataset
from asr.models import base_folder, families, lora
from asr.models.loading import load
from asr.models.loops import looped
from asr.models.package import package
from asr.models.whisper import folder as forms
from asr.models.whisper.decoding import Clip, Way, continued, prompted
from tests import tiny, tiny_whisper
from tests.trained import lora_conf

FAMILY = families.of("whisper")
CHARACTERS = list("一二三四五六七八九十")
SECONDS = [0.4, 1.3, 0.7, 2.9, 0.06, 2.0, 1.0, 1.6]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_whisper.make_model(tmp_path_factory.mktemp("whisper") / "base", CHARACTERS)


@pytest.fixture(scope="module")
def source(base):
    """The same in Transformers' form."""
    return base.with_name("base_transformers")


@pytest.fixture
def recogniser(base):
    return load(base, options=FAMILY.options({"max_new_tokens": 12}))


@pytest.fixture(scope="module")
def clips():
    generator = np.random.default_rng(0)
    return [generator.normal(0, 0.1, int(16000 * seconds)).astype("float32") for seconds in SECONDS]


@torch.inference_mode()
def test_at_30_seconds_features_and_scores_are_transformers(recogniser, source, clips):
    from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

    theirs = WhisperForConditionalGeneration.from_pretrained(source).eval()
    expected = WhisperFeatureExtractor()(clips[3], sampling_rate=16000, return_tensors="pt").input_features
    recogniser.frontend.least = 30.0
    speech, lengths = recogniser.features([clips[3]])
    assert lengths.tolist() == [3000]
    torch.testing.assert_close(speech[0].T, expected[0], atol=1e-4, rtol=0)
    heard, mask = recogniser.model.hear(speech, lengths)
    ids = torch.tensor([[*recogniser.tokenizer.before, 5, 6, 7]])
    torch.testing.assert_close(
        recogniser.model.scores(recogniser.model.write(ids, heard, mask)),
        theirs(input_features=expected, decoder_input_ids=ids).logits,
        atol=1e-4,
        rtol=0,
    )


def test_a_clip_has_its_own_length_or_the_least_and_no_more(recogniser, clips):
    _, lengths = recogniser.features(clips)
    assert lengths.tolist() == [max(100, round(100 * seconds)) for seconds in SECONDS]
    assert recogniser.frontend.frames(np.array([40, 130])).tolist() == [100, 130]


def test_a_batch_is_counted_with_its_silence(base, recogniser, tmp_path):
    items = tiny.make_clips(tmp_path / "clips", [0.3, 1.7])
    write_manifest(tmp_path / "train.jsonl", items)
    conf = {"frontend": recogniser.frontend, "tokenizer": recogniser.tokenizer, "family": "whisper"}
    dataset = RecipeAudioDataset(str(tmp_path / "train.jsonl"), **conf)
    assert dataset.source_lens(0).tolist() == [100, 170]
    assert [len(dataset[n]["speech"]) for n in range(2)] == [100, 170]


@pytest.mark.parametrize("options", [{}, {"beam_size": 3}, {"nbest_beam": 4}])
def test_texts_do_not_depend_on_the_batch_nor_on_its_order(recogniser, clips, options):
    recogniser.options = FAMILY.options({"max_new_tokens": 8, **options})
    (alone,) = zip(*[recogniser.nbest([clip]) for clip in clips], strict=True)
    order = list(range(len(clips)))
    for size in (4, 16):
        random.Random(size).shuffle(order)
        found = [None] * len(clips)
        for at in range(0, len(order), size):
            part = order[at : at + size]
            for place, one in zip(part, recogniser.nbest([clips[n] for n in part]), strict=True):
                found[place] = one
        for one, other in zip(found, alone, strict=True):
            assert one.greedy == other.greedy
            assert [text for text, _ in one.texts] == [text for text, _ in other.texts]
            assert [score for _, score in one.texts] == pytest.approx([score for _, score in other.texts], abs=1e-3)


@torch.inference_mode()
def test_a_beams_scores_are_those_of_its_texts_and_greedy_takes_the_likeliest_token(recogniser, clips):
    model, tokenizer = recogniser.model, recogniser.tokenizer
    speech, lengths = recogniser.features(clips[3:4])
    heard, mask = model.hear(speech, lengths)

    def likely(ids):
        scores = model.scores(model.write(torch.tensor([[*tokenizer.before, *ids]]), heard, mask))
        scores[..., tokenizer.end + 1 :] = -torch.inf
        return scores.log_softmax(-1)[0, len(tokenizer.before) - 1 :]

    (greedy,) = FAMILY.nbest_batch(model, speech, lengths, FAMILY.options({"max_new_tokens": 6}))
    assert greedy.ids == likely(greedy.ids)[: len(greedy.ids)].argmax(-1).tolist()
    (found,) = FAMILY.nbest_batch(model, speech, lengths, FAMILY.options({"max_new_tokens": 6, "beam_size": 4}))
    assert len(found.beam) == 4
    for ids, score in found.beam:
        assert score == pytest.approx(sum(likely(ids)[n, token].item() for n, token in enumerate(ids)), abs=1e-3)


def test_a_beam_ends_when_none_that_goes_on_can_be_likelier(recogniser):
    end = recogniser.tokenizer.end
    clip = Clip([[5], [6]], [])
    going = continued(
        recogniser.tokenizer, clip, [Way(-1, 0, end), Way(-2, 1, 7), Way(-3, 0, 8), Way(-9, 1, end)], 2, False
    )
    assert [way.token for way in going] == [7, 8]
    assert clip.ended == [([5], -1)]
    assert continued(recogniser.tokenizer, clip, [Way(-2.5, 0, end), Way(-3, 1, 7), Way(-4, 1, 8)], 2, False) == []
    assert clip.ended == [([5], -1), ([5], -2.5)]


def test_a_loop_is_cut_and_counted(recogniser):
    one = recogniser.tokenizer.encode("一")
    clip = Clip([one * 15], [])
    assert continued(recogniser.tokenizer, clip, [Way(-1, 0, *one)], 1, False) == []
    assert looped(FAMILY.detokenize(recogniser.tokenizer, clip.ended[0][0]))
    assert FAMILY.counts(["一" * 16, "一二三", ""]) == {"looped": 1}


def test_a_prompt_stands_before_the_text_and_is_cut_on_the_left(recogniser):
    model, tokenizer = recogniser.model, recogniser.tokenizer
    assert prompted(model, " ").tolist() == tokenizer.before
    ids = prompted(model, "一二三").tolist()
    assert ids[0] == tokenizer.previous
    assert ids[-4:] == tokenizer.before
    assert tokenizer.decode(ids[1:-4]).strip() == "一二三"
    assert len(prompted(model, "一" * 500)) == 1 + model.config.max_target_positions // 2 - 1 + 4


def test_a_clip_longer_than_the_model_hears_is_read_in_windows(recogniser):
    long = np.random.default_rng(0).normal(0, 0.1, 16000 * 31).astype("float32")
    recogniser.options = FAMILY.options({"max_new_tokens": 4})
    (text,) = recogniser.transcribe([long])
    speech, lengths = recogniser.features([long])
    windows = torch.stack([*speech[0].tensor_split(2)]), torch.tensor([1550, 1550])
    halves = FAMILY.decode_batch(recogniser.model, *windows, recogniser.options)
    assert text == recogniser.detokenize(halves[0] + halves[1])
    with pytest.raises(RecipeError, match=r"a clip of 31.0 s: Whisper hears 30 s at most; set dataset_conf.max_source"):
        recogniser.model.hear(speech, lengths)


def as_openai(state):
    """Tensors of Transformers' names under OpenAI's, by the table read backwards, one name at a time."""
    openai = {}
    for name, value in state.items():
        for theirs, ours in reversed(forms.NAMES):
            name = name.replace(ours, theirs)
        openai[name] = value
    return openai


def dims():
    one = {"ctx": 1500, "state": tiny_whisper.WIDTH, "head": 4, "layer": 2}
    found = {f"n_{side}_{name}": value for side in ("audio", "text") for name, value in one.items()}
    return {**found, "n_text_ctx": 64, "n_mels": 80}


def test_names_of_openais_file():
    for theirs, ours in {
        "encoder.blocks.3.attn.query.weight": "encoder.layers.3.self_attn.q_proj.weight",
        "encoder.blocks.3.attn_ln.bias": "encoder.layers.3.self_attn_layer_norm.bias",
        "decoder.blocks.0.cross_attn.out.weight": "decoder.layers.0.encoder_attn.out_proj.weight",
        "decoder.blocks.0.cross_attn_ln.weight": "decoder.layers.0.encoder_attn_layer_norm.weight",
        "decoder.blocks.0.mlp.2.weight": "decoder.layers.0.fc2.weight",
        "decoder.blocks.0.mlp_ln.weight": "decoder.layers.0.final_layer_norm.weight",
        "decoder.token_embedding.weight": "decoder.embed_tokens.weight",
        "encoder.positional_embedding": "encoder.embed_positions.weight",
        "encoder.ln_post.bias": "encoder.layer_norm.bias",
        "decoder.ln.bias": "decoder.layer_norm.bias",
        "encoder.conv1.weight": "encoder.conv1.weight",
    }.items():
        assert forms.transformers_name(theirs) == ours


@pytest.mark.parametrize("form", ["openai", "funasr"])
def test_openais_file_and_funasrs_folder_become_the_same_model(base, recogniser, clips, tmp_path, form):
    state = as_openai(torch.load(base / "model.pt")["state_dict"])
    sizes = {**dims(), "n_vocab": recogniser.model.config.vocab_size}
    shutil.copy(base / "tokenizer.json", tmp_path)
    given = tmp_path / "base.pt"
    if form == "openai":
        torch.save({"dims": sizes, "model_state_dict": state}, given)
    else:
        torch.save({"state_dict": state}, tmp_path / "model.pt")
        (tmp_path / "config.yaml").write_text(yaml.safe_dump({"model": "WhisperWarp", "dims": sizes}))
        given = tmp_path
    assert base_folder.resolve(str(given), family="whisper") == given
    made = FAMILY.convert(given, tmp_path / "made", {"frontend_conf": {"least": 1}})
    base_folder.check(made, family="whisper")
    other = load(made, options=recogniser.options)
    assert other.nbest(clips[:3]) == recogniser.nbest(clips[:3])


def test_what_stage_0_makes_is_the_same_each_time_and_what_it_made_is_a_base_again(base, source, tmp_path):
    least = {"frontend_conf": {"least": 1.0}}
    again = FAMILY.convert(source, tmp_path / "again", least)
    assert base_folder.digest(again) == base_folder.digest(base)
    (tmp_path / "again/lineage.json").write_text("{}")
    third = FAMILY.convert(again, tmp_path / "third", {"frontend_conf": {"least": 3}})
    assert (third / "lineage.json").is_file()
    assert load(third).frontend.least == 3


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json is not beside it.*hf download"),
        (lambda folder: (folder / "model.safetensors").unlink(), "the model's weights are not there"),
    ],
)
def test_a_base_that_lacks_something_is_refused_by_name(source, tmp_path, spoil, said):
    shutil.copytree(source, tmp_path / "source")
    spoil(tmp_path / "source")
    with pytest.raises(RecipeError, match=said):
        FAMILY.convert(tmp_path / "source", tmp_path / "made", {})
    assert not (tmp_path / "made").exists()


def test_other_folders_and_unknown_keys_are_refused(source, tmp_path):
    (tmp_path / "x.pt").write_bytes(b"nothing")
    with pytest.raises(RecipeError, match="cannot be read as a checkpoint"):
        FAMILY.convert(tmp_path / "x.pt", tmp_path / "made", {})
    with pytest.raises(
        RecipeError, match=r"frontend_conf.lfr_m: whisper's frontend_conf has no such key; it has dither"
    ):
        FAMILY.convert(source, tmp_path / "made", {"frontend_conf": {"lfr_m": 7}})
    assert not FAMILY.is_source(tiny.make_model(tmp_path / "paraformer"))


def test_slowed_down_clips_must_fit_into_what_it_hears():
    values = {"train_conf": {}, "dataset_conf": {"speed_perturb": [0.9, 1.1], "max_source_length": None}}
    with pytest.raises(RecipeError, match="set it to 2700 frames or less"):
        FAMILY.patch_training_config({}, values)
    values["dataset_conf"]["max_source_length"] = 2700
    FAMILY.patch_training_config({}, values)


@pytest.mark.parametrize(("side", "other"), [("encoder", "decoder"), ("decoder", "encoder")])
def test_adapters_go_into_the_side_that_is_named(base, side, other):
    model = load(base).model
    conf = lora_conf(FAMILY) | {"targets": [f"{side}.*.q_proj", f"{side}.*.v_proj"]}
    lora.adapt(model, FAMILY, conf)
    names = [name for name, value in model.named_parameters() if value.requires_grad]
    assert names
    assert all(name.startswith(f"{side}.") for name in names)
    assert not any(name.startswith(f"{other}.") for name in names)


def test_a_packaged_model_is_transformers_again(base, source, tmp_path, clips):
    from transformers import WhisperForConditionalGeneration

    exp = tmp_path / "exp"
    base_folder.link(base, exp)
    package(exp, base / "model.pt", exp / "model", {})
    assert load(exp / "model").transcribe(clips[:2]) == load(base).transcribe(clips[:2])
    state = torch.load(exp / "model/model.pt")["state_dict"]
    missing, more = WhisperForConditionalGeneration.from_pretrained(source).model.load_state_dict(state)
    assert not missing
    assert not more
