"""What a new user gets wrong: one line that says what, where, and what to do; nothing half-written."""

from __future__ import annotations

import re
import shutil

import pytest

pytestmark = pytest.mark.e2e


def errors(done) -> list[str]:
    """The error lines on both streams; the tail of a stage's log repeats them indented, and is not counted."""
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("error:")]


def one_error(done, pattern: str, status: int = 1) -> None:
    assert done.returncode == status, done.stdout + done.stderr
    found = errors(done)
    assert len(found) == 1, done.stdout + done.stderr
    assert re.search(pattern, found[0]), found[0]
    assert "Traceback" not in done.stdout + done.stderr


@pytest.fixture
def corpus(recipe, mini):
    """A copy of the unpacked mini corpus to damage, and its name for run.sh."""
    folder = recipe.root / "data/damaged"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(recipe.root / "data/mini", folder)
    yield folder
    shutil.rmtree(recipe.root / "data/damaged_1h_dataset", ignore_errors=True)


def prepare(recipe, *more):
    words = (
        "--corpus",
        "data/damaged",
        "--conf",
        "conf/mini.yaml",
        "--tag",
        "damaged",
        "--stage",
        "1",
        "--stop-stage",
        "1",
    )
    return recipe.run(*words, *more)


def test_wrong_corpus_path(recipe, mini):
    done = recipe.run("--corpus", "/no/such/corpus", "--conf", "conf/mini.yaml", "--tag", "bad", "--stage", "1")
    one_error(done, r"/no/such/corpus")
    assert (
        f"rerun: bash {recipe.root}/run.sh --corpus /no/such/corpus --conf conf/mini.yaml --tag bad --stage 1"
        in done.stderr
    )
    assert not (recipe.root / "data/corpus_1h_dataset").exists()


def test_empty_label_file(recipe, corpus):
    label = next((corpus / "after_catting/1h/Text").iterdir())
    label.write_text("")
    one_error(prepare(recipe), re.escape(label.name))
    assert not (recipe.root / "data/damaged_1h_dataset").exists()


def test_damaged_clips_are_named_and_the_rest_goes_on(recipe, corpus):
    audio = sorted((corpus / "after_catting/1h/Audio").glob("*/*.wav"))
    audio[0].write_bytes(b"not a wave file")
    audio[1].unlink()
    shutil.copyfile(audio[2], audio[2].with_name("S001T000E000N99999.wav"))
    done = prepare(recipe)
    assert done.returncode == 0, done.stdout + done.stderr
    problems = (recipe.root / "data/damaged_1h_dataset/problems.tsv").read_text(encoding="utf-8")
    for name in (audio[0].stem, audio[1].stem, "S001T000E000N99999"):
        assert name in problems
    names = [path.read_text() for path in (recipe.root / "data/damaged_1h_dataset").glob("*.jsonl")]
    assert not any(audio[0].name in text or audio[1].name in text or "N99999" in text for text in names)


def test_unknown_yaml_key(recipe, mini):
    text = (recipe.root / "conf/mini.yaml").read_text(encoding="utf-8")
    bad = recipe.root / "conf/bad.yaml"
    bad.write_text(text.replace("batch_size:", "batchsize:"), encoding="utf-8")
    line = next(i for i, row in enumerate(text.splitlines(), 1) if "batch_size:" in row)
    done = recipe.run("--conf", "conf/bad.yaml")
    one_error(done, rf"conf/bad\.yaml:{line}: .*did you mean 'dataset_conf\.batch_size'")


def test_unknown_override_is_wrong_usage(recipe, mini):
    one_error(recipe.run("++train_conf.max_epochs=3"), r"did you mean 'train_conf\.max_epoch'", status=2)


def test_base_model_that_is_not_there(recipe, mini):
    one_error(recipe.run("--tag", "nobase", "--base", "mini/none"), r"mini/none: no such base model folder")


def test_half_a_base_model(recipe, mini):
    shutil.copytree(recipe.root / "mini/base", recipe.root / "data/half", dirs_exist_ok=True)
    weights = recipe.root / "data/half/model.pt"
    weights.write_bytes(weights.read_bytes()[:100_000])
    one_error(recipe.run("--tag", "half", "--base", "data/half"), r"data/half/model\.pt: truncated \(100000 bytes\)")


def test_a_gpu_that_is_not_there_is_never_a_silent_cpu(recipe, mini):
    # More than any machine has, so that the test means the same on a machine with GPUs.
    one_error(recipe.run("--tag", "gpu", "--ngpu", "64"), r"GPU")


def test_a_stage_before_the_ones_it_needs(recipe, mini):
    for stage, needs in (("2", "stage 0"), ("3", "stage 0"), ("4", "stage 0"), ("5", "stage 4")):
        done = recipe.run("--tag", f"early{stage}", "--stage", stage, "--stop-stage", stage)
        one_error(done, needs)
