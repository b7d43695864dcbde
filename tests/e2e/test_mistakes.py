"""What people get wrong in their first hour: each mistake is one line that says what, where and what to do.

The mistakes were collected by trying 71 of them as a newcomer would. Those that a command line alone shows are rows
below, run as a user runs them. The others' tests lie with what they break, so that nothing is checked twice:

options       1-7, 9, 14, 15: shell/run.bats; 8, 11, 12, 13: here; 10: here and unit/test_config.py
YAML          16 and 20: here and unit/test_config.py; 17, 18, 19: unit/test_config.py
corpus        21, 24, 27, 28: here; 22, 23: unit/test_cdsd.py; 25: e2e/test_mini.py (a merged model); 26: shell/run.bats
labels        29, 30, 32: unit/test_cdsd.py, unit/test_prepare_faults.py; 31, 34: unit/test_likely_cause.py;
              33: here and tests/faults.py; 35: tests/faults.py
splits        36: unit/test_likely_cause.py; 37: unit/test_prepare_faults.py; 38: here, each fault of a file in
              unit/test_split.py; 39: unit/test_split.py; 40: unit/test_prepare.py, unit/test_run_stage1.py
folders       41: here and unit/test_made_by.py; 42, 43: here; 44: shell/run.bats
base models   45, 47: here; 46: unit/test_hub.py
stages        48: here; 49, 53: shell/run.bats; 50: unit/test_lineage.py; 51, 52: unit/test_train.py
interruptions 54, 55, 56: e2e/test_interrupted.py, shell/run.bats; 57, 58: e2e/test_training_faults.py; 59, 60: here
messages      61, 62, 63: shell/run.bats; of 61 the stage that is named: here too
tools         64: unit/test_transcribe.py; 65, 68, 69: here; 66: here, unit/test_scoring.py and
              unit/test_score_references.py; 67: unit/test_compare.py; 70: here, unit/test_soup.py; 71: status.bats
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.recipe import Recipe

pytestmark = pytest.mark.e2e

PREPARE = "python local/prepare_1h_dataset.py"
CONFIG = "python -m asr.config --conf conf/mini.yaml --out wrong/conf"
PLAN = "python -m asr.plan --ngpu 0"
TRANSCRIBE = "python -m asr.transcribe --model"
CLIP = "data/mini/after_catting/1h/Audio/01/S001T000E000N00001.wav"
ONE = "--stage 0 --stop-stage 0"

# Kind: (number in the collection, command, exit status, what the one error line must say)
MISTAKES = {
    "options": [
        (8, "bash run.sh ++train_conf.max_epochs=3", 2, "did you mean 'train_conf.max_epoch'?"),
        (8, "bash run.sh ++trian_conf.max_epoch=3", 2, "did you mean 'train_conf'?"),
        (8, f"{CONFIG} ++max_epoch=3", 2, "did you mean 'train_conf.max_epoch'?"),
        (10, f"{CONFIG} ++optim_conf.lr=0,001", 2, "'optim_conf.lr' is '0,001'; it must be a valid number"),
        (10, f"{CONFIG} ++optim_conf.lr=", 2, "'optim_conf.lr' is None; it must be a valid number"),
        (12, "bash run.sh --ngpu two", 2, "--ngpu takes a whole number, not 'two'"),
        (12, "bash run.sh --ngpu -1", 2, "--ngpu takes a whole number, not '-1'"),
        # more than any machine has, so that it means the same on a machine with GPUs
        (13, f"bash run.sh --tag g --ngpu 64 {ONE}", 1, "--ngpu 64, but "),
    ],
    "configuration": [
        (16, "bash run.sh --tag y --conf wrong/key.yaml", 1, "key.yaml:{key}: unknown key 'dataset_conf.batchsize'"),
        (20, "bash run.sh --tag y --conf README.md", 1, "README.md:"),
    ],
    "corpus": [
        (21, f"CDSD_ROOT='~/CDSD' bash run.sh {ONE}", 1, "a ~ in quotes is not your home folder: take the"),
        (21, f"CDSD_ROOT=/no/such bash run.sh {ONE}", 1, "/no/such: no such corpus folder; give --corpus or"),
        (24, f"cd wrong && bash ../run.sh --corpus corp --tag c {ONE}", 1, "{root}/wrong/corp: no such corpus"),
        (27, f"{PREPARE} --corpus data/mini --part '1h, 10h'", 2, "--part 1h, 10h: must be one of 1h, 10h or 1h,10h"),
        (28, f"{PREPARE} --corpus wrong/clips --check-only", 1, "and no transcripts in a form that is read"),
        (38, f"{PREPARE} --corpus data/mini --split seded --out wrong/d", 1, "seded: no such split file, and none"),
        (38, f"{PREPARE} --corpus data/mini --split loso:99 --out wrong/d", 1, "--split loso:99: the corpus has no"),
        (41, "bash run.sh --data wrong/mine --tag d --stage 1 --stop-stage 1", 1, "wrong/mine: holds train.jsonl, "),
        (42, "bash run.sh --data README.md --tag d --stage 1 --stop-stage 1", 1, "README.md: is not a folder"),
    ],
    "base models": [
        (45, f"bash run.sh --tag b --base mini/none {ONE}", 1, "mini/none: no such base model folder; give --base"),
        (45, f"bash run.sh --tag b --base docs {ONE}", 1, "docs: no config.yaml in it, so it is not a FunASR model"),
        (45, f"bash run.sh --tag b --base wrong/half {ONE}", 1, "wrong/half/model.pt: truncated (100000 bytes)"),
        (45, f"bash run.sh --tag b --base wrong/other {ONE}", 1, "is a SenseVoiceSmall, and family paraformer covers"),
        (47, f"bash run.sh --tag b --base exp/mini {ONE}", 1, "is a run, not a model; give --base {root}/exp/mini/"),
    ],
    "stages": [
        (48, "bash run.sh --tag e --stage 2 --stop-stage 2", 1, "exp/e/base/model.pt: not there; run stage 0 first"),
        (48, "bash run.sh --tag e --stage 3 --stop-stage 3", 1, "exp/e/base.json: no such file; run stage 0 first"),
        (48, "bash run.sh --tag e --stage 4 --stop-stage 4", 1, "exp/e/base.json: no such file; run stage 0 first"),
        (48, "bash run.sh --tag e --stage 5 --stop-stage 5", 1, "exp/e/model/model.pt: not there; run stage 4 first"),
        (68, "bash run.sh --tag s --speakers wrong/who.tsv", 1, "who.tsv:1: has no column severity to group by"),
        (68, "bash run.sh --tag s --speakers wrong/no.tsv", 1, "wrong/no.tsv: no such table of speakers"),
    ],
    "tools": [
        (70, "python -m asr.average --exp exp/mini --how gredy", 2, "invalid choice: 'gredy' (choose from"),
        (65, f"{TRANSCRIBE} mini/none {CLIP}", 1, "mini/none: not a FunASR model folder (no config.yaml)"),
        (65, f"{TRANSCRIBE} mini/base/model.pt {CLIP}", 1, "mini/base/model.pt: not a FunASR model folder"),
        (65, f"{TRANSCRIBE} iic/some-model {CLIP}", 1, "iic/some-model: not a FunASR model folder"),
        (66, "python local/score.py --ref data/mini_dataset/test.jsonl --hyp x", 2, "--out is missing; see --help"),
        (69, f"{PLAN} --exp exp/none --data data/mini_dataset", 1, "exp/none/conf/train.yaml: not there; run.sh"),
        (69, f"{PLAN} --exp exp/mini --data data/none", 1, "data/none/train.jsonl: no such manifest; run stage 1"),
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Recipe:
    """A copy of the recipe after stages 0 and 1 of the mini run, and in wrong/ what people bring."""
    recipe = Recipe(tmp_path_factory.mktemp("mistakes"))
    done = recipe.run("--stop-stage", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    wrong, text = recipe.root / "wrong", (recipe.root / "conf/mini.yaml").read_text(encoding="utf-8")
    for folder in ("clips", "mine"):
        (wrong / folder).mkdir(parents=True)
    (wrong / "key.yaml").write_text(text.replace("batch_size:", "batchsize:"), encoding="utf-8")
    (wrong / "who.tsv").write_text("speaker\tsex\n13\tf\n")
    (wrong / "mine/train.jsonl").write_text("mine\n")
    shutil.copy(recipe.root / CLIP, wrong / "clips")
    for name in ("half", "other"):
        shutil.copytree(recipe.root / "mini/base", wrong / name)
    os.truncate(wrong / "half/model.pt", 100_000)
    config = wrong / "other/config.yaml"
    config.write_text(config.read_text().replace("model: Paraformer", "model: SenseVoiceSmall"))
    return recipe


@pytest.mark.parametrize(
    ("kind", "row"),
    [pytest.param(kind, row, id=f"{kind}: {row[1]}") for kind, rows in MISTAKES.items() for row in rows],
)
def test_a_mistake_is_one_line_that_says_what_to_do(prepared, kind, row):
    _, command, status, says = row
    wrong = prepared.root / "wrong"
    lines = (wrong / "key.yaml").read_text(encoding="utf-8").splitlines()
    key = next(number for number, line in enumerate(lines, 1) if "batchsize:" in line)
    before = sorted(path.name for path in (prepared.root / "exp").iterdir())
    done = prepared.run(command, command=("bash", "-c"), PYTHONPATH="scripts")
    said = done.stdout + done.stderr
    assert done.returncode == status, said
    errors = [line for line in said.splitlines() if line.startswith("error:") or ": error: " in line]  # or argparse's
    assert len(errors) == 1, said
    assert says.format(root=prepared.root, key=key) in errors[0]
    assert "Traceback" not in said
    assert sorted(path.name for path in (prepared.root / "exp").iterdir()) == before
    assert not (wrong / "d").exists()


def test_a_learning_rate_that_is_a_slip_is_warned_of(prepared):
    """11: it is accepted, for nobody knows what an experiment is for."""
    said = prepared.run(f"{CONFIG} ++optim_conf.lr=10", command=("bash", "-c"), PYTHONPATH="scripts")
    assert said.returncode == 0
    assert said.stderr.startswith("warning: optim_conf.lr is 10: models of this kind are trained with 0.00001 to 0.001")
    assert prepared.run(f"{CONFIG} ++optim_conf.lr=0.002", command=("bash", "-c"), PYTHONPATH="scripts").stderr == ""


def test_a_rerun_line_names_the_stage_that_is_asked_for_and_the_corpus_that_was_given(prepared):
    words = ("--corpus", "/no/such", "--conf", "conf/mini.yaml", "--tag", "r", "--stage", "0")
    assert f"rerun: bash {prepared.root}/run.sh --corpus /no/such --conf conf/mini.yaml --tag r --stage 0" in (
        prepared.run(*words).stderr
    )


def test_clips_of_the_mini_corpus_that_were_deleted_are_unpacked_again(prepared):
    """59: stage 0 was up to date, and the test set lost a speaker with no more than a warning."""
    folder = prepared.root / "data/mini/after_catting/1h/Audio/13"
    manifest = (prepared.root / "data/mini_dataset/test.jsonl").read_bytes()
    shutil.rmtree(folder)
    done = prepared.run("--stop-stage", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "(data/mini/after_catting changed)" in done.stdout
    assert len(list(folder.iterdir())) == 36
    assert (prepared.root / "data/mini_dataset/test.jsonl").read_bytes() == manifest


def test_damaged_clips_are_named_and_the_rest_goes_on(prepared):
    """33: not audio, missing, without a label."""
    shutil.copytree(prepared.root / "data/mini", prepared.root / "data/damaged")
    audio = sorted((prepared.root / "data/damaged/after_catting/1h/Audio").glob("*/*.wav"))
    audio[0].write_bytes(b"not a wave file")
    audio[1].unlink()
    shutil.copyfile(audio[2], audio[2].with_name("S001T000E000N99999.wav"))
    before = corpus_state(prepared.root / "data/damaged")
    words = "--corpus data/damaged --conf conf/mini.yaml --tag damaged --stage 1 --stop-stage 1"
    done = prepared.run(*words.split())
    assert done.returncode == 0, done.stdout + done.stderr
    out = prepared.root / "data/damaged_1h_dataset"
    problems = (out / "problems.tsv").read_text(encoding="utf-8")
    manifests = "".join(path.read_text(encoding="utf-8") for path in out.glob("*.jsonl"))
    for name in (audio[0].stem, audio[1].stem, "S001T000E000N99999"):
        assert name in problems
        assert name not in manifests
    assert corpus_state(prepared.root / "data/damaged") == before  # 43: a read-only corpus is as good


def corpus_state(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file's size and time."""
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


def test_a_checkout_may_be_moved_and_have_blanks_and_chinese_in_its_path(prepared):
    """60. The last test here: the checkout is another one from now on."""
    digest = prepared.json("data/mini_dataset/statistics.json")["split"]["digest"]
    prepared.root = prepared.root.rename(prepared.root.parent / "搬 家")
    done = prepared.run("--stop-stage", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (prepared.root / "exp/mini/base/config.yaml").is_file()
    assert prepared.json("data/mini_dataset/statistics.json")["split"]["digest"] == digest
