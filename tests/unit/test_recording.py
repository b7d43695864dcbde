"""The page that records a voice: ten prompts through Chromium into a corpus that stage 1 takes, and its faults."""

from __future__ import annotations

import io
import re
import resource
import shutil
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import requests
import soundfile

from asr.core.errors import RecipeError
from asr.serving.app import create_app
from asr.serving.decoder import Worker
from asr.serving.run import make_server
from asr.serving.settings import Settings
from tests.patience import PATIENCE
from tests.stage1 import keys, prepare, problems

RATE = 48000
PROMPTS = ["喝水", "吃饭", "你好", "谢谢", "我累了", "帮帮我", "开门", "关灯", "打电话", "去厕所"]


class Server:
    """The real server in a thread, recording into ``folder``."""

    def __init__(self, folder: Path, prompts: Path | None = None, port: int = 0) -> None:
        app = create_app(Settings(hosts=None, record=folder, prompts=prompts), None, Worker())
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        self.port = listening.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.corpus = app.state.recording
        self.server = make_server(app)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listening]})
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)

    def end(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)
        self.corpus.close()


@pytest.fixture
def serve(tmp_path):
    started = []

    def start(**words) -> Server:
        started.append(Server(tmp_path / "me", **words))
        return started[-1]

    yield start
    for server in started:
        server.end()


@pytest.fixture(scope="module")
def speaking(tmp_path_factory):
    """Chromium whose microphone hears a file."""
    sync_api = pytest.importorskip("playwright.sync_api")
    path = tmp_path_factory.mktemp("microphone") / "voice.wav"
    times = np.arange(3 * RATE) / RATE
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 220 * times), RATE, subtype="PCM_16")
    chromium = shutil.which("chromium") or pytest.skip("needs Chromium")
    heard = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--no-sandbox"]
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=chromium, args=[*heard, f"--use-file-for-fake-audio-capture={path}"]
        )
        yield browser
        browser.close()


@pytest.fixture
def visit(speaking):
    """Opens the page in a browser profile; at the end nothing was complained of."""
    contexts, complaints = [], []

    def opened(address: str, context=None, **settings):
        if context is None:
            context = speaking.new_context(locale="zh-CN", **settings)
            contexts.append(context)
        context.set_default_timeout(1000 * PATIENCE)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{address}/record")
        page.wait_for_selector("#prompt:not(:empty)")
        return page

    opened.complaints = complaints
    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def say(page, milliseconds: int = 400) -> None:
    """Press, speak, press again: the talk button, whatever has the focus."""
    page.click("#talk")
    page.wait_for_selector("#talk.recording")
    page.wait_for_timeout(milliseconds)
    page.click("#talk")
    page.wait_for_selector("#review:not([hidden])")


def looked_at(page) -> None:
    """Let the time pass in which another press is taken for a tremor's."""
    page.evaluate("() => (ended = -1000)")


def kept(page) -> None:
    looked_at(page)
    page.click("#keep")
    page.wait_for_selector("#talk.idle:visible")


def shown(page, prompt: str) -> None:
    """Wait for a prompt."""
    page.locator("#prompt", has_text=re.compile(f"^{prompt}$")).wait_for()


def test_ten_prompts_are_recorded_and_stage_1_takes_them(serve, visit, tmp_path):
    server = serve()
    page = visit(server.address)
    for text in PROMPTS:
        assert page.inner_text("#prompt") == text
        say(page)
        kept(page)
    assert "10 句" in page.inner_text("#done")
    done = prepare(tmp_path / "me", tmp_path / "data", "--split", "speaker-dependent")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [len(keys(tmp_path / "data", split)) for split in ("train", "val", "test")] == [8, 1, 1]
    assert {row["kind"] for row in problems(tmp_path / "data")} <= {"rate not 16 kHz"}
    labels = (tmp_path / "me/after_catting/1h/Text/01_label.txt").read_text(encoding="utf-8").split()
    assert labels[1::2] == PROMPTS
    for path in (tmp_path / "me/after_catting/1h/Audio/01").iterdir():
        samples, rate = soundfile.read(path)
        assert len(samples) > 0.5 * rate  # and what comes after the end
        assert 0.25 < np.abs(samples).max() < 0.35
        spectrum = np.abs(np.fft.rfft(samples))
        assert abs(spectrum.argmax() * rate / len(samples) - 220) < 3


def test_it_goes_on_where_it_stopped_and_skipped_prompts_come_last(serve, visit, tmp_path):
    own = tmp_path / "prompts.txt"
    own.write_text("一\n二\n三\n", encoding="utf-8")
    server = serve(prompts=own)
    page = visit(server.address)
    page.click("#skip")
    assert page.inner_text("#prompt") == "二"
    say(page)
    kept(page)
    context = page.context
    page.close()
    page = visit(server.address, context)
    assert page.inner_text("#prompt") == "三"
    say(page)
    page.click("#again")
    say(page)
    kept(page)
    assert page.inner_text("#prompt") == "一"
    say(page)
    kept(page)
    assert "全部读完" in page.inner_text("#status")
    assert page.inner_text("#prompt") == "二"  # once more, to whom it pleases
    page.click("#undo")
    shown(page, "一")
    state = page.evaluate("fetch('/record/state').then((answer) => answer.json())")
    assert [(one["text"], one["clips"]) for one in state["prompts"]] == [("一", 0), ("二", 1), ("三", 1)]


def test_by_keyboard_alone_and_holding(serve, visit):
    page = visit(serve().address)
    page.click("label[for=mode-hold]")
    page.focus("#talk")
    page.keyboard.down(" ")
    page.wait_for_selector("#talk.recording")
    page.wait_for_timeout(600)
    page.keyboard.up(" ")
    page.wait_for_selector("#review:not([hidden])")
    assert page.evaluate("document.activeElement.id") == "keep"
    looked_at(page)
    page.keyboard.press("Enter")
    shown(page, "吃饭")
    assert page.evaluate("document.activeElement.id") == "talk"
    page.keyboard.down("Enter")
    page.wait_for_selector("#talk.recording")
    page.keyboard.press("Escape")  # thrown away
    page.keyboard.up("Enter")
    page.wait_for_selector("#talk.idle:visible")
    assert page.is_hidden("#review")
    assert page.inner_text("#prompt") == "吃饭"


def test_one_switch_is_enough_to_read_and_to_keep(serve, visit):
    page = visit(serve().address)
    page.evaluate("() => localStorage.setItem('asr settings', JSON.stringify({ mode: 'twice', key: 'F8' }))")
    page.reload()
    shown(page, "喝水")
    page.keyboard.press("F8")
    page.wait_for_selector("#talk.recording")
    page.wait_for_timeout(400)
    page.keyboard.press("F8")
    page.wait_for_selector("#review:not([hidden])")
    page.evaluate("() => (ended = performance.now() + 60000)")
    page.keyboard.press("F8")  # too soon: nothing is kept that nobody has looked at
    assert page.is_visible("#review")
    assert page.is_enabled("#keep")
    looked_at(page)
    page.keyboard.press("F8")
    shown(page, "吃饭")


def test_a_click_without_a_press_works_as_switches_send_it(serve, visit):
    page = visit(serve().address)
    page.evaluate("document.getElementById('talk').click()")
    page.wait_for_selector("#talk.recording")
    page.wait_for_timeout(400)
    page.evaluate("document.getElementById('talk').click()")
    page.wait_for_selector("#review:not([hidden])")


def test_a_recording_outlives_a_server_that_ends(serve, visit):
    server = serve()
    page = visit(server.address)
    say(page)
    server.end()
    looked_at(page)
    page.click("#keep")
    page.wait_for_selector("#problem:not([hidden])")
    assert "录音还在" in page.inner_text("#problem")
    serve(port=server.port)
    kept(page)
    assert page.is_hidden("#problem")
    shown(page, "吃饭")
    visit.complaints[:] = [one for one in visit.complaints if "ERR_CONNECTION_REFUSED" not in one]


@pytest.mark.parametrize(
    ("loudness", "hint"), [(0.01, "几乎听不到"), (1.2, "录破了"), (0.3, "录好了")], ids=["quiet", "clipped", "good"]
)
def test_a_doubt_is_said_and_the_person_decides(serve, visit, loudness, hint):
    page = visit(serve().address)
    page.evaluate(
        """loudness => {
          const take = Microphone.prototype.take;
          Microphone.prototype.take = function (samples) {
            return take.call(this, samples.map((one) => one / 0.3 * loudness));
          };
        }""",
        loudness,
    )
    say(page)
    assert hint in page.inner_text("#hint")
    kept(page)
    shown(page, "吃饭")


def test_a_rest_is_proposed_and_nothing_is_held_up(serve, visit):
    page = visit(serve().address)
    page.evaluate("() => tired(299)")
    assert page.is_hidden("#rest")
    page.evaluate("() => tired(1)")  # five minutes of recordings
    assert "歇一歇" in page.inner_text("#rest")
    say(page)
    kept(page)
    page.click("#rested")
    assert page.is_hidden("#rest")
    page.evaluate("() => tired(200)")
    assert page.is_hidden("#rest")


def test_a_refused_microphone_is_said(serve, visit):
    page = visit(serve().address)
    page.evaluate(
        """() => {
          navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', 'NotAllowedError'); };
        }"""
    )
    page.click("#talk")
    page.wait_for_selector("#problem:not([hidden])")
    assert "麦克风被拒绝" in page.inner_text("#problem")
    assert page.get_attribute("#talk", "aria-pressed") == "false"


def wave(seconds: float = 1.0) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, np.full(int(16000 * seconds), 0.1), 16000, format="WAV", subtype="PCM_16")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("sent", "fields", "reason"),
    [
        (None, {"text": "喝水", "prompt": "0"}, "The field file is missing"),
        (wave(), {"text": "喝水"}, "The fields text and prompt are missing."),
        (wave(), {"text": "别的", "prompt": "0"}, "别的 is none of the prompts"),
        (wave(), {"text": "", "prompt": "correction"}, "The text has no word in it"),
        (b"RIFF", {"text": "喝水", "prompt": "0"}, "The recording is not a sound file"),
        (wave(0), {"text": "喝水", "prompt": "0"}, "The recording is empty"),
    ],
)
def test_what_cannot_be_a_clip_is_refused_in_a_sentence(serve, sent, fields, reason):
    server = serve()
    files = {"file": ("clip.wav", sent)} if sent is not None else {"other": ("x", b"x")}
    answer = requests.post(f"{server.address}/record/clips", data=fields, files=files)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith(reason)
    assert server.corpus.clips == []


def test_corrections_are_clips_and_only_the_newest_is_taken_back(serve):
    server = serve()
    url = f"{server.address}/record/clips"
    for text, prompt in (("喝水", "0"), ("小明来了", "correction")):
        answer = requests.post(url, data={"text": text, "prompt": prompt}, files={"file": ("clip.wav", wave())})
        assert answer.status_code == 201
    first, second = server.corpus.clips
    assert (second.id, second.text) == ("S001T001E000N00002", "小明来了")
    assert requests.delete(f"{url}/{first.id}").status_code == 409
    assert requests.delete(f"{url}/{second.id}").json()["last"] == {"id": first.id, "text": "喝水"}


def test_a_full_disk_is_said_and_nothing_is_half_there(serve):
    server = serve()
    fields, files = {"text": "喝水", "prompt": "0"}, {"file": ("clip.wav", wave())}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        answer = requests.post(f"{server.address}/record/clips", data=fields, files=files)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert answer.status_code == 507
    assert "File too large" in answer.json()["error"]["message"]
    assert server.corpus.clips == []
    assert requests.post(f"{server.address}/record/clips", data=fields, files=files).status_code == 201


def test_a_second_server_and_bad_prompts_are_refused_before_anything_is_served(serve, tmp_path):
    serve()
    with pytest.raises(RecipeError, match="another server is recording into it"):
        serve()
    (tmp_path / "prompts.txt").write_text("好\n好\n", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"prompts\.txt:2: 好 is line 1 already"):
        Server(tmp_path / "other", tmp_path / "prompts.txt")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("language", ["zh-CN", "en-US"])
def test_it_fits_a_phone(serve, speaking, language):
    context = speaking.new_context(locale=language, viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(f"{serve().address}/record")
    page.wait_for_selector("#prompt:not(:empty)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    say(page, 400)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator("#keep").bounding_box()
    assert box["height"] >= 44
    assert box["y"] + box["height"] < 844  # without scrolling
    context.close()
