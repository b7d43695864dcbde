"""The kinds of models that the recipe trains, one folder each: the only place where they differ.

A family says which FunASR classes it covers, what its training lines hold, how it is ranked, decoded and adapted. What
it takes to add one is in docs/adding-a-model.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError
from asr.models.conformer.family import Conformer
from asr.models.family import Family
from asr.models.model_folder import read_config
from asr.models.nano.family import Nano
from asr.models.paraformer.family import Paraformer
from asr.models.sensevoice.family import SenseVoice
from asr.models.whisper.family import Whisper

FAMILIES: dict[str, Family] = {
    family.name: family for family in (Paraformer(), Conformer(), Nano(), SenseVoice(), Whisper())
}


def of(name: str) -> Family:
    """Return the family that a YAML names."""
    return FAMILIES[name]


def check_options(family: Family, conf: Mapping[str, Any], at: object = "decode_conf") -> None:
    """RecipeError, beginning with ``at``, for a key of ``decode_conf`` that only other families have."""
    for other in FAMILIES.values():
        for key in other.decode_options:
            if key in conf and key not in family.decode_options:
                raise RecipeError(f"{at}: decode_conf.{key} is for {other.name}; {family.name} has no such option")


def of_model(kind: str | None) -> Family | None:
    """Return the family of a FunASR class, as a config.yaml's ``model`` names it; None where there is none."""
    return next((family for family in FAMILIES.values() if kind in family.models), None)


def of_folder(folder: Path) -> Family:
    """Return the family of a model folder. RecipeError where it is of none."""
    kind = read_config(folder).get("model")
    family = of_model(kind)
    if family is None:
        known = ", ".join(name for item in FAMILIES.values() for name in item.models)
        raise RecipeError(f"{folder}: is a {kind}, which the recipe does not know; it knows {known}")
    return family
