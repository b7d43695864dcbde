"""A command replaces what it has made itself: everybody's own files stay, byte for byte, and are named in one line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from asr.averaging import soup
from asr.config.load import resolve
from asr.config.stage_files import read_decode_settings, write_stage_files
from asr.core.errors import RecipeError
from asr.core.made_by import FORMATS, RUN, STAGE1, claim, mark, mark_of, refuse_older
from asr.core.manifest import read_manifest, write_manifest
from asr.core.run_folder import read_stage_file
from asr.decoding.run import run as decode
from tests import cdsd_tree, tiny
from tests.stage1 import ROOT, beside, prepare, refused, state


def command(*words: object) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'scripts'}"}
    return subprocess.run([sys.executable, *map(str, words)], env=environment, capture_output=True, text=True)


def test_a_folder_is_taken_when_it_is_new_empty_or_ones_own(tmp_path):
    for _ in range(2):
        claim(tmp_path / "new", "this")
        (tmp_path / "new/result").write_text("1")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes").write_text("mine")
    with pytest.raises(RecipeError, match="mine: holds notes, which this of this version has not made: it is not repl"):
        claim(tmp_path / "mine", "this")
    claim(tmp_path / "mine", "that", ["result*"])  # which replaces nothing here
    with pytest.raises(RecipeError, match=r"new: holds result, .* give --out another folder"):
        claim(tmp_path / "new", "that", ["result*"])
    with pytest.raises(RecipeError, match="notes: is not a folder"):
        claim(tmp_path / "mine/notes", "this")


@pytest.mark.parametrize("number", ["0", "", "99", "one"])
def test_another_format_is_refused_with_what_to_give(tmp_path, number):
    for what, remedy in ((STAGE1, r"\(rm -r '.*a b'\) and rerun stage 1, or give --data"), (RUN, "give --tag NEW")):
        folder = tmp_path / "a b"
        mark(folder, what)
        refuse_older(folder, what)
        (folder / mark_of(what)).write_text(number)
        for refuse in (refuse_older, claim):
            with pytest.raises(RecipeError, match=f"has format .*, this version of the recipe has .*{remedy}"):
                refuse(folder, what)
        assert (folder / mark_of(what)).read_text() == number


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return cdsd_tree.small(tmp_path_factory.mktemp("disk") / "corpus")


def test_stage_1_leaves_somebodys_kaldi_folder_as_it_is(corpus, tmp_path):
    own = tmp_path / "kaldi"
    for name in ("train", "test"):
        (own / name).mkdir(parents=True)
        (own / name / "wav.scp").write_text("a /a.wav\n")
        (own / name / "feats.scp").write_text("a /a.ark\n")
    before = state(own)
    for words in ((), ("--check-only",)):
        said = refused(prepare(corpus, own, *words))
        assert said == (
            f"error: {own}: holds test, which stage 1 of this version has not made: it is not replaced;"
            " give --data (--out) another folder\n"
        )
    assert state(own) == before
    assert beside(tmp_path) == {"kaldi"}


def test_stage_1_takes_no_folder_in_or_around_the_corpus(tmp_path):
    corpus = cdsd_tree.small(tmp_path / "disk/corpus")
    (tmp_path / "link").symlink_to("disk/corpus/after_catting")
    (tmp_path / "disk_audio").symlink_to("disk")  # where converted clips would go
    before = state(tmp_path)
    inside = corpus / "after_catting/1h"
    for given, out in (
        *((corpus, corpus), (corpus, corpus / "new"), (corpus, tmp_path / "disk"), (corpus, tmp_path)),
        *((corpus, tmp_path / "link/new"), (tmp_path / "link", corpus), (tmp_path / "link", inside / "Text")),
        *((inside, corpus / "new"), (corpus, tmp_path / "elsewhere/../disk")),  # the corpus begins above what is given
    ):
        said = refused(prepare(given, out))
        assert "or in it, or around it, and a corpus is not written into" in said, (given, out)
    said = refused(prepare(tmp_path / "disk_audio", tmp_path / "disk/corpus/../../disk"))
    assert "and a corpus is not written into" in said
    assert {name: value for name, value in state(tmp_path).items() if not name.endswith((".sqlite", ".lock"))} == before


def test_stage_1_keeps_what_others_put_into_its_folders(corpus, tmp_path):
    out = tmp_path / "data"
    assert prepare(corpus, out).returncode == 0
    assert (out / mark_of(STAGE1)).read_text() == f"{FORMATS[STAGE1]}\n"
    (out / "notes.txt").write_text("mine")
    (out / "train/feats.scp").write_text("Kaldi's")
    assert prepare(corpus, out, "--split", "loso:01").returncode == 0
    assert (out / "notes.txt").read_text() == "mine"
    assert (out / "train/feats.scp").read_text() == "Kaldi's"


def test_data_of_an_earlier_version_is_not_read_and_not_overwritten(corpus, tmp_path):
    out = tmp_path / "data"
    assert prepare(corpus, out).returncode == 0
    (out / mark_of(STAGE1)).unlink()
    before = state(out)
    with pytest.raises(RecipeError, match=r"has no format number, .* \(rm -r .*\) and rerun stage 1"):
        read_manifest(out / "train.jsonl")
    assert "of this version has not made" in refused(prepare(corpus, out))
    (out / mark_of(STAGE1)).write_text("0\n")
    assert "has format 0, this version of the recipe has" in refused(prepare(corpus, out))
    assert {**state(out), mark_of(STAGE1): b""} == {**before, mark_of(STAGE1): b""}
    write_manifest(tmp_path / "own/test.jsonl", tiny.make_clips(tmp_path / "clips", [0.5]))  # a manifest of one's own
    assert len(read_manifest(tmp_path / "own/test.jsonl")) == 1


def test_a_run_of_an_earlier_version_is_not_gone_on_with_and_not_overwritten(tmp_path):
    values = resolve(ROOT / "conf/mini.yaml", [])
    exp = tmp_path / "exp"
    (exp / "conf").mkdir(parents=True)
    (exp / "conf/train.yaml").write_text("seed: 1\n")
    with pytest.raises(RecipeError, match=r"exp: has no format number, .* keep it, and give --tag NEW"):
        read_stage_file(exp, "train")
    with pytest.raises(RecipeError, match=r"holds train.yaml, .* keep it, and give --tag NEW"):
        write_stage_files(values, exp / "conf")
    assert (exp / "conf/train.yaml").read_text() == "seed: 1\n"
    write_stage_files(values, tmp_path / "new/conf")
    read_stage_file(tmp_path / "new", "train")
    (tmp_path / "new/conf" / mark_of(RUN)).write_text("0\n")
    with pytest.raises(RecipeError, match="new: has format 0, this version of the recipe has"):
        read_stage_file(tmp_path / "new", "train")


def test_the_mini_corpus_is_not_unpacked_over_a_corpus_of_somebodys(tmp_path):
    own = cdsd_tree.small(tmp_path / "corpus")
    (own / "speakers.tsv").write_text("speaker\tage\n01\t60\n")  # as README asks for
    (tmp_path / "new.tmp").mkdir()
    (tmp_path / "new.tmp/notes").write_text("mine")
    before = state(tmp_path)
    done = command(ROOT / "mini/unpack.py", "--out", own)
    assert done.returncode == 1
    assert done.stderr == f"error: {own}: holds what is no unpacked mini corpus; give --out another folder\n"
    assert state(tmp_path) == before
    assert command(ROOT / "mini/unpack.py", "--out", tmp_path / "new").returncode == 0
    assert (tmp_path / "new.tmp/notes").read_text() == "mine"
    assert command(ROOT / "mini/unpack.py", "--out", tmp_path / "new", "--force").returncode == 0


def test_scores_and_comparisons_replace_their_own_files_alone(tmp_path):
    write_manifest(tmp_path / "test.jsonl", items := tiny.make_clips(tmp_path / "clips", [0.5, 0.6]))
    (tmp_path / "hyp.txt").write_text("".join(f"{item.key} {item.target}\n" for item in items))
    words = (ROOT / "local/score.py", "--ref", tmp_path / "test.jsonl", "--hyp", tmp_path / "hyp.txt", "--out")
    own = tmp_path / "own"
    own.mkdir()
    (own / "mine.trn").write_text("一 (a)\n")
    said = refused(command(*words, own))
    assert said.startswith(f"error: {own}: holds mine.trn, which score of this version has not made")
    assert state(own) == {"mine.trn": "一 (a)\n".encode()}
    for _ in range(2):
        assert command(*words, tmp_path / "run/score").returncode == 0
    (own / "COMPARED.md").write_text("mine")
    done = command(ROOT / "local/score.py", "--compare", tmp_path / "run", tmp_path / "run", "--out", own)
    assert refused(done).startswith(f"error: {own}: holds COMPARED.md, ")
    (tmp_path / "run/RESULTS.md").write_text("mine")
    said = refused(command("-m", "asr.report", "--exp", tmp_path / "run"))
    assert said.startswith(f"error: {tmp_path / 'run'}: holds RESULTS.md, which report of this version has not made")
    assert (tmp_path / "run/RESULTS.md").read_text() == "mine"


def test_decoding_and_merging_replace_their_own_files_alone(tmp_path):
    model = tiny.make_model(tmp_path / "base")
    write_manifest(tmp_path / "test.jsonl", tiny.make_clips(tmp_path / "clips", [0.5]))
    out = tmp_path / "own"
    out.mkdir()
    (out / "hyp.txt").write_text("mine")
    with pytest.raises(RecipeError, match=r"own: holds hyp\.txt, which decode of this version has not made"):
        decode(model, tmp_path / "test.jsonl", out, 0, read_decode_settings())
    (out / "model").mkdir()
    (out / "model/model.pt").write_text("mine")
    before = state(out)
    with pytest.raises(RecipeError, match=r"own: holds .*, which average of this version has not made"):
        soup.prepare([tmp_path], out)
    assert state(out) == before


def test_what_makes_models_and_corpora_replaces_nothing_of_others(tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "tokens.json").write_text("[]")
    write_manifest(tmp_path / "train.jsonl", tiny.make_clips(tmp_path / "clips", [0.5]))
    done = command(ROOT / "local/conformer_base.py", "--manifest", tmp_path / "train.jsonl", "--out", own)
    assert refused(done).startswith(f"error: {own}: holds tokens.json, which conformer_base of this version")
    assert json.loads((own / "tokens.json").read_text()) == []
    new = (ROOT / "local/conformer_base.py", "--manifest", tmp_path / "train.jsonl", "--out", tmp_path / "new")
    assert [command(*new).returncode for _ in range(2)] == [0, 0]
    done = command(ROOT / "mini/make/pack_base.py", "--model", tmp_path, "--out", own)
    assert refused(done).startswith(f"error: {own}: is not empty")
    program = f"""
import sys, types
sys.path.insert(0, {str(ROOT / "mini/make")!r})
sys.modules["voices"] = types.SimpleNamespace(SAMPLE_RATE=16000)  # the synthesisers are not installed
from layout import write_labels, Path
for text in ("一", "一", "二"):
    write_labels(Path({str(tmp_path / "made")!r}), "01", [text])
"""
    label = tmp_path / "made/after_catting/1h/Text/01_label.txt"
    said = refused(command("-c", program))
    assert said == f"error: {label}: is there, with another text; remove it, or give --out another folder\n"
    assert label.read_text() == "S001T000E000N00001 一\n"


def test_restart_removes_the_trainings_files_alone(tmp_path):
    from asr.training.start import clear

    for name in ("model.pt", "model.pt.ep1", "model.pt.avg3", "state.pt.ep1", "train.log"):
        (tmp_path / name).touch()
    (tmp_path / "my_best.pt").touch()
    (Path(tmp_path) / "notes.ptx").touch()
    clear(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"my_best.pt", "notes.ptx"}
