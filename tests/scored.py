"""A small set of six clips scored by hand, the scorer run as a command, and scored systems out of pairs of texts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from asr.core.manifest import Utterance, write_manifest
from asr.scoring.score import Request, score, score_hypotheses
from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[1]

# key, speaker, reference, baseline, tuned
CLIPS = [
    ("a1", "02", "数字", "树子", "数字"),
    ("a2", "02", "语音识别", "语音", "语音识别。"),
    ("a3", "02", "好", "你好吗", "好"),
    ("b1", "08", "今天天气很好", "今天天气很好", "今天天气好"),
    ("b2", "08", "我要喝水", "", "我要喝水"),
    ("b3", "08", "ＫＴＶ", "ktv", "K T V"),
]
TRAIN = ["数字", "今天天气很好。", "别的话"]


def utterance(key: str, speaker: str, target: str) -> Utterance:
    return Utterance(key, f"/audio/{key}.wav", target, 100, len(target), speaker, 1.0, 16000)


REFERENCES = [utterance(key, speaker, text) for key, speaker, text, _, _ in CLIPS]


def write_files(folder: Path) -> Path:
    """Write ref.jsonl, train.jsonl, baseline.txt and tuned.txt; return the folder."""
    write_manifest(folder / "ref.jsonl", REFERENCES)
    write_manifest(folder / "train.jsonl", [utterance(f"t{n}", "01", text) for n, text in enumerate(TRAIN)])
    for name, column in (("baseline", 3), ("tuned", 4)):
        write_hypotheses(folder / f"{name}.txt", {clip[0]: clip[column] for clip in CLIPS})
    return folder


def write_hypotheses(path: Path, texts: dict[str, str]) -> None:
    path.write_text("".join(f"{key} {text}".rstrip(" ") + "\n" for key, text in texts.items()), encoding="utf-8")


def scores(references: list[Utterance], path: Path) -> dict:
    request = Request(replicates=500)
    return score(references, {"tuned": score_hypotheses(references, path, request)}, request)


def run(folder: Path, *more: object, baseline: bool = True) -> subprocess.CompletedProcess:
    arguments = ["--ref", folder / "ref.jsonl", "--hyp", folder / "tuned.txt", "--out", folder / "score", *more]
    arguments += ["--baseline", folder / "baseline.txt"] if baseline else []
    return subprocess.run(
        [sys.executable, str(ROOT / "local/score.py"), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def result_of(folder: Path) -> dict:
    return json.loads((folder / "score/score.json").read_text(encoding="utf-8"))


def refused(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 1, done.stdout
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def systems_of(folder: Path, texts: list[tuple[str, str, str]], speakers: int = 4) -> tuple[list[Utterance], dict]:
    """References and systems of (said, baseline, tuned)."""
    references = [
        Utterance(f"k{n:05d}", f"{folder}/no {n}.wav", said, 100, len(said), f"s{n % speakers}", 1.5, 24000)
        for n, (said, _, _) in enumerate(texts)
    ]
    systems = {}
    for place, name in ((1, "baseline"), (2, "tuned")):
        lines = [f"{item.key} {row[place]}\n" for item, row in zip(references, texts, strict=True)]
        (folder / f"{name}.txt").write_text("".join(lines), encoding="utf-8")
        systems[name] = score_hypotheses(references, folder / f"{name}.txt", Request())
    return references, systems
