"""Scored systems out of pairs of texts, for tests."""

from pathlib import Path

from asr.core.manifest import Utterance
from asr.scoring.score import Request, score_hypotheses


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
