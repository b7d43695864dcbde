"""OpenAI's ``POST /v1/audio/transcriptions`` and ``GET /v1/models``.

``model`` is a name that /v1/models gives, NAME@SPEAKER for one speaker's adapter, or whisper-1, which tools send that
let nobody choose. ``language``,
``prompt`` and ``temperature`` are taken and change nothing: the model hears what it was tuned for, and phrases are the
server's (--phrases), for a prompt may be any text and its words would be heard where nobody said them.
"""

from __future__ import annotations

import asyncio
import functools
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from asr.audio.headers import EXTENSIONS
from asr.decoding.transcript_formats import Segment
from asr.serving.answers import FORMATS, answer, verbose
from asr.serving.decoder import Decoder, Worker
from asr.serving.keeping import keep
from asr.serving.settings import RefusedError, Settings

ALIAS = "whisper-1"
_FIELD = 64 * 1024  # bytes of a field that is no file


def add_transcriptions(app: Any, decoder: Decoder, worker: Worker, settings: Settings) -> None:
    """Add both routes to a FastAPI application."""
    from fastapi.responses import JSONResponse, PlainTextResponse, Response
    from starlette.requests import ClientDisconnect

    async def transcriptions(request: Any) -> Response:
        with tempfile.TemporaryDirectory(prefix="asr-serve-") as folder:
            try:
                async with request.form(max_files=1, max_fields=64, max_part_size=_FIELD) as form:
                    response_format, speaker = _check(form, decoder)
                    path = await asyncio.to_thread(_store, form["file"], Path(folder))
            except ClientDisconnect:
                return Response(status_code=499)  # nobody is there to read it
            except OSError as error:
                raise RefusedError(507, f"The server cannot take the recording: {error.strerror}.") from None
            work = functools.partial(decoder.segments, path, settings.minutes, speaker=speaker)
            segments = await _unless_gone(request, worker.run(lambda stopped: work(stopped)))
            if segments is None:
                return Response(status_code=499)
            if settings.keep:
                await asyncio.to_thread(_keep, settings.keep, path, segments)
        body = answer(response_format, segments)
        return PlainTextResponse(body) if isinstance(body, str) else JSONResponse(body)

    async def models(request: Any) -> Response:
        about = {"object": "model", "created": 0, "owned_by": "local"}
        name = request.path_params.get("name")
        if name is None:
            return JSONResponse({"object": "list", "data": [{"id": each, **about} for each in decoder.models()]})
        _speaker_of(name, decoder)
        return JSONResponse({"id": decoder.name if name == ALIAS else name, **about})

    app.add_route("/v1/audio/transcriptions", transcriptions, methods=["POST"])
    app.add_route("/v1/models", models, methods=["GET"])
    app.add_route("/v1/models/{name}", models, methods=["GET"])


def _check(form: Any, decoder: Decoder) -> tuple[str, str]:
    """Return the format that is asked for, and whose adapter. RefusedError for what cannot be done as it is asked."""
    upload = form.get("file")
    if upload is None or isinstance(upload, str):
        raise RefusedError(400, "No file was sent: a multipart form with a part named file is needed.", "file")
    model = form.get("model")
    if not model:
        raise RefusedError(400, f"The parameter model is missing; this server's is {decoder.name!r}.", "model")
    speaker = _speaker_of(model, decoder)
    wanted = form.get("response_format") or "json"
    if wanted not in FORMATS:
        raise RefusedError(400, f"response_format {wanted!r} is none of {', '.join(FORMATS)}.", "response_format")
    if "word" in form.getlist("timestamp_granularities[]"):
        raise RefusedError(400, "This server has no times of words, only of segments.", "timestamp_granularities[]")
    return wanted, speaker


def _speaker_of(name: Any, decoder: Decoder) -> str:
    """Return whose adapter a model's name stands for. RefusedError for a name that is none of this server's."""
    there = decoder.models()
    if name not in (*there, ALIAS):
        names = " or ".join(map(repr, there))
        raise RefusedError(
            404, f"The model {name!r} does not exist here; this server's is {names}.", "model", "model_not_found"
        )
    return there.get(name, decoder.speaker)


def _store(upload: Any, folder: Path) -> Path:
    """Write what was sent to a file whose name ends as the sender's does, where that says what it is."""
    ending = Path(upload.filename or "").suffix.lower()
    path = folder / f"recording{ending if ending in EXTENSIONS else '.wav'}"
    with open(path, "wb") as stream:
        shutil.copyfileobj(upload.file, stream)
    return path


async def _unless_gone(request: Any, work: Any) -> list[Segment] | None:
    """Return what ``work`` gives; None where the client, or the server, has gone before: then it is cancelled."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    job, watch = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({job, watch}, return_when=asyncio.FIRST_COMPLETED)
        return job.result() if job.done() else None
    except asyncio.CancelledError:  # the server ends, and will not wait any longer
        return None
    finally:
        job.cancel()
        watch.cancel()


def _keep(folder: Path, recording: Path, segments: list[Segment]) -> None:
    """Keep a recording; where that fails, its text is still answered, and whoever runs the server is told."""
    try:
        keep(folder, recording, verbose(segments))
    except OSError as error:
        print(f"error: {folder}: a recording could not be kept: {error.strerror or error}", file=sys.stderr, flush=True)
