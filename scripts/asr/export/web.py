"""deploy/web/: the model in a page that needs no Python and, once it has been opened, no network.

A static folder for any web server. index.html is the page to speak to of asr.serve with the model behind it, in a
worker: the filter bank in fbank.js, the network by onnxruntime-web, in one thread, because several need headers that a
plain static server does not send. All else is in a folder named after its content, so that a browser that keeps files
never mixes two versions.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from asr.core.digests import sha256_file, sha256_text
from asr.core.errors import RecipeError
from asr.core.files import write_text
from asr.export import funasr_onnx, onnxruntime_web, weight_only
from asr.export.features import read_cmvn
from asr.export.onnxruntime_web import NotOfferedError
from asr.models import families
from asr.models.model_folder import read_config
from asr.pages.html import as_script, render
from asr.pages.words import Words, group

_SOURCES = Path(__file__).resolve().parent / "web_page"
ABOUT, MODEL = "model.json", "model.int8.onnx"
LARGE = (ABOUT, "ort-wasm-simd-threaded.wasm", MODEL)  # fetched by the worker, which says how far it is
SMALL = ("worker.js", "fbank.js", "text.js", "ort.wasm.min.js", "ort-wasm-simd-threaded.js")
# What a network is told besides: of SenseVoice, Mandarin, and numbers written as they are spoken.
TOLD = {"paraformer": [], "sensevoice": [3, 15]}
LONGEST = 30 * 60  # seconds of a recording
# The filter bank that fbank.js computes; keys of frontend_conf and FunASR's defaults.
_FBANK = {"fs": 16000, "window": "hamming", "n_mels": 80, "frame_length": 25, "frame_shift": 10, "snip_edges": True}
_FBANK |= {"upsacle_samples": True}  # FunASR's spelling


def build(runtime: Path, out: Path, name: str) -> None:
    """Make the folder, beside its place first. NotOfferedError where this model, or this machine, cannot have one.

    Args:
        runtime: deploy/funasr-onnx: model.onnx, config.yaml, am.mvn and tokens.json.
        out: a folder that is not there yet.
        name: what the page calls the model.
    """
    about = describe(runtime)
    if out.exists():
        raise RecipeError(f"{out}: is there already; remove it, and export again")
    building = out.with_name(f".{out.name}.new")
    shutil.rmtree(building, ignore_errors=True)
    files = building / "files"
    files.mkdir(parents=True)
    onnxruntime_web.unpack(files)
    write_text(files / ABOUT, json.dumps(about, ensure_ascii=False, separators=(",", ":")))
    weight_only.write(runtime / funasr_onnx.FP32, files / MODEL)
    for source in ("worker.js", "fbank.js", "text.js"):
        shutil.copyfile(_SOURCES / source, files / source)
    shutil.copyfile(_SOURCES / "sw.js", building / "sw.js")
    version = sha256_text("".join(sha256_file(files / each) for each in sorted({*LARGE, *SMALL})))[:12]
    total = sum((files / each).stat().st_size for each in LARGE)
    files.rename(building / version)
    write_text(building / "index.html", page(name, version, total))
    building.rename(out)


def describe(runtime: Path) -> dict[str, Any]:
    """Return what text.js and fbank.js need to know of a model. NotOfferedError for one that they do not know."""
    config = read_config(runtime)
    family, front_end = families.of_folder(runtime).name, config.get("frontend_conf") or {}
    if family not in TOLD:
        raise NotOfferedError(f"the page decodes Paraformer and SenseVoice, not {config.get('model')}")
    other = {key: front_end[key] for key, value in _FBANK.items() if front_end.get(key, value) != value}
    if other:
        raise NotOfferedError(f"the page computes other features than the model's: {other}")
    stack = {"stack": front_end.get("lfr_m", 1), "shift": front_end.get("lfr_n", 1)}
    add, scale = read_cmvn(runtime / funasr_onnx.CMVN).tolist()
    return {
        "family": family,
        "tokens": json.loads((runtime / funasr_onnx.TOKENS).read_text(encoding="utf-8")),
        "told": TOLD[family],
        "frontend": {**stack, "add": add, "scale": scale},
    }


def page(name: str, version: str, total: int) -> str:
    """Return index.html; ``total``: bytes of the LARGE files in the folder ``version``."""
    words = {**group("speak"), **group("offline")}
    data = {
        "model": name,
        "sure": False,
        "seconds": LONGEST,
        "bytes": 1 << 31,
        "words": words,
        "folder": version,
        "large": LARGE,
        "small": SMALL,
        "total": total,
    }
    t = SimpleNamespace(**{key: Words(*pair) for key, pair in words.items()})
    policy = "worker-src 'self'; connect-src 'self'; media-src blob:; form-action 'none'; base-uri 'none'"
    return render(
        "offline.html.j2",
        t.title,
        ["speak.css", "offline.css"],
        ["microphone.js", "speak_text.js", "speak_history.js", "speak_sound.js", "speak_device.js", "speak.js"],
        policy=policy,
        script_source="blob:",
        t=t,
        model=name,
        keeps=False,
        records=False,
        data=as_script(data),
    )
