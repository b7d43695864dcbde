"""The page to speak to, the page that asks for the token, and /healthz."""

from __future__ import annotations

import re
import secrets
from types import SimpleNamespace
from typing import Any

from asr.pages.html import as_script, render
from asr.pages.words import Words, group
from asr.serving.decoder import Decoder
from asr.serving.guard import SESSION, same
from asr.serving.settings import Settings

_HERE = re.compile(r"/[a-z]*")  # where one is led after the token: a page of this server


def _words() -> SimpleNamespace:
    return SimpleNamespace(**{key: Words(*pair) for key, pair in group("speak").items()})


def speak_page(settings: Settings, decoder: Decoder) -> str:
    """Return the page's HTML."""
    t = _words()
    data = {
        "model": decoder.name,
        "sure": decoder.sure,
        "seconds": 60 * settings.minutes,
        "bytes": settings.megabytes * 1_000_000 - 100_000,  # what the form needs besides
        "record": settings.record is not None,
        "words": group("speak"),
    }
    return render(
        "speak.html.j2",
        t.title,
        ["speak.css"],
        ["microphone.js", "speak_text.js", "speak_history.js", "speak_server.js", "speak.js"],
        policy="connect-src 'self'; form-action 'none'; base-uri 'none'",
        script_source="blob:",
        t=t,
        model=decoder.name,
        keeps=settings.keep is not None,
        records=settings.record is not None,
        data=as_script(data),
    )


def login_page(where: str, wrong: bool) -> str:
    """Return the page that asks for the token; it works without a script."""
    t = _words()
    policy = "form-action 'self'; base-uri 'none'"
    return render("login.html.j2", t.token_title, ["speak.css"], policy=policy, t=t, where=where, wrong=wrong)


def add_pages(app: Any, settings: Settings, decoder: Decoder | None) -> None:
    """Add /, /healthz and /login to a FastAPI application."""
    from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse

    async def front(_: Any) -> Any:
        return HTMLResponse(speak_page(settings, decoder)) if decoder else RedirectResponse("/record", 303)

    async def health(_: Any) -> Any:
        return JSONResponse({"status": "ok"})

    async def login(request: Any) -> Any:
        where, wrong = request.query_params.get("next", "/"), False
        where = where if _HERE.fullmatch(where) else "/"
        if request.method == "POST":
            async with request.form(max_files=0, max_fields=4) as form:
                given = str(form.get("token", "")).strip()
            if settings.token and same(given, settings.token):
                return _let_in(RedirectResponse(where, 303))
            wrong = True
        return HTMLResponse(login_page(where, wrong), 401 if wrong else 200)

    def _let_in(response: Any) -> Any:
        session = secrets.token_urlsafe(32)  # not the token: a cookie is sent to every port of this computer
        settings.sessions.add(session)
        response.set_cookie(SESSION, session, httponly=True, samesite="lax", secure=settings.tls)
        return response

    app.add_route("/", front, methods=["GET"])
    app.add_route("/healthz", health, methods=["GET"])
    app.add_route("/login", login, methods=["GET", "POST"])
