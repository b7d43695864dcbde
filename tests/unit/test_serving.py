"""asr.serve by OpenAI's own client: what it answers, and that nothing stays behind and nobody is harmed."""

import json
import socket
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import numpy as np
import pytest

from asr.decoding.transcript_formats import Segment
from asr.serving.answers import joined, spread
from asr.serving.keeping import prepare
from tests.patience import PATIENCE
from tests.serving import RATE, SAID, decoder, served, wav

openai = pytest.importorskip("openai")
pytest.importorskip("uvicorn")


def client(address: str, key: str = "any"):
    return openai.OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0, timeout=PATIENCE)


def ask(address: str, content: bytes, name: str = "a.wav", model: str = "mini", **more):
    return client(address).audio.transcriptions.create(model=model, file=(name, content), **more)


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where temporary files go; at the end nothing is left there."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture(scope="module")
def address():
    with served(minutes=2, megabytes=6) as found:
        yield found


def test_the_formats_are_openais(address, scratch):
    assert ask(address, wav()).text == "走了吧"
    assert ask(address, wav(), model="whisper-1", language="zh", temperature=0.0, prompt="周").text == "走了吧"
    assert ask(address, wav(), response_format="text") == "走了吧\n"
    assert ask(address, wav(1.5), response_format="srt") == "1\n00:00:00,000 --> 00:00:01,500\n走了吧\n"
    assert ask(address, wav(1.5), response_format="vtt") == "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\n走了吧\n"


def test_verbose_json_says_how_sure_it_is_and_invents_nothing(address, scratch):
    told = ask(address, wav(1.5, 48000, "FLAC"), "a.flac", response_format="verbose_json").model_dump()
    assert (told["text"], told["duration"], told["language"], told["task"]) == ("走了吧", 1.5, "chinese", "transcribe")
    assert told["calibrated"] is False
    (segment,) = told["segments"]
    assert (segment["id"], segment["start"], segment["end"], segment["text"]) == (0, 0.0, 1.5, "走了吧")
    assert segment["confidence"] == pytest.approx((0.4 + 0.7 + 0.95) / 3, abs=1e-3)
    assert segment["characters"][1] == {
        "text": "了",
        "confidence": 0.7,
        "alternatives": [{"text": "乐", "confidence": 0.2}],
    }
    assert {segment.get(name) for name in ("avg_logprob", "no_speech_prob", "compression_ratio", "tokens")} == {None}


def test_a_long_recording_is_written_piece_by_piece(address, scratch):
    told = ask(address, wav(70), response_format="verbose_json")
    assert told.text == "走了吧走了吧"
    assert [segment.start for segment in told.segments] == [0, told.segments[0].end]
    assert told.segments[1].end == told.duration == 70.0


@pytest.mark.parametrize(
    ("content", "name", "reason", "code"),
    [
        (b"", "a.wav", "The audio cannot be used: the file has 0 bytes.", "invalid_audio"),
        (b"<html>no sound</html>" * 99, "a.wav", "The audio cannot be used: ", "invalid_audio"),
        (wav()[:9000], "a.wav", "the header says 32,000 bytes of sound", "invalid_audio"),
        (wav(0.01), "a.wav", "less than one 25-ms feature window", "invalid_audio"),
        (bytes(999), "../../a.amr", "The audio cannot be used: ", "invalid_audio"),
        (wav(121), "a.wav", "lasts 2.0 minutes, more than the 2 that", "too_long"),
        (wav(600, 8000, "FLAC", 0.0), "a.flac", "lasts 10.0 minutes", "too_long"),
    ],
    ids=["empty", "text", "cut off", "too short", "no decoder", "too long", "small and too long"],
)
def test_audio_that_cannot_be_used_is_refused_with_the_reason(address, scratch, content, name, reason, code):
    with pytest.raises(openai.BadRequestError) as refused:
        ask(address, content, name)
    error = refused.value.response.json()["error"]
    assert reason in error["message"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", "file", code)
    assert str(scratch) not in error["message"]


def test_a_missing_decoder_is_named_without_our_folders(address, scratch, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(openai.BadRequestError, match=r"convert it: ffmpeg -i recording\.m4a") as refused:
        ask(address, bytes(99), "a.m4a")
    assert str(scratch) not in str(refused.value)


def test_what_is_asked_for_wrongly_is_refused_as_openai_does(address, scratch):
    with pytest.raises(openai.NotFoundError, match=r"'gpt-9' does not exist here; this server's is 'mini'") as wrong:
        ask(address, wav(), model="gpt-9")
    assert wrong.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError, match="'yaml' is none of json, text, srt, verbose_json, vtt") as wrong:
        ask(address, wav(), response_format="yaml")
    assert wrong.value.param == "response_format"
    with pytest.raises(openai.BadRequestError, match="no times of words"):
        ask(address, wav(), timestamp_granularities=["word"], response_format="verbose_json")
    with pytest.raises(openai.BadRequestError, match="No file was sent"):
        client(address).post("/audio/transcriptions", body={"model": "mini"}, cast_to=object)
    with pytest.raises(openai.NotFoundError, match="POST /v1/chat/completions: there is no such thing here"):
        client(address).post("/chat/completions", body={}, cast_to=object)


def test_models_are_listed(address):
    assert [model.id for model in client(address).models.list()] == ["mini"]
    assert client(address).models.retrieve("mini").id == "mini"


def test_what_is_too_large_is_refused_while_it_arrives(address, scratch):
    """By its header at once, and where there is none by what has arrived; who goes on sending hears it too."""
    with pytest.raises(openai.APIStatusError, match="larger than 6 MB") as refused:
        ask(address, bytes(40_000_000))
    assert refused.value.status_code == 413
    place, size = urlsplit(address), 60_000_000
    for content in (b"", bytes(size)):
        with socket.create_connection((place.hostname, place.port), timeout=PATIENCE) as line:
            path = "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: 127.0.0.1\r\n"
            line.sendall(f"{path}content-length: {size}\r\n\r\n".encode() + content)
            assert line.recv(4096).startswith(b"HTTP/1.1 413 ")
    with socket.create_connection((place.hostname, place.port)) as line:
        head = "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n"
        line.sendall(f"{head}content-type: multipart/form-data; boundary=x\r\n\r\n".encode())
        part = b'--x\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        line.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        for _ in range(12):
            line.sendall(b"f4240\r\n" + bytes(1_000_000) + b"\r\n")
        line.sendall(b"0\r\n\r\n")
        assert line.recv(4096).startswith(b"HTTP/1.1 413 ")


class Gate:
    """What is heard is a character a second of the recording; nothing is heard before the gate is open."""

    def __init__(self) -> None:
        self.open, self.begun, self.heard = threading.Event(), threading.Semaphore(0), []

    def __call__(self, samples: np.ndarray):
        self.begun.release()
        assert self.open.wait(30)
        self.heard.append(round(len(samples) / RATE))
        return [{"走": 0.9, "周": 0.1}] * self.heard[-1]


def test_ten_at_once_each_get_their_own_text_and_the_server_stays_awake(scratch):
    gate = Gate()
    with served(decoder(gate)) as address, ThreadPoolExecutor(10) as people:
        asked = [people.submit(ask, address, wav(seconds)) for seconds in range(1, 11)]
        assert gate.begun.acquire(timeout=PATIENCE)
        assert [model.id for model in client(address).models.list()] == ["mini"]  # while the model is at work
        gate.open.set()
        assert [one.result().text for one in asked] == ["走" * seconds for seconds in range(1, 11)]
    assert sorted(gate.heard) == list(range(1, 11))


def test_a_client_that_vanishes_is_forgotten(scratch):
    """Whoever waits behind it is served, and what it sent is never decoded, nor kept."""
    gate = Gate()
    with served(decoder(gate)) as address, ThreadPoolExecutor(2) as people:
        first = people.submit(ask, address, wav(1))
        assert gate.begun.acquire(timeout=PATIENCE)
        with pytest.raises(openai.APITimeoutError):
            client(address).with_options(timeout=0.5).audio.transcriptions.create(model="mini", file=("a.wav", wav(5)))
        with socket.create_connection(
            (urlsplit(address).hostname, urlsplit(address).port)
        ) as line:  # within its upload
            head = "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 9999\r\n"
            line.sendall(f"{head}content-type: multipart/form-data; boundary=x\r\n\r\n--x\r\n".encode())
        third = people.submit(ask, address, wav(3))
        for _ in range(200):  # until the server has noticed: one folder is the first's, one the third's
            time.sleep(0.02)
            if len(list(scratch.iterdir())) == 2 and not third.done():
                break
        gate.open.set()
        assert [one.result().text for one in (first, third)] == ["走", "走走走"]
    assert gate.heard == [1, 3]


def test_a_long_recording_that_nobody_waits_for_ends_behind_its_piece(scratch):
    gate = Gate()
    with served(decoder(gate)) as address, ThreadPoolExecutor(1) as people:
        with pytest.raises(openai.APITimeoutError):
            client(address).with_options(timeout=1).audio.transcriptions.create(model="mini", file=("a.wav", wav(70)))
        time.sleep(0.5)  # until the server has noticed
        gate.open.set()
        assert people.submit(ask, address, wav(3)).result().text == "走走走"
    assert len(gate.heard) == 2


def test_more_than_can_wait_are_asked_to_come_again(monkeypatch, scratch):
    monkeypatch.setattr("asr.serving.decoder.MOST_WAITING", 1)
    gate = Gate()
    with served(decoder(gate)) as address, ThreadPoolExecutor(1) as people:
        first = people.submit(ask, address, wav(1))
        assert gate.begun.acquire(timeout=PATIENCE)
        with pytest.raises(openai.InternalServerError, match="1 recordings are waiting") as busy:
            ask(address, wav(2))
        assert (busy.value.status_code, busy.value.response.headers["retry-after"]) == (503, "5")
        gate.open.set()
        assert first.result().text == "走"


def test_what_is_not_done_when_the_server_ends_is_no_text(scratch, capfd):
    """Neither half a text, nor a traceback."""
    gate = Gate()
    with ThreadPoolExecutor(2) as people:
        with served(decoder(gate)) as address:
            asked = [people.submit(ask, address, wav(70)) for _ in range(2)]
            assert gate.begun.acquire(timeout=PATIENCE)
            threading.Timer(0.5, gate.open.set).start()
        assert {str(one.exception().body["message"]) for one in asked} == {"The server is being ended."}
    assert len(gate.heard) == 1
    assert capfd.readouterr().err == ""


def test_a_fault_of_ours_is_one_answer_and_the_next_is_served(scratch, capfd):
    def hear(samples):
        if len(samples) > RATE:
            raise ZeroDivisionError
        return SAID

    with served(decoder(hear)) as address:
        with pytest.raises(openai.InternalServerError):
            ask(address, wav(2))
        assert ask(address, wav(1)).text == "走了吧"
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_nothing_is_kept_unless_it_is_asked_for(tmp_path, scratch):
    kept = tmp_path / "kept"
    prepare(kept)
    with served(keep=kept) as address:
        ask(address, wav(1.5), response_format="text")
        with pytest.raises(openai.BadRequestError):
            ask(address, b"no sound")
    audio, text = sorted(kept.iterdir(), key=lambda path: path.suffix, reverse=True)
    assert (audio.suffix, text.suffix, audio.stem) == (".wav", ".json", text.stem)
    assert audio.read_bytes() == wav(1.5)
    told = json.loads(text.read_text(encoding="utf-8"))
    assert (told["file"], told["bytes"], told["text"]) == (audio.name, len(wav(1.5)), "走了吧")
    assert {path.stat().st_mode & 0o777 for path in (audio, text)} == {0o600}
    assert kept.stat().st_mode & 0o777 == 0o700


def test_what_cannot_be_kept_is_still_answered(tmp_path, scratch, capfd):
    (tmp_path / "kept").write_text("a file")
    with served(keep=tmp_path / "kept") as address:
        assert ask(address, wav()).text == "走了吧"
    assert f"error: {tmp_path}/kept: a recording could not be kept: " in capfd.readouterr().err


def test_characters_are_laid_beside_the_text():
    rows = [["你", 0.9, [["泥", 0.05]]], ["a", 0.8, []]]
    found = spread("你，A！", rows)
    assert [one["text"] for one in found] == list("你，A！")
    assert found[0] == {"text": "你", "confidence": 0.9, "alternatives": [{"text": "泥", "confidence": 0.05}]}
    assert (found[1], found[2]["confidence"], found[3]) == ({"text": "，"}, 0.8, {"text": "！"})
    # Scored in another spelling: no figure would stand at its character.
    assert spread("8点", [["八", 0.9, []], ["点", 0.9, []]]) == [{"text": "8"}, {"text": "点"}]


def test_pieces_are_joined_without_blanks_but_between_latin_words():
    texts = ("今天", "去KTV", "ok", "", "吧")
    assert joined([Segment("a", 0, 1, False, text, {}) for text in texts]) == "今天去KTV ok吧"
