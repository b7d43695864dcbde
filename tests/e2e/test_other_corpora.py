"""A corpus that is not laid out as CDSD is, in other rates and formats, through all six stages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from asr.core.kaldi_text import read_text
from asr.core.manifest import read_manifest

pytestmark = pytest.mark.e2e
WORDS = ("--corpus", "data/kaldi", "--conf", "conf/mini.yaml", "--tag", "kaldi", "++train_conf.max_epoch=1")
FORMATS = (("wav", 44100, 2), ("flac", 16000, 1), ("ogg", 16000, 1), ("wav", 8000, 1), ("wav", 16000, 1))


def put_in_another_format(source: str, path: Path, rate: int, channels: int) -> None:
    samples, own_rate = soundfile.read(source)
    made = soxr.resample(samples, own_rate, rate)
    soundfile.write(path, np.stack([made] * channels, axis=1) if channels > 1 else made, rate)


@pytest.fixture(scope="module")
def kaldi(recipe, mini) -> Path:
    """Kaldi folders of some of the mini corpus, its audio elsewhere, one file of two utterances cut by segments."""
    audio = recipe.root / "data/kaldi_audio"
    audio.mkdir()
    for split, most in (("train", 60), ("val", 12), ("test", 12)):
        items = read_manifest(recipe.root / f"data/mini_dataset/{split}.jsonl")[
            :: 360 // most if split == "train" else 6
        ]
        folder = recipe.root / "data/kaldi" / {"val": "dev"}.get(split, split)
        folder.mkdir(parents=True)
        lists: dict[str, list[str]] = {"wav.scp": [], "text": [], "utt2spk": []}
        for number, item in enumerate(items):
            extension, rate, channels = FORMATS[number % len(FORMATS)]
            path = audio / f"{item.key}.{extension}"
            put_in_another_format(item.source, path, rate, channels)
            lists["wav.scp"].append(f"{item.key} {path}")
            lists["text"].append(f"{item.key} {item.target}")
            lists["utt2spk"].append(f"{item.key} {item.speaker}")
        for name, lines in lists.items():
            (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return audio


def test_kaldi_folders_in_every_format_go_through_all_stages(recipe, kaldi):
    done = recipe.run(*WORDS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "split   the corpus's own sets" in done.stdout
    assert "converted audio (16 kHz, mono): 39 clips in data/kaldi_1h_dataset_audio" in done.stdout
    data = recipe.root / "data/kaldi_1h_dataset"
    for split in ("train", "val", "test"):
        for item in read_manifest(data / f"{split}.jsonl"):
            about = soundfile.info(item.source)
            assert (about.samplerate, about.channels, about.frames) == (16000, 1, item.num_samples)
    texts = read_text(recipe.root / "exp/kaldi/tuned/hyp.txt")
    assert texts.keys() == {item.key for item in read_manifest(data / "test.jsonl")}
    digest = recipe.json("data/kaldi_1h_dataset/statistics.json")["split"]["digest"]
    results = (recipe.root / "exp/kaldi/RESULTS.md").read_text(encoding="utf-8")
    assert f"| {digest} " in results
    assert recipe.run(*WORDS).stdout.count(": up to date") == 6


def test_a_clip_outside_the_corpus_folder_is_watched_too(recipe, kaldi):
    """After the test above: the audio is not below --corpus, and a changed or removed file must still be noticed."""
    words = (*WORDS, "--stage", "1", "--stop-stage", "1")
    assert recipe.run(*words).stdout.count(": up to date") == 1
    clip = next(path for path in sorted(kaldi.iterdir()) if path.suffix == ".flac")
    samples, rate = soundfile.read(clip)
    soundfile.write(clip, samples[: len(samples) // 2], rate)
    done = recipe.run(*words)
    assert "stage 1: done" in done.stdout, done.stdout + done.stderr
    assert recipe.run(*words).stdout.count(": up to date") == 1
    converted = next((recipe.root / "data/kaldi_1h_dataset_audio").rglob("*.wav"))
    converted.unlink()
    done = recipe.run(*words)
    assert "stage 1: done" in done.stdout, done.stdout + done.stderr
    assert converted.is_file()
