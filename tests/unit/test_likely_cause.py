"""A corpus of which little can be used: the likeliest cause is said, and --check-only fails where stage 1 would."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.core.errors import RecipeError
from asr.preparation.corpora.registry import open_corpus
from asr.preparation.prepare import Options, prepare
from cdsd import CDSD

ROOT = Path(__file__).resolve().parents[2]
TEXTS = ("今天好", "去公园", "喝杯水", "下雨了")


def corpus(root: Path, name="{speaker}_{n}.wav", label="{speaker}_{n} {text}", below="", speakers=("01", "02", "03")):
    """CDSD's layout with clips and label lines of these forms."""
    text = root / "after_catting/1h/Text"
    text.mkdir(parents=True)
    for speaker in speakers:
        folder = root / "after_catting/1h/Audio" / speaker / below
        folder.mkdir(parents=True)
        for n in range(len(TEXTS)):
            samples = 0.1 * np.random.default_rng(int(speaker) * 10 + n).standard_normal(9000 + 500 * n)
            path = folder / name.format(speaker=speaker, n=n)
            if path.suffix in (".wav", ".mp3"):
                soundfile.write(path, samples, 16000)
            else:
                path.write_bytes(b"not read")
        lines = [label.format(speaker=speaker, n=n, text=words) + "\n" for n, words in enumerate(TEXTS)]
        (text / f"{speaker}_label.txt").write_text("".join(lines), encoding="utf-8")
    return root


def details(root: Path) -> set[str]:
    (part,) = open_corpus(root, ("1h",), CDSD)
    return {problem.detail for problem in part.problems if problem.kind == "transcript without wav"}


CAUSES = {
    "ids with an ending": ({"label": "{speaker}_{n}.wav {text}"}, "ids are written without .wav: take it out"),
    "clips in sub-folders": ({"below": "session1"}, "it is in session1: move the clips of sub-folders up"),
    "names that unpacking damaged": (
        {"name": "录音{speaker}_{n}.wav".encode("gbk").decode("cp437"), "label": "录音{speaker}_{n} {text}"},
        "a name that unpacking has damaged: unpack again, unzip -O GBK",
    ),
}  # fmt: skip


@pytest.mark.parametrize("cause", CAUSES)
def test_the_likeliest_cause_is_said_of_each_label(tmp_path, cause):
    how, says = CAUSES[cause]
    found = details(corpus(tmp_path, **how))
    assert found
    assert any(says in detail for detail in found), found


@pytest.mark.parametrize("cause", CAUSES)
def test_nothing_usable_names_the_first_line_and_its_cause(tmp_path, cause):
    how, says = CAUSES[cause]
    root = corpus(tmp_path, **how)
    with pytest.raises(
        RecipeError, match=r"no usable utterance; transcript without wav \(\d+\), first \S+:1: "
    ) as error:
        prepare(Options(root, ("1h",), None, CDSD))
    assert says in str(error.value)


def test_a_label_without_a_clip_and_without_a_cause_says_no_more(tmp_path):
    root = corpus(tmp_path)
    (root / "after_catting/1h/Audio/01/01_0.wav").unlink()
    assert details(root) == {"no 01_0.wav (or flac, ogg, opus, mp3) in Audio/01"}


def test_mp3_beside_labels_is_read_and_converted_once(tmp_path):
    corpus(tmp_path / "corpus", name="{speaker}_{n}.mp3")
    command = [sys.executable, str(ROOT / "local/prepare_1h_dataset.py"), "--corpus", str(tmp_path / "corpus")]
    done = subprocess.run([*command, "--out", str(tmp_path / "data")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "data_audio").rglob("*.wav"))) == 12
    assert "transcript without wav" not in (tmp_path / "data/problems.tsv").read_text()


def test_an_mp3_whose_header_only_estimates_its_length_has_the_length_that_it_is_decoded_to(tmp_path):
    root = corpus(tmp_path / "corpus", name="{speaker}_{n}.mp3")
    for path in root.rglob("*.mp3"):
        samples, rate = soundfile.read(path)
        soundfile.write(path, samples, rate, format="MP3", bitrate_mode="VARIABLE", compression_level=0.3)
        content = path.read_bytes()
        path.write_bytes(content.replace(b"Xing", b"\0\0\0\0", 1).replace(b"Info", b"\0\0\0\0", 1))
    command = [sys.executable, str(ROOT / "local/prepare_1h_dataset.py"), "--corpus", str(root)]
    done = subprocess.run([*command, "--out", str(tmp_path / "data")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    from asr.core.manifest import read_manifest

    clips = [clip for name in ("train", "val", "test") for clip in read_manifest(tmp_path / f"data/{name}.jsonl")]
    assert len(clips) == 12
    assert [clip.num_samples for clip in clips] == [soundfile.info(clip.source).frames for clip in clips]


@pytest.mark.parametrize("fault", ["nothing usable", "a broken label file", "two speakers", "none"])
def test_check_only_fails_where_stage_1_would_and_says_why_in_full(tmp_path, fault):
    root = corpus(tmp_path / "corpus", speakers=("01", "02") if fault == "two speakers" else ("01", "02", "03"))
    if fault == "nothing usable":
        shutil.rmtree(root / "after_catting/1h/Audio/01")
        shutil.rmtree(root / "after_catting/1h/Audio/02")
        for path in (root / "after_catting/1h/Audio/03").iterdir():
            path.write_bytes(b"")
    elif fault == "a broken label file":
        (root / "after_catting/1h/Text/02_label.txt").write_text(
            "".join(f"02_{n},{text}\n" for n, text in enumerate(TEXTS))
        )
    command = [sys.executable, str(ROOT / "local/prepare_1h_dataset.py"), "--corpus", str(root)]
    checked = subprocess.run([*command, "--check-only"], capture_output=True, text=True)
    done = subprocess.run([*command, "--out", str(tmp_path / "data")], capture_output=True, text=True)
    assert checked.returncode == done.returncode == (0 if fault == "none" else 1)
    if fault != "none":
        assert checked.stderr == f"error: {root}: stage 1 would stop, as said above\n"
        reason = done.stderr.removeprefix("error: ").strip()
        assert f"stage 1 would stop here:\n  {reason}\n" in checked.stdout
