"""The YAML a user edits: unknown keys stop, values are checked, each stage reads its own part."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from asr.config import keys
from asr.config.load import flatten, resolve
from asr.config.schema import Recipe
from asr.config.stage_files import STAGE_FILES, read_decode_settings, stage_values, write_stage_files
from asr.core.errors import RecipeError, UsageError
from asr.preparation.splits.split_file import read_split
from asr.training.start import identity

CONF = Path(__file__).resolve().parents[2] / "conf"
GOOD = """\
base: x/y
family: paraformer
dataset_conf:
  batch_size: 6000
train_conf:
  max_epoch: 5
optim_conf:
  lr: 2e-4
"""


def write(tmp_path, text):
    path = tmp_path / "a.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.name)
def test_every_training_yaml_in_conf_is_valid(path):
    if path.name.startswith("split_"):
        assert read_split(path, None, "default").method in ("speakers", "speaker-dependent")
    else:
        assert resolve(path, [])["base"]


def test_a_number_written_2e_4_is_a_number(tmp_path):
    assert resolve(write(tmp_path, GOOD), [])["optim_conf"]["lr"] == 0.0002


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (GOOD + "optim_cnf:\n  lr: 1\n", 9, "unknown key 'optim_cnf'; did you mean 'optim_conf'?"),
        (
            GOOD.replace("batch_size", "batchsize"),
            4,
            "unknown key 'dataset_conf.batchsize'; did you mean 'dataset_conf.batch_size'?",
        ),
        (GOOD + "batch_size: 1\n", 9, "unknown key 'batch_size'; did you mean 'dataset_conf.batch_size'?"),
        (GOOD.replace("6000", "six"), 4, "'dataset_conf.batch_size' is 'six'; it must be a valid integer"),
        (GOOD.replace("6000", "0"), 4, "it must be greater than or equal to 1"),
        (
            GOOD.replace("batch_size: 6000", "batch_size: 6000\n  speed_perturb: 0.9"),
            5,
            "is 0.9; it must be a valid list",
        ),
        (
            GOOD.replace("batch_size: 6000", "batch_size: 6000\n  speed_perturb: [1, 9]"),
            5,
            "is 9; it must be less than or equal to 2",
        ),
        (GOOD.replace("batch_size: 6000", "batch_size: 6000\n  speed_perturb: [x]"), 5, "holds a value that is 'x'"),
        (
            GOOD.replace("batch_size: 6000", "batch_size: 6000\n  gain_db: -3"),
            5,
            "it must be greater than or equal to 0",
        ),
        (GOOD.replace("batch_size: 6000", "batch_size: 6000\n  gain: 3"), 5, "did you mean 'dataset_conf.gain_db'"),
        (GOOD + "dataset: AudioDatset\n", 9, "'AudioDatset'; it must be 'RecipeAudioDataset' or 'AudioDataset'"),
        (GOOD.replace("2e-4", "0"), 8, "it must be greater than 0"),
        (GOOD.replace("6000", "true"), 4, "is true; it must be a valid integer"),
        (GOOD.replace("family: paraformer", "family: parafromer"), 2, "it takes paraformer"),
        (GOOD + "init_param: a.pt\n", 9, "is set by the recipe: name the base model"),
        (GOOD + "optim_conf:\n  lr: 1\n", 9, "duplicate key 'optim_conf'"),
        (GOOD + "decode_conf: 3\n", 9, "'decode_conf' is 3; it is a section: decode_conf.KEY sets one of its keys"),
        (GOOD + "seed: [1\n", 10, "not YAML"),
    ],
)
def test_a_fault_is_named_with_file_and_line(tmp_path, text, line, says):
    path = write(tmp_path, text)
    with pytest.raises(RecipeError) as caught:
        resolve(path, [])
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_required_key_and_a_missing_file(tmp_path):
    with pytest.raises(RecipeError, match=r"'optim_conf\.lr' is missing"):
        resolve(write(tmp_path, GOOD.replace("  lr: 2e-4\n", "  eps: 1e-8\n")), [])
    with pytest.raises(RecipeError, match="no such configuration file"):
        resolve(tmp_path / "none.yaml", [])


def test_more_to_average_than_to_keep_cannot_be(tmp_path):
    text = GOOD.replace("  max_epoch: 5\n", "  max_epoch: 5\n  keep_nbest_models: 3\n  avg_nbest_model: 10\n")
    with pytest.raises(RecipeError, match="can never be averaged"):
        resolve(write(tmp_path, text), [])


def test_speeds_and_gain_may_be_off_and_are_not_for_funasrs_dataset(tmp_path):
    path = write(tmp_path, GOOD)
    for value in ("[]", "null", "[0.9, 1, 1.1]"):
        resolve(path, [f"++dataset_conf.speed_perturb={value}", "++dataset_conf.gain_db=null"])
    resolve(path, ["++dataset=AudioDataset", "++dataset_conf.gain_db=0", "++dataset_conf.speed_perturb=[]"])
    with pytest.raises(RecipeError, match=r"AudioDataset has no dataset_conf\.gain_db"):
        resolve(path, ["++dataset=AudioDataset", "++dataset_conf.gain_db=3"])


def test_what_augmentation_takes_is_checked_and_off_leaves_the_files_as_they_were(tmp_path):
    path = write(tmp_path, GOOD)
    off = [f"++dataset_conf.{key}=0" for key in ("vtlp", "pitch_semitones", "formant_shift", "specaug_time_share")]
    off += ["++dataset_conf.pauses_s=null", "++train_only=null", "++freeze_encoder_blocks=0"]
    assert resolve(path, off) == resolve(path, [])
    for word, says in (
        ("++dataset_conf.pauses_s=[0.6,0]", "the smaller number must come first"),
        ("++dataset_conf.pauses_s=[1]", "at least 2 items"),
        ("++dataset_conf.noise.dir=3", "'dataset_conf.noise.dir' is 3"),
        ("++dataset_conf.extra=[{manifest: x, wieght: 2}]", r"unknown key 'dataset_conf\.extra\.wieght'"),
        ("++dataset_conf.noise=DIR", r"'dataset_conf\.noise' is 'DIR'; it is a section: dataset_conf\.noise\.KEY sets"),
        ("++dataset_conf.vtlp=0.5", "less than or equal to 0.3"),
        ("++train_only=decoder", "'encoder'"),
    ):
        with pytest.raises(UsageError, match=says):
            resolve(path, [word])
    with pytest.raises(RecipeError, match="leave out quick_step"):
        resolve(path, ["++dataset_conf.specaug_time_share=0.1", "++train_conf.quick_step=false"])
    for word in ("++train_only=encoder", "++freeze_encoder_blocks=2"):
        for other in ("++lora_conf.rank=4", "++from_scratch=true"):
            with pytest.raises(RecipeError, match=word.strip("+").partition("=")[0]):
                resolve(path, [word, other])
    noise = f"++dataset_conf.noise.dir={tmp_path / 'gone'}"
    with pytest.raises(RecipeError, match=r"dataset_conf\.noise\.dir: .*gone: no such folder"):
        write_stage_files(resolve(path, [noise]), tmp_path / "conf")


def test_overrides_win_and_are_checked_like_the_file(tmp_path):
    path = write(tmp_path, GOOD)
    values = resolve(path, ["++dataset_conf.batch_size=4000", "++optim_conf.lr=1e-3"], base="a/b")
    assert (values["dataset_conf"]["batch_size"], values["optim_conf"]["lr"], values["base"]) == (4000, 0.001, "a/b")
    for word in ("++dataset_conf.batchsize=4000", "++dataset_conf.batch_size=x", "++optim_conf", "++=1", "--x=1"):
        with pytest.raises(UsageError) as caught:
            resolve(path, [word])
        assert word in str(caught.value)


def test_a_changed_value_changes_only_the_file_of_the_stages_that_read_it(tmp_path):
    path = write(tmp_path, GOOD)
    for word, changed in (
        ("++optim_conf.lr=0.1", {"train"}),
        ("++train_conf.avg_nbest_model=3", {"average"}),
        ("++decode_conf.batch_seconds=9", {"decode"}),
        ("++base=q/r", {"base"}),
        ("++data_conf.max_unknown_characters=0.5", {"data"}),
        ("++report_conf.publish_columns=[sex]", {"report"}),
    ):
        write_stage_files(resolve(path, []), tmp_path / "conf")
        before = {item.name: (item.read_bytes(), item.stat().st_mtime_ns) for item in (tmp_path / "conf").iterdir()}
        write_stage_files(resolve(path, [word]), tmp_path / "conf")
        after = {item.name: (item.read_bytes(), item.stat().st_mtime_ns) for item in (tmp_path / "conf").iterdir()}
        assert {name.removesuffix(".yaml") for name in before if before[name] != after[name]} == changed


def test_no_key_of_the_schema_is_lost_between_the_yaml_and_the_stages():
    read = {key for keys in STAGE_FILES.values() for key in keys}
    assert not {"vtlp", "dataset_conf.vtlp", "dataset_conf.noise", "train_only"} & set(
        flatten(resolve(CONF / "mini.yaml", []))
    )  # unset: not there
    assert set(Recipe.model_fields) - read == {"ngpu"}  # run.sh's own; printed by asr.config
    values = resolve(CONF / "mini.yaml", [])
    parts = stage_values(values)
    assert "avg_nbest_model" not in parts["train"]["train_conf"]
    written = {key for name, part in parts.items() for key in flatten(part)} | {"ngpu", "train_conf.avg_nbest_model"}
    assert set(flatten(values)) == written - {"avg_nbest_model", "text_files"}  # what lm and phrases name, by content


@pytest.mark.parametrize(("words", "share"), [((), ""), (("++data_conf.max_unknown_characters=0.5",), "0.5")])
def test_what_run_sh_reads_is_printed_a_line_each(tmp_path, words, share):
    command = [sys.executable, "-m", "asr.config", "--conf", write(tmp_path, GOOD), "--base", "a b/c", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.split("\n")[1:] == [share, "", "a b/c", ""], done.stderr
    done = subprocess.run([*command, "++report_conf.publish_columns=[sex, age]"], capture_output=True, text=True)
    assert done.stdout.split("\n")[2] == "sex,age", done.stderr


def test_a_share_of_unknown_characters_is_one():
    with pytest.raises(
        UsageError, match=r"'data_conf\.max_unknown_characters' is 10; it must be less than or equal to 1"
    ):
        resolve(CONF / "mini.yaml", ["++data_conf.max_unknown_characters=10"])


def test_a_malformed_file_costs_one_line_and_status_1(tmp_path):
    path = write(tmp_path, GOOD + "sead: 1\n")
    done = subprocess.run([sys.executable, "-m", "asr.config", "--conf", path], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {path}:9: unknown key 'sead'; did you mean 'seed'?\n"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ("++train_conf.validate_interval=10", "++train_conf.save_checkpoint_interval=4"),
            "validate_interval 10 must be",
        ),
        (
            ("++train_conf.save_checkpoint_interval=5", "++train_conf.accum_grad=2"),
            "save_checkpoint_interval 5 must be",
        ),
    ],
)
def test_saves_and_validations_fit_together(more, message):
    with pytest.raises(RecipeError, match=message):
        resolve(CONF / "mini.yaml", list(more))


def test_a_ranking_left_out_and_the_familys_first_written_out_are_one_run(tmp_path):
    """Else a change of it would be let through, and no change refused."""
    path = write(tmp_path, GOOD.replace("paraformer", "nano"))
    runs = [resolve(path, words) for words in ([], ["++train_conf.avg_keep_nbest_models_type=loss"])]
    tied = [identity({"digest": "0"}, values, {"train": "1", "val": "2"}) for values in runs]
    assert tied[0] == tied[1]
    assert tied[0]["ranking"] == "loss"


def test_the_page_of_all_keys_is_what_the_command_prints():
    page = (CONF.parent / "docs/configuration.md").read_text(encoding="utf-8")
    assert page == keys.as_markdown() + "\n", "python -m asr.config --keys --markdown >docs/configuration.md"


def test_every_key_is_listed_once_with_help_and_what_the_yaml_must_give_as_required():
    listed = {name: (kind, default, text) for name, kind, default, text in keys.rows()}
    assert len(listed) == len(list(keys.rows()))
    assert all(kind and default and text.endswith(".") for kind, default, text in listed.values())
    required = {name for name, (_, default, _) in listed.items() if default == "required"}
    in_sections = {"dataset_conf.noise.dir", "dataset_conf.rooms.dir"}  # where there is such a section
    always = {"base", "family", "dataset_conf.batch_size", "train_conf.max_epoch", "optim_conf.lr"}
    assert required == always | in_sections
    assert listed["lora_conf.dropout"][:2] == ("number ≥ 0, ≤ 0.9", "0.05")
    assert listed["train_conf.avg_keep_nbest_models_type"][1].endswith("loss (nano), cer (sensevoice), cer (whisper)")
    header, _, *lines = keys.as_text().splitlines()
    table = [header, *lines]
    assert len({line.index(row[3]) for line, row in zip(table, [keys.HEAD, *keys.rows()], strict=True)}) == 1  # aligned


def test_a_default_left_out_and_the_same_written_out_are_one_configuration(tmp_path):
    path = write(tmp_path, GOOD)
    whole = resolve(path, [])
    words = [f"++{key}={json.dumps(value)}" for key, value in flatten(whole).items() if value != {}]
    assert resolve(path, words) == whole


def test_funasrs_samplers_sort_by_1024_clips_unless_told(tmp_path):
    path = write(tmp_path, GOOD)
    assert resolve(path, [])["dataset_conf"]["sort_size"] is None
    assert resolve(path, ["++dataset_conf.batch_sampler=BatchSampler"])["dataset_conf"]["sort_size"] == 1024


def test_stage_5_reads_the_familys_options_with_their_defaults(tmp_path):
    conf = write(tmp_path, GOOD.replace("paraformer", "conformer") + "decode_conf:\n  method: joint\n")
    write_stage_files(resolve(conf, []), tmp_path / "exp/conf")
    settings = read_decode_settings(tmp_path / "exp")
    wanted = {"method": "joint", "beam_size": 10, "ctc_weight": 0.3, "batch_seconds": 60, "max_unreadable": 0.01}
    assert wanted.items() <= settings.items()
    assert "language" not in settings


def test_an_override_that_mends_the_file_is_taken_and_one_that_spoils_it_is_named(tmp_path):
    path = write(tmp_path, GOOD.replace("6000", "six"))
    assert resolve(path, ["++dataset_conf.batch_size=6000"])["dataset_conf"]["batch_size"] == 6000
    with pytest.raises(UsageError, match=r"'\+\+family\.x=1': 'family' is .*; it must be a valid string"):
        resolve(write(tmp_path, GOOD), ["++family.x=1"])
    with pytest.raises(UsageError, match=r"'\+\+optim_conf=\{lrr: 1\}': unknown key 'optim_conf\.lrr'"):
        resolve(write(tmp_path, GOOD), ["++optim_conf={lrr: 1}"])


def test_a_section_of_adapters_with_nothing_below_it_is_no_training_of_the_whole_model(tmp_path):
    with pytest.raises(RecipeError, match=r"a\.yaml:9: 'lora_conf' is None; it is a section"):
        resolve(write(tmp_path, GOOD + "lora_conf:\n"), [])
    lora = resolve(write(tmp_path, GOOD + "lora_conf: {}\n"), [])["lora_conf"]
    assert lora == {"rank": 8, "alpha": 16, "dropout": 0.05, "targets": list("qkvo"), "also_train": ["predictor"]}


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        ("log_interval: 5", "log_interval:5", r"a\.yaml:9: 'log_interval:5' has no blank behind the colon; write 'log"),
        (
            "batch_size: 4",
            "batch_size:4",
            r"a\.yaml:3: 'dataset_conf' is 'batch_size:4': a blank is missing behind its",
        ),
        (
            "family: par",
            "family：par",
            r"a\.yaml:2: 'family：paraformer' has a full-width colon; write 'family: VALUE'",
        ),
        (
            "batch_size: 4",
            'batch_size: "4"',
            r"a\.yaml:4: 'dataset_conf\.batch_size' is '4'; .* integer: take the quotes away",
        ),
        ("lr: 0.1", "lr: '1e-4'", r"a\.yaml:6: 'optim_conf\.lr' is '1e-4'; .*: take the quotes away"),
        ("lr: 0.1", "lr: fast", r"a\.yaml:6: 'optim_conf\.lr' is 'fast'; .* number$"),
    ],
)
def test_what_is_typed_wrong_most_often_has_a_hint(tmp_path, right, wrong, says):
    lines = "base: b\nfamily: paraformer\ndataset_conf:\n  batch_size: 4\noptim_conf:\n  lr: 0.1\n"
    lines += "train_conf:\n  max_epoch: 1\n  log_interval: 5\n"
    assert right in lines
    (tmp_path / "a.yaml").write_text(lines.replace(right, wrong), encoding="utf-8")
    with pytest.raises(RecipeError, match=says):
        resolve(tmp_path / "a.yaml", [])


def test_texts_that_decoding_reads_are_known_by_their_content_and_not_by_their_place(tmp_path):
    text = tmp_path / "names.txt"
    text.write_text("张三\n", encoding="utf-8")
    words = [f"++decode_conf.phrases={text}", f"++decode_conf.lm=[train, {text}]"]
    files = []
    for content in ("张三\n", "李四\n"):
        text.write_text(content, encoding="utf-8")
        write_stage_files(resolve(CONF / "mini.yaml", words, None), tmp_path / "conf")
        files.append(yaml.safe_load((tmp_path / "conf/decode.yaml").read_text(encoding="utf-8"))["text_files"])
    assert len(files[0]) == 2
    assert files[0] != files[1]
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in (*files[0], *files[1]))
    text.unlink()
    with pytest.raises(RecipeError, match=rf"decode_conf\.lm: {text}: no such file"):
        write_stage_files(resolve(CONF / "mini.yaml", words, None), tmp_path / "conf")


@pytest.mark.parametrize(
    ("conf", "words", "message"),
    [
        ("fun_asr_nano_3090.yaml", ["++decode_conf.nbest_beam=1"], "nbest_beam is 1, which is no beam"),
        ("fun_asr_nano_3090.yaml", ["++decode_conf.lm=train"], "set decode_conf.nbest_beam, to 5"),
        ("mini.yaml", ["++decode_conf.nbest_beam=5"], "nbest_beam is for nano"),
        ("mini.yaml", ["++decode_conf.sounds_alike=true"], "sounds_alike needs decode_conf.lm"),
    ],
)
def test_what_cannot_be_searched_is_refused_with_the_yaml(conf, words, message):
    with pytest.raises(RecipeError, match=message):
        resolve(CONF / conf, words, None)
