"""A base model by its id: looked up in the caches of ModelScope and Hugging Face, else fetched from ModelScope."""

from __future__ import annotations

import contextlib
import os
import sys
import textwrap
from pathlib import Path

from asr.core.errors import RecipeError

# What is the matter where the hub did not answer at all: the first whose class is among the error's causes.
CAUSES = {
    "ProxyError": "the proxy that HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names does not answer, or refuses",
    "gaierror": "its name is not known here: no network, or no DNS",
    "SSLError": "TLS failed: a proxy in between, or a wrong clock",
    "ConnectionRefusedError": "the connection was refused",
    "TimeoutError": "no answer in time",
}


def snapshot(folder: Path) -> Path:
    """Return the model's own folder: of a cache's ``models--OWNER--NAME`` the snapshot that it names, else ``folder``.

    RecipeError where there are several and none is named.
    """
    inside = folder / "snapshots"
    if (folder / "config.yaml").exists() or not inside.is_dir():
        return folder
    snapshots = {path.name: path for path in inside.iterdir() if path.is_dir()}
    refs = [path for name in ("main", "master") if (path := folder / "refs" / name).is_file()]
    for name in (*(path.read_text().strip() for path in refs), "master", "main"):
        if name in snapshots:
            return snapshots[name]
    if len(snapshots) != 1:
        raise RecipeError(f"{inside}: holds {len(snapshots)} snapshots; give --base the one you mean")
    return next(iter(snapshots.values()))


def cached(name: str) -> list[Path]:
    """Return the folders that a hub's client, of today or of before, has made for the model OWNER/NAME."""
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
    """Fetch a model from ModelScope and return its folder. RecipeError where it cannot be had: why, and how else."""
    print(f"fetching {name} from ModelScope (cached in $MODELSCOPE_CACHE, else ~/.cache/modelscope)", flush=True)
    from modelscope.hub.snapshot_download import snapshot_download

    try:
        with contextlib.redirect_stdout(sys.stderr):
            folder = Path(snapshot_download(name)).absolute()
    except Exception as error:  # whatever the hub's client raises, the user needs to know that there is no model
        raise RecipeError(f"base model {name}: {explained(name, error)}") from None
    if not any(folder.iterdir()):
        raise RecipeError(f"base model {name}: ModelScope gave no files of it; {elsewhere(name)}")
    return folder


def elsewhere(name: str) -> str:
    """Return what to do without this machine's network."""
    folder = name.split("/")[1]
    return (
        f"run `modelscope download --model {name} --local_dir {folder}` where there is a network, bring the folder"
        f" here, and give --base {folder} (other ways: docs/models.md)"
    )


def explained(name: str, error: BaseException) -> str:
    """Return what was the matter with a download, and what to do: no network, or no such model.

    The hub's client tries again and raises in the end that its time is over: the answer or the cause is below that.
    """
    causes = [error]
    while below := causes[-1].__cause__ or causes[-1].__context__:
        causes.append(below)
    hub = os.environ.get("MODELSCOPE_ENDPOINT") or os.environ.get("MODELSCOPE_DOMAIN") or "https://modelscope.cn"
    status = next((code for cause in causes if (code := getattr(cause, "status_code", None))), None)
    if status in (401, 403, 404):
        return (
            f"ModelScope ({hub}) has no model of that id that you may read (status {status}); see that it is written as"
            " on the model's page, OWNER/NAME; a private one needs MODELSCOPE_API_TOKEN"
        )
    if status is not None:
        return f"ModelScope ({hub}) answers with status {status}; try again later, or {elsewhere(name)}"
    for cause in causes:
        if isinstance(cause, OSError) and cause.filename:
            return f"{cause.filename}: {cause.strerror}; MODELSCOPE_CACHE names the folder that models are fetched into"
    kinds = {kind.__name__ for cause in causes for kind in type(cause).__mro__}
    first = textwrap.shorten(str(causes[-1]) or type(causes[-1]).__name__, 160, placeholder=" ...")
    why = next((text for kind, text in CAUSES.items() if kind in kinds), first)
    return f"ModelScope ({hub}) cannot be reached ({why}); {elsewhere(name)}"
