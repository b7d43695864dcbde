"""An exported model in the runtime that its folder is for: samples to a text.

``open_runtime("exp/<tag>/deploy")`` takes the best of what was proven; a folder in it can be opened alone, wherever it
was copied to.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import yaml

from asr.core.errors import RecipeError
from asr.core.manifest import MODEL_SAMPLE_RATE
from asr.core.processes import cores
from asr.export import sherpa
from asr.export.deploy_folder import AGAIN, PARITY, check_files, read_parity
from asr.export.features import FrontEnd, read_cmvn
from asr.export.graphs import need
from asr.models.graph import FUNASR_ONNX, ONNX, SHERPA_ONNX
from asr.models.sensevoice.family import TAGS, SenseVoice, without_tags

LANGUAGE = SenseVoice.decode_options["language"]
# Files of each folder, best runtime first: sherpa-onnx is one library, the others are Python.
FILES = {
    SHERPA_ONNX: (sherpa.FP32, sherpa.INT8, sherpa.TOKENS),
    FUNASR_ONNX: ("model.onnx", "model_quant.onnx", "config.yaml", "am.mvn", "tokens.json"),
    ONNX: ("model.onnx", "model_quant.onnx", "config.yaml", "am.mvn", "tokens.json"),
}
PACKAGES = {SHERPA_ONNX: "sherpa_onnx", FUNASR_ONNX: "funasr_onnx", ONNX: "onnxruntime"}


class Runtime(Protocol):
    """What ``open_runtime`` returns."""

    name: str

    def transcribe(self, samples: np.ndarray) -> str:
        """Return the text of [n] float32 samples between -1 and 1, 16 kHz, one channel."""
        ...


class SherpaOnnx:
    """sherpa-onnx; ``phrases`` lets it replace homophones where the folder has rules for it."""

    name = SHERPA_ONNX

    def __init__(self, folder: Path, int8: bool = False, language: str = LANGUAGE, phrases: bool = True) -> None:
        from sherpa_onnx import OfflineRecognizer

        model, tokens = str(folder / (sherpa.INT8 if int8 else sherpa.FP32)), folder / sherpa.TOKENS
        rules: dict[str, Any] = {"num_threads": THREADS}
        if phrases and (folder / sherpa.RULES).is_file():
            rules |= {"hr_lexicon": str(folder / sherpa.LEXICON), "hr_rule_fsts": str(folder / sherpa.RULES)}
        if f"{TAGS['text_language']} " in tokens.read_text(encoding="utf-8"):
            told = {"language": language, "use_itn": False}
            self.recogniser = OfflineRecognizer.from_sense_voice(model=model, tokens=str(tokens), **told, **rules)
        else:
            self.recogniser = OfflineRecognizer.from_paraformer(paraformer=model, tokens=str(tokens), **rules)

    def transcribe(self, samples: np.ndarray) -> str:
        """Return the text."""
        stream = self.recogniser.create_stream()
        stream.accept_waveform(MODEL_SAMPLE_RATE, samples)
        self.recogniser.decode_stream(stream)
        return stream.result.text.strip()


class FunasrOnnx:
    """funasr-onnx. It is given samples, never files: beside one that is no .wav it would write a .wav."""

    name = FUNASR_ONNX

    def __init__(self, folder: Path, int8: bool = False, language: str = LANGUAGE) -> None:
        of_tags = _read_config(folder)["model"] in SenseVoice.models
        with _quiet():
            from funasr_onnx import Paraformer, SenseVoiceSmall

            kind: Any = SenseVoiceSmall if of_tags else Paraformer
            self.model = kind(str(folder), quantize=int8, intra_op_num_threads=THREADS)
        self.told = {"language": language, "textnorm": "woitn"} if of_tags else {}

    def transcribe(self, samples: np.ndarray) -> str:
        """Return the text; an empty one where it finds nothing to say."""
        try:
            found = self.model(samples, **self.told) if len(samples) >= WINDOW else []
        except ValueError:  # it puts together a text of letters, digits and Han characters alone
            found = []
        if not found:
            return ""
        return without_tags(found[0]) if self.told else found[0]["preds"][0]


class Onnx:
    """onnxruntime with our own features, and CTC's likeliest tokens."""

    name = ONNX

    def __init__(self, folder: Path, int8: bool = False) -> None:
        import onnxruntime

        self.front_end = FrontEnd(_read_config(folder)["frontend_conf"], read_cmvn(folder / "am.mvn"))
        self.symbols = json.loads((folder / "tokens.json").read_text(encoding="utf-8"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        model = str(folder / ("model_quant.onnx" if int8 else "model.onnx"))
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def transcribe(self, samples: np.ndarray) -> str:
        """Return the text."""
        features = self.front_end(samples)
        length = np.array([len(features)], dtype=np.int64)
        padded = np.pad(features, ((0, max(0, LEAST - len(features))), (0, 0)))  # for the encoder's convolutions
        feed = {"speech": padded[None], "speech_lengths": length}
        scores, counts = map(np.asarray, self.session.run(None, feed))
        best = scores[0, : int(counts[0])].argmax(-1).tolist()
        return joined([self.symbols[token] for token, _ in itertools.groupby(best) if token])


THREADS = min(4, cores())
WINDOW = MODEL_SAMPLE_RATE // 40  # samples of a feature's window
LEAST = 32  # frames: more than the widest convolutions of FunASR's encoders need
OPENERS: dict[str, Callable[..., Runtime]] = {SHERPA_ONNX: SherpaOnnx, FUNASR_ONNX: FunasrOnnx, ONNX: Onnx}


def _read_config(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))


def joined(symbols: Sequence[str]) -> str:
    """Return tokens as a text: a piece that ends in @@ goes on in the next, and words of Latin letters are apart."""
    text, goes_on = "", False
    for symbol in symbols:
        piece = symbol.removesuffix("@@")
        apart = text and not goes_on and (text[-1] + piece[:1]).isascii()
        text, goes_on = text + " " * bool(apart) + piece, symbol.endswith("@@")
    return text


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence funasr-onnx's prints and logging."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(disabled)


def offered(deploy: Path) -> list[str]:
    """Return the runtimes of a deploy/ whose texts are proven, best first."""
    runtimes = read_parity(deploy)["runtimes"]
    return [name for name in FILES if runtimes.get(name, {}).get("fp32", {}).get("status") == "equal"]


def open_runtime(folder: Path, int8: bool = False, **options: Any) -> Runtime:
    """Open deploy/ with the best of its runtimes, or one of its folders.

    RecipeError for a folder that is neither, for one that is damaged, and where the runtime is not installed.
    """
    folder = Path(folder)
    if folder.name not in FILES or (folder / PARITY).is_file():
        found = offered(folder)
        if not found:
            raise RecipeError(f"{folder}: none of its runtimes was proven; {AGAIN}")
        folder = folder / found[0]
    name, deploy = folder.name, folder.parent
    missing = [part for part in FILES[name] if not (folder / part).is_file() or not (folder / part).stat().st_size]
    if missing:
        raise RecipeError(f"{folder / missing[0]}: not there or empty, so the folder is not whole; {AGAIN}")
    if (deploy / PARITY).is_file():
        check_files(deploy, name)
    need(PACKAGES[name])
    try:
        return OPENERS[name](folder, int8, **options)
    except Exception as error:  # of whichever of its libraries reads the damaged file
        why = str(error).strip().partition("\n")[0][:200] or type(error).__name__
        raise RecipeError(f"{folder}: damaged: {name} cannot open it ({why}); copy it again, or {AGAIN}") from None
