"""The second texts of a run, by a language model and phrases, against its greedy ones: ``second_texts`` of score.json.

They are systems of their own, baseline_lm and tuned_lm, and stand beside baseline and tuned; nothing else of score.json
changes by them. A gain on a text that training or the language model has read is no gain on what people say next, so
each system is scored by where its references were read before as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError, at
from asr.core.files import atomic_open
from asr.core.manifest import Utterance
from asr.scoring.intervals import FROM, TO
from asr.scoring.score import Request, System, score

SUFFIX = "_lm"
IN_TRAINING, ONLY_IN_LM, IN_NEITHER = GROUPS = ("training", "lm", "unseen")
_CHANGE = ("absolute_reduction", "absolute_ci95", "absolute_ci95_utterance", "relative_reduction", "verdict")
_MOVED = ("utterances_better", "utterances_worse", "utterances_same")


def write_text_groups(path: Path, groups: Mapping[str, str]) -> None:
    """Write {key: one of GROUPS}, a line each with a tab between."""
    with atomic_open(path) as stream:
        stream.writelines(f"{key}\t{group}\n" for key, group in groups.items())


def read_text_groups(path: Path, references: Sequence[Utterance]) -> dict[str, str]:
    """Return what ``write_text_groups`` has written of these references. RecipeError for anything else."""
    groups = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise RecipeError(f"{path}: cannot be read; run stage 5, which writes it") from None
    for number, line in enumerate(lines, 1):
        key, _, group = line.partition("\t")
        if group not in GROUPS:
            raise RecipeError(f"{at(path, number)}: '{group}', not {', '.join(GROUPS)}; run stage 5, which writes it")
        groups[key] = group
    if lacking := next((one.key for one in references if one.key not in groups), None):
        raise RecipeError(f"{path}: lacks {lacking}; run stage 5, which writes it")
    return groups


def score_second_texts(
    references: Sequence[Utterance],
    systems: Mapping[str, System],
    second: Mapping[str, System],
    groups: Mapping[str, str],
    request: Request,
) -> dict[str, Any]:
    """Return ``second_texts`` of score.json (docs/scores.md): each second system against its greedy one.

    Args:
        systems, second: {"tuned": …} and {"tuned_lm": …}, of ``score_hypotheses``.
        groups: {key: one of GROUPS}; empty where it is not known.
    """
    rows = {}
    for name, scored in second.items():
        greedy = name.removesuffix(SUFFIX)
        lost = [one.utterance.key for one in scored if one.decoded is None]
        if lost != [one.utterance.key for one in systems[greedy] if one.decoded is None]:
            raise RecipeError(
                f"{name}: has not the clips of {greedy}, such as {(lost or ['one more'])[0]}; run stage 5 again"
            )
        pairs = {FROM: systems[greedy], TO: scored}
        texts = {group: _part(references, pairs, groups, group, request) for group in GROUPS} if groups else None
        rows[name] = {"from": greedy, **_against(references, pairs, request), "text": texts}
    return {"second_texts": rows}


def _part(
    references: Sequence[Utterance],
    pairs: Mapping[str, System],
    groups: Mapping[str, str],
    group: str,
    request: Request,
) -> dict[str, Any] | None:
    """Return ``_against`` of the utterances of a group; None where there are none."""
    left = [utterance for utterance in references if groups.get(utterance.key) == group]
    if not left:
        return None
    some = {name: [one for one in scored if groups.get(one.utterance.key) == group] for name, scored in pairs.items()}
    return _against(left, some, request)


def _against(references: Sequence[Utterance], pairs: Mapping[str, System], request: Request) -> dict[str, Any]:
    result = score(references, pairs, request)
    compared, (before, after) = result["comparison"] or {}, result["systems"].values()
    return {
        "n_utt": len(references),
        "ref_len": after["ref_len"],
        "greedy_cer": before["cer"],
        **{key: after[key] for key in ("cer", "sub", "del", "ins", "ci95", "ci95_utterance")},
        **{key: compared.get(key) for key in (*_CHANGE, *_MOVED)},
    }
