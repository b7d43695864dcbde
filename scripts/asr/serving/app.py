"""The application: OpenAI's protocol, the page to speak to, the page that records, behind the guard."""

from __future__ import annotations

from typing import Any

from asr.serving.decoder import Decoder, Worker
from asr.serving.guard import Guard
from asr.serving.settings import RefusedError, Settings, error_body
from asr.serving.speak_page import add_pages
from asr.serving.transcriptions import add_transcriptions


def create_app(settings: Settings, decoder: Decoder | None, worker: Worker | None = None) -> Any:
    """Return the FastAPI application; without a decoder it only records. Whoever made ``worker`` ends it."""
    from fastapi import FastAPI
    from starlette.middleware.cors import CORSMiddleware

    # No /docs: that page would load scripts from elsewhere.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, settings=settings)
    if settings.origins:  # added last, so it is asked first: a browser asks whether it may before it sends a token
        app.add_middleware(CORSMiddleware, allow_origins=settings.origins, allow_methods=["*"], allow_headers=["*"])
    _add_refusals(app)
    add_pages(app, settings, decoder)
    if decoder:
        add_transcriptions(app, decoder, worker or Worker(), settings)
    if settings.record:
        from asr.serving.recording import add_recording

        add_recording(app, settings.record, settings.prompts)
    return app


def _add_refusals(app: Any) -> None:
    """Answer whatever is refused, and whatever is not there, with OpenAI's error object."""
    from fastapi.responses import JSONResponse
    from starlette.exceptions import HTTPException

    async def refusal(_: Any, error: RefusedError) -> JSONResponse:
        body = error_body(error.status, str(error), error.param, error.code)
        return JSONResponse(body, error.status, headers={"retry-after": "5"} if error.status == 503 else None)

    async def other(request: Any, error: HTTPException) -> JSONResponse:
        message = error.detail
        if error.status_code in (404, 405):
            message = f"{request.method} {request.url.path}: there is no such thing here."
        code = "too_large" if error.status_code == 413 else None
        return JSONResponse(error_body(error.status_code, message, code=code), error.status_code, headers=error.headers)

    async def fault(_: Any, error: Exception) -> JSONResponse:  # its traceback is in the log
        return JSONResponse(error_body(500, f"The server failed: {type(error).__name__}.", code="failed"), 500)

    app.add_exception_handler(Exception, fault)
    app.add_exception_handler(RefusedError, refusal)
    app.add_exception_handler(HTTPException, other)
