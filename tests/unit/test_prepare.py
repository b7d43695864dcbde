"""Stage 1 as a user meets it: the command, what it prints and what it writes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.core.kaldi_text import read_text
from asr.core.manifest import read_manifest
from asr.core.names import by_key
from tests import cdsd_tree, tiny_sensevoice
from tests.kaldi_rules import broken_rules
from tests.stage1 import ROOT, beside, environment, keys, prepare, problems, refused

OUTPUTS = {
    *(
        ".made_by_stage1",
        "train.jsonl",
        "val.jsonl",
        "test.jsonl",
        "split.yaml",
        "problems.tsv",
        "text_changes.tsv",
        "audio_elsewhere.txt",
    ),
    *("data_statistics.txt", "data_statistics.html", "statistics.json", "train", "val", "test"),
}


@pytest.fixture
def corpus(tmp_path):
    return cdsd_tree.small(tmp_path / "corpus")


@pytest.fixture
def part(corpus):
    return corpus / "after_catting" / "1h"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A hundredth of CDSD, with its irregularities."""
    return cdsd_tree.one_in_hundred(tmp_path_factory.mktemp("disk") / "CDSD")


def test_manifests_have_exact_lengths(corpus, tmp_path):
    out = tmp_path / "data"
    done = prepare(corpus, out)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.iterdir()} == OUTPUTS
    everything = [item for name in ("train", "val", "test") for item in read_manifest(out / f"{name}.jsonl")]
    assert len(everything) == 24
    for item in everything:
        info = soundfile.info(item.source)
        assert (item.num_samples, item.duration) == (info.frames, pytest.approx(info.duration))
        assert item.source_len == info.frames * 100 // 16000
        assert item.target_len == len(item.target)
        assert item.speaker == Path(item.source).parent.name
    because = "there is no speaker 07, 08, 09, 10 and 34 more"
    drawn = f"split drawn by seed 2024, not CDSD's default, because {because}"
    assert done.stdout.splitlines()[:2] == [drawn, "corpus  corpus, part 1h"]
    assert "drawn by speaker, 8:1:1, seed 2024" in done.stdout
    assert "no problem found" in done.stdout


def test_statistics_begin_with_the_manuals_table(corpus, tmp_path):
    prepare(corpus, tmp_path / "data")
    lines = (tmp_path / "data/data_statistics.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0].split() == ["split", "speakers", "utterances", "hours", "characters"]
    assert [line.split()[:3] for line in lines[2:6]] == [
        ["train", "4", "16"],
        ["val", "1", "4"],
        ["test", "1", "4"],
        ["total", "6", "24"],
    ]


def test_prompt_overlap_counts_texts_that_train_has(corpus, tmp_path):
    prepare(corpus, tmp_path / "data")
    statistics = json.loads((tmp_path / "data/statistics.json").read_text(encoding="utf-8"))
    assert statistics["splits"]["test"]["in_train"]["utterances"] == 1  # the sentence that every speaker says
    assert statistics["splits"]["test"]["in_train"]["characters"] == 6


def test_a_corpus_that_calls_itself_simulated_is_recorded_so(corpus, tmp_path):
    prepare(corpus, tmp_path / "data")
    assert json.loads((tmp_path / "data/statistics.json").read_text())["corpus"]["simulated"] is False
    (corpus / "speakers.tsv").write_text("speaker\tkind\n01\tsimulated\n")
    prepare(corpus, tmp_path / "data")
    assert json.loads((tmp_path / "data/statistics.json").read_text())["corpus"]["simulated"] is True


def test_the_same_corpus_in_another_place_has_the_same_digest(corpus, tmp_path):
    prepare(corpus, tmp_path / "one")
    corpus.rename(tmp_path / "disk 7 张三")
    prepare(tmp_path / "disk 7 张三", tmp_path / "two")
    one, two = (json.loads((tmp_path / name / "statistics.json").read_text())["corpus"] for name in ("one", "two"))
    assert one["digest"] == two["digest"]
    assert two["name"] == "disk 7 张三"
    assert keys(tmp_path / "one", "test") == keys(tmp_path / "two", "test")


def test_other_rates_and_channels_are_converted_once_and_other_formats_are_taken_as_they_are(part, corpus, tmp_path):
    folder, out = part / "Audio/01", tmp_path / "data"
    first, second, third, _ = sorted(folder.iterdir())
    sound = np.sin(np.arange(88200) / 20) / 2
    soundfile.write(first, np.stack([sound, sound], axis=1), 44100)
    soundfile.write(second.with_suffix(".flac"), sound[:24000], 8000)
    soundfile.write(third.with_suffix(".ogg"), sound[:24000], 16000)
    second.unlink(), third.unlink()
    done = prepare(corpus, out, "--ratios", "4,1,1", "--seed", "1")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for path in out.glob("*.jsonl") for line in path.open(encoding="utf-8")]
    found = {item["key"]: (item["source_len"], item["num_samples"], item["duration"]) for item in lines}
    assert found[first.stem] == (200, 32000, 2.0)
    assert found[second.stem] == (300, 48000, 3.0)
    assert found[third.stem] == (150, 24000, 1.5)
    sources = {item["key"]: Path(item["source"]) for item in lines}
    for key in (first.stem, second.stem):
        assert sources[key].parent == tmp_path / "data_audio/01"
        assert soundfile.info(sources[key]).samplerate == 16000
        assert soundfile.info(sources[key]).channels == 1
    assert sources[third.stem] == third.with_suffix(".ogg")
    originals = {item["key"]: item["original"] for item in lines if "original" in item}
    assert originals[first.stem] == {"source": str(first), "start": 0.0, "seconds": None, "channel": None}
    assert sorted(row["kind"] for row in problems(out)) == ["not mono", "rate not 16 kHz", "rate not 16 kHz"]
    assert "converted audio (16 kHz, mono): 2 clips in" in done.stdout
    assert (out / "audio_elsewhere.txt").read_text().splitlines() == sorted(
        map(str, [sources[first.stem], sources[second.stem]])
    )
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "data_audio").rglob("*.wav")}
    assert "unchanged: " in prepare(corpus, out, "--ratios", "4,1,1", "--seed", "1").stdout
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data_audio").rglob("*.wav")} == times
    first.unlink()
    prepare(corpus, out, "--ratios", "4,1,1", "--seed", "1")
    assert [path.name.split("-")[0] for path in (tmp_path / "data_audio").rglob("*.wav")] == [second.stem]


def test_an_unchanged_corpus_leaves_everything_untouched_and_a_changed_clip_is_noticed(corpus, part, tmp_path):
    out = tmp_path / "data"
    prepare(corpus, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert f"unchanged: {out} is as it was" in prepare(corpus, out).stdout
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    clip = sorted((part / "Audio/04").iterdir())[0]
    times = clip.stat()
    cdsd_tree.write_wav(clip, clip.stat().st_size // 32000 + 7)
    os.utime(clip, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert f"written to {out}" in prepare(corpus, out).stdout
    lengths = {
        item.key: item.source_len for name in ("train", "val", "test") for item in read_manifest(out / f"{name}.jsonl")
    }
    assert lengths[clip.stem] == 100 * soundfile.info(clip).frames // 16000


def test_kaldi_folders_stand_beside_the_manifests_and_can_be_given_back(corpus, tmp_path):
    prepare(corpus, tmp_path / "data", "--lhotse")
    folder = tmp_path / "data/test"
    (speaker,) = {item.speaker for item in read_manifest(tmp_path / "data/test.jsonl")}
    ids = [f"{speaker}-{key}" for key in sorted(keys(tmp_path / "data", "test"))]
    assert (folder / "utt2spk").read_text() == "".join(f"{name} {speaker}\n" for name in ids)
    assert (folder / "spk2utt").read_text() == f"{speaker} {' '.join(ids)}\n"
    again = {name: tmp_path / name for name in ("kaldi", "jsonl", "lhotse")}
    (tmp_path / "only").mkdir()
    for name in ("train", "val", "test"):
        shutil.copytree(tmp_path / "data" / name, tmp_path / "only" / name)
    for name, given in (("kaldi", "only"), ("jsonl", "data"), ("lhotse", "data/lhotse")):
        done = prepare(tmp_path / given, again[name])
        assert done.returncode == 0, done.stderr
        assert "split   the corpus's own sets" in done.stdout
        for split_ in ("train", "val", "test"):
            items = read_manifest(tmp_path / f"data/{split_}.jsonl")
            if name == "kaldi":
                items = [item._replace(key=f"{item.speaker}-{item.key}") for item in items]
            assert read_manifest(again[name] / f"{split_}.jsonl") == items
    assert not (again["kaldi"] / "lhotse").exists()
    prepare(corpus, tmp_path / "data")
    assert not (tmp_path / "data/lhotse").exists()


@pytest.mark.parametrize("parts", ["1h", "10h", "1h,10h"])
def test_kaldi_folders_keep_kaldis_rules_and_the_manifests_their_keys(whole, tmp_path, parts):
    done = prepare(whole, tmp_path / "data", "--part", parts)
    assert done.returncode == 0, done.stderr
    for name in ("train", "val", "test"):
        assert broken_rules(tmp_path / "data" / name) == []
        items, texts = read_manifest(tmp_path / f"data/{name}.jsonl"), read_text(tmp_path / "data" / name / "text")
        assert not any(item.key.startswith(f"{item.speaker}-") for item in items)
        assert by_key(texts, items) == {item.key: " ".join(item.target.split()) for item in items}


def test_targets_are_normalised_and_the_transcript_is_kept(corpus, part, tmp_path):
    path = part / "Text/04_label.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[1] = f"{lines[1].split()[0]} 我 要去，ＫＴＶ！"
    path.write_text("\n".join(lines), encoding="utf-8")
    prepare(corpus, tmp_path / "data")
    found = {
        item.key: item for name in ("train", "val", "test") for item in read_manifest(tmp_path / f"data/{name}.jsonl")
    }
    item = found[lines[1].split()[0]]
    assert (item.target, item.target_len, item.extra["transcript"]) == ("我要去 ktv", 6, "我 要去，ＫＴＶ！")
    rows = (tmp_path / "data/text_changes.tsv").read_text(encoding="utf-8").splitlines()
    assert rows[0].startswith("from\tcode points")
    assert len(rows) == 1 + 7  # a blank put in is one


def test_check_only_lists_and_changes_nothing(corpus, part, tmp_path):
    sorted((part / "Audio/04").iterdir())[0].write_text("no sound")
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    done = prepare(corpus, None, "--check-only")
    assert done.returncode == 0, done.stderr
    assert "error  unreadable audio      1" in done.stdout
    assert done.stdout.endswith("checked only: no data was written\n")
    assert beside(tmp_path) == {"corpus"}
    prepare(corpus, tmp_path / "list", "--check-only")
    assert beside(tmp_path / "list") == {".made_by_stage1", "problems.tsv"}
    assert [row["kind"] for row in problems(tmp_path / "list")] == ["unreadable audio"]
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*")} == before
    assert "--strict: 1 errors and 0 warnings" in refused_after_listing(
        prepare(corpus, None, "--check-only", "--strict")
    )


def refused_after_listing(done: subprocess.CompletedProcess) -> str:
    assert "checked only" in done.stdout
    return refused(done)


def test_characters_that_the_model_does_not_have_are_named(corpus, part, tmp_path):
    known = sorted(set("".join(path.read_text("utf-8") for path in (part / "Text").iterdir())) - {"天"})
    (tmp_path / "tokens.json").write_text(json.dumps(["<blank>", *known, "<unk>"]), encoding="utf-8")
    prepare(corpus, tmp_path / "data", "--tokens", tmp_path / "tokens.json")
    rows = [row for row in problems(tmp_path / "data") if row["kind"] == "character not in vocabulary"]
    assert len(rows) == 6
    assert {row["detail"] for row in rows} == {"天: becomes <unk>"}


def test_a_base_with_pieces_is_asked_for_each_character(corpus, part, tmp_path):
    known = sorted(set("".join(path.read_text("utf-8") for path in (part / "Text").iterdir())) - {"天", "\n", " "})
    tiny_sensevoice.write_folder(tmp_path / "base", known, list(tiny_sensevoice.TAGS.values()))
    refusal = refused(
        prepare(corpus, tmp_path / "data", "--tokens", tmp_path / "base", "--max-unknown-characters", "0")
    )
    assert "base: the base model has no token for many characters (train " in refusal
    assert "; most often 天)" in refusal
    done = prepare(corpus, tmp_path / "data", "--tokens", tmp_path / "base", "--max-unknown-characters", "1")
    assert "warning: characters without a token in the base model: train " in done.stdout, done.stderr
    statistics = json.loads((tmp_path / "data/statistics.json").read_text(encoding="utf-8"))
    assert statistics["vocabulary"]["characters"] is None
    assert [row["character"] for row in statistics["vocabulary"]["uncovered"]] == ["天"]
    assert "按子词切分，已逐字检查" in (tmp_path / "data/data_statistics.html").read_text(encoding="utf-8")
    done = prepare(corpus, None, "--check-only", "--tokens", tmp_path / "base", "--max-unknown-characters", "0")
    assert done.returncode == 0
    assert "warning: characters without" in done.stdout
    assert prepare(corpus, None, "--check-only", "--max-unknown-characters", "7").returncode == 2


def test_start_up_imports_no_heavy_package():
    code = "import sys; sys.path.insert(0, 'local'); import asr.preparation.prepare, score; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert "preparation" in done.stdout, done.stderr
    assert not {"torch", "funasr", "pandas", "scipy", "soundfile"} & set(done.stdout.split())
