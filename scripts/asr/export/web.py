"""deploy/web/: the model in a page that needs no Python and, once it has been opened, no network.

A static folder for any web server. index.html is the page to speak to of asr.serve with the model behind it, in a
worker: the filter bank in fbank.js, the network by onnxruntime-web, in one thread, because several need headers that a
plain static server does not send. All else is in a folder named after its content, so that a browser that keeps files
never mixes two versions.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from asr.core.digests import sha256_file, sha256_text
from asr.core.errors import RecipeError
from asr.core.files import write_text
from asr.export import onnxruntime_web
from asr.export.onnxruntime_web import NotOfferedError
from asr.models import families
from asr.models.model_folder import read_config, read_metas
from asr.pages.html import as_script, render
from asr.pages.words import Words, group

_SOURCES = Path(__file__).resolve().parent / "web_page"
_MODEL = "model.int8.onnx"
LARGE = ("model.json", "ort-wasm-simd-threaded.wasm", _MODEL)  # fetched by the worker, which says how far it is
SMALL = ("worker.js", "fbank.js", "text.js", "ort.wasm.min.js", "ort-wasm-simd-threaded.mjs")
MANDARIN, AS_SPOKEN = 3, 15  # SenseVoice's places for the language and for numbers written as they are spoken
LONGEST = 30 * 60  # seconds of a recording
# The filter bank that fbank.js computes; keys of frontend_conf and FunASR's defaults.
_FBANK = {"fs": 16000, "window": "hamming", "n_mels": 80, "frame_length": 25, "frame_shift": 10, "snip_edges": True}
_FBANK |= {"upsacle_samples": True}  # FunASR's spelling


def build(model: Path, int8: Path, out: Path) -> None:
    """Make the folder, beside its place first. NotOfferedError where this model, or this machine, cannot have one.

    Args:
        model: FunASR's folder, with config.yaml, am.mvn and tokens.
        int8: the quantised network. Inputs by place: speech, speech_lengths (SenseVoice: language, textnorm); outputs:
            scores, and how many of them count.
        out: a folder that is not there yet.
    """
    about = describe(model)
    if out.exists():
        raise RecipeError(f"{out}: is there already; remove it, and export again")
    building = out.with_name(f".{out.name}.new")
    shutil.rmtree(building, ignore_errors=True)
    files = building / "files"
    files.mkdir(parents=True)
    onnxruntime_web.unpack(files)
    write_text(files / "model.json", json.dumps(about, ensure_ascii=False, separators=(",", ":")))
    shutil.copyfile(int8, files / _MODEL)
    for name in ("worker.js", "fbank.js", "text.js"):
        shutil.copyfile(_SOURCES / name, files / name)
    shutil.copyfile(_SOURCES / "sw.js", building / "sw.js")
    version = sha256_text("".join(sha256_file(files / name) for name in sorted({*LARGE, *SMALL})))[:12]
    total = sum((files / name).stat().st_size for name in LARGE)
    files.rename(building / version)
    write_text(building / "index.html", page(_name(model), version, total))
    building.rename(out)


def describe(model: Path) -> dict[str, Any]:
    """Return what text.js and fbank.js need to know of a model. NotOfferedError for one that they do not know."""
    family, config = families.of_folder(model), read_config(model)
    frontend = config.get("frontend_conf") or {}
    other = {key: frontend[key] for key, value in _FBANK.items() if frontend.get(key, value) != value}
    if other:
        raise NotOfferedError(f"the page's filter bank is another one: the model's has {other}")
    if family.name == "paraformer":
        return {
            "family": family.name,
            "tokens": json.loads((model / "tokens.json").read_text(encoding="utf-8")),
            "bias": config["model_conf"].get("predictor_bias", 0),
            "told": [],
            "frontend": _frontend(model, frontend),
        }
    if family.name == "sensevoice":
        told = [MANDARIN, AS_SPOKEN]
        return {
            "family": family.name,
            "tokens": _sentencepieces(model),
            "told": told,
            "frontend": _frontend(model, frontend),
        }
    raise NotOfferedError(f"the page decodes Paraformer and SenseVoice, not {config.get('model')}")


def _frontend(model: Path, conf: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stacking of frames and, for each of their values, what is added and what it is then scaled by."""
    stack = conf.get("lfr_m", 1)
    numbers = {}
    lines = (model / "am.mvn").read_text(encoding="utf-8").splitlines()
    for line, following in itertools.pairwise(lines):
        for tag, name in (("<AddShift>", "add"), ("<Rescale>", "scale")):
            if line.startswith(tag):
                numbers[name] = [float(word) for word in following.partition("[")[2].partition("]")[0].split()]
    if [len(numbers.get(name, ())) for name in ("add", "scale")] != [80 * stack] * 2:
        raise RecipeError(f"{model / 'am.mvn'}: has not {80 * stack} values of <AddShift> and of <Rescale>")
    return {"stack": stack, "shift": conf.get("lfr_n", 1), **numbers}


def _sentencepieces(model: Path) -> list[str]:
    """Return SentencePiece's pieces; that of an unknown one writes nothing."""
    import sentencepiece

    processor: Any = sentencepiece.SentencePieceProcessor()
    processor.Load(str(model / read_metas(model)["tokenizer_conf"]["bpemodel"]))
    pieces = [processor.IdToPiece(number) for number in range(processor.GetPieceSize())]
    pieces[processor.unk_id()] = ""
    return pieces


def _name(model: Path) -> str:
    """Return what the page calls the model: exp/TAG/model is TAG."""
    resolved = model.resolve()
    return resolved.parent.name if resolved.name == "model" else resolved.name


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
