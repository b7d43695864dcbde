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
from asr.core.files import atomic_open, write_json
from asr.core.manifest import read_manifest
from asr.core.nbest import NBest, read_nbest
from asr.core.run_folder import DecodeFolder, RunFolder
from asr.decoding import run as decoding
from asr.language import calibration, sources, tuning
from asr.language.calibration import Calibration
from asr.language.confidence import characters
from asr.language.ngram import NGram
from asr.language.phrases import Phrases, read_phrases
from asr.language.search import search_all
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
    texts = {name: _targets(data / f"{name}.jsonl") for name in ("train", "val", "test")}
    tuned = _validation(run.model, run.tuned, data, ngpu, conf)
    fitted = calibration.fit([pair for item in tuned for pair in calibration.judged(item, texts["val"][item.key])])
    test = read_nbest(run.tuned.nbest)
    write_confidences(run.tuned.confidence, test, fitted)
    quality = calibration.evaluate(test, texts["test"], fitted)
    record = {"confidence": {"calibration": fitted.as_dict(), **quality}, "second_texts": None}
    print(_in_words(fitted, quality))
    if conf["lm"] or conf["phrases"]:
        second, about = _sources(conf, texts)
        systems = {"tuned": (run.tuned, tuned)}
        if run.baseline.nbest.is_file():
            systems = {"baseline": (run.baseline, _validation(run.base, run.baseline, data, ngpu, conf)), **systems}
        rows = {name: second_texts(name, *system, texts["val"], second) for name, system in systems.items()}
        record["second_texts"] = {**about, "systems": rows}
        write_text_groups(run.tuned.text_groups, _text_groups(conf, texts))
    else:
        for folder in (run.baseline, run.tuned):
            folder.second.unlink(missing_ok=True)
            folder.text_groups.unlink(missing_ok=True)
    write_json(run.model / "confidence.json", fitted.as_dict())
    write_json(run.language, record)


def _targets(manifest: Path) -> dict[str, str]:
    return {utterance.key: utterance.target for utterance in read_manifest(manifest)}


def _validation(model: Path, folder: DecodeFolder, data: Path, ngpu: int, conf: dict[str, Any]) -> list[NBest]:
    """Return validation's candidates, decoded as the test set was."""
    out = folder.path / "val"
    decoding.run(model, data / "val.jsonl", out, ngpu, conf)
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
        others = char.alternatives[:ALTERNATIVES]
        probs = fitted(prob for _, prob in others)
        shown = [[other, round(prob, DIGITS)] for (other, _), prob in zip(others, probs, strict=True)]
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


def _sources(conf: Mapping[str, Any], texts: Mapping[str, Mapping[str, str]]) -> tuple[Second, dict[str, Any]]:
    """Return what second texts are made with, and what is recorded of it. RecipeError for one with the test in it."""
    files = sources.read_lm_text(name for name in conf["lm"] if name != "train")
    train = list(texts["train"].values())
    own = train if "train" in conf["lm"] else []
    lm = sources.build(files, own, conf["lm_order"]) if conf["lm"] else None
    leakage = sources.check_leakage(files, texts["test"].values(), train)
    if leakage.inside:
        print(f"note: {leakage.inside} of {leakage.of} test texts that training does not have stand in the LM's text")
    phrases = read_phrases(conf["phrases"]) if conf["phrases"] else None
    about = {
        "lm": sources.describe(files, own) if lm else None,
        "order": lm.order if lm else None,
        "perplexity": lm.perplexity(map(scoring_form, texts["val"].values())) if lm else None,
        "leakage": leakage.as_dict(),
        "phrases": len(phrases.weights) if phrases else 0,
        "sounds_alike": conf["sounds_alike"],
    }
    return Second(lm, phrases, conf["sounds_alike"]), about


def _text_groups(conf: Mapping[str, Any], texts: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return where each test text was read before. What stands in a model without its text cannot be looked up."""
    lines = sources.read_lm_text(name for name in conf["lm"] if name != "train").where
    train = set(map(scoring_form, texts["train"].values()))
    return {key: sources.text_group(scoring_form(text), train, lines) for key, text in texts["test"].items()}


def second_texts(
    name: str, folder: DecodeFolder, validation: Sequence[NBest], references: Mapping[str, str], second: Second
) -> dict[str, Any]:
    """Choose a system's weights on validation, write its second texts, and return the record of the choice."""
    choice = tuning.choose(validation, references, second.lm, second.sounds_alike)
    priors = replace(choice.priors, phrases=second.phrases)
    items = read_nbest(folder.nbest)
    found = search_all(items, priors)
    kaldi_text.write_text(folder.second, found.items())
    changed = sum(found[item.key] != item.greedy for item in items)
    weights = f"LM weight {choice.best.lm_weight:g}" + f", sounds {choice.best.channel_weight:g}" * second.sounds_alike
    print(f"{name}: {weights}; {changed} of {len(items)} texts changed -> {folder.second}")
    return {**choice.as_dict(), "changed": changed}
