"""Chromium, for tests of pages."""

import shutil
import urllib.parse

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def chromium():
    if not CHROMIUM:
        pytest.skip("needs Chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        )
        yield browser
        browser.close()


@pytest.fixture
def look(chromium):
    """Opens a run's page as a person would; at the end nothing was complained of and nothing asked of the network."""
    contexts, complaints, requests = [], [], []

    def opened(exp, fragment="", **settings):
        settings = {"viewport": {"width": 1000, "height": 900}, "locale": "en-US", **settings}
        context = chromium.new_context(**settings)
        contexts.append(context)
        view = context.new_page()
        view.on("console", lambda message: complaints.append(message.text))
        view.on("pageerror", lambda error: complaints.append(str(error)))
        view.on("dialog", lambda dialog: complaints.append(dialog.message))
        view.on("request", lambda request: requests.append(request.url))
        view.goto(f"file://{urllib.parse.quote(str(exp / 'report.html'))}{fragment}")
        return view

    opened.complaints = complaints
    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
