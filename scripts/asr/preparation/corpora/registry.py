"""Which reader a corpus is for: a Kaldi data folder, JSONL or lhotse manifests, or the layout of the recipe's own."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from asr.core.errors import RecipeError
from asr.preparation.corpora import jsonl, kaldi, lhotse
from asr.preparation.corpus import HomeCorpus, Part

OTHER_LAYOUTS = (
    "a folder with wav.scp, text and utt2spk (Kaldi), with *.jsonl, or with lhotse's recordings and supervisions"
)


def open_corpus(path: Path, parts: Sequence[str], home: HomeCorpus) -> list[Part]:
    """Read the corpus at ``path``; ``parts`` matter where it is the home corpus, on disk or as lhotse prepares it."""
    root = Path(os.path.abspath(path))
    if "\n" in str(root) or "\r" in str(root):
        raise RecipeError(f"{str(root)!r}: the corpus's path holds a line break; move the corpus or link to it")
    # Stage 1 writes folders for Kaldi beside its manifests, which say more: of such a folder the manifests are read.
    if kaldi.is_kaldi(root) and ((root / "wav.scp").is_file() or not jsonl.is_jsonl(root)):
        return [kaldi.read_kaldi(root)]
    if lhotse.is_lhotse(root):
        there = lhotse.lhotse_parts(root, list(home.default_splits))
        missing = [name for name in parts if name not in there]
        if there and missing:
            raise RecipeError(
                f"{root}: no recordings and supervisions of part {missing[0]}; there is {', '.join(there)}"
            )
        return [lhotse.read_lhotse(root, name) for name in (parts if there else ("",))]
    if jsonl.is_jsonl(root):
        return [jsonl.read_jsonl(root)]
    if root.is_file():
        raise RecipeError(
            f"{root}: is a file, and not one called *.jsonl; --corpus takes a folder laid out as {home.name} is,"
            f" {OTHER_LAYOUTS}, or a .jsonl file"
        )
    return home.read_parts(root, parts)


def is_simulated(root: Path) -> bool:
    """Return whether the corpus says that its speech is simulated, in the ``kind`` column of its speakers.tsv."""
    table = root / "speakers.tsv"
    if not table.is_file():
        return False
    with open(table, encoding="utf-8", errors="replace", newline="") as stream:
        return any(row.get("kind") == "simulated" for row in csv.DictReader(stream, delimiter="\t"))
