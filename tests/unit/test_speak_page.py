"""The page to speak to, in Chromium with a microphone that plays a file: by mouse, key, switch, and where it fails."""

import contextlib
import dataclasses

import pytest
import soundfile

from tests.patience import PATIENCE
from tests.report_look import sideways
from tests.serving import decoder, served, wav
from tests.unit.conftest import CHROMIUM

sync_api = pytest.importorskip("playwright.sync_api")
pytest.importorskip("uvicorn")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
FAKE = "--use-fake-device-for-media-stream"
ALLOW = "--use-fake-ui-for-media-stream"
MAP = "--host-resolver-rules=MAP speech.example 127.0.0.1"
TOKEN = "correct-horse-battery"


@pytest.fixture(scope="module")
def driver():
    with sync_api.sync_playwright() as found:
        yield found


@contextlib.contextmanager
def launched(driver, *words):
    browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *words])
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def browser(driver, tmp_path_factory):
    """Chromium with a microphone that gives noise."""
    path = tmp_path_factory.mktemp("spoken") / "noise.wav"
    path.write_bytes(wav(3))
    with launched(driver, FAKE, ALLOW, f"--use-file-for-fake-audio-capture={path}", MAP) as found:
        yield found


@contextlib.contextmanager
def opened(browser, address, **settings):
    """A page; at the end the browser had nothing to complain of, and asked nobody but the server."""
    context = browser.new_context(**{"locale": "en-US", "viewport": {"width": 390, "height": 800}, **settings})
    context.set_default_timeout(1000 * PATIENCE)
    page = context.new_page()
    page.complaints, page.requests = [], []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.requests.append(request))
    page.goto(address)
    try:
        yield page
        assert page.complaints == []
        assert [one.url for one in page.requests if not one.url.startswith((address, "blob:", "data:"))] == []
    finally:
        context.close()


@pytest.fixture(scope="module")
def address():
    with served() as found:
        yield found


@pytest.fixture
def page(browser, address):
    with opened(browser, address) as found:
        yield found


def sent(page) -> int:
    return sum(request.method == "POST" for request in page.requests)


def expect(page, what: str):
    return sync_api.expect(page.locator(what))


sync_api.expect.set_options(timeout=1000 * PATIENCE)


def recording(page) -> None:
    expect(page, "#talk.recording").to_be_visible()
    page.wait_for_timeout(500)


def written(page, times: int = 1, text: str = "走了吧") -> None:
    expect(page, "#entries li").to_have_count(times)
    assert "".join(page.locator("#text .glyph").all_inner_texts()) == text
    expect(page, "#status").to_have_text("")


def test_press_speak_press_and_read(page):
    assert page.title() == "Speak, and read it"
    page.click("#talk")
    recording(page)
    expect(page, "#talk-words").to_have_text("Recording. Press when you have finished")
    assert page.get_attribute("#talk", "aria-pressed") == "true"
    page.click("#talk")
    written(page)
    expect(page, "#heard").to_have_text("走了吧 Unsure characters: 2.")
    (request,) = [one for one in page.requests if one.method == "POST"]
    assert request.url.endswith("/v1/audio/transcriptions")


def test_every_way_to_hold_and_to_press(page):
    """Held and let go beside the button, a held key, a short press, a switch's click, a key of one's own."""
    page.check("#mode-hold")
    page.hover("#talk")
    page.mouse.down()
    recording(page)
    page.mouse.move(5, 790)
    page.mouse.up()
    written(page, 1)
    page.evaluate("document.activeElement.blur()")
    page.keyboard.down(" ")
    recording(page)
    page.keyboard.down(" ")  # repeats while it is held
    page.keyboard.up(" ")
    written(page, 2)
    page.click("#talk")  # too short to speak in: as if pressed once
    recording(page)
    page.click("#talk")
    written(page, 3)
    for _ in range(2):  # a screen reader or a switch: no press, but a click
        page.evaluate("document.getElementById('talk').click()")
        page.wait_for_timeout(700)
    written(page, 4)
    page.check("#mode-twice")
    page.click("#key")
    page.keyboard.press("Tab")
    expect(page, "#key").to_contain_text("cannot be chosen")
    page.keyboard.press("F8")
    expect(page, "#key").to_have_text("Key: F8. Choose another")
    for _ in range(2):  # whatever has the focus
        page.focus("#numbers")
        page.keyboard.press("F8")
        page.wait_for_timeout(700)
    written(page, 5)
    page.reload()
    expect(page, "#key").to_have_text("Key: F8. Choose another")


def test_a_trembling_second_press_does_not_end_it(page):
    page.dblclick("#talk")
    recording(page)
    page.wait_for_timeout(500)
    expect(page, "#talk.recording").to_be_visible()
    assert sent(page) == 0


def test_what_is_thrown_away_is_not_sent(page):
    for throw in (lambda: page.keyboard.press("Escape"), lambda: page.click("#discard")):
        page.click("#talk")
        recording(page)
        throw()
        expect(page, "#status").to_have_text("Thrown away. Nothing was sent.")
        expect(page, "#talk.idle").to_be_visible()
    assert sent(page) == 0


def test_the_longest_recording_is_announced_ended_and_written(page):
    page.evaluate("speakData.seconds = 4")
    page.click("#talk")
    expect(page, "#talk-words").to_contain_text("The longest that can be sent is reached in 3 s")
    assert sent(page) == 0
    written(page)
    assert page.get_attribute("#talk", "aria-pressed") == "false"


def test_an_unsure_character_shows_what_else_it_may_be(page):
    page.click("#talk")
    recording(page)
    page.click("#talk")
    written(page)
    kinds = [one.get_attribute("class") for one in page.locator("#text .character").all()]
    assert [kind.split()[1:] for kind in kinds] == [["unsure"], ["fair"], []]
    page.get_by_role("button", name="走 unsure, 40 %").press("Enter")
    others = page.get_by_role("group", name="In place of 走:")
    assert others.get_by_role("button").all_inner_texts() == ["周\n30 %", "奏\n10 %", "走 is right", "Something else …"]
    page.keyboard.press("Escape")
    expect(page, "#alternatives").to_be_hidden()
    assert page.evaluate("document.activeElement.querySelector('.glyph').textContent") == "走"
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")  # the first of them has the focus
    written(page, text="周了吧")
    expect(page, "#entries .said").to_have_text("周了吧")
    page.click("#language")
    expect(page, "#done").to_have_text("已改成“周”。")
    page.get_by_role("button", name="改一改").click()
    page.fill("#corrected", "周六吧")
    page.click("#correction button.main")
    written(page, text="周六吧")
    expect(page, "#entries .said").to_have_text("周六吧")
    page.reload()  # it stays in the browser, until it is cleared
    expect(page, "#entries .said").to_have_text("周六吧")
    page.get_by_role("button", name="Clear the list").click()
    page.get_by_role("button", name="No", exact=True).click()
    expect(page, "#entries li").to_have_count(1)
    page.get_by_role("button", name="Clear the list").click()
    page.get_by_role("button", name="Yes, clear").click()
    page.reload()
    expect(page, "#entries li").to_have_count(0)
    assert sent(page) == 1


def test_what_was_corrected_can_be_kept_as_a_clip(browser, tmp_path):
    (kept := tmp_path / "kept").mkdir()
    with served(record=tmp_path / "voice", keep=kept) as address, opened(browser, address) as page:
        page.click("#talk")
        recording(page)
        page.click("#talk")
        written(page)
        page.click("#correct")
        page.fill("#corrected", "周六吧")
        page.click("#correction button.main")
        page.click("#keep")
        expect(page, "#done").to_have_text("Kept. The model can learn from it.")
    (label,) = (tmp_path / "voice").rglob("*_label.txt")
    assert label.read_text(encoding="utf-8").split()[1] == "周六吧"
    (clip,) = (tmp_path / "voice").rglob("*.wav")
    (sent_first,) = kept.glob("*.wav")
    assert soundfile.read(clip)[0].tolist() == soundfile.read(sent_first)[0].tolist()


def test_a_recording_is_not_lost_where_the_server_fails(page):
    page.route("**/v1/**", lambda route: route.abort())
    page.click("#talk")
    recording(page)
    page.click("#talk")
    expect(page, "#problem").to_have_text("The server does not answer. Your recording is still here.")
    assert page.complaints.pop().startswith("Failed to load resource")
    page.unroute("**/v1/**")
    page.click("#again")
    written(page)
    expect(page, "#problem").to_be_hidden()


def test_a_server_that_is_busy_says_so_in_the_pages_language(page):
    refusal = {"error": {"message": "32 recordings are waiting.", "type": "x", "param": None, "code": "busy"}}
    page.route("**/v1/**", lambda route: route.fulfill(status=503, json=refusal))
    page.click("#language")
    page.click("#talk")
    recording(page)
    page.click("#talk")
    expect(page, "#problem").to_have_text("排队的录音太多。您的录音还在，过一分钟再发送。")
    assert page.complaints.pop().startswith("Failed to load resource")


def test_copy_and_a_voice_of_the_device_alone(page):
    """Chromium without a Chinese voice says so; a voice that would send the text to a company is not taken."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write", "microphone"])
    page.click("#talk")
    recording(page)
    page.click("#talk")
    written(page)
    page.click("#copy")
    expect(page, "#done").to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == "走了吧"
    page.evaluate("speechSynthesis.getVoices = () => [{lang: 'zh-CN', localService: false}]")
    page.click("#aloud")
    expect(page, "#done").to_contain_text("no Chinese voice of its own")


def test_nothing_understood_and_a_microphone_that_is_off_are_told_apart(driver, browser, tmp_path):
    off = tmp_path / "silence.wav"
    off.write_bytes(wav(3, level=0))
    with (
        served(decoder(lambda _: [])) as address,
        launched(driver, FAKE, ALLOW, f"--use-file-for-fake-audio-capture={off}") as silent,
    ):
        for which, said in (browser, "No words were recognised."), (silent, "The microphone gave almost no sound"):
            with opened(which, address) as page:
                page.click("#talk")
                recording(page)
                page.click("#talk")
                expect(page, "#status").to_contain_text(said)


def test_each_failure_of_the_microphone_is_one_line(driver, browser, address):
    with launched(driver, ALLOW) as other, opened(other, address) as page:
        page.click("#talk")
        expect(page, "#problem").to_contain_text("No microphone was found.")
        expect(page, "#talk.idle").to_be_visible()
        assert page.get_attribute("#talk", "aria-pressed") == "false"
    with launched(driver, FAKE, "--deny-permission-prompts") as other, opened(other, address) as page:
        page.click("#talk")
        expect(page, "#problem").to_contain_text("The microphone was refused.")


def test_from_another_computer_the_token_is_asked_for_and_https_is_missed(browser):
    with (
        served(hosts=None, token=TOKEN) as address,
        opened(browser, address.replace("127.0.0.1", "speech.example"), locale="zh-CN") as page,
    ):
        page.fill("#token", TOKEN)
        page.click("button.main")
        expect(page, "#problem").to_contain_text("浏览器不允许本页面使用麦克风")


def test_a_model_that_does_not_say_how_sure_it_is_seems_sure_of_nothing(browser):
    unsure = dataclasses.replace(decoder(), sure=False)
    with served(unsure) as address, opened(browser, address) as page:
        page.click("#talk")
        recording(page)
        page.click("#talk")
        written(page)
        expect(page, "#not-sure").to_be_visible()
        expect(page, "#legend").to_be_hidden()
        expect(page, "#text button").to_have_count(0)


def test_nothing_lies_beyond_the_screen_and_targets_are_large(browser):
    """At 320 px too, which is 1280 px at 400 %."""
    long = [{"走": 0.4, "周": 0.3, "奏": 0.1}, {"了": 0.7, "乐": 0.2}] * 20
    with served(decoder(lambda _: long)) as address, opened(browser, address) as page:
        page.check("#numbers")
        page.click("#talk")
        recording(page)
        page.click("#talk")
        written(page, text="走了" * 20)
        page.locator("#text button").first.click()
        page.click("#correct")
        page.locator("#text button").first.click()
        for width in (320, 390, 1280):
            page.set_viewport_size({"width": width, "height": 700})
            assert sideways(page) == 0
            script = "all => all.filter(one => one.offsetParent).map(one => one.getBoundingClientRect().toJSON())"
            boxes = page.locator("button").evaluate_all(script)
            assert min(min(box["width"], box["height"]) for box in boxes) >= 44
