"""Stage 5: how sure the tuned model's texts are, and second texts by a language model and phrases.

exp/<tag>/baseline/hyp.lm.txt, tuned/hyp.lm.txt   second texts; hyp.txt stays what was decoded
exp/<tag>/tuned/confidence.jsonl                  a line an utterance: how sure each character of hyp.txt is
exp/<tag>/language.json                           weights, their grid, sources, calibration
exp/<tag>/model/confidence.json                   the calibration, for asr.transcribe

All of it is computed from nbest.jsonl of validation and test. Weights and calibration are chosen on validation alone;
training texts are read for ``lm: train`` only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asr.config.stage_files import read_decode_settings
from asr.core import kaldi_text
from asr.core.errors import RecipeError
from asr.core.files import atomic_open, write_json
from asr.core.manifest import read_manifest
from asr.core.nbest import HYPOTHESES, NBest, read_nbest
from asr.core.run_folder import DecodeFolder, RunFolder
from asr.decoding import run as decoding
from asr.language import calibration, sources, tuning
from asr.language.calibration import Calibration
from asr.language.confidence import characters
from asr.language.ngram import NGram
from asr.language.phrases import Phrases, read_phrases
from asr.language.search import search_all
from asr.models import families
from asr.models.package import CONFIDENCE
from asr.scoring.normalize import scoring_form
from asr.scoring.second_texts import write_text_groups

ALTERNATIVES = 3  # of a character
DIGITS = 4


@dataclass(frozen=True)
class Second:
    """What second texts are made with."""

    lm: NGram | None
    phrases: Phrases | None
    sounds_alike: bool


def main(exp: Path, data: Path, ngpu: int) -> None:
    """Decode validation, and write confidences and, where they are asked for, second texts. Prints what came of it."""
    conf, run = read_decode_settings(exp), RunFolder(exp)
    texts = {name: _targets(data / f"{name}.jsonl") for name in ("val", "test")}
    texts["train"] = _targets(run.manifests / "train.jsonl")
    second, about = _sources(conf, texts)
    tuned = _validation(run.model, run.tuned, data, ngpu, conf)
    test = read_nbest(run.tuned.nbest)
    if other := next((item.key for item in test if item.key not in texts["test"]), None):
        raise RecipeError(f"{run.tuned.nbest}: clip {other} is not in {data / 'test.jsonl'}: decoded from other data")
    record: dict[str, Any] = {"confidence": _confidences(run, tuned, test, texts, conf), "second_texts": None}
    for folder in (run.baseline, run.tuned):  # an earlier choice's, which might be taken for this one's
        folder.second.unlink(missing_ok=True)
    if about:
        systems = {"tuned": (run.tuned, tuned)}
        if run.baseline.nbest.is_file():
            systems = {"baseline": (run.baseline, _validation(run.base, run.baseline, data, ngpu, conf)), **systems}
        rows = {name: second_texts(name, *system, texts["val"], second) for name, system in systems.items()}
        record["second_texts"] = {**about, "systems": rows}
    if groups := _text_groups(conf, texts) if about else None:
        write_text_groups(run.tuned.text_groups, groups)
    else:
        run.tuned.text_groups.unlink(missing_ok=True)
    write_json(run.language, record)


def check_texts(exp: Path) -> None:
    """RecipeError for a text of ``decode_conf`` that cannot be used: said before anything is trained."""
    conf = read_decode_settings(exp)
    _language_model(conf, ["一"])  # the training transcripts are not there yet
    if conf["phrases"]:
        read_phrases(conf["phrases"])


def _confidences(
    run: RunFolder,
    validation: Sequence[NBest],
    test: Sequence[NBest],
    texts: Mapping[str, Mapping[str, str]],
    conf: Mapping[str, Any],
) -> dict[str, Any] | None:
    """Calibrate on validation, write what comes of it, and return how good it is; None where there is but one text."""
    family = families.of_folder(run.model)
    method = family.method(family.options(conf))
    if all(item.kind == HYPOTHESES and len(item.texts) == 1 for item in (*validation, *test)):
        write_confidences(run.tuned.confidence, [], calibration.fit([]))
        _beside_model(run, {"method": method, "calibration": None})
        print("confidence: none: a text without a beam beside it has none (decode_conf.nbest_beam)")
        return None
    references = texts["val"]
    fitted = calibration.fit([pair for item in validation for pair in calibration.judged(item, references[item.key])])
    write_confidences(run.tuned.confidence, test, fitted)
    _beside_model(run, {"method": method, "calibration": fitted.as_dict()})
    quality = calibration.evaluate(test, texts["test"], fitted)
    print(_in_words(fitted, quality))
    return {"calibration": fitted.as_dict(), **quality}


def _beside_model(run: RunFolder, record: Mapping[str, Any]) -> None:
    for folder in (run.model, run.adapter):
        if folder.is_dir():
            write_json(folder / CONFIDENCE, record)


def _targets(manifest: Path) -> dict[str, str]:
    return {utterance.key: utterance.target for utterance in read_manifest(manifest)}


def _validation(model: Path, folder: DecodeFolder, data: Path, ngpu: int, conf: dict[str, Any]) -> list[NBest]:
    """Return validation's candidates, decoded as the test set was, but by the model alone.

    Its clips may be among those that an adapter was trained on.
    """
    out = folder.path / "val"
    decoding.run(model, data / "val.jsonl", out, ngpu, decoding.untouched(conf))
    return read_nbest(DecodeFolder(out).nbest)


def write_confidences(path: Path, items: Sequence[NBest], fitted: Calibration) -> None:
    """Write {key, confidence, characters: [[character, confidence, [[alternative, confidence], …]], …]} a line.

    An utterance's confidence is the share of its characters that is expected to be right.
    """
    with atomic_open(path) as stream:
        for item in items:
            stream.write(json.dumps({"key": item.key, **describe(item, fitted)}, ensure_ascii=False) + "\n")


def describe(item: NBest, fitted: Calibration, text: str | None = None) -> dict[str, Any]:
    """Return an utterance's confidence, and those of its characters with the likeliest others in their places."""
    made = characters(item, text)
    rows = []
    for char, sure in zip(made, fitted(one.confidence for one in made), strict=True):
        # What was calibrated are characters that were chosen: the others share what these leave.
        left = (1 - sure) / max(1 - char.confidence, 1e-9)
        shown = [[other, round(min(prob * left, 1.0), DIGITS)] for other, prob in char.alternatives[:ALTERNATIVES]]
        rows.append([char.char, round(sure, DIGITS), shown])
    return {"confidence": round(fitted.utterance(one.confidence for one in made), DIGITS), "characters": rows}


def _in_words(fitted: Calibration, quality: Mapping[str, Any]) -> str:
    if fitted.method == calibration.NONE:
        return (
            f"confidence: not calibrated: validation has {fitted.wrong} wrong of {fitted.characters} characters, and"
            f" {calibration.LEAST_WRONG} of {calibration.LEAST} are the least"
        )
    surest = next(row for row in quality["risk_coverage"] if row["coverage"] >= 0.6)
    cer = "none" if surest["cer"] is None else f"{100 * surest['cer']:.2f} %"
    return (
        f"confidence: {fitted.method} of {fitted.characters} characters; the surest 60 % of utterances have {cer} CER"
    )


def _language_model(conf: Mapping[str, Any], train: Sequence[str]) -> tuple[NGram | None, sources.LmText]:
    """Return the language model, None where there is none, and the files' text. RecipeError for one of no use."""
    files = sources.read_lm_text(name for name in conf["lm"] if name != "train")
    own = train if "train" in conf["lm"] else []
    return (sources.build(files, own, conf["lm_order"]) if conf["lm"] else None), files


def _sources(conf: Mapping[str, Any], texts: Mapping[str, Mapping[str, str]]) -> tuple[Second, dict[str, Any]]:
    """Return what second texts are made with, and what is recorded of it, {} where none are asked for.

    RecipeError for a text with the test set in it.
    """
    if not conf["lm"] and not conf["phrases"]:
        return Second(None, None, False), {}
    train = list(texts["train"].values())
    lm, files = _language_model(conf, train)
    leakage = sources.check_leakage(files, texts["test"].values(), train)
    if leakage.inside:
        where = f", such as {', '.join(leakage.examples)}"
        print(f"note: {leakage.inside} of {leakage.of} test texts unknown to training stand in the LM's text{where}")
    if files.models:
        print(f"note: {files.models[0]}: a finished model: whether it has read the test set cannot be seen")
    phrases = read_phrases(conf["phrases"]) if conf["phrases"] else None
    seen = set(map(scoring_form, train))
    fresh = [form for form in map(scoring_form, texts["val"].values()) if form not in seen]
    return Second(lm, phrases, conf["sounds_alike"]), {
        "lm": sources.describe(files, train if "train" in conf["lm"] else []) if lm else None,
        "order": lm.order if lm else None,
        "perplexity": lm.perplexity(fresh) if lm and fresh else None,
        "leakage": leakage.as_dict(),
        "phrases": len(phrases.weights) if phrases else 0,
        "sounds_alike": conf["sounds_alike"],
    }


def _text_groups(conf: Mapping[str, Any], texts: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return where each test text was read before; {} where a model is given without its text, so nobody knows."""
    files = sources.read_lm_text(name for name in conf["lm"] if name != "train")
    train = set(map(scoring_form, texts["train"].values()))
    if files.models:
        return {}
    return {key: sources.text_group(scoring_form(text), train, files.where) for key, text in texts["test"].items()}


def second_texts(
    name: str, folder: DecodeFolder, validation: Sequence[NBest], references: Mapping[str, str], second: Second
) -> dict[str, Any]:
    """Choose a system's weights on validation, write its second texts, and return the record of the choice."""
    print(f"{name}: choosing weights on {len(validation)} utterances of validation", flush=True)
    choice = tuning.choose(validation, references, second.lm, second.sounds_alike)
    priors = replace(choice.priors, phrases=second.phrases)
    items = read_nbest(folder.nbest)
    found = search_all(items, priors)
    kaldi_text.write_text(folder.second, found.items())
    changed = sum(found[item.key] != item.greedy for item in items)
    weights = f"LM weight {choice.best.lm_weight:g}" + f", sounds {choice.best.channel_weight:g}" * second.sounds_alike
    print(f"{name}: {weights}; {changed} of {len(items)} texts changed -> {folder.second}")
    return {**choice.as_dict(), "changed": changed}
