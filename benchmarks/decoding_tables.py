"""What a language model, its texts and what sounds alike add to runs that are decoded: the tables of docs/decoding.md.

    python benchmarks/decoding_tables.py exp/decoding-lm-s*-f* [--text FILE] [--no-sounds]

Reads nbest.jsonl of validation and test, and searches again by every setting; no model is needed. The runs of a seed
are folds, of which each speaker is tested in one. Weights are chosen for each run on its own validation.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts")]
from asr.core.manifest import Utterance, read_manifest  # noqa: E402 - found through the line above
from asr.core.names import known_speakers  # noqa: E402
from asr.core.nbest import NBest, read_nbest  # noqa: E402
from asr.core.text_tables import markdown_table  # noqa: E402
from asr.experiments.pooled import add_seeds  # noqa: E402
from asr.language.priors import Priors  # noqa: E402
from asr.language.search import search_all  # noqa: E402
from asr.language.sources import LmText, build, check_leakage, read_lm_text, text_group  # noqa: E402
from asr.language.tuning import choose  # noqa: E402
from asr.scoring.normalize import scoring_form  # noqa: E402
from asr.scoring.score import Request, Scored, score, score_text, total  # noqa: E402
from asr.scoring.second_texts import GROUPS  # noqa: E402
from asr.scoring.tables import interval, percent  # noqa: E402

GREEDY = "greedy"
SYSTEMS = {"baseline": "base model", "tuned": "fine-tuned"}


class Run:
    """A run's manifests and candidates."""

    def __init__(self, exp: Path) -> None:
        command = (exp / "command").read_text(encoding="utf-8")
        data = re.search(r"--data (\S+)", command)
        folder = Path(data[1]) if data else Path("data/mini_dataset")
        self.exp = exp
        seed = re.search(r"\+\+seed=(\d+)", command)
        self.seed = int(seed[1]) if seed else 0
        self.test: list[Utterance] = known_speakers(read_manifest(folder / "test.jsonl"))
        self.train = [utterance.target for utterance in read_manifest(folder / "train.jsonl")]
        self.validation = {utterance.key: utterance.target for utterance in read_manifest(folder / "val.jsonl")}

    def candidates(self, system: str) -> tuple[list[NBest], list[NBest]]:
        """Return validation's and the test set's."""
        folder = self.exp / system
        return read_nbest(folder / "val/nbest.jsonl"), read_nbest(folder / "nbest.jsonl")


def settings(run: Run, text: LmText | None, sounds: bool) -> Iterator[tuple[str, Any, bool]]:
    """Yield the name of a setting, its language model, and whether it searches among what sounds alike."""
    nothing = read_lm_text([])
    models = {"train": build(nothing, run.train)}
    if text:
        models |= {"text": build(text), "train + text": build(text, run.train)}
    for name, model in models.items():
        yield f"+ LM of {name}", model, False
    if sounds:
        yield f"+ LM of {name} + what sounds alike", model, True  # the largest


def searched(run: Run, system: str, text: LmText | None, sounds: bool) -> Iterator[tuple[str, dict[str, str], str]]:
    """Yield (setting, {key: text}, the weights in words) of a system of a run."""
    validation, test = run.candidates(system)
    yield GREEDY, search_all(test, Priors()), ""
    for name, model, alike in settings(run, text, sounds):
        choice = choose(validation, run.validation, model, alike)
        weights = f"{choice.best.lm_weight:g}" + f" and {choice.best.channel_weight:g}" * alike
        yield name, search_all(test, choice.priors), weights


def scored(run: Run, texts: Mapping[str, str]) -> list[Scored]:
    """Align a run's texts, their keys made different by the seed."""
    train = set(map(scoring_form, run.train))
    rows = [score_text(utterance, texts.get(utterance.key), train, ()) for utterance in run.test]
    return [replace(row, utterance=row.utterance._replace(key=f"{row.utterance.key}-s{run.seed}")) for row in rows]


def compared(before: dict[int, list[Scored]], after: dict[int, list[Scored]]) -> dict[str, Any]:
    """Return score.json of two systems' utterances by seed, the intervals widened by how much the seeds differ."""
    flat = {
        name: sorted((row for rows in by_seed.values() for row in rows), key=lambda row: row.utterance.key)
        for name, by_seed in (("baseline", before), ("tuned", after))
    }
    result = score([row.utterance for row in flat["tuned"]], flat, Request(()))
    rates = {"baseline": before, "tuned": after}
    result["pooled"] = {
        "cer_by_seed": {name: [total(rows).cer for rows in by_seed.values()] for name, by_seed in rates.items()}
    }
    add_seeds(result)
    return result


def row(name: str, result: dict[str, Any], groups: Mapping[str, str], pair: list[dict], weights: Counter) -> list[str]:
    """Return a line of the table."""
    compare = result["comparison"]
    shown = ", ".join(f"{weight} ({count})" for weight, count in weights.most_common(3))
    cells = [name, shown, percent(result["systems"]["tuned"]["cer"])]
    if name == GREEDY:
        cells += ["", ""]
    else:
        p = compare["speakers"]["p"]
        cells += [f"{percent(compare['absolute_reduction'])} ({interval(compare['absolute_ci95'])})"]
        cells += ["n/a" if p is None else f"{p:.4f}"]
    return cells + [_of_group(group, groups, pair, name == GREEDY) for group in GROUPS]


def _of_group(group: str, groups: Mapping[str, str], pair: list[dict], greedy: bool) -> str:
    """Return a group's CER, and where it is not the greedy text's the change with its interval."""
    some = [
        {seed: [one for one in rows if groups[f"{seed} {one.utterance.key}"] == group] for seed, rows in each.items()}
        for each in pair
    ]
    if not all(any(each.values()) for each in some):
        return "–"
    result = compared(*some)
    cer, change = percent(result["systems"]["tuned"]["cer"]), result["comparison"]
    return cer if greedy else f"{cer} ({percent(change['absolute_reduction'])}; {interval(change['absolute_ci95'])})"


def table(runs: list[Run], system: str, text: LmText | None, sounds: bool) -> str:
    """Return the table of a system."""
    by_setting: dict[str, dict[int, list[Scored]]] = defaultdict(lambda: defaultdict(list))
    weights: dict[str, Counter] = defaultdict(Counter)
    groups: dict[str, str] = {}
    for run in runs:
        train, lines = set(map(scoring_form, run.train)), text.where if text else {}
        for utterance in run.test:
            where = text_group(scoring_form(utterance.target), train, lines)
            groups[f"{run.seed} {utterance.key}-s{run.seed}"] = where
        for name, texts, chosen in searched(run, system, text, sounds):
            by_setting[name][run.seed] += scored(run, texts)
            weights[name].update([chosen] * bool(chosen))
        print(f"{run.exp} {system}", file=sys.stderr, flush=True)
    greedy = by_setting[GREEDY]
    rows = [
        row(name, compared(greedy, by_seed), groups, [greedy, by_seed], weights[name])
        for name, by_seed in by_setting.items()
    ]
    counts = Counter(groups.values())
    heads = [f"{name} ({counts[name]:,})" for name in GROUPS]
    return markdown_table(("", "weights (runs)", "CER %", "lower by, points (95 %)", "p", *heads), rows)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="exp/TAG")
    parser.add_argument("--text", type=Path, help="a text, a sentence a line, for a language model")
    parser.add_argument("--no-sounds", action="store_true", help="without what sounds alike, which takes longest")
    parser.add_argument("--system", choices=SYSTEMS, action="append", help="baseline or tuned; both unless given")
    arguments = parser.parse_args()
    runs = [Run(exp) for exp in arguments.runs]
    text = read_lm_text([arguments.text]) if arguments.text else None
    for run in runs if text else ():
        held = check_leakage(text, [utterance.target for utterance in run.test], run.train)
        print(f"{run.exp}: {held.inside} of {held.of} test texts that train does not have stand in the text")
    for system in arguments.system or SYSTEMS:
        print(f"\n{SYSTEMS[system]}\n\n{table(runs, system, text, not arguments.no_sounds)}")


if __name__ == "__main__":
    main()
