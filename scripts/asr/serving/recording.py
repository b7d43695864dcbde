"""The page that records a person's voice: prompts one at a time, each kept or said again, into a corpus for stage 1.

GET    /record              the page
GET    /record/state        the prompts with how many clips each has, what is done in all, the newest clip
POST   /record/clips        file (WAV), text, and prompt: "correction" for a text corrected on the speaking page
DELETE /record/clips/{id}   take the newest clip back
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from asr.pages.html import as_script, render
from asr.pages.words import Words, group
from asr.serving.settings import RefusedError
from asr.serving.voice_corpus import CORRECTION, MAX_SECONDS, PROMPT, BadClipError, VoiceCorpus, read_prompts

SHIPPED_PROMPTS = Path(__file__).with_name("prompts.zh.txt")
_FIELD = 64 * 1024  # bytes of a field that is no file


def record_page(folder: Path, speaks: bool) -> str:
    """Return the page's HTML; ``speaks``: whether this server has the page to speak to as well."""
    t = {key: Words(*pair) for key, pair in group("record").items()}
    return render(
        "record.html.j2",
        t["title"],
        ["speak.css", "record.css"],
        ["microphone.js", "record.js"],
        policy="connect-src 'self'; media-src blob:; form-action 'none'; base-uri 'none'",
        script_source="blob:",
        t=t,
        folder=folder.absolute(),
        speaks=speaks,
        data=as_script({"words": group("record"), "seconds": MAX_SECONDS}),
    )


def add_recording(app: Any, folder: Path, own_prompts: Path | None = None) -> None:
    """Add the page and its routes to a FastAPI application; its ``state.recording`` is the corpus.

    RecipeError where the folder cannot be recorded into, or the file of ``own_prompts`` has a fault.
    """
    from fastapi.responses import HTMLResponse, JSONResponse

    prompts = read_prompts(own_prompts or SHIPPED_PROMPTS)
    corpus = app.state.recording = VoiceCorpus(folder)
    html = record_page(folder, any(getattr(route, "path", "") == "/v1/audio/transcriptions" for route in app.routes))

    async def page(_: Any) -> Any:
        return HTMLResponse(html)

    async def state(_: Any) -> Any:
        return JSONResponse(_state(corpus, prompts))

    async def add(request: Any) -> Any:
        wav, text, kind = await _sent(request, prompts)
        await _done(lambda: corpus.add(wav, text, kind))
        return JSONResponse(_state(corpus, prompts), 201)

    async def remove(request: Any) -> Any:
        if not await _done(lambda: corpus.remove_last(request.path_params["id"])):
            raise RefusedError(409, "This is not the newest clip any more; reload the page.")
        return JSONResponse(_state(corpus, prompts))

    app.add_route("/record", page, methods=["GET"])
    app.add_route("/record/state", state, methods=["GET"])
    app.add_route("/record/clips", add, methods=["POST"])
    app.add_route("/record/clips/{id}", remove, methods=["DELETE"])


def _state(corpus: VoiceCorpus, prompts: Sequence[str]) -> dict[str, Any]:
    clips = corpus.clips
    times = Counter(clip.text for clip in clips)
    return {
        "prompts": [{"text": prompt, "clips": times[prompt]} for prompt in prompts],
        "clips": len(clips),
        "seconds": sum(clip.seconds for clip in clips),
        "last": {"id": clips[-1].id, "text": clips[-1].text} if clips else None,
    }


async def _sent(request: Any, prompts: Sequence[str]) -> tuple[bytes, str, int]:
    """Return the recording, its text and its kind."""
    async with request.form(max_files=1, max_fields=8, max_part_size=_FIELD) as form:
        file, text, prompt = form.get("file"), form.get("text"), form.get("prompt")
        if not hasattr(file, "read"):
            raise RefusedError(400, "The field file is missing: the recording, a WAV file.", param="file")
        if not isinstance(text, str) or not isinstance(prompt, str):
            raise RefusedError(400, "The fields text and prompt are missing.", param="text")
        kind = CORRECTION if prompt == "correction" else PROMPT
        if kind == PROMPT and text not in prompts:
            raise RefusedError(400, f"{text} is none of the prompts (any more); reload the page.", param="text")
        return await file.read(), text, kind


async def _done(act: Callable[[], Any]) -> Any:
    """Return what ``act`` returns, from a thread; what it refuses, and a disk that is full, is the client's to hear."""
    try:
        return await asyncio.to_thread(act)
    except BadClipError as error:
        reason = str(error)
        raise RefusedError(400, f"{reason[0].upper()}{reason[1:]}.", param="file") from None
    except OSError as error:
        raise RefusedError(507, f"Not kept: {error.strerror or error}.") from None
