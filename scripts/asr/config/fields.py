"""What the keys of a YAML are declared with: sections, defaults, bounds."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """Keys with their types. An unknown key, a whole number given as a word or as true, and the like are errors."""

    model_config = ConfigDict(extra="forbid", strict=True)


def option(default: Any, description: str) -> Any:
    """Return a key with a default."""
    return Field(default=default, description=description)


def left_out(description: str) -> Any:
    """Return a key without a default of ours: where the YAML does not give it, the stages' files have it not either."""
    return Field(default=None, exclude_if=lambda value: value is None, description=description)


def unless_set(description: str) -> Any:
    """Return a key that is off unless the YAML sets it: 0, an empty list and null are as if it were not there."""
    return Field(default=None, exclude_if=lambda value: not value, description=description)


Number = int | float
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Share = Annotated[Number, Field(ge=0, le=1)]
Speed = Annotated[Number, Field(ge=0.5, le=2)]
Decibels = Annotated[Number, Field(ge=0, le=40)]
Semitones = Annotated[Number, Field(ge=0, le=12)]
Warp = Annotated[Number, Field(ge=0, le=0.3)]
Dropout = Annotated[Number, Field(ge=0, le=0.9)]
Block = dict[str, Any]
