"""A person's recordings on disk: a corpus for stage 1 at every moment, and nobody else's folder."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.core.errors import RecipeError
from asr.serving.voice_corpus import CORRECTION, BadClipError, VoiceCorpus, read_prompts
from cdsd import read_part
from tests.patience import PATIENCE
from tests.stage1 import ROOT


def wave(seconds: float = 1.0, rate: int = 16000, **options) -> bytes:
    """A recording, as the page sends it."""
    samples = np.random.default_rng(0).integers(-3000, 3000, int(seconds * rate), dtype=np.int16)
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, **{"format": "WAV", "subtype": "PCM_16", **options})
    return stream.getvalue()


def part_of(folder: Path):
    return read_part(folder / "after_catting/1h", "1h")


def pairs(folder: Path) -> list[tuple[str, str]]:
    """What stage 1 finds; it has nothing to complain of."""
    part = part_of(folder)
    assert part.problems == []
    return [(clip.key, clip.text) for clip in part.clips]


def test_clips_and_corrections_are_a_corpus_that_stage_1_reads(tmp_path):
    corpus = VoiceCorpus(tmp_path / "me")
    corpus.add(wave(), "我想喝水")
    corpus.add(wave(2, rate=48000), " 打开  wifi ", CORRECTION)
    assert [(clip.text, clip.seconds) for clip in corpus.clips] == [("我想喝水", 1.0), ("打开 wifi", 2.0)]
    assert pairs(tmp_path / "me") == [("S001T000E000N00001", "我想喝水"), ("S001T001E000N00002", "打开 wifi")]
    part = part_of(tmp_path / "me")
    assert [soundfile.info(clip.audio).samplerate for clip in part.clips] == [16000, 48000]


def test_only_its_owner_may_look_into_it(tmp_path):
    VoiceCorpus(tmp_path / "me").add(wave(), "你好")
    assert (tmp_path / "me").stat().st_mode & 0o777 == 0o700
    files = [path for path in (tmp_path / "me/after_catting").rglob("*") if path.is_file()]
    assert len(files) == 2
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_it_goes_on_where_it_stopped_and_never_gives_an_id_twice(tmp_path):
    corpus = VoiceCorpus(tmp_path / "me")
    first = corpus.add(wave(), "一")
    corpus.close()
    (tmp_path / "me/after_catting/1h/Audio/01/S001T000E000N00007.wav").write_bytes(wave())  # somebody's, not labelled
    corpus = VoiceCorpus(tmp_path / "me")
    assert corpus.clips == [first]
    assert corpus.add(wave(), "二").id == "S001T000E000N00008"


def test_only_the_newest_clip_is_taken_back(tmp_path):
    corpus = VoiceCorpus(tmp_path / "me")
    first, second = corpus.add(wave(), "一"), corpus.add(wave(), "二")
    assert not corpus.remove_last(first.id)
    assert corpus.remove_last(second.id)
    assert not corpus.remove_last(second.id)
    assert corpus.clips == [first]
    assert pairs(tmp_path / "me") == [(first.id, "一")]


KILLED = """
import os, sys
from pathlib import Path
from asr.serving import voice_corpus as module
corpus = module.VoiceCorpus(Path(sys.argv[1]))
wav = Path(sys.argv[2]).read_bytes()
kept = corpus.add(wav, "第一句")
owner, name, at = {place}
real, calls = getattr(owner, name), []
def dies(*args, **words):
    calls.append(1)
    if len(calls) == at:
        os._exit(9)
    return real(*args, **words)
setattr(owner, name, dies)
{act}
"""
ADD, REMOVE = 'corpus.add(wav, "第二句")', "corpus.remove_last(kept.id)"


@pytest.mark.parametrize(
    ("place", "act", "left"),
    [
        ("(module.soundfile, 'write', 1)", ADD, ["第一句"]),
        ("(module, 'write_text', 1)", ADD, ["第一句"]),  # the wav is there, the journal is not
        ("(Path, 'replace', 1)", ADD, ["第一句", "第二句"]),
        ("(module, 'write_text', 2)", ADD, ["第一句", "第二句"]),  # between the wav and its label
        ("(Path, 'unlink', 1)", ADD, ["第一句", "第二句"]),
        ("(module, 'write_text', 1)", REMOVE, ["第一句"]),
        ("(module, 'write_text', 2)", REMOVE, []),
        ("(Path, 'unlink', 1)", REMOVE, []),
        ("(Path, 'unlink', 2)", REMOVE, []),
    ],
)
def test_a_killed_server_leaves_no_half_clip(tmp_path, place, act, left):
    folder, wav = tmp_path / "me", tmp_path / "clip.wav"
    wav.write_bytes(wave())
    script = KILLED.format(place=place, act=act)
    ended = subprocess.run([sys.executable, "-c", script, folder, wav], cwd=ROOT, check=False, timeout=PATIENCE)
    assert ended.returncode == 9
    corpus = VoiceCorpus(folder)  # the next server
    assert [(clip.text, clip.seconds) for clip in corpus.clips] == [(text, 1.0) for text in left]
    audio = folder / "after_catting/1h/Audio/01"
    assert sorted(path.name for path in audio.iterdir()) == sorted(f"{clip.id}.wav" for clip in corpus.clips)
    assert list((folder / ".pending").iterdir()) == []
    assert [text for _, text in pairs(folder)] == left if left else True


def test_a_second_server_is_refused_until_the_first_has_ended(tmp_path):
    corpus = VoiceCorpus(tmp_path / "me")
    with pytest.raises(RecipeError, match="another server is recording into it"):
        VoiceCorpus(tmp_path / "me")
    corpus.close()
    VoiceCorpus(tmp_path / "me").close()


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "after_catting/1h/Text/01_label.txt"])
def test_a_folder_of_something_else_is_not_written_into(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine", encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RecipeError, match="is not replaced; give --record another folder"):
        VoiceCorpus(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_is_no_folder_to_record_into(tmp_path):
    (tmp_path / "me").write_text("mine", encoding="utf-8")
    with pytest.raises(RecipeError, match="is not a folder"):
        VoiceCorpus(tmp_path / "me")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (b"S001T000E000N00001 \xff\xfe\n", "01_label.txt:2: no '<id> <text>' in UTF-8"),
        (b"S001T000E000N00002\n", "01_label.txt:2: no '<id> <text>' in UTF-8"),
        ("S001T000E000N00001 又一次\n".encode(), "01_label.txt:2: S001T000E000N00001 is labelled twice"),
    ],
)
def test_damaged_labels_are_named_by_line_and_stay_as_they_are(tmp_path, damage, reason):
    corpus = VoiceCorpus(tmp_path / "me")
    corpus.add(wave(), "一")
    corpus.close()
    labels = tmp_path / "me/after_catting/1h/Text/01_label.txt"
    labels.write_bytes(labels.read_bytes() + damage)
    damaged = labels.read_bytes()
    with pytest.raises(RecipeError, match=reason):
        VoiceCorpus(tmp_path / "me")
    assert labels.read_bytes() == damaged
    labels.write_bytes(damaged.removesuffix(damage))
    VoiceCorpus(tmp_path / "me").close()  # the refused one does not hold it


@pytest.mark.parametrize(
    ("wav", "text", "reason"),
    [
        (b"", "一", "not a sound file"),
        (wave()[:30], "一", "not a sound file"),
        (wave(0), "一", "empty"),
        (wave(121, rate=8000), "一", "longer than 120 s"),
        (wave(format="FLAC"), "一", "not a WAV file"),
        (wave(subtype="FLOAT"), "一", "not a WAV file"),
        (wave(), " ", "no word"),
        (wave(), "30", "no word"),
        (wave(), "一\x07", "cannot be printed"),
        (wave(), "一" * 101, "101 characters"),
    ],
)
def test_what_cannot_be_a_clip_is_refused_and_leaves_nothing(tmp_path, wav, text, reason):
    corpus = VoiceCorpus(tmp_path / "me")
    with pytest.raises(BadClipError, match=reason):
        corpus.add(wav, text)
    assert corpus.clips == []
    assert [path for path in (tmp_path / "me").rglob("*") if path.suffix in (".wav", ".add", ".txt")] == []


def test_a_line_break_in_a_text_makes_no_second_label(tmp_path):
    corpus = VoiceCorpus(tmp_path / "me")
    corpus.add(wave(), "一\nS001T000E000N00009 假")
    assert len(pairs(tmp_path / "me")) == 1


def test_own_prompts_are_read_and_faults_named_by_line(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_bytes("\ufeff# 家里\r\n 小明在哪里 \r\n\r\n打开 wifi\r\n".encode())
    assert read_prompts(path) == ["小明在哪里", "打开 wifi"]
    for content, reason in (
        ("好\n".encode() + "你好".encode("gbk"), "prompts.txt:2: not UTF-8"),
        (f"好\n{'长' * 101}".encode(), "prompts.txt:2: the text has 101 characters"),
        ("好\n坏\n好\n".encode(), "prompts.txt:3: 好 is line 1 already"),
        (b"# none\n\n", "no prompts in it"),
    ):
        path.write_bytes(content)
        with pytest.raises(RecipeError, match=reason):
            read_prompts(path)
    with pytest.raises(RecipeError, match=r"absent\.txt: No such file"):
        read_prompts(tmp_path / "absent.txt")
