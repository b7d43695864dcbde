"""The corpus that a recipe is made for: its own layout, parts and default splits, which the recipe hands in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.preparation.corpus import Part


@dataclass(frozen=True)
class HomeCorpus:
    """What preparation has to know of the recipe's own corpus.

    Args:
        name: what it is called in messages.
        key: of statistics.json: whether the corpus that was prepared is this one.
        default_splits: its parts, and the split file of each. Where parts meet, val and test are of the first.
        read_parts: reads the named parts of a folder in the corpus's own layout; RecipeError where it is none.
    """

    name: str
    key: str
    default_splits: Mapping[str, Path]
    read_parts: Callable[[Path, Sequence[str]], list[Part]]

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of its parts."""
        return tuple(self.default_splits)

    @property
    def evaluated(self) -> str:
        """The part that val and test are made of, where several parts meet."""
        return self.parts[0]
