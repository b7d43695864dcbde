"""deploy/web/ in a browser, for tests: a plain static server that can go away, and a person with files."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Handler(SimpleHTTPRequestHandler):
    """Says nothing of what is asked."""

    def log_message(self, *_: Any) -> None:
        pass


class Server:
    """``python -m http.server`` on this computer."""

    def __init__(self, folder: Path) -> None:
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self.http.server_port}/"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Be gone: the port refuses whoever comes."""
        self.http.shutdown()
        self.http.server_close()


def wait_until_ready(view: Any) -> str:
    """Wait until the page says that it can be used; what it says, or what is wrong."""
    view.wait_for_selector("#offline:not(:empty), #problem:not([hidden])", timeout=120_000)
    return view.inner_text("#offline") + view.inner_text("#problem")


def written(view: Any, files: Sequence[Path | str]) -> list[str]:
    """Choose files, as a person does, and return what the page then says of each."""
    before = view.locator("#files li").count()
    view.set_input_files("#choose", [str(path) for path in files])
    view.wait_for_selector(f"#files li:nth-child({before + len(files)})", timeout=300_000, state="attached")
    view.wait_for_selector("#choose:not([disabled])", timeout=300_000, state="attached")
    return view.locator("#files .said").all_text_contents()[before:]
