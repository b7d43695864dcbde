"""All texts of a test set by deploy/web/ in Chromium, the server gone, beside those that the export has proven.

    python benchmarks/web_page.py exp/mini/deploy data/mini_dataset/test.jsonl

Prints the clips whose texts differ, how many do, and seconds of decoding a second of sound. Needs Chromium and
Playwright (scripts/install.sh --dev). Run from the repository's root.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT)]
from playwright.sync_api import sync_playwright  # noqa: E402

from asr.core.manifest import read_manifest  # noqa: E402 - found through the line above
from asr.export.gate import decoded  # noqa: E402
from asr.export.web_proof import Web  # noqa: E402
from tests.web_page import Server, wait_until_ready, written  # noqa: E402


def main() -> None:
    """Compare, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("deploy", type=Path)
    parser.add_argument("test", type=Path)
    arguments = parser.parse_args()
    clips = read_manifest(arguments.test)
    proven = decoded(clips, Web(arguments.deploy / "web").transcribe)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        view, server = browser.new_context(locale="en-US").new_page(), Server(arguments.deploy / "web")
        view.goto(server.url)
        print(wait_until_ready(view))
        server.stop()
        view.reload()
        print(f"the server is gone: {wait_until_ready(view)}")
        begin = time.monotonic()
        texts = written(view, [clip.source for clip in clips])
        seconds = time.monotonic() - begin
    same = 0
    for clip, text in zip(clips, texts, strict=True):
        same += text == proven[clip.key]
        if text != proven[clip.key]:
            print(f"  {clip.key}: proven {proven[clip.key]!r}, page {text!r}")
    sound = sum(clip.duration for clip in clips)
    print(f"{same} of {len(clips)} texts equal; {seconds / sound:.3f} s of decoding a second of sound ({sound:.0f} s)")


if __name__ == "__main__":
    main()
