"""A scored run that never was, by a seed: score.json, per_utterance.tsv, clips and progress.jsonl."""

from __future__ import annotations

import itertools
import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

from asr.core.files import write_json, write_text
from asr.progress.record import ProgressFile, Records
from asr.reporting.page import html_of
from asr.scoring.notes import verdict_note
from cdsd_facts import REFERENCE_LINES

CHARACTERS = "今天气很好我们去公园看花吃饭喝水开门关灯打电话给妈爸请说慢一点再来次谢不客是的没有"
SYSTEMS = ("baseline", "tuned")
INITIALS = ["∅", *re.findall("[zcs]h|[a-z]", "bpmfdtnlgkhjqxzhchshrzcs")]
LENGTHS = (("1", 1, 1), ("2", 2, 2), ("3-5", 3, 5), ("6-10", 6, 10), ("11+", 11, 10**9))


class Hypothesis(NamedTuple):
    """What one system made of an utterance."""

    status: str
    runs: list[list[str]]
    hyp: str

    def count(self, mark: str) -> int:
        return sum(len(run[1]) for run in self.runs if run[0] == mark)

    @property
    def errors(self) -> int:
        return sum(map(self.count, "sdi"))


class Line(NamedTuple):
    """One utterance."""

    key: str
    speaker: str
    text: str
    duration: float
    ref: str
    audio: str
    hypotheses: tuple[Hypothesis, ...]


def misrecognised(reference: str, chance: float, draw: random.Random) -> Hypothesis:
    """Return ``reference`` with random errors, aligned."""
    if draw.random() < 0.004:
        return Hypothesis(draw.choice(("missing", "empty")), [["d", reference]] if reference else [], "")
    runs: list[list[str]] = []
    hyp = ""
    for char in reference:
        dice = draw.random() / max(chance, 1e-9)
        run = ["=", char] if dice > 1 else ["s", char, draw.choice(CHARACTERS)] if dice > 0.3 else ["d", char]
        hyp += {"=": char, "d": ""}.get(run[0], run[-1])
        runs.append(run)
        if draw.random() < chance / 12:
            runs.append(["i", draw.choice(CHARACTERS)])
            hyp += runs[-1][1]
    return Hypothesis("ok" if hyp else "empty", runs, hyp)


def lines(count: int, speakers: Sequence[str], seed: int = 1, systems: Sequence[str] = SYSTEMS) -> list[Line]:
    """``count`` utterances over the speakers, shared out evenly."""
    draw, found = random.Random(seed), []
    for number in range(count):
        speaker = speakers[number * len(speakers) // count]
        ease = 0.6 + 0.8 * (speakers.index(speaker) / len(speakers))
        ref = "".join(draw.choice(CHARACTERS) for _ in range(min(40, 1 + int(draw.expovariate(1 / 5)))))
        chances = [ease * (0.45 if name == "baseline" else 0.2) for name in systems]
        both = tuple(misrecognised(ref, chance, draw) for chance in chances)
        text = draw.choice(("seen", "unseen"))
        key = f"S{speaker}T010E000N{number:05d}"
        duration = round(0.4 + len(ref) * draw.uniform(0.25, 0.7), 3)
        found.append(Line(key, speaker, text, duration, ref, f"../../clips/{speaker}/{key}.wav", both))
    return found


def _count(items: Sequence[Hypothesis], refs: Sequence[str]) -> dict[str, Any]:
    sums = {
        name: sum(item.count(mark) for item in items) for name, mark in zip(("sub", "del", "ins"), "sdi", strict=True)
    }
    length, wrong = sum(map(len, refs)), sum(sums.values())
    return {
        "cer": wrong / length if length else None,
        **sums,
        "hits": sum(item.count("=") for item in items),
        "ref_len": length,
        "n_utt": len(items),
        "n_missing": sum(item.status == "missing" for item in items),
        "n_empty": sum(item.status == "empty" for item in items),
        "ser": sum(item.errors > 0 for item in items) / max(1, len(items)),
        "empty_rate": sum(item.status != "ok" for item in items) / max(1, len(items)),
        "length_ratio": sum(len(item.hyp) for item in items) / length if length else None,
    }


def _near(rate: float | None, width: float) -> list[float] | None:
    return None if rate is None else [max(0.0, rate - width), rate + width]


def _group(rows: Iterable[Line], systems: Sequence[str], *intervals: str) -> dict[str, Any]:
    rows = list(rows)
    refs = [row.ref for row in rows]
    group: dict[str, Any] = {
        "n_utt": len(rows),
        "n_speakers": len({row.speaker for row in rows}),
        "ref_len": sum(map(len, refs)),
    }
    for place, name in enumerate(systems):
        group[name] = _count([row.hypotheses[place] for row in rows], refs) if rows else None
        for interval in ("ci95", *intervals) if rows else ():
            group[name][interval] = _near(group[name]["cer"], 0.03)
    return group


def score(rows: Sequence[Line], systems: Sequence[str] = SYSTEMS, **changed: Any) -> dict[str, Any]:
    """score.json, schema_version 3, of the rows; intervals are made up."""
    speakers = sorted({row.speaker for row in rows})
    table = {}
    for place, name in enumerate(systems):
        count = _count([row.hypotheses[place] for row in rows], [row.ref for row in rows])
        few = len(speakers) < 4
        note = "3 speakers, at least 4 are needed" if few else f"over {len(speakers)} speakers by the jackknife"
        more = {"ci95": None if few else _near(count["cer"], 0.08), "ci95_note": note}
        more |= {"ci95_utterance": _near(count["cer"], 0.02), "raw_cer": count["cer"], "n_empty_ref": 0}
        table[name] = count | more | {"utterance_mean_cer": count["cer"], "speaker_mean_cer": count["cer"]}
    lengths = {
        name: _group((row for row in rows if low <= len(row.ref) <= high), systems) for name, low, high in LENGTHS
    }
    halves = {"0-2": lambda row: row.duration < 2, "2+": lambda row: row.duration >= 2}
    durations = {name: _group(filter(test, rows), systems) for name, test in halves.items()}
    texts = {
        name: _group((row for row in rows if row.text == name), systems, "ci95_utterance")
        for name in ("seen", "unseen")
    }
    found = {
        "schema_version": 3,
        "normalizer": "zh-3",
        "seed": 0,
        "replicates": 10000,
        "reference": {
            "n_utt": len(rows),
            "n_speakers": len(speakers),
            "n_empty_ref": 0,
            "hours": sum(row.duration for row in rows) / 3600,
            "digest": "0" * 64,
        },
        "systems": table,
        "by_speaker": {
            name: _group((row for row in rows if row.speaker == name), systems, "ci95_utterance") for name in speakers
        },
        "groups": {"text": texts, "length": lengths, "duration": durations, "rate": durations, "speaker_table": None},
        "comparison": _comparison(rows, table) if len(systems) > 1 else None,
        "comparison_note": None if len(systems) > 1 else {"en": "No baseline was scored: …", "zh": "没有给基线打分：…"},
        "mandarin": {
            "note": "syllables by dictionary: an approximation",
            "note_zh": "近似",
            "systems": _mandarin(systems),
        },
        "speaker_note": {"en": f"{len(speakers)} speakers are few.", "zh": f"{len(speakers)} 位说话人不多。"},
        "reference_lines": REFERENCE_LINES,
    }
    return {**found, **changed}


def _comparison(rows: Sequence[Line], table: Mapping[str, Any]) -> dict[str, Any]:
    before, after = (table[name]["cer"] for name in SYSTEMS)
    change = [row.hypotheses[1].errors - row.hypotheses[0].errors for row in rows]
    reduction = before - after
    relative = reduction / before if before else None
    found = {
        "from": "baseline",
        "to": "tuned",
        "verdict": "lower",
        "absolute_reduction": reduction,
        "relative_reduction": relative,
        "absolute_ci95": _near(reduction, 0.05),
        "relative_ci95": _near(relative, 0.05),
        "absolute_ci95_utterance": _near(reduction, 0.01),
        "relative_ci95_utterance": _near(relative, 0.01),
        "mapsswe": {"segments": 900, "mean_difference": 0.7, "z": 21.5, "p": 0.0, "note": "approximate"},
        "speakers": {"better": 5, "worse": 0, "same": 0, "p": 0.0625, "smallest_p": 0.0625},
        "utterances_better": sum(item < 0 for item in change),
        "utterances_worse": sum(item > 0 for item in change),
        "utterances_same": sum(item == 0 for item in change),
        "text": {
            name: {"absolute_reduction": reduction, "relative_reduction": relative, "absolute_ci95": None}
            | {"relative_ci95": None}
            for name in ("seen", "unseen")
        },
    }
    return found | {"verdict_note": verdict_note(found, len({row.speaker for row in rows}))}


def _confusions(labels: Sequence[str], wrong: float, draw: random.Random) -> dict[str, Any]:
    matrix = [
        [draw.randint(150, 300) if row == column else int(draw.expovariate(1 / wrong)) for column in range(len(labels))]
        for row in range(len(labels))
    ]
    return {"labels": list(labels), "matrix": matrix}


def _mandarin(systems: Sequence[str]) -> dict[str, Any]:
    draw, found = random.Random(7), {}
    for name in systems:
        wrong = 6.0 if name == "baseline" else 2.0
        rate = {"rate": wrong / 20, "sub": 30, "del": 5, "ins": 4, "hits": 300, "ref_len": 335}
        part = {"errors": 30, "pairs": 330, "rate": 30 / 330}
        found[name] = {
            "syllable": rate,
            "syllable_toneless": rate,
            "tone": {"errors": 12, "syllables": 300, "rate": 0.04},
            "initial": part,
            "final": part,
            "homophones": {"substitutions": 40, "same_syllable": 12, "same_tone": 9, "share": 0.225},
            "confusions": {
                "tone": _confusions("12345", 10 * wrong, draw),
                "initial": _confusions(INITIALS, wrong / 3, draw),
                "final": _confusions(["a", "o", "e", "ang", "iang", "ü"], wrong, draw),
            },
        }
    return found


def per_utterance(rows: Sequence[Line], systems: Sequence[str] = SYSTEMS) -> str:
    """per_utterance.tsv."""
    columns = ("status", "sub", "del", "ins", "hits", "cer", "alignment")
    header = ["key", "speaker", "text", "duration", "rate", "ref_len"]
    header += [f"{name}_{column}" for name in systems for column in columns]
    header += ["audio", "ref", *(f"{name}_hyp" for name in systems)]
    table = [header]
    for row in rows:
        cells: list[object] = [row.key, row.speaker, row.text, f"{row.duration:.6f}", "1.000000", len(row.ref)]
        for one in row.hypotheses:
            rate = f"{one.errors / len(row.ref):.6f}" if row.ref else ""
            runs = json.dumps(one.runs, ensure_ascii=False, separators=(",", ":"))
            cells += [one.status, *(one.count(mark) for mark in "sdi="), rate, runs]
        table.append([*cells, row.audio, row.ref, *(one.hyp for one in row.hypotheses)])
    escapes = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"))
    text = ""
    for cells in table:
        for place, cell in enumerate(map(str, cells)):
            for char, escaped in escapes:
                cell = cell.replace(char, escaped)
            text += ("\t" if place else "") + cell
        text += "\n"
    return text


def confusions(rows: Sequence[Line], systems: Sequence[str] = SYSTEMS) -> str:
    """confusions.tsv, of characters alone."""
    table = "system\tkind\tsaid\theard\tcount\n"
    for place, name in enumerate(systems):
        counts: Counter[tuple[str, str]] = Counter()
        for mark, *texts in itertools.chain.from_iterable(row.hypotheses[place].runs for row in rows):
            if mark == "s":
                counts.update(zip(*texts, strict=True))
            elif mark != "=":
                counts.update((char, "") if mark == "d" else ("", char) for char in texts[0])
        for (said, heard), count in counts.items():
            if (said + heard).isprintable():
                table += f"{name}\tcharacter\t{said}\t{heard}\t{count}\n"
    return table


def clip(path: Path, seconds: float = 0.6) -> None:
    """A wav of a tone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.3 * np.sin(2 * np.pi * 330 * np.arange(int(16000 * seconds)) / 16000)
    soundfile.write(path, wave.astype(np.float32), 16000)


def training_record(exp: Path, steps: Iterable[int] = range(10, 400, 10)) -> None:
    """Write progress.jsonl of a training that went well."""
    exp.mkdir(parents=True, exist_ok=True)
    file = ProgressFile(exp)
    for step in steps:
        file.add({"kind": "train", "total_step": step, "loss": 4 * 0.99**step + 0.3, "lr": min(step, 60) / 60e3})
        if step % 50 == 0:
            values = {"loss": 4 * 0.99**step + 0.6, "cer": 0.6 * 0.995**step + 0.2}
            file.add({"kind": "validation", "total_step": step, "checkpoint": f"model.pt.ep{step}", **values})
    file.close()


# What stage 5 records of confidences.
_BINS = [{"confidence": 0.3, "right": 0.5, "count": 40}, {"confidence": 0.9, "right": 0.93, "count": 900}]
_QUALITY = {"calibration_error": 0.05, "auc": 0.86, "bins": _BINS}
LANGUAGE = {
    "confidence": {
        "calibration": {"method": "temperature", "characters": 400, "wrong": 70, "temperature": 0.7, "points": []},
        "characters": 940,
        "wrong": 83,
        "raw": {**_QUALITY, "calibration_error": 0.08},
        "calibrated": _QUALITY,
        "risk_coverage": [{"coverage": n / 10, "cer": n / 50} for n in range(1, 11)],
    },
    "second_texts": None,
}
PROVENANCE = {
    "commit": "0123456789ab",
    "conf": "conf/finetune_3090.yaml",
    "command": ["bash run.sh --stage 5"],
    "corpus": {"name": "CDSD", "simulated": None, "digest": "1" * 64},
    "config": {"train": {"optim_conf": {"lr": 0.0002}}},
    "base": {"id": "iic/paraformer"},
}


def run(
    folder: Path, rows: Sequence[Line], systems: Sequence[str] = SYSTEMS, *, clips: int = 0, curves: bool = False
) -> Path:
    """``folder``/exp/made as stage 5 leaves it, with the first ``clips`` clips; gives the folder."""
    exp = folder / "exp" / "made"
    write_json(exp / "score" / "score.json", score(rows, systems))
    write_text(exp / "score" / "per_utterance.tsv", per_utterance(rows, systems))
    write_text(exp / "score" / "confusions.tsv", confusions(rows, systems))
    for row in rows[:clips]:
        clip((exp / "score" / row.audio).resolve())
    if curves:
        training_record(exp)
    return exp


def bare_page(score: Mapping[str, Any], provenance: Mapping[str, Any] | None = None) -> str:
    """Return report.html of a score, without its utterances and pictures."""
    return html_of("x", score, provenance or {}, Records(), {"embedded": False, "systems": [], "rows": []}, {})
