"""A base model by its id: looked up in the caches of ModelScope and Hugging Face, else fetched from ModelScope."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from asr.core.errors import RecipeError

# What is the matter where the hub did not answer at all: the first that is among the causes of the error.
CAUSES = (
    (socket.gaierror, "its name is not known here: no network, or no DNS"),
    (ssl.SSLError, "TLS failed: a proxy in between, or a wrong clock"),
    (ConnectionRefusedError, "the connection was refused"),
    (TimeoutError, "no answer in time"),
)


def snapshot(folder: Path) -> Path:
    """The model's own folder: of a cache's ``models--OWNER--NAME`` the snapshot that it names, else ``folder`` itself.

    RecipeError where there are several and none is named.
    """
    inside = folder / "snapshots"
    if (folder / "config.yaml").exists() or not inside.is_dir():
        return folder
    refs = [path for name in ("main", "master") if (path := folder / "refs" / name).is_file()]
    found = sorted(path for path in inside.iterdir() if path.is_dir())
    named = [inside / name for name in (*(path.read_text().strip() for path in refs), "master", "main")]
    for path in (*named, *found[: len(found) == 1]):
        if path in found:
            return path
    raise RecipeError(f"{inside}: holds {len(found)} snapshots; give --base the one you mean")


def cached(name: str) -> list[Path]:
    """Folders that a hub's client, of today or of before, has made for the model OWNER/NAME."""
    owner, model = name.split("/")
    modelscope = Path(os.environ.get("MODELSCOPE_CACHE") or "~/.cache/modelscope")
    home = os.environ.get("HF_HOME") or f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    hugging_face = Path(os.environ.get("HF_HUB_CACHE") or f"{home}/hub")
    roots = [modelscope / place for place in ("models", "hub/models", "hub", ".")]
    places = [modelscope / "models" / f"{owner}--{model}", hugging_face / f"models--{owner}--{model}"]
    places += [root / owner / written for root in roots for written in (model.replace(".", "___"), model)]
    places = [Path(os.path.expanduser(place)).absolute() for place in dict.fromkeys(places)]
    return [place for place in places if place.is_dir()]


def fetch(name: str) -> Path:
    """The folder of a model fetched from ModelScope. RecipeError where it cannot be had: why, and how else."""
    print(f"fetching {name} from ModelScope (cached in $MODELSCOPE_CACHE, else ~/.cache/modelscope)", flush=True)
    try:
        from modelscope.hub.snapshot_download import snapshot_download
    except ImportError as error:
        raise RecipeError(f"modelscope cannot be imported ({error}); run: bash scripts/install.sh") from None
    try:
        with contextlib.redirect_stdout(sys.stderr):
            folder = Path(snapshot_download(name)).absolute()
    except Exception as error:  # whatever the hub's client raises, the user needs to know that there is no model
        raise RecipeError(f"base model {name}: {explained(name, error)}") from None
    if not any(folder.iterdir()):
        raise RecipeError(f"base model {name}: ModelScope gave no files of it; {elsewhere(name)}")
    return folder


def elsewhere(name: str) -> str:
    """What to do without this machine's network."""
    folder = name.split("/")[1]
    return (
        f"run `modelscope download --model {name} --local_dir {folder}` where there is a network, bring the folder"
        f" here, and give --base {folder} (other ways: docs/models.md)"
    )


def explained(name: str, error: BaseException) -> str:
    """What was the matter with a download, and what to do: no network, or no such model.

    The hub's client tries again and raises in the end that its time is over: the answer or the cause is below that.
    """
    causes = list(_causes(error))
    hub = os.environ.get("MODELSCOPE_ENDPOINT") or os.environ.get("MODELSCOPE_DOMAIN") or "https://modelscope.cn"
    status = next((code for item in causes if (code := getattr(item, "status_code", None))), None)
    if status in (401, 403, 404):
        return (
            f"ModelScope ({hub}) has no model of that id that you may read (status {status}); see that it is written as"
            " on the model's page, OWNER/NAME; a private one needs MODELSCOPE_API_TOKEN"
        )
    if status is not None:
        return f"ModelScope ({hub}) answers with status {status}; try again later, or {elsewhere(name)}"
    for item in causes:
        if isinstance(item, OSError) and item.filename:
            return f"{item.filename}: {item.strerror}; MODELSCOPE_CACHE names the folder that models are fetched into"
    if any(type(item).__name__ == "ProxyError" for item in causes):
        why = "the proxy that HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names does not answer, or refuses"
    else:
        first = textwrap.shorten(str(causes[-1]) or type(causes[-1]).__name__, 160, placeholder=" ...")
        why = next((said for kind, said in CAUSES if any(isinstance(item, kind) for item in causes)), first)
    return f"ModelScope ({hub}) cannot be reached ({why}); {elsewhere(name)}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
