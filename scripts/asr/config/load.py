"""Read a recipe's YAML: checked, with every default filled in; a fault is one line with file and line.

``read_recipe`` gives the whole configuration; asr.config.stage_files lays it out for the stages.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import ValidationError

from asr.config.fields import Section
from asr.config.schema import Recipe
from asr.core.errors import RecipeError, UsageError, at

KeyPath = tuple[str, ...]
Places = dict[KeyPath, int | str]  # where a value is from: the line of the YAML, or the override of the command line
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


def _construct(node: yaml.Node, path: Path, prefix: KeyPath, places: Places) -> Any:
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
        places[(*prefix, key)] = line
        result[key] = _construct(value_node, path, (*prefix, key), places)
    return result


def load_yaml(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Places]:
    """Read a YAML mapping and the line of each key. RecipeError with file and line for what is not YAML."""
    path, text = Path(path), ""
    if not path.is_file():
        raise RecipeError(f"{path}: no such configuration file")
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        _refuse_colons(path, text)
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else None
        raise RecipeError(f"{at(path, line)}: not YAML: {getattr(error, 'problem', None) or error}") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: not UTF-8 text") from None
    if not isinstance(node, yaml.MappingNode):
        raise RecipeError(f"{path}: must hold 'key: value' lines")
    places: Places = {}
    return _construct(node, path, (), places), places


def _refuse_colons(path: Path, text: str) -> None:
    """RecipeError for a line whose colon is no YAML's: YAML itself complains one or two lines below."""
    for number, line in enumerate(text.splitlines(), 1):
        if match := re.match(r"\s*(\w+)(?:(：)|:(?=[^\s/:]))", line):
            what = "a full-width colon" if match[2] else "no blank behind the colon"
            raise RecipeError(f"{at(path, number)}: '{line.strip()}' has {what}; write '{match[1]}: VALUE'")


def section_of(annotation: Any) -> type[Section] | None:
    """Return the Section that a field holds, None of a plain value."""
    kinds = [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type)]
    return next((kind for kind in kinds if issubclass(kind, Section)), None)


def key_names(model: type[Section], prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of all keys, sections before what is in them."""
    for name, field in model.model_fields.items():
        yield prefix + name
        if inner := section_of(field.annotation):
            yield from key_names(inner, f"{prefix}{name}.")


def _did_you_mean(path: KeyPath, model: type[Section]) -> str:
    """Return '; did you mean …?' with the key that was most likely meant, or nothing."""
    names = list(key_names(model))
    by_leaf = {name.rpartition(".")[2]: name for name in names}
    close = difflib.get_close_matches(".".join(path), names, 1, 0.75)
    close = close or [by_leaf[leaf] for leaf in difflib.get_close_matches(path[-1], by_leaf, 1, 0.6)]
    return f"; did you mean '{close[0]}'?" if close else ""


def _explain(error: Any, model: type[Section]) -> tuple[KeyPath, str]:
    """Return the key that an error of pydantic's is about, () where it is about several, and one line for the user."""
    # Behind the keys there may be an index into a list, and the member of a union that was tried.
    path = tuple(part for part in error["loc"] if part not in ("int", "float", "bool", "str"))
    key = path[: next((n for n, part in enumerate(path) if isinstance(part, int)), len(path))]
    name, value = ".".join(key), error["input"]
    if error["type"] == "value_error":
        return (), str(error["ctx"]["error"])
    whole = ".".join(part for part in path if isinstance(part, str))  # of a section in a list, too
    if error["type"] == "missing":
        return (), f"'{whole}' is missing"
    if error["type"] == "extra_forbidden":
        if name in OWNED and model is Recipe:
            return key, f"'{name}' is set by the recipe: {OWNED[name]}"
        return key, f"unknown key '{whole}'{_did_you_mean(tuple(whole.split('.')), model)}"
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    if isinstance(value, str) and re.match(r"\w+(:\S|：)", value) and "dictionary" in error["msg"]:
        return key, f"'{name}' is {shown}: a blank is missing behind its colon"
    if error["type"] == "model_type":
        return (
            key,
            f"'{name}' is {shown}; it is a section: {name}.KEY sets one of its keys (python -m asr.config --keys)",
        )
    holds = "holds a value that is" if len(path) > len(key) else "is"
    is_number = isinstance(value, str) and re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?|true|false", value.lower())
    quotes = ": take the quotes away" if is_number else ""
    return key, f"'{name}' {holds} {shown}; {error['msg'].replace('Input should', 'it must')}{quotes}"


def validate(model: type[AnySection], values: Mapping[str, Any], conf: object, places: Places) -> AnySection:
    """Return ``values``, read from the file ``conf``, as ``model`` has them.

    Raises UsageError for a fault in an override, else RecipeError with file and line: the first in the file; missing
    keys and checks across keys come last.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        # Of a number that may be whole or not, the member that is not says it for both.
        faults = [_explain(entry, model) for entry in error.errors() if entry["loc"][-1:] != ("int",)]
    located: list[tuple[int | str | None, str]] = []
    for key, text in faults:
        while key and key not in places:
            key = key[:-1]
        located.append((places.get(key), text))
    place, text = min(located, key=lambda fault: (not isinstance(fault[0], int), fault[0] is None, fault[0] or 0))
    if isinstance(place, str):
        raise UsageError(f"'{place}': {text}")
    raise RecipeError(f"{at(conf, place)}: {text}")


def parse_override(word: str) -> tuple[KeyPath, Any]:
    """Return ``++a.b=c`` as (("a", "b"), value); the value is read as YAML reads it."""
    dotted, equals, text = word.removeprefix("++").partition("=")
    if not word.startswith("++") or not equals or not all(dotted.split(".")):
        raise UsageError(f"'{word}': an override is written ++section.key=value")
    try:
        return tuple(dotted.split(".")), yaml.load(text, _Loader)
    except yaml.YAMLError:
        raise UsageError(f"'{word}': cannot read the value '{text}'") from None


def _merge(values: dict[str, Any], word: str, places: Places) -> None:
    """Put an override into ``values``, and in place of the lines that it replaces."""
    path, value = parse_override(word)
    here = values
    for depth, key in enumerate(path[:-1], 1):
        if not isinstance(here.get(key), dict):
            here[key] = {}
            places[path[:depth]] = word
        here = here[key]
    here[path[-1]] = value
    for old in [old for old in places if old[: len(path)] == path]:
        del places[old]
    places[path] = word


def read_recipe(conf: str | os.PathLike[str], overrides: Sequence[str] = (), base: str | None = None) -> Recipe:
    """Read a YAML with the command line's overrides merged in, and check it; every default is filled in.

    Raises RecipeError with file and line for an unknown key (naming the nearest known one), a value of the wrong type,
    or a missing required key; UsageError for a bad override.
    """
    values, places = load_yaml(conf)
    for word in overrides:
        _merge(values, word, places)
    if base:
        values["base"] = base
    return validate(Recipe, values, conf, places)


def resolve(conf: str | os.PathLike[str], overrides: Sequence[str], base: str | None = None) -> dict[str, Any]:
    """Return ``read_recipe`` as plain nested values."""
    return read_recipe(conf, overrides, base).model_dump()


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested keys as one level: {"optim_conf.lr": 0.0002}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
