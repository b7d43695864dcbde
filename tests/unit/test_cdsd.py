"""CDSD as people have it on disk: every irregularity, wherever --corpus points, and label files in any state."""

import functools
import os
from collections import Counter
from pathlib import Path

import pytest

import cdsd
from asr.core.errors import RecipeError
from asr.preparation.corpora.registry import open_corpus
from cdsd import CDSD
from tests import cdsd_tree
from tests.nobody import as_nobody, open_folder


def kinds(part):
    return Counter((problem.severity, problem.kind) for problem in part.problems)


def small_part(root: Path) -> Path:
    return cdsd_tree.small(root) / "after_catting" / "1h"


def labels_of(folder: Path, speaker: str = "01") -> Path:
    return folder / "Text" / f"{speaker}_label.txt"


def rewrite(path: Path, change) -> None:
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A hundredth of CDSD, with its irregularities."""
    return cdsd_tree.one_in_hundred(tmp_path_factory.mktemp("disk") / "data" / "CDSD")


@pytest.mark.parametrize("given", [".", "..", "../..", "after_catting", "after_catting/1h", "after_catting/1h/Audio"])
def test_corpus_may_be_given_too_high_or_too_low(whole, given):
    assert cdsd.find_part(whole / given, "1h") == whole / "after_catting" / "1h"
    assert cdsd.corpus_root(whole / "after_catting" / "1h") == whole


@pytest.mark.parametrize("given", ["after_catting/1h", "after_catting/1h/Text"])
def test_the_other_part_is_found_beside_a_part(whole, given):
    assert cdsd.find_part(whole / given, "10h") == whole / "after_catting" / "10h"


def test_a_copy_that_starts_one_level_lower(tmp_path):
    small_part(tmp_path / "a").rename(tmp_path / "1h")
    assert cdsd.find_part(tmp_path, "1h") == tmp_path / "1h"
    assert cdsd.corpus_root(tmp_path / "1h") == tmp_path


def test_two_corpora_below_the_folder_are_not_guessed_between(tmp_path):
    cdsd_tree.small(tmp_path / "one"), cdsd_tree.small(tmp_path / "two")
    with pytest.raises(RecipeError, match=r"several corpora below it: .*one.* and .*two"):
        cdsd.find_part(tmp_path, "1h")


def test_a_wrong_path_says_what_was_looked_for_and_what_is_there(tmp_path):
    (tmp_path / "music").mkdir()
    with pytest.raises(RecipeError, match=r"looked for after_catting/1h/Audio.*there is: music"):
        cdsd.find_part(tmp_path, "1h")
    with pytest.raises(RecipeError, match="no such folder"):
        cdsd.find_part(tmp_path / "nowhere", "1h")


def test_symlinks_stay_as_the_user_wrote_them(tmp_path):
    cdsd_tree.small(tmp_path / "disk7" / "real")
    (tmp_path / "CDSD").symlink_to("disk7/real")
    part = cdsd.read_part(cdsd.find_part(tmp_path / "CDSD", "1h"), "1h")
    assert part.clips[0].audio.startswith(str(tmp_path / "CDSD"))


def test_every_labelled_clip_of_1h_is_found_and_the_others_are_listed(whole):
    part = cdsd.read_part(whole / "after_catting" / "1h", "1h")
    assert len(part.speakers) == 44
    assert len(part.clips) == sum(count // 100 for count in cdsd_tree.counts_1h().values())
    assert kinds(part) == {("warning", "wav without transcript"): 3}
    commas = [clip for clip in part.clips if "，" in clip.key]
    assert len(commas) == 7
    assert {clip.speaker for clip in commas} == {"37"}


def test_speaker_20_of_10h_has_a_dash_and_another_scheme_and_is_still_speaker_20(whole):
    part = cdsd.read_part(whole / "after_catting" / "10h", "10h")
    own = [clip for clip in part.clips if clip.speaker == "20"]
    assert len(own) == 11
    assert {clip.key[:4] for clip in own} == {"S001", "S002", "S003"}
    assert not part.problems


def test_lower_case_folders(tmp_path):
    folder = small_part(tmp_path)
    (folder / "Text").rename(folder / "text")
    (folder / "Audio").rename(folder / "audio")
    assert len(cdsd.read_part(folder, "1h").clips) == 24


def test_both_spellings_at_once_are_not_guessed_between(tmp_path):
    folder = small_part(tmp_path)
    (folder / "text").mkdir()
    with pytest.raises(RecipeError, match="both Text/ and text/"):
        cdsd.read_part(folder, "1h")


def test_transcript_without_wav_and_wav_without_transcript(tmp_path):
    folder = small_part(tmp_path)
    (folder / "Audio/01" / f"{cdsd_tree.utt_id('01', 2)}.wav").rename(folder / "Audio/01/other.wav")
    part = cdsd.read_part(folder, "1h")
    assert len(part.clips) == 23
    lost, unknown = sorted(part.problems)
    assert (lost.severity, lost.kind, lost.line) == ("error", "transcript without wav", 2)
    assert lost.file.endswith("Text/01_label.txt")
    assert (unknown.kind, unknown.key) == ("wav without transcript", "other")


def test_a_transcript_twice_is_kept_once_but_two_texts_for_one_id_are_not_chosen_between(tmp_path):
    folder = small_part(tmp_path)
    first, second = (cdsd_tree.utt_id("01", number) for number in (1, 2))
    with labels_of(folder).open("a", encoding="utf-8") as stream:
        stream.write(f"{first} 今天天气很好\n{second} 完全不同的话\n")
    part = cdsd.read_part(folder, "1h")
    assert kinds(part) == {("warning", "duplicate id"): 1, ("error", "duplicate id"): 1}
    keys = [clip.key for clip in part.clips]
    assert keys.count(first) == 1
    assert second not in keys


def test_an_id_that_two_speakers_have_keeps_both_clips(tmp_path):
    cdsd_tree.add_speaker(tmp_path, "01", {"same": "你好", "a": "你"})
    cdsd_tree.add_speaker(tmp_path, "02", {"same": "再见"})
    part = cdsd.read_part(tmp_path, "1h")
    assert {clip.key: clip.text for clip in part.clips} == {"01-same": "你好", "a": "你", "02-same": "再见"}
    assert kinds(part) == {("warning", "id of two speakers"): 2}


def test_an_id_in_two_label_files_is_named_in_the_one_that_has_no_clip_for_it(tmp_path):
    folder = small_part(tmp_path)
    first = cdsd_tree.utt_id("02", 1)
    with labels_of(folder).open("a", encoding="utf-8") as stream:
        stream.write(f"{first} 不是我说的\n")
    part = cdsd.read_part(folder, "1h")
    (problem,) = part.problems
    assert (problem.severity, problem.kind, problem.line) == ("error", "id in two label files", 5)
    assert "the id is in 02_label.txt:1 too" in problem.detail
    assert len(part.clips) == 24


def test_two_label_files_of_one_speaker_are_joined_and_what_both_have_is_named(tmp_path):
    folder = small_part(tmp_path)
    lines = labels_of(folder).read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "Text/01-label.txt").write_text("".join(lines[2:]), encoding="utf-8")
    labels_of(folder).write_text("".join(lines[:3]), encoding="utf-8")
    part = cdsd.read_part(folder, "1h")
    assert len(part.clips) == 24
    assert kinds(part) == {("warning", "id in two label files"): 1}


def test_a_label_file_that_points_outside_the_corpus_is_refused_and_linked_folders_are_not(tmp_path):
    folder = small_part(tmp_path / "corpus")
    secret = tmp_path / "secret.txt"
    secret.write_text(f"{cdsd_tree.utt_id('01', 1)} 机密\n", encoding="utf-8")
    labels_of(folder).unlink()
    labels_of(folder).symlink_to(secret)
    part = cdsd.read_part(folder, "1h")
    assert kinds(part) == {("error", "label file outside the corpus"): 1, ("error", "no label file"): 1}
    assert all(clip.speaker != "01" for clip in part.clips)
    labels_of(folder).unlink()
    (folder / "Text").rename(tmp_path / "Text on another disk")
    (folder / "Text").symlink_to(tmp_path / "Text on another disk")
    (folder / "Text/01_label.txt").symlink_to("02_label.txt")  # within the folder: nothing leads out
    assert not kinds(cdsd.read_part(folder, "1h"))[("error", "label file outside the corpus")]


def test_a_speaker_without_label_file_is_named_and_the_others_go_on(tmp_path):
    folder = small_part(tmp_path)
    labels_of(folder, "03").unlink()
    part = cdsd.read_part(folder, "1h")
    assert kinds(part) == {("error", "no label file"): 1}
    assert len(part.clips) == 20
    assert "03" in part.speakers


def test_no_label_file_at_all_and_no_speaker_at_all_stop(tmp_path):
    folder = small_part(tmp_path)
    for path in (folder / "Text").iterdir():
        path.unlink()
    with pytest.raises(RecipeError, match=r"Text: no label file; expected <speaker>_label.txt; there is: nothing"):
        cdsd.read_part(folder, "1h")
    (tmp_path / "b/Audio").mkdir(parents=True), (tmp_path / "b/Text").mkdir()
    with pytest.raises(RecipeError, match="no speaker's folder"):
        cdsd.read_part(tmp_path / "b", "1h")


def test_other_formats_hidden_files_and_strays(tmp_path):
    folder = small_part(tmp_path)
    audio = folder / "Audio/01"
    first = cdsd_tree.utt_id("01", 1)
    (audio / f"{first}.wav").rename(audio / f"{first}.FLAC")
    (audio / f"{cdsd_tree.utt_id('01', 2)}.ogg").touch()
    (audio / "._hidden.wav").touch()
    cdsd_tree.write_wav(folder / "Audio/lost.wav")
    (folder / "Text/readme.txt").touch()
    part = cdsd.read_part(folder, "1h")
    assert kinds(part) == {
        ("warning", "clip in two formats"): 1,
        ("warning", "audio without speaker"): 1,
        ("note", "other file"): 1,
    }
    assert [clip.audio for clip in part.clips if clip.key == first] == [f"{audio}/{first}.FLAC"]


def test_a_folder_whose_name_is_not_utf8_is_refused_by_name(tmp_path):
    folder = small_part(tmp_path)
    os.rename(os.fsencode(folder / "Audio/02"), os.fsencode(folder / "Audio") + b"/\xd5\xc5")
    problem = next(item for item in cdsd.read_part(folder, "1h").problems if item.kind == "name not UTF-8")
    assert problem.severity == "error"


def test_what_cannot_be_read_is_named_and_the_rest_is_taken():
    with open_folder() as root:
        part = small_part(root / "corpus")
        (part / "Audio/zz").symlink_to("zz")  # a link to itself
        (part / "Audio/01/round").symlink_to("..")
        (part / "Audio/02/closed").mkdir(mode=0)
        (part / "Audio/03").chmod(0)
        read = as_nobody(functools.partial(cdsd.read_part, part, "1h"))
        assert "03" not in read.speakers
        assert {clip.speaker for clip in read.clips} == set(read.speakers) == {"01", "02", "04", "05", "06"}
        found = [problem for problem in read.problems if problem.kind == "unreadable folder"]
        assert [(problem.file, problem.detail) for problem in found] == [
            (str(part / "Audio/03"), "left out: it may not be read"),
            (str(part / "Audio/zz"), "left out: its link leads nowhere"),
        ]
        (part / "Audio/03").chmod(0o755)
        labels_of(part, "04").chmod(0)
        faults = as_nobody(functools.partial(cdsd.read_part, part, "1h")).faults
        assert faults == [f"{labels_of(part, '04')}: cannot be read (Permission denied)"]
        (part / "Text").chmod(0)
        with pytest.raises(PermissionError):
            as_nobody(functools.partial(cdsd.read_part, part, "1h"))
        (part.parent).chmod(0)
        with pytest.raises(RecipeError, match="no part 1h of CDSD; "):
            as_nobody(functools.partial(cdsd.find_part, root / "corpus", "1h"))
        (part.parent).chmod(0o755)
        (part / "Text").chmod(0o755)


def test_a_kaldi_set_that_cannot_be_read_is_named_and_other_folders_are_no_matter():
    with open_folder() as root:
        for name in ("train", "dev", "lost+found"):
            (root / name).mkdir()
            (root / name / "wav.scp").write_text(f"{name} /nowhere/{name}.wav\n")
            (root / name / "text").write_text(f"{name} 好\n")
            (root / name / "utt2spk").write_text(f"{name} s1\n")
        (root / "dev").chmod(0)
        part = as_nobody(functools.partial(open_corpus, root, ("1h",), CDSD))[0]
        assert [clip.key for clip in part.clips] == ["train"]
        assert ("unreadable folder", str(root / "dev")) in [(item.kind, item.file) for item in part.problems]
        (root / "dev").chmod(0o755)
        corpus = small_part(root / "corpus").parents[1]
        (corpus / "lost+found").mkdir(mode=0)
        assert as_nobody(functools.partial(open_corpus, corpus, ("1h",), CDSD))[0].name == "1h"
