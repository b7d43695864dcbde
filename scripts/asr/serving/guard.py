"""Before every request: who may ask, from which page, and how much may be sent.

- Any web page that is open in a browser can send requests to this computer. Browsers say which page it is (Origin):
  only the server's own pages and ``origins`` may. A page whose name was made to point here afterwards (DNS rebinding)
  is known by the name that it asks for (Host).
- With a token: API clients send it as ``Authorization: Bearer``, a browser is asked once and then has a cookie of the
  session. It is compared in constant time.
- What is too large is refused by its header, or while it arrives, and never stored.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote, urlsplit

from asr.serving.settings import Settings, error_body

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

SESSION = "asr_session"
OPEN_PATHS = ("/healthz", "/login")
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
    "cache-control": "no-store",
    # The pages bring a stricter policy of their own; this one holds for everything else, and forbids frames.
    "content-security-policy": "frame-ancestors 'none'",
}


class Guard:
    """ASGI middleware around the application."""

    def __init__(self, app: Any, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # a websocket
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        exchange = _Exchange(receive, send, self.settings.megabytes)
        refused = self._refusal(scope["path"], headers)
        if refused and refused[0] == 401 and scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
            await exchange.answer(303, b"", {"location": f"/login?next={quote(scope['path'])}"})
        elif refused:
            status, message, code = refused
            body = json.dumps(error_body(status, message, code=code)).encode()
            extra = {"www-authenticate": "Bearer"} if status == 401 else {}
            await exchange.answer(status, body, {"content-type": "application/json", **extra})
        else:
            await self.app(scope, exchange.receive, exchange.send)

    def _refusal(self, path: str, headers: dict[str, str]) -> tuple[int, str, str] | None:
        """Return (status, why, code) of a request that may not go on."""
        settings, host = self.settings, headers.get("host", "").lower()
        if settings.hosts is not None and _without_port(host) not in settings.hosts:
            return 403, f"This server is not called {host!r}; open it by the address that it printed.", "wrong_host"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host and origin not in settings.origins:
            hint = f"; to let it: --allow-origin {origin}" if origin != "null" else ""
            return 403, f"Scripts of {origin} may not use this server{hint}.", "wrong_origin"
        if settings.token and path not in OPEN_PATHS and not self._is_known(headers):
            return 401, "A token is needed: Authorization: Bearer TOKEN.", "invalid_api_key"
        size = headers.get("content-length", "0")
        if not size.isdecimal() or int(size) > settings.megabytes * 1_000_000:
            return 413, too_large(settings.megabytes), "too_large"
        return None

    def _is_known(self, headers: dict[str, str]) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and same(given.strip(), self.settings.token):
            return True
        cookies: SimpleCookie = SimpleCookie()
        with suppress(CookieError):
            cookies.load(headers.get("cookie", ""))
        session = cookies[SESSION].value if SESSION in cookies else ""
        return any(same(session, known) for known in self.settings.sessions)


class _Exchange:
    """A request's body, counted, and its answer, with the headers that all have."""

    def __init__(self, receive: Receive, send: Send, megabytes: int) -> None:
        self._receive, self._send, self.megabytes = receive, send, megabytes
        self.size = 0

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self.size += len(message.get("body", b""))
            if self.size > self.megabytes * 1_000_000:
                from starlette.exceptions import HTTPException

                raise HTTPException(413, too_large(self.megabytes))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            own = list(message.get("headers", []))
            there = {name.lower() for name, _ in own}
            ours = [(name.encode(), value.encode()) for name, value in HEADERS.items() if name.encode() not in there]
            message = {**message, "headers": own + ours}
        await self._send(message)

    async def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        headers = {**headers, "content-length": str(len(body))}
        pairs = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": pairs})
        await self.send({"type": "http.response.body", "body": body})


def too_large(megabytes: int) -> str:
    """Return why an upload is refused."""
    return f"The upload is larger than {megabytes} MB; cut the recording, or start the server with --max-megabytes."


def same(given: str, secret: str) -> bool:
    """Return whether two texts are equal, in a time that says nothing about where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode())


def _without_port(host: str) -> str:
    return urlsplit(f"//{host}").hostname or ""
