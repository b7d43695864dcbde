"""Which reader a corpus is for: Kaldi's, lhotse's, JSONL's, that of other lists, or that of the recipe's own corpus."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from asr.core.errors import RecipeError
from asr.preparation.corpora import jsonl, kaldi, lhotse, listed
from asr.preparation.corpus import HomeCorpus, Part

OTHER_LAYOUTS = (
    "wav.scp, text and utt2spk (Kaldi), *.jsonl, lhotse's recordings and supervisions, train_wav.scp and train_text.txt"
    " (FunASR), metadata.csv (Hugging Face), AISHELL-1's wav/ and transcript/, or a .txt beside each clip"
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
    layout = listed.layout_of(root)
    if layout and (layout == "metadata" or not jsonl.is_jsonl(root)):
        return [listed.read_listed(root)]
    if jsonl.is_jsonl(root):
        return [jsonl.read_jsonl(root)]
    if advice := listed.not_read(root):
        raise RecipeError(f"{root}: {advice}")
    if root.is_file() and root.suffix.lower() in listed.PACKED:
        raise RecipeError(f"{root}: {listed.UNPACK}")
    if root.is_file():
        raise RecipeError(
            f"{root}: is a file, and not one called *.jsonl; --corpus takes a .jsonl file, a folder laid out as"
            f" {home.name} is, or one with {OTHER_LAYOUTS}"
        )
    return home.read_parts(root, parts)


def is_simulated(root: Path) -> bool:
    """Return whether the corpus says that its speech is simulated, in the ``kind`` column of its speakers.tsv."""
    table = root / "speakers.tsv"
    if not table.is_file():
        return False
    with open(table, encoding="utf-8", errors="replace", newline="") as stream:
        return any(row.get("kind") == "simulated" for row in csv.DictReader(stream, delimiter="\t"))
