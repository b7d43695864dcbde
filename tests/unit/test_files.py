"""A file is whole or not there."""

import os
import stat

import pytest

from asr.core.digests import sha256_file
from asr.core.files import atomic_open, write_json, write_text


def test_written_whole_with_its_folder_and_the_usual_mode(tmp_path):
    write_text(tmp_path / "new" / "a.txt", "你好\n")
    assert (tmp_path / "new/a.txt").read_bytes() == "你好\n".encode()
    (tmp_path / "plain").touch()
    modes = {stat.S_IMODE(os.stat(path).st_mode) for path in (tmp_path / "new/a.txt", tmp_path / "plain")}
    assert len(modes) == 1


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    write_text(tmp_path / "a.txt", "old")

    def fail():
        with atomic_open(tmp_path / "a.txt") as stream:
            stream.write("half of the n")
            stream.flush()
            raise error

    with pytest.raises(error):
        fail()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_readers_see_the_old_file_until_the_new_one_is_whole(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    with atomic_open(tmp_path / "a.txt", "wb") as stream:
        stream.write(b"new")
        assert (tmp_path / "a.txt").read_text() == "old"
    assert (tmp_path / "a.txt").read_text() == "new"


def test_json_is_utf8_in_the_given_order(tmp_path):
    write_json(tmp_path / "a.json", {"b": "语音", "a": None})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "b": "语音",\n  "a": null\n}\n'


def test_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
