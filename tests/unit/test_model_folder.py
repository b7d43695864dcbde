"""Base models as hubs and users have them: references, other names and places, links, types of weights."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml

from asr.averaging.mean import mean_state
from asr.core.errors import RecipeError
from asr.models import base_folder
from asr.models.loading import check_loaded, compose, load
from asr.models.model_folder import named_files, read_config, read_metas
from asr.models.package import package
from asr.preparation.vocabulary import read_vocabulary
from asr.training.building import training_kwargs
from tests import tiny, tiny_nano, tiny_sensevoice, trained
from tests.tiny import TOKENS


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.make_model(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture
def copy(model, tmp_path):
    return shutil.copytree(model, tmp_path / "copy")


@pytest.fixture(scope="module")
def audio():
    return [np.random.default_rng(1).standard_normal(24000).astype("float32") * 0.1]


def about(folder, **metas):
    """Change configuration.json's file_path_metas."""
    path = folder / "configuration.json"
    record = json.loads(path.read_text())
    record["file_path_metas"] |= metas
    path.write_text(json.dumps(record))


def packaged(folder, tmp_path, name="exp"):
    """What stage 4 makes of a run on this base, moved away from all that it was made of."""
    exp = tmp_path / name
    base_folder.link(folder, exp)
    package(exp, folder / "model.pt", exp / "model", {})
    return (exp / "model").rename(tmp_path / f"{name}.model")


def test_references_are_resolved_as_funasr_does(tmp_path):
    (tmp_path / "config.yaml").write_text("a: {b: 1e-5, c: x}\nd: [\"${a.b}\", '${a.c}/y']\n")
    assert read_config(tmp_path) == {"a": {"b": 1e-5, "c": "x"}, "d": [1e-5, "x/y"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: ${b.c}", r"config\.yaml: a: Interpolation key 'b\.c' not found; correct it"),
        ("a: ${b}\nb: ${a}", r"config\.yaml: a: Recursive interpolation detected; correct it"),
        ("a: [", r"config\.yaml: not YAML; fetch"),
        ("- a", r"config\.yaml: not a mapping"),
        (None, "no config.yaml in it, so it is not a FunASR model folder; it is in Transformers' form"),
    ],
)
def test_a_config_that_cannot_be_read_is_one_line(tmp_path, text, said):
    (tmp_path / "config.json").write_text("{}")
    if text is not None:
        (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(RecipeError, match=said) as raised:
        base_folder.check(tmp_path)
    assert "\n" not in str(raised.value)


def test_the_hubs_nano_is_a_base_and_its_package_is_one_again(tmp_path):
    folder = tiny_nano.make_model(tmp_path / "nano", TOKENS[3:-1])
    raw = yaml.safe_load((folder / "config.yaml").read_text())
    assert raw["tokenizer_conf"]["init_param_path"] == "${llm_conf.init_param_path}"
    base_folder.check(folder, family="nano")
    assert tiny_nano.TIKTOKEN in base_folder.digest(folder)
    moved = packaged(folder, tmp_path)
    assert yaml.safe_load((moved / "config.yaml").read_text())["tokenizer_conf"]["init_param_path"] == tiny_nano.LLM
    base_folder.check(moved, family="nano")  # as --base of a personal stage: all that it names is there
    assert not list(moved.glob(".m*"))  # the hub's records are of another folder
    assert (moved / "LICENSE").is_file()


def test_a_folder_of_read_only_links_into_a_cache_is_as_good_as_files(model, tmp_path, audio):
    blobs, snapshot = tmp_path / "blobs", tmp_path / "models--a--b" / "snapshots" / "123"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for number, path in enumerate(path for path in model.iterdir() if path.is_file()):
        shutil.copyfile(path, blobs / str(number))
        (blobs / str(number)).chmod(0o444)
        (snapshot / path.name).symlink_to(f"../../../blobs/{number}")
    base_folder.check(snapshot)
    assert base_folder.digest(snapshot) == base_folder.digest(model)
    moved = packaged(snapshot, tmp_path)
    shutil.rmtree(blobs)
    assert not [path for path in moved.iterdir() if path.is_symlink() and path.name != "model.pt"]
    shutil.copyfile(model / "model.pt", moved / "whole.pt")
    (moved / "whole.pt").replace(moved / "model.pt")
    assert load(moved).transcribe(audio) == load(model).transcribe(audio)


@pytest.mark.parametrize(
    ("wrapper", "kind"),
    [
        (None, torch.bfloat16),
        ("state_dict", torch.float16),
        ("model_state_dict", torch.float32),
        ("model", torch.float16),
    ],
)
def test_weights_in_any_wrapper_and_width_are_loaded(copy, wrapper, kind):
    state = torch.load(copy / "model.pt")["state_dict"]
    changed = {f"module.{key}": value.to(kind) for key, value in state.items()} | {"ctc.other": torch.ones(2)}
    torch.save({wrapper: changed} if wrapper else changed, copy / "model.pt")
    base_folder.check(copy)
    loaded = load(copy).model
    assert check_loaded(loaded, copy / "model.pt") == len(state)
    assert {value.dtype for value in loaded.parameters()} == {torch.float32}


def test_files_elsewhere_in_the_folder_belong_to_the_model(copy, tmp_path, audio):
    before = load(copy).transcribe(audio)
    (copy / "sub").mkdir()
    (copy / "am.mvn").rename(copy / "sub" / "mean.mvn")
    about(copy, frontend_conf={"cmvn_file": "./sub/mean.mvn"}, other=["config.yaml", {"x": "tokens.json"}])
    assert named_files(read_metas(copy))[-2:] == ["config.yaml", "tokens.json"]
    assert "./sub/mean.mvn" in base_folder.digest(copy)
    moved = packaged(copy, tmp_path)
    base_folder.check(moved)
    assert load(moved).transcribe(audio) == before


@pytest.mark.parametrize("name", ["/somewhere/am.mvn", "../am.mvn"])
def test_a_name_of_something_outside_the_folder_is_refused(copy, name):
    about(copy, frontend_conf={"cmvn_file": name})
    with pytest.raises(RecipeError, match=rf"configuration\.json: names {name}, which is not in"):
        base_folder.check(copy)


def test_a_configuration_that_funasr_would_not_read_the_config_by_is_refused(copy):
    (copy / "configuration.json").write_text('{"framework": "pytorch", "model": {"am_model_name": "model.pb"}}')
    with pytest.raises(RecipeError, match=r"configuration\.json: file_path_metas\.config must be config\.yaml"):
        base_folder.check(copy)


def test_weights_in_transformers_form_are_named(copy):
    (copy / "model.pt").rename(copy / "model.safetensors")
    (copy / "configuration.json").unlink()
    with pytest.raises(RecipeError, match=r"model\.safetensors is Transformers' form of them"):
        base_folder.check(copy)


def test_a_folder_by_names_alone_keeps_its_seg_dict_and_tokens_txt(copy, tmp_path, audio):
    (copy / "configuration.json").unlink()
    (copy / "tokens.json").unlink()
    (copy / "tokens.txt").write_text("\n".join(TOKENS) + "\n")
    (copy / "seg_dict").write_text("一二 一 二\n三 三\n")
    base_folder.check(copy)
    vocabulary = read_vocabulary(copy)
    assert vocabulary.characters == {"三"}
    before = load(copy)
    assert before.tokenizer.encode("一二") == [3, 4]
    moved = packaged(copy, tmp_path)
    base_folder.check(moved)
    assert load(moved).tokenizer.encode("一二") == [3, 4]
    assert load(moved).transcribe(audio) == before.transcribe(audio)


def test_keys_of_another_training_change_nothing(copy, model, tmp_path):
    config = yaml.safe_load((copy / "config.yaml").read_text())
    config |= {"freeze_param": ["encoder"], "bf16": True, "model_path": "/elsewhere", "unheard_of": {"a": "${model}"}}
    config |= config.pop("model_conf")
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    assert {value.dtype for value in load(copy).model.parameters()} == {torch.float32}
    assert compose(copy)["model_path"] == str(copy)
    values = trained.complete()
    plan = {"values": values, "exp": str(tmp_path), "base": str(copy), "dataset_conf": values["dataset_conf"]}
    assert training_kwargs(plan, "cpu").get("freeze_param") is None


def test_adapters_on_a_base_in_bf16_are_merged_in_the_width_they_were_trained_in(tmp_path):
    weight, factor = torch.full((4, 4), 100.0), torch.full((4, 1), 0.1)  # 100.01 is 100 in bf16
    torch.save({"state_dict": {"linear.weight": weight.bfloat16()}}, tmp_path / "base.pt")
    torch.save({"state_dict": {"linear.lora_A": factor.T, "linear.lora_B": factor}}, tmp_path / "model.pt.ep1")
    from asr.models.lora_merge import Lora

    lora = {"": Lora(("linear",), rank=1, alpha=1)}
    mean = mean_state([tmp_path / "model.pt.ep1"], lora=lora, base=tmp_path / "base.pt")
    assert torch.allclose(mean["linear.weight"], weight + 0.01)


def test_a_dummy_prefix_is_neither_an_unknown_tag_nor_a_character_of_a_text(tmp_path):
    folder = tiny_sensevoice.make_model(tmp_path / "model", list("一二三"))
    recogniser = load(folder)
    pieces = recogniser.tokenizer.sp
    assert len(recogniser.tokenizer.encode("<|zh|>")) == 2
    ids = recogniser.family.encode(recogniser.tokenizer, {"key": "a", "target": "二一"})
    assert [pieces.id_to_piece(token) for token in ids] == [
        *("<|zh|>", "<|NEUTRAL|>", "<|Speech|>", "<|woitn|>"),
        *("▁", "二", "一"),
    ]
    # Validation's CER is of characters: the same text, with and without its blank, has no errors.
    assert recogniser.detokenize(ids[4:]) == recogniser.detokenize(ids[5:]) == "二一"
    assert recogniser.detokenize([]) == ""
