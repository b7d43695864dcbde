"""What --split takes, a file or a rule by name, and the split of speakers that it makes.

    FILE                             a YAML of speakers
    default                          the one of the recipe's own corpus; each of its parts has one in conf/
    own                              the one that the corpus comes with
    seeded                           speakers drawn by --ratios and --seed
    loso:SPEAKER                     leave one speaker out: that one is the test set, some others validate
    folds:3/8[@COLUMN]               speakers drawn into 8 folds: the third tests, the next validates, the others train;
                                     with @COLUMN (of speakers.tsv) those with the same value stay in one fold
    speaker-dependent[:SPEAKER,…]    every speaker (or these) in all three splits, no text in two of them; with @3min or
                                     @20s so much of each speaker's to train and validate, and the same test set

Behind any of them: ``+text-disjoint`` takes from train what the test set says too; ``+shared-speakers`` lets a speaker
be in two splits of a corpus that comes split so.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.core.errors import RecipeError, UsageError
from asr.core.names import UNKNOWN_SPEAKER, plain_name
from asr.preparation.splits.split_file import DEFAULT_RATIOS, DEFAULT_SEED, SPLITS, Split

TEXT_DISJOINT, SHARED_SPEAKERS = "+text-disjoint", "+shared-speakers"
_BUDGET = re.compile(r"(speaker-dependent(?::.*)?)@([0-9]+(?:\.[0-9]+)?)(s|min)", re.DOTALL)
_SECONDS = {"s": 1, "min": 60}
RULES = ("default", "own", "seeded", "loso", "folds", "speaker-dependent")


@dataclass(frozen=True)
class Request:
    """What was asked for: ``rule`` is one of RULES, ``file``, or empty (whatever suits the corpus)."""

    rule: str = ""
    argument: str = ""
    ratios: tuple[float, ...] = DEFAULT_RATIOS
    seed: int = DEFAULT_SEED
    text_disjoint: bool = False
    shared_speakers: bool = False
    is_home: bool = False  # the recipe's own corpus: its default split is not given up for a drawn one
    budget: float | None = None  # seconds of each speaker's to train and validate, of a speaker-dependent split
    speaker_table: Path | None = None  # that folds:K/N@COLUMN reads; the corpus's speakers.tsv where none is given


def parse_request(text: str, ratios: tuple[float, ...] | None = None, seed: int | None = None) -> Request:
    """Parse --split. UsageError for a rule without its argument, or with one that it does not take."""
    flags = set()
    while flag := next(filter(text.endswith, (TEXT_DISJOINT, SHARED_SPEAKERS)), ""):
        text = text.removesuffix(flag)
        flags.add(flag)
    budget = None
    if match := _BUDGET.fullmatch(text):
        text, budget = match[1], float(match[2]) * _SECONDS[match[3]]
    if text.startswith("speaker-dependent@") or budget == 0:
        raise UsageError(f"--split {text}: a budget is seconds or minutes: --split speaker-dependent:02@3min, or @20s")
    rule, colon, argument = text.partition(":")
    argument = plain_name(argument)
    if rule not in RULES and text:
        rule, argument = "file", text
    elif rule == "loso" and not argument:
        raise UsageError(f"--split {text}: which speaker to leave out? e.g. --split loso:02")
    elif colon and rule in ("default", "own", "seeded"):
        raise UsageError(f"--split {text}: {rule} takes nothing behind a colon")
    elif rule == "folds":
        parse_fold(argument)
    if not rule and ratios:
        rule = "seeded"
    if ratios and rule not in ("seeded", "loso", "speaker-dependent"):
        raise UsageError(f"--ratios goes with --split seeded, loso or speaker-dependent, not with {text}")
    seed = DEFAULT_SEED if seed is None else seed
    flagged = TEXT_DISJOINT in flags, SHARED_SPEAKERS in flags
    return Request(rule, argument, ratios or DEFAULT_RATIOS, seed, *flagged, budget=budget)


def parse_fold(argument: str) -> tuple[int, int, str]:
    """Return (3, 8, "family") of ``3/8@family``, the column empty where none is named. UsageError for anything else."""
    match = re.fullmatch(r"([0-9]+)/([0-9]+)(?:@(.+))?", argument)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not match or count < len(SPLITS) or not 1 <= number <= count:
        raise UsageError(
            f"--split folds:{argument}: which fold of how many, {len(SPLITS)} at least? e.g. --split folds:3/8, or"
            " folds:3/8@family by a column of speakers.tsv"
        )
    return number, count, match[3] or ""


def place(seed: int, name: str) -> str:
    """Return where ``name`` stands in an order drawn by ``seed``: by a hash, whatever order names come in."""
    return hashlib.sha256(f"{seed}\t{name}".encode("utf-8", "surrogatepass")).hexdigest()


def drawn(names: Iterable[str], seed: int) -> list[str]:
    """Return ``names``, each once, in the order drawn by ``seed``."""
    return sorted(set(names), key=lambda name: (place(seed, name), name))


def _share(count: int, ratio: float, ratios: Sequence[float]) -> int:
    """Return ``ratio`` of ``ratios`` of ``count``, rounded, at least 1."""
    return max(1, math.floor(count * ratio / sum(ratios) + 0.5))


def seeded_split(
    speakers: Iterable[str], ratios: tuple[float, ...] = DEFAULT_RATIOS, seed: int = DEFAULT_SEED
) -> Split:
    """Draw whole speakers by ratio (train, val, test), at least one into each; at least three speakers are needed."""
    ranked = drawn(speakers, seed)
    if len(ranked) < len(SPLITS):
        names = ", ".join(sorted(ranked)) or "none"
        few = f"too few speakers for a split by speaker: {len(ranked)} ({names}), at least 3 are needed"
        raise RecipeError(f"{few}; give --split FILE, or --split speaker-dependent")
    n_test = min(_share(len(ranked), ratios[2], ratios), len(ranked) - 2)
    n_val = min(_share(len(ranked), ratios[1], ratios), len(ranked) - n_test - 1)
    parts = {"train": ranked[n_test + n_val :], "val": ranked[n_test : n_test + n_val], "test": ranked[:n_test]}
    chosen = {name: tuple(sorted(part)) for name, part in parts.items()}
    return Split(chosen, "seeded", seed=seed, ratios=tuple(ratios))


def loso_split(
    speakers: Collection[str], left_out: str, ratios: tuple[float, ...] = DEFAULT_RATIOS, seed: int = DEFAULT_SEED
) -> Split:
    """Leave ``left_out`` out for the test; of the others the seed draws who validates, as train : val of ``ratios``."""
    if left_out not in speakers:
        raise RecipeError(f"--split loso:{left_out}: the corpus has no such speaker; it has {some(speakers)}")
    others = drawn(set(speakers) - {left_out}, seed)
    if len(others) < 2:
        raise RecipeError(f"--split loso:{left_out}: needs two speakers besides, to train and to validate")
    n_val = min(_share(len(others), ratios[1], ratios[:2]), len(others) - 1)
    chosen = {"train": tuple(sorted(others[n_val:])), "val": tuple(sorted(others[:n_val])), "test": (left_out,)}
    return Split(chosen, "loso", seed=seed, ratios=tuple(ratios))


def fold_split(
    clips: Mapping[str, int], argument: str, seed: int = DEFAULT_SEED, group_of: Mapping[str, str] | None = None
) -> Split:
    """Draw speakers into folds: of ``3/8`` the third is the test set, the fourth validates, the others train.

    Behind the last fold comes the first, so over all folds each speaker is tested once and validates once. ``clips`` is
    {speaker: utterances of the part that is evaluated on}. Groups (``group_of``; by default each speaker alone) come in
    an order drawn by the seed, each into the fold with the fewest utterances so far. A speaker of another part alone
    goes with the group, or trains where there is nobody else in it.
    """
    number, count, column = parse_fold(argument)
    groups = {speaker: group_of[speaker] if group_of else speaker for speaker in sorted(clips)}
    sizes: Counter[str] = Counter()
    for speaker, group in groups.items():
        sizes[group] += clips[speaker]
    ranked = drawn((group for group, size in sizes.items() if size), seed)
    if len(ranked) < count:
        what = f"values of {column}" if column else "speakers"
        raise RecipeError(f"--split folds:{argument}: {count} folds of {len(ranked)} {what} ({some(ranked)})")
    fold_of, filled = {}, [0] * count
    for group in ranked:
        fold_of[group] = fold = filled.index(min(filled))
        filled[fold] += sizes[group]
    role = {number - 1: "test", number % count: "val"}
    split_of = {speaker: role.get(fold_of.get(group, -1), "train") for speaker, group in groups.items()}
    chosen = {name: tuple(speaker for speaker in split_of if split_of[speaker] == name) for name in SPLITS}
    together = f", {column} kept together" if column else ""
    return Split(chosen, "folds", seed=seed, note=f"fold {number} of {count} is the test set{together}")


def dependent_split(
    speakers: Collection[str],
    named: str = "",
    ratios: tuple[float, ...] = DEFAULT_RATIOS,
    seed: int = DEFAULT_SEED,
    budget: float | None = None,
) -> Split:
    """Put every speaker (or those of ``named``, separated by commas) in all three splits; ``divide_texts`` divides.

    ``budget``: seconds of each speaker's that ``within_budget`` leaves in train and val.
    """
    chosen = tuple(sorted(named.split(","))) if named else tuple(sorted(speakers))
    if unknown := [name for name in chosen if name not in speakers]:
        raise RecipeError(
            f"--split speaker-dependent:{named}: the corpus has no speaker {unknown[0]}; it has {some(speakers)}"
            + "; a budget is written @3min, or @20s" * ("@" in unknown[0])
        )
    everywhere = dict.fromkeys(SPLITS, chosen)
    method = "speaker-dependent"
    return Split(everywhere, method, seed=seed, ratios=tuple(ratios), method=method, budget=budget)


def some(speakers: Collection[str], most: int = 12) -> str:
    """Return the first names, and how many more there are."""
    names = sorted(speakers)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def refuse_shared_speakers(splits: Mapping[str, Collection[str]], where: object) -> None:
    """RecipeError where a speaker is in two splits: the scores would not be of unseen speakers."""
    for first, second in itertools.combinations(SPLITS, 2):
        if shared := sorted(set(splits[first]) & set(splits[second]) - {UNKNOWN_SPEAKER}):
            more = f" and {len(shared) - 1} more" if len(shared) > 1 else ""
            raise RecipeError(
                f"{where}: speaker {shared[0]}{more} in both {first} and {second}: not disjoint by speaker; draw anew"
                " with --split seeded, or keep it with --split own+shared-speakers"
            )
