"""Stage 1 on what real copies have wrong with them: planted faults, each found, named, and nothing half-written."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from asr.core.errors import RecipeError
from asr.core.manifest import read_manifest
from asr.preparation import data_files, stage1
from asr.preparation.prepare import Options
from cdsd import CDSD
from tests import cdsd_tree
from tests.stage1 import beside, command, environment, keys, prepare, problems, refused, state


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


def test_circles_are_zeros_and_what_was_hardly_said_is_a_warning(corpus, part, tmp_path):
    said = ("二○一二年", "你好[FIL]世界", "今天<unk>好", "下雨了（笑）")
    lines = [f"{cdsd_tree.utt_id('04', number)} {text}\n" for number, text in enumerate(said, 1)]
    (part / "Text/04_label.txt").write_text("".join(lines), encoding="utf-8")
    out = tmp_path / "data"
    done = prepare(corpus, out)
    assert done.returncode == 0, done.stderr
    found = [item for name in ("train", "val", "test") for item in read_manifest(out / f"{name}.jsonl")]
    assert [item.target for item in sorted(found, key=lambda item: item.key) if item.speaker == "04"] == [
        "二〇一二年",
        "你好 fil 世界",
        "今天好",
        "下雨了笑",
    ]
    rows = [row for row in problems(out) if row["severity"] == "warning"]
    assert [(row["kind"], row["line"], row["detail"].split(":")[0]) for row in rows] == [
        ("annotation tag in transcript", "2", "[FIL] -> fil"),
        ("annotation tag in transcript", "3", "<unk> -> removed"),
        ("annotation tag in transcript", "4", "(笑) -> 笑"),
    ]


# Unusable items: left out, named, and the run goes on -----------------------------------------------------------------


def truncate_wav(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 100)


FAULTS = {
    "truncated audio": truncate_wav,
    "zero-length audio": lambda path: os.truncate(path, 0),
    "unreadable audio": lambda path: path.write_text("this is no sound"),
    "too short audio": lambda path: cdsd_tree.write_wav(path, 0.01),
    "transcript without wav": Path.unlink,
}


@pytest.mark.parametrize("kind", FAULTS)
def test_an_unusable_clip_is_left_out_and_named(corpus, part, tmp_path, kind):
    clip = part / "Audio/04" / f"{cdsd_tree.utt_id('04', 3)}.wav"
    FAULTS[kind](clip)
    done = prepare(corpus, tmp_path / "data")
    assert done.returncode == 0, done.stderr
    (row,) = problems(tmp_path / "data")
    assert (row["severity"], row["kind"], row["key"]) == ("error", kind, clip.stem)
    assert row["file"] == (str(clip) if kind != "transcript without wav" else str(part / "Text/04_label.txt"))
    assert row["line"] == ("3" if kind == "transcript without wav" else "")
    assert clip.stem not in set().union(*(keys(tmp_path / "data", name) for name in ("train", "val", "test")))
    assert "problems: 1 errors (left out), 0 warnings, 0 notes" in done.stdout
    assert kind in done.stdout


def test_an_empty_transcript_is_left_out_and_named_with_its_line(corpus, part, tmp_path):
    path = part / "Text/04_label.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[1] = lines[1].split()[0] + "  "
    path.write_text("\n".join(lines), encoding="utf-8")
    assert prepare(corpus, tmp_path / "data").returncode == 0
    (row,) = problems(tmp_path / "data")
    assert (row["kind"], row["file"], row["line"]) == ("empty transcript", str(path), "2")


def test_clips_to_look_at_are_kept(corpus, part, tmp_path):
    first, second = sorted((part / "Audio/04").iterdir())[:2]
    cdsd_tree.write_wav(first, 0.2)  # six characters in 0.2 s
    cdsd_tree.write_wav(second, 20.49)
    done = prepare(corpus, tmp_path / "data")
    found = {(row["severity"], row["kind"], row["key"]) for row in problems(tmp_path / "data")}
    assert found == {
        ("warning", "more characters than frames", first.stem),
        ("note", "clip above 20.48 s", second.stem),
    }
    assert "total         6          24" in done.stdout
    (detail,) = [row["detail"] for row in problems(tmp_path / "data") if row["severity"] == "note"]
    assert detail.startswith("20.49 s: stage 3 trains on it if dataset_conf.batch_size is 2049 or more (with speed_")
    assert "else it stops; ++dataset_conf.max_source_length=2048 leaves such clips out" in detail
    done = prepare(corpus, tmp_path / "data", "--max-seconds", 20)
    assert "clip above --max-seconds" in done.stdout
    assert "total         6          23" in done.stdout


def test_a_speaker_in_no_split_is_counted_and_named(corpus, tmp_path):
    (tmp_path / "s.yaml").write_text("train: [01, 02]\nval: [03]\ntest: [04]\n")
    done = prepare(corpus, tmp_path / "data", "--split", tmp_path / "s.yaml")
    assert "speaker in no split" in done.stdout
    rows = problems(tmp_path / "data")
    assert [(row["key"], row["detail"]) for row in rows] == [
        (speaker, f"speaker {speaker} is in no split: 4 utterances left out") for speaker in ("05", "06")
    ]


def test_names_with_tabs_line_breaks_and_foreign_bytes_stay_one_row(corpus, part, tmp_path):
    for name in (b"a\tb\nc.wav", b"\xff\xfe.wav"):
        descriptor = os.open(os.fsencode(part / "Audio/01") + b"/" + name, os.O_CREAT | os.O_WRONLY)
        os.close(descriptor)
    assert prepare(corpus, tmp_path / "data").returncode == 0
    assert {row["key"] for row in problems(tmp_path / "data")} == {"a\\tb\\nc", "\\udcff\\udcfe"}


# What stops it: one line that names the file, exit 1, nothing half-written --------------------------------------------


def empty_label_file(part: Path) -> str:
    (part / "Text/02_label.txt").write_text("")
    return f"{part}/Text/02_label.txt: the label file is empty"


def broken_label_file(part: Path) -> str:
    (part / "Text/02_label.txt").write_bytes(b"a ok\nb \xff\xff\n")
    return f"{part}/Text/02_label.txt:2: neither UTF-8 nor GB18030"


def no_text_folder(part: Path) -> str:
    (part / "Text").rename(part / "Transcripts")
    return f"{part}: no folder Text; there is: Audio, Transcripts"


def no_usable_audio(part: Path) -> str:
    for path in part.glob("Audio/*/*.wav"):
        path.write_bytes(b"")
    return f"{part}: no usable utterance; zero-length audio (24), first "


def two_speakers_left(part: Path) -> str:
    for number in range(3, 7):
        (part / f"Text/{number:02d}_label.txt").unlink()
    return "too few speakers for a split by speaker: 2 (01, 02), at least 3 are needed; give --split FILE"


@pytest.mark.parametrize(
    "fault", [empty_label_file, broken_label_file, no_text_folder, no_usable_audio, two_speakers_left]
)
def test_a_structural_fault_stops_before_anything_is_written(corpus, part, tmp_path, fault):
    expected = fault(part)
    out = tmp_path / "data"
    assert expected in refused(prepare(corpus, out))
    assert not out.exists()
    assert beside(tmp_path) == {"corpus"}


def test_wrong_paths(corpus, tmp_path):
    (tmp_path / "a file").touch()
    (tmp_path / "empty").mkdir()
    for wrong, expected in (
        ("nowhere", "no such folder"),
        ("a file", "is a file, and not one called *.jsonl"),
        ("empty", "is: nothing"),
    ):
        assert expected in refused(prepare(tmp_path / wrong, tmp_path / "data"))
    assert "no part 10h of CDSD" in refused(prepare(corpus, tmp_path / "data", "--part", "10h"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train: rest\nval: ['01']\ntest: ['77']\n", "s.yaml:3: the corpus has no speaker 77"),
        ("train: rest\nval: ['01']\ntest: ['02',\n '01']\n", "s.yaml:4: speaker 01 (test) is in val too"),
        ("train: rest\nval: []\ntest: ['02']\n", "s.yaml: the val split is empty"),
    ],
)
def test_a_wrong_split_file(corpus, tmp_path, text, expected):
    (tmp_path / "s.yaml").write_text(text)
    assert expected in refused(prepare(corpus, tmp_path / "data", "--split", tmp_path / "s.yaml"))
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "arguments",
    [("--part", "2h"), ("--ratios", "8,1"), ("--ratios", "8,0,1"), ("--ratios", "a,b,c"), ("--max-seconds", "0")],
)
def test_wrong_usage(corpus, tmp_path, arguments):
    assert arguments[0] in refused(prepare(corpus, tmp_path / "data", *arguments), status=2)


def test_a_token_list_that_is_none(corpus, tmp_path):
    (tmp_path / "tokens.json").write_text('{"a": 1}')
    assert "not a token list" in refused(prepare(corpus, tmp_path / "data", "--tokens", tmp_path / "tokens.json"))
    assert "no such token list" in refused(prepare(corpus, tmp_path / "data", "--tokens", tmp_path / "none.json"))


def test_a_failed_run_leaves_the_previous_data_whole(corpus, part, tmp_path):
    prepare(corpus, tmp_path / "data")
    before = state(tmp_path / "data")
    empty_label_file(part)
    refused(prepare(corpus, tmp_path / "data"))
    assert state(tmp_path / "data") == before


def die(statistics: object) -> str:
    os._exit(1)


def test_where_the_process_that_draws_the_page_is_killed_nothing_is_written(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(data_files, "page", die)
    with pytest.raises(RecipeError, match=r"the process that drew data_statistics\.html was killed"):
        stage1.run(Options(corpus, ("1h",), tmp_path / "data", CDSD))
    assert beside(tmp_path) == {"corpus"}


def test_a_folder_that_cannot_be_written(corpus, tmp_path):
    (tmp_path / "data").touch()
    assert f"{tmp_path}/data: " in refused(prepare(corpus, tmp_path / "data"))
    assert beside(tmp_path) == {"corpus", "data"}


def test_what_else_is_in_the_data_folder_stays(corpus, tmp_path):
    out = tmp_path / "data"
    prepare(corpus, out)
    (out / ".stamp").write_text("mine")
    out.chmod(0o750)
    assert prepare(corpus, out).returncode == 0
    assert (out / ".stamp").read_text() == "mine"
    assert out.stat().st_mode & 0o777 == 0o750
    (out / "folder").mkdir()
    (out / "folder/a").touch()
    assert prepare(corpus, out, "--seed", "1").returncode == 0
    assert (out / "folder/a").exists()
    assert "seed: 1\n" in (out / "split.yaml").read_text()
    assert beside(tmp_path) == {"corpus", "data"}


def test_a_data_folder_that_is_a_link_stays_a_link(corpus, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to("disk")
    assert prepare(corpus, tmp_path / "data").returncode == 0
    assert (tmp_path / "data").is_symlink()
    assert len(read_manifest(tmp_path / "disk/train.jsonl")) == 16


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_killed_run_leaves_one_state_or_the_other(whole, tmp_path, blow):
    both = ("--part", "1h,10h")
    out = tmp_path / "data"
    begun = time.monotonic()
    assert prepare(whole, tmp_path / "other", *both).returncode == 0
    taken = time.monotonic() - begun
    prepare(whole, out)
    before, after = state(out), state(tmp_path / "other")
    for share in (0.5, 0.8, 0.85, 0.9, 0.95, 1):
        arguments = command("--corpus", whole, "--out", out, *both)
        running = subprocess.Popen(arguments, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(share * taken)
        running.send_signal(blow)
        running.wait()
        assert state(out) in (before, after)
    assert prepare(whole, out).returncode == 0
    assert state(out) == before
    assert beside(tmp_path) == {"data", "other"}  # what the killed runs left is gone
