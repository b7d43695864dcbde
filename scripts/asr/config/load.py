"""Read a recipe's YAML: checked, with every default filled in; a fault is one line with file and line.

``read_recipe`` gives the whole configuration; asr.config.stage_files lays it out for the stages.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import ValidationError

from asr.config.schema import Recipe, Section
from asr.core.errors import RecipeError, UsageError, at

KeyPath = tuple[str, ...]
Lines = dict[KeyPath, int]
AnySection = TypeVar("AnySection", bound=Section)

# The command line or the stages set these; in a YAML they would fight with it.
OWNED = {
    "model": "name the base model with 'base:' or --base",
    "init_param": "name the base model with 'base:' or --base",
    "output_dir": "name the run with --tag",
    "train_data_set_list": "name the data with --data",
    "valid_data_set_list": "name the data with --data",
    "device": "choose it with --ngpu (0 is the CPU)",
}


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads ``2e-4`` as a number, which YAML 1.1 takes for a word."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def _construct(node: yaml.Node, path: Path, prefix: KeyPath, lines: Lines) -> Any:
    """Return a YAML node as plain values and note the line of every key. RecipeError for a duplicate key."""
    if not isinstance(node, yaml.MappingNode):
        try:
            return _Loader("").construct_object(node, deep=True)
        except yaml.YAMLError as error:
            raise RecipeError(f"{at(path, node.start_mark.line + 1)}: {str(error).splitlines()[0]}") from None
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key, line = str(key_node.value), key_node.start_mark.line + 1
        if key in result:
            raise RecipeError(f"{at(path, line)}: duplicate key '{'.'.join((*prefix, key))}'")
        lines[(*prefix, key)] = line
        result[key] = _construct(value_node, path, (*prefix, key), lines)
    return result


def load_yaml(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Lines]:
    """Read a YAML mapping and the line of each key. RecipeError with file and line for what is not YAML."""
    path = Path(path)
    if not path.is_file():
        raise RecipeError(f"{path}: no such configuration file")
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else None
        raise RecipeError(f"{at(path, line)}: not YAML: {getattr(error, 'problem', None) or error}") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: not UTF-8 text") from None
    if not isinstance(node, yaml.MappingNode):
        raise RecipeError(f"{path}: must hold 'key: value' lines")
    lines: Lines = {}
    return _construct(node, path, (), lines), lines


def section_of(annotation: Any) -> type[Section] | None:
    """Return the Section that a field holds, None of a plain value."""
    kinds = [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type)]
    return next((kind for kind in kinds if issubclass(kind, Section)), None)


def key_names(model: type[Section], prefix: str = "") -> list[str]:
    """Return the dotted names of all keys, sections before what is in them."""
    names = []
    for name, field in model.model_fields.items():
        names.append(prefix + name)
        if inner := section_of(field.annotation):
            names += key_names(inner, f"{prefix}{name}.")
    return names


def _did_you_mean(path: KeyPath, model: type[Section]) -> str:
    """Return '; did you mean …?' with the key that was most likely meant, or nothing."""
    names = key_names(model)
    by_leaf = {name.rpartition(".")[2]: name for name in names}
    close = difflib.get_close_matches(".".join(path), names, 1, 0.75)
    close = close or [by_leaf[leaf] for leaf in difflib.get_close_matches(path[-1], by_leaf, 1, 0.6)]
    return f"; did you mean '{close[0]}'?" if close else ""


_TYPES = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a word",
    "list_type": "a list",
}
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "less_than_equal": ("at most", "le"),
    "greater_than": ("above", "gt"),
}
_SECTIONS = ("model_type", "dict_type", "dict_attributes_type")


def _wrong_with_value(error: Any) -> str:
    """Say in our words what pydantic finds wrong with a value."""
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    if kind in _TYPES:
        return f"is {shown}, not {_TYPES[kind]}"
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return f"is {value}; it must be {words} {context[bound]:g}"
    if kind == "literal_error":
        choices = context["expected"].replace("'", "").replace(" or ", ", ")
        return f"is {shown}; it takes {choices.replace('True', 'true').replace('False', 'false')}"
    if kind in _SECTIONS:
        return f"is a section, it holds keys, not {value!r}"
    return error["msg"]


def _explain(error: Any, model: type[Section]) -> tuple[KeyPath, str]:
    """Return the key that an error of pydantic's is about, () where it is about several, and one line for the user."""
    # Behind the keys there may be an index into a list, and the member of a union that was tried.
    path = tuple(part for part in error["loc"] if part not in ("int", "float", "bool", "str"))
    key = path[: next((n for n, part in enumerate(path) if isinstance(part, int)), len(path))]
    name = ".".join(key)
    if error["type"] == "value_error":
        return (), str(error["ctx"]["error"])
    if error["type"] == "missing":
        return (), f"'{name}' is missing"
    if error["type"] == "extra_forbidden":
        if name in OWNED and model is Recipe:
            return key, f"'{name}' is set by the recipe: {OWNED[name]}"
        return key, f"unknown key '{name}'{_did_you_mean(key, model)}"
    holds = "holds a value that " if len(path) > len(key) else ""
    return key, f"'{name}' {holds}{_wrong_with_value(error)}"


def validate(
    model: type[AnySection], values: Mapping[str, Any], conf: object, lines: Lines, words: Mapping[KeyPath, str]
) -> AnySection:
    """Return ``values`` as ``model`` has them.

    ``conf`` is the file that they were read from, ``lines`` where in it each key is; ``words`` are the overrides of the
    command line, by their keys. Raises UsageError for a fault in one of these, else RecipeError with file and line:
    the first in the file; missing keys and checks across keys come last.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        # Of a number that may be whole or not, the member that is not says it for both.
        faults = [_explain(item, model) for item in error.errors() if item["loc"][-1:] != ("int",)]
    ranked: list[tuple[tuple[int, int], RecipeError]] = []
    for key, text in faults:
        while key and key not in lines and key not in words:
            key = key[:-1]
        if key in words:
            ranked.append(((1, 0), UsageError(f"'{words[key]}': {text}")))
        else:
            line = lines.get(key)
            ranked.append(((0, line) if line else (2, 0), RecipeError(f"{at(conf, line)}: {text}")))
    raise min(ranked, key=lambda item: item[0])[1]


def parse_override(word: str) -> tuple[KeyPath, Any]:
    """Return ``++a.b=c`` as (("a", "b"), value); the value is read as YAML reads it."""
    dotted, equals, text = word.removeprefix("++").partition("=")
    if not word.startswith("++") or not equals or not all(dotted.split(".")):
        raise UsageError(f"'{word}': an override is written ++section.key=value")
    try:
        return tuple(dotted.split(".")), yaml.load(text, _Loader)
    except yaml.YAMLError:
        raise UsageError(f"'{word}': cannot read the value '{text}'") from None


def _merge(values: dict[str, Any], word: str, lines: Lines, words: dict[KeyPath, str]) -> None:
    """Put an override into ``values``, and into ``words`` in place of the lines that it replaces."""
    path, value = parse_override(word)
    here = values
    for depth, key in enumerate(path[:-1], 1):
        if not isinstance(here.get(key), dict):
            here[key] = {}
            words[path[:depth]] = word
        here = here[key]
    here[path[-1]] = value
    for places in (lines, words):
        for old in [old for old in places if old[: len(path)] == path]:
            del places[old]
    words[path] = word


def read_recipe(conf: str | os.PathLike[str], overrides: Sequence[str] = (), base: str | None = None) -> Recipe:
    """Read a YAML with the command line's overrides merged in, and check it; every default is filled in.

    Raises RecipeError with file and line for an unknown key (naming the nearest known one), a value of the wrong type,
    or a missing required key; UsageError for a bad override.
    """
    values, lines = load_yaml(conf)
    words: dict[KeyPath, str] = {}
    for word in overrides:
        _merge(values, word, lines, words)
    if base:
        values["base"] = base
    for section in ("dataset_conf", "train_conf", "optim_conf"):  # so that their missing keys are named
        values.setdefault(section, {})
    return validate(Recipe, values, conf, lines, words)


def resolve(conf: str | os.PathLike[str], overrides: Sequence[str], base: str | None = None) -> dict[str, Any]:
    """Return ``read_recipe`` as plain nested values."""
    return read_recipe(conf, overrides, base).model_dump()


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested keys as one level: {"optim_conf.lr": 0.0002}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
