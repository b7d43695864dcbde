"""The keys of a recipe's YAML as a table: name, type, default, help."""

from __future__ import annotations

from collections.abc import Iterator
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from asr.config.fields import Section
from asr.config.load import section_of
from asr.config.schema import Recipe
from asr.core.text_tables import text_table
from asr.models import families

Row = tuple[str, str, str, str]
HEAD: Row = ("key", "type", "default", "what it does")
_TYPES = {str: "word", bool: "true or false", int: "whole number", float: "number"}
_BOUNDS = (("ge", "≥"), ("gt", ">"), ("le", "≤"))
_INTRODUCTION = """\
# Every key of a recipe's YAML

Written by `python -m asr.config --keys --markdown`; a test compares. A YAML in `conf/` needs the keys that are
*required*; `++section.key=value` changes one for a run, and `exp/<tag>/conf/` holds the complete result. Settings of
FunASR's building blocks (type *section*) are checked against the base model.
"""


def _plain(value: Any) -> str:
    """Return a value as a YAML has it."""
    return yaml.safe_dump(value, default_flow_style=True, allow_unicode=True).removesuffix("\n").removesuffix("\n...")


def _type_of(annotation: Any, metadata: list[Any]) -> str:
    """Return a type with its bounds in words, of a field's annotation and what Annotated adds."""
    if hasattr(annotation, "__metadata__"):
        return _type_of(annotation.__origin__, [*metadata, *annotation.__metadata__])
    if get_origin(annotation) is Literal:
        return ", ".join(_plain(choice) for choice in get_args(annotation))
    if get_origin(annotation) is list:
        return f"list, each a {_type_of(get_args(annotation)[0], [])}"
    if get_origin(annotation) is dict:
        return "section"
    if section_of(annotation):
        return "section"
    parts = [part for part in get_args(annotation) if part is not NoneType] or [annotation]
    words = _TYPES[float] if float in parts else _TYPES.get(parts[0]) or _type_of(parts[0], [])
    limits = [item for more in metadata for item in getattr(more, "metadata", [more])]
    bounds = [f"{sign} {getattr(limit, name):g}" for name, sign in _BOUNDS for limit in limits if hasattr(limit, name)]
    return " ".join([words, ", ".join(bounds)]).strip()


def _default_of(name: str, field: FieldInfo) -> str:
    """Return the default in words; where it is the family's, of each family that has the key."""
    if field.is_required():
        return "required"
    by_family = {kind.name: kind.decode_options.get(name) for kind in families.FAMILIES.values()}
    if name == "avg_keep_nbest_models_type":
        by_family = {kind.name: kind.rankings[0] for kind in families.FAMILIES.values()}
    words = [f"{_plain(value)} ({kind})" for kind, value in by_family.items() if value is not None]
    return ", ".join(words) or ("unset" if field.default is None else _plain(field.default))


def rows(model: type[Section] = Recipe, prefix: str = "") -> Iterator[Row]:
    """Yield every key of a model with type, default and help; a section's keys in its place."""
    for name, field in model.model_fields.items():
        if inner := section_of(field.annotation):
            yield from rows(inner, f"{prefix}{name}.")
        else:
            kind = _type_of(field.annotation, field.metadata)
            yield prefix + name, kind, _default_of(name, field), field.description or ""


def as_text() -> str:
    """Return the table with aligned columns."""
    return text_table(HEAD, list(rows()), left=range(4))


def as_markdown() -> str:
    """Return docs/configuration.md."""
    lines = [HEAD, ("---",) * 4, *((f"`{key}`", *more) for key, *more in rows())]
    return _INTRODUCTION + "\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines)
