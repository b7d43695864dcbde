"""The cache of headers: an unchanged file is not read again, a changed one is, and nothing depends on it."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from asr.audio.headers import AudioError, Header
from asr.preparation.corpus import Cut
from asr.preparation.header_cache import HeaderCache, stamp_of
from tests import cdsd_tree
from tests.stage1 import ROOT, environment

TICK = 0.03  # seconds: what has only just changed is not kept, as it might change again within a tick of the clock


@pytest.fixture
def clips(tmp_path) -> list[str]:
    """Three clips in each of two folders."""
    for speaker in ("01", "02"):
        cdsd_tree.add_speaker(tmp_path / "part", speaker, {f"{speaker}-{number}": "你好" for number in range(3)})
    time.sleep(TICK)
    return sorted(str(path) for path in (tmp_path / "part/Audio").rglob("*.wav"))


def read(database: Path | None, clips: list[str]) -> tuple[list[Header], int, int]:
    """The headers, how many were read from files, how many reused."""
    with HeaderCache(database) as cache:
        found = [cache.header(path) for path in clips]
    return found, cache.read, cache.reused


def test_an_unchanged_file_is_not_read_again(clips, tmp_path):
    database = tmp_path / "headers.sqlite"
    first, read_, reused = read(database, clips)
    assert (read_, reused) == (6, 0)
    assert read(database, clips) == (first, 0, 6)
    assert read(None, clips) == (first, 6, 0)


def test_a_file_that_cannot_be_opened_any_more_shows_that_the_cache_answers(clips, tmp_path):
    """The content is gone, size and times are kept: only a cache can still know the header."""
    database = tmp_path / "headers.sqlite"
    before = read(database, clips)[0]
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE headers SET samples = samples + 1")
    after = read(database, clips)[0]
    assert [item.num_samples for item in after] == [item.num_samples + 1 for item in before]


def test_a_changed_file_of_the_same_size_and_modification_time_is_noticed(clips, tmp_path):
    database, path = tmp_path / "headers.sqlite", Path(clips[0])
    read(database, clips)
    times, raw = path.stat(), path.read_bytes()
    path.write_bytes(raw[:24] + (8000).to_bytes(4, "little") + raw[28:])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    time.sleep(TICK)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (times.st_size, times.st_mtime_ns)
    found, read_, reused = read(database, clips)
    assert (read_, reused) == (1, 5)
    assert found[0].sample_rate == 8000


def test_what_was_wrong_with_a_file_is_kept_and_forgotten_when_it_is_mended(clips, tmp_path):
    database, path = tmp_path / "headers.sqlite", Path(clips[0])
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    time.sleep(TICK)
    for expected in ((1, 0), (0, 1)):
        with HeaderCache(database) as cache:
            with pytest.raises(AudioError, match="the header says") as caught:
                cache.header(str(path))
            assert caught.value.kind == "truncated audio"
        assert (cache.read, cache.reused) == expected
    path.write_bytes(whole)
    assert read(database, [str(path)])[1:] == (1, 0)


def test_a_missing_file_is_an_error_and_leaves_no_row(clips, tmp_path):
    database = tmp_path / "headers.sqlite"
    with HeaderCache(database) as cache, pytest.raises(AudioError, match="No such file"):
        cache.header(str(tmp_path / "part/Audio/01/gone.wav"))
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM headers").fetchone() == (0,)


def test_files_and_folders_that_are_no_longer_asked_for_are_forgotten(clips, tmp_path):
    database = tmp_path / "headers.sqlite"
    read(database, clips)
    read(database, clips[1:3])
    with sqlite3.connect(database) as connection:
        paths = {os.fsdecode(row[0]) for row in connection.execute("SELECT path FROM headers")}
    assert paths == set(clips[1:3])


def test_a_run_that_failed_half_way_forgets_nothing(clips, tmp_path):
    database = tmp_path / "headers.sqlite"
    read(database, clips)
    with contextlib.suppress(KeyboardInterrupt), HeaderCache(database) as cache:
        cache.header(clips[4])
        raise KeyboardInterrupt
    assert read(database, clips)[1:] == (0, 6)


def test_the_order_of_asking_does_not_matter(clips, tmp_path):
    database = tmp_path / "headers.sqlite"
    first = read(database, clips)[0]
    assert read(database, [*clips[::-1], clips[3], clips[3], *clips]) == (
        [*first[::-1], first[3], first[3], *first],
        0,
        14,
    )
    new = tmp_path / "part/Audio/01/01-1a.wav"  # among the others, in the middle of their rows
    cdsd_tree.write_wav(new)
    time.sleep(TICK)
    assert read(database, sorted([*clips, str(new)]))[1:] == (1, 6)
    assert read(database, sorted([*clips, str(new)]))[1:] == (0, 7)


def test_a_name_that_is_not_utf8_is_a_name_like_others(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xd5\xc5.wav")
    cdsd_tree.write_wav(path)
    time.sleep(TICK)
    read(tmp_path / "headers.sqlite", [path])
    assert read(tmp_path / "headers.sqlite", [path])[1:] == (0, 1)


def test_a_file_that_has_only_just_changed_is_not_kept(tmp_path):
    """It could change again within the same tick of the clock, with nothing to tell it by."""
    path = tmp_path / "a.wav"
    for _ in range(3):
        cdsd_tree.write_wav(path)
        assert read(tmp_path / "headers.sqlite", [str(path)])[1:] == (1, 0)


def test_what_decoding_found_is_kept_by_clip_until_the_file_changes(clips, tmp_path):
    database, path = tmp_path / "headers.sqlite", clips[0]
    with HeaderCache(database) as cache:
        cache.header(path)
        cache.put_sound(path, None, stamp_of(path), [["warning", "clipping", "99 samples"]])
        cache.put_sound(path, Cut(1.0, 2.0), stamp_of(path), [])
    with HeaderCache(database) as cache:
        cache.header(path)
        assert cache.sound(path, None) == [["warning", "clipping", "99 samples"]]
        assert cache.sound(path, Cut(1.0, 2.0)) == []
        assert cache.sound(path, Cut(1.0, 2.5)) is None
    Path(path).touch()
    with HeaderCache(database) as cache:
        assert cache.sound(path, None) is None


@pytest.mark.parametrize("raw", [b"", b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_database_is_made_anew(clips, tmp_path, raw):
    database = tmp_path / "headers.sqlite"
    database.write_bytes(raw)
    assert read(database, clips)[1:] == (6, 0)
    assert read(database, clips)[1:] == (0, 6)


def test_a_database_damaged_in_its_middle_gives_no_wrong_answer(clips, tmp_path):
    database = tmp_path / "headers.sqlite"
    right = read(database, clips)[0]
    raw = bytearray(database.read_bytes())
    raw[4096:] = b"\xff" * (len(raw) - 4096)
    database.write_bytes(raw)
    assert read(database, clips)[0] == right
    assert read(database, clips) == (right, 0, 6)


def test_another_version_is_thrown_away(clips, tmp_path):
    database = tmp_path / "headers.sqlite"
    read(database, clips)
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA user_version = 99")
    assert read(database, clips)[1:] == (6, 0)
    assert read(database, clips)[1:] == (0, 6)


def test_one_that_is_locked_or_cannot_be_written_is_done_without(clips, tmp_path):
    database = tmp_path / "headers.sqlite"
    with HeaderCache(database) as first:
        first.header(clips[0])
        assert read(database, clips)[1:] == (6, 0)
    (tmp_path / "file").touch()
    assert read(tmp_path / "file/headers.sqlite", clips)[1:] == (6, 0)


def test_a_killed_run_leaves_a_database_that_works(clips, tmp_path):
    database = tmp_path / "headers.sqlite"
    code = (
        "import sys, time\n"
        "from pathlib import Path; from asr.preparation.header_cache import HeaderCache\n"
        "with HeaderCache(Path(sys.argv[1])) as cache:\n"
        "    for path in sys.argv[2:]: cache.header(path)\n"
        "    cache.commit(); cache.put_sound(sys.argv[2], None, (1, 2, 3), [1])\n"
        "    print('now', flush=True); time.sleep(60)\n"
    )
    words = [sys.executable, "-c", code, str(database), *clips]
    child = subprocess.Popen(words, cwd=ROOT, env=environment(), stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"now\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert read(database, clips)[1:] == (0, 6)
