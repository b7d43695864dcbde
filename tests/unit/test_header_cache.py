"""The cache of headers: an unchanged file is not read again, a changed one is, and nothing depends on it."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from audio_headers import AudioError, Header
from corpus import Cut
from header_cache import HeaderCache
from tests import cdsd_tree
from tests.stage1 import ROOT, environment


@pytest.fixture
def clips(tmp_path) -> list[str]:
    """Three clips in each of two folders."""
    for speaker in ("01", "02"):
        cdsd_tree.add_speaker(tmp_path / "part", speaker, {f"{speaker}-{number}": "你好" for number in range(3)})
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
    time.sleep(0.02)  # file systems keep time in ticks
    path.write_bytes(raw[:24] + (8000).to_bytes(4, "little") + raw[28:])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (times.st_size, times.st_mtime_ns)
    found, read_, reused = read(database, clips)
    assert (read_, reused) == (1, 5)
    assert found[0].sample_rate == 8000


def test_what_was_wrong_with_a_file_is_kept_and_forgotten_when_it_is_mended(clips, tmp_path):
    database, path = tmp_path / "headers.sqlite", Path(clips[0])
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
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
        names = {row[0] for row in connection.execute("SELECT name FROM headers")}
    assert names == {os.path.basename(path) for path in clips[1:3]}


def test_what_decoding_found_is_kept_by_clip_until_the_file_changes(clips, tmp_path):
    database, path = tmp_path / "headers.sqlite", clips[0]
    with HeaderCache(database) as cache:
        cache.header(path)
        cache.put_sound(path, None, [["warning", "clipping", "99 samples"]])
        cache.put_sound(path, Cut(1.0, 2.0), [])
    with HeaderCache(database) as cache:
        cache.header(path)
        assert cache.sound(path, None) == [["warning", "clipping", "99 samples"]]
        assert cache.sound(path, Cut(1.0, 2.0)) == []
        assert cache.sound(path, Cut(1.0, 2.5)) is None
    time.sleep(0.02)
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
        "import sys, time; sys.path.insert(0, 'local'); from pathlib import Path; from header_cache import HeaderCache\n"
        "with HeaderCache(Path(sys.argv[1])) as cache:\n"
        "    for path in sys.argv[2:]: cache.header(path)\n"
        "    cache.commit(); cache.put_sound(sys.argv[2], None, [1]); print('now', flush=True); time.sleep(60)\n"
    )
    words = [sys.executable, "-c", code, str(database), *clips]
    child = subprocess.Popen(words, cwd=ROOT, env=environment(), stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"now\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert read(database, clips)[1:] == (0, 6)
