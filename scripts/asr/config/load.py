"""The YAML a user edits, checked key by key and laid out by the stage that reads it.

``python -m asr.config --conf conf/finetune_3090.yaml --out exp/<tag>/conf [++a.b=c …]`` prints the GPUs to use,
``data_conf.max_unknown_characters`` and ``report_conf.publish_columns`` (or nothing), and the base model, a line each,
and writes one small file per stage, so that a changed value reruns the stages that read it and no other.
"""

from __future__ import annotations

import argparse
import copy
import difflib
import math
import os
from pathlib import Path
from typing import Any

import yaml

from asr.config import deepspeed
from asr.config.schema import OPEN, OPTIMIZER_KEYS, OWNED, SCHEMA, STAGE_FILES, Key
from asr.core.errors import RecipeError, UsageError, at
from asr.core.files import write_text
from asr.core.made_by import RUN, claim
from asr.models import families

Lines = dict[tuple[str, ...], int]

REQUIRED = (("base",), ("family",), ("dataset_conf", "batch_size"), ("train_conf", "max_epoch"), ("optim_conf", "lr"))


def _construct(node: yaml.Node, path: Path, prefix: tuple[str, ...], lines: Lines) -> Any:
    """A YAML node as plain values, with the line of every key; a key given twice is an error."""
    if not isinstance(node, yaml.MappingNode):
        loader = yaml.SafeLoader("")
        try:
            value = loader.construct_object(node, deep=True)
        except yaml.YAMLError as error:
            raise RecipeError(f"{at(path, node.start_mark.line + 1)}: {str(error).splitlines()[0]}") from None
        return _number(value)
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key, line = str(key_node.value), key_node.start_mark.line + 1
        if key in result:
            raise RecipeError(f"{at(path, line)}: '{'.'.join((*prefix, key))}' stands twice")
        lines[(*prefix, key)] = line
        result[key] = _construct(value_node, path, (*prefix, key), lines)
    return result


def _number(value: Any) -> Any:
    """YAML 1.1 reads ``2e-4`` as a word; a person who writes it means a number."""
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return value
        return number if math.isfinite(number) and any(c.isdigit() for c in value) else value
    return value


def load_yaml(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Lines]:
    """Read a YAML mapping and the line of each key. A missing file or bad YAML is a RecipeError with file and line."""
    path = Path(path)
    if not path.is_file():
        raise RecipeError(f"{path}: no such configuration file")
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
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


def _all_keys(schema: Any = SCHEMA, prefix: str = "") -> list[str]:
    names = []
    for key, value in schema.items():
        names.append(prefix + key)
        if isinstance(value, dict):
            names += _all_keys(value, f"{prefix}{key}.")
    return names


def _nearest(path: tuple[str, ...], schema: Any) -> str:
    """The known key that was most likely meant, as '; did you mean …?', or nothing."""
    by_leaf = {name.rpartition(".")[2]: name for name in _all_keys(schema)}
    dotted = ".".join(path)
    found = difflib.get_close_matches(dotted, _all_keys(schema), 1, 0.75)
    if not found:
        found = [by_leaf[leaf] for leaf in difflib.get_close_matches(path[-1], by_leaf, 1, 0.6)]
    return f"; did you mean '{found[0]}'?" if found else ""


def check(values: dict[str, Any], schema: Any, where: Any, prefix: tuple[str, ...] = (), whole: Any = None) -> None:
    """Every key known, every value of its type. ``where(path)`` names the place for the error.

    ``whole`` is the schema that ``schema`` is a section of.
    """
    whole = whole or schema
    for key, value in values.items():
        path = (*prefix, key)
        name = ".".join(path)
        if key in OWNED and not prefix:
            raise RecipeError(f"{where(path)}: '{name}' is set by the recipe: {OWNED[key]}")
        if key not in schema:
            raise RecipeError(f"{where(path)}: unknown key '{name}'{_nearest(path, whole)}")
        known = schema[key]
        if isinstance(known, Key):
            if problem := known.problem(value):
                raise RecipeError(f"{where(path)}: '{name}' {problem}")
        elif not isinstance(value, dict):
            raise RecipeError(f"{where(path)}: '{name}' is a section, it holds keys, not {value!r}")
        elif known != OPEN:
            check(value, known, where, path, whole)


def parse_override(word: str) -> tuple[tuple[str, ...], Any]:
    """``++a.b=c`` as (("a", "b"), value); the value is read as YAML reads it."""
    dotted, equals, text = word.removeprefix("++").partition("=")
    if not word.startswith("++") or not equals or not all(dotted.split(".")):
        raise UsageError(f"'{word}': an override is written ++section.key=value")
    try:
        value = _number(yaml.safe_load(text))
    except yaml.YAMLError:
        raise UsageError(f"'{word}': cannot read the value '{text}'") from None
    return tuple(dotted.split(".")), value


def _merge_override(values: dict[str, Any], word: str) -> None:
    path, value = parse_override(word)
    nested: Any = value
    for key in reversed(path):
        nested = {key: nested}
    try:
        check(nested, SCHEMA, lambda _: f"'{word}'")
    except RecipeError as error:
        raise UsageError(str(error)) from None
    here = values
    for key in path[:-1]:
        here = here.setdefault(key, {})
    here[path[-1]] = value


def resolve(conf: str | os.PathLike[str], overrides: list[str], base: str | None = None) -> dict[str, Any]:
    """The checked configuration with command-line overrides merged in.

    Raises RecipeError with file and line for an unknown key (naming the nearest known one), a value of the wrong type,
    or a missing required key; UsageError for a bad override.
    """
    values, lines = load_yaml(conf)
    check(values, SCHEMA, lambda path: at(conf, lines.get(path)))
    values = copy.deepcopy(values)
    for word in overrides:
        _merge_override(values, word)
    if base:
        values["base"] = base
    for path in REQUIRED:
        here: Any = values
        for key in path:
            here = here.get(key) if isinstance(here, dict) else None
        if here is None:
            raise RecipeError(f"{conf}: '{'.'.join(path)}' is missing")
    _check_together(values, conf)
    return values


def _check_together(values: dict[str, Any], conf: object) -> None:
    """Values that are fine alone and wrong together."""
    train, family = values["train_conf"], families.of(values["family"])
    ranking = train.get("avg_keep_nbest_models_type", family.rankings[0])
    if ranking not in family.rankings:
        raise RecipeError(
            f"{conf}: train_conf.avg_keep_nbest_models_type is {ranking}; {family.name} can be ranked by"
            f" {', '.join(family.rankings)}"
        )
    family.options(values.get("decode_conf", {}), conf)
    _check_adapters(values, conf)
    if train.get("use_deepspeed"):
        deepspeed.check(train, conf)
    data = values["dataset_conf"]
    if values.get("dataset") == "AudioDataset" and (data.get("speed_perturb") or data.get("gain_db")):
        raise RecipeError(f"{conf}: dataset: AudioDataset has no speed_perturb or gain_db; RecipeAudioDataset has")
    optim = values.get("optim", "adam")
    for key in values["optim_conf"]:
        if key not in OPTIMIZER_KEYS[optim]:
            raise RecipeError(f"{conf}: optim_conf.{key}: {optim} takes {', '.join(OPTIMIZER_KEYS[optim])}")
    validate, save = train.get("validate_interval", 5000), train.get("save_checkpoint_interval", 5000)
    if validate % save:
        raise RecipeError(
            f"{conf}: train_conf.validate_interval {validate} must be a multiple of save_checkpoint_interval {save}:"
            " what was validated and not saved cannot be ranked"
        )
    if save % (accumulate := train.get("accum_grad", 1)):
        raise RecipeError(
            f"{conf}: train_conf.save_checkpoint_interval {save} must be a multiple of accum_grad {accumulate}: the"
            " gradients between two updates are not saved"
        )
    keep, average = train.get("keep_nbest_models", 10), train.get("avg_nbest_model", 10)
    if keep < average:
        raise RecipeError(
            f"{conf}: train_conf.keep_nbest_models is {keep}, so {average} (avg_nbest_model) can never be averaged"
        )


def _check_adapters(values: dict[str, Any], conf: object) -> None:
    """``lora_conf`` and what does not go with it."""
    family, lora = families.of(values["family"]), values.get("lora_conf")
    if lora is None:
        return
    if values.get("from_scratch"):
        raise RecipeError(f"{conf}: lora_conf adapts a base model, and from_scratch has none; take one of them away")
    if values["train_conf"].get("use_deepspeed"):
        raise RecipeError(f"{conf}: lora_conf and use_deepspeed do not go together: adapters fit one GPU")
    if not lora.get("targets", ["all"]):
        raise RecipeError(f"{conf}: lora_conf.targets is empty, so nothing would be adapted")
    for target in lora.get("targets", []):
        if family.native_lora and target not in family.lora_targets:
            raise RecipeError(
                f"{conf}: lora_conf.targets: {family.name} has no projection '{target}'; it has"
                f" {', '.join(family.lora_targets)}"
            )


def stage_values(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The configuration cut by the stage that reads it (STAGE_FILES)."""
    values = copy.deepcopy(values)
    values["avg_nbest_model"] = values["train_conf"].pop("avg_nbest_model", 10)
    return {name: {key: values[key] for key in keys if key in values} for name, keys in STAGE_FILES.items()}


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys as one level: {"optim_conf.lr": 0.0002}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _dump(values: dict[str, Any]) -> str:
    return yaml.safe_dump(values, allow_unicode=True, sort_keys=True, default_flow_style=False)


def write_stage_files(values: dict[str, Any], out: str | os.PathLike[str]) -> None:
    """Write ``out``/NAME.yaml of STAGE_FILES; a file whose content is unchanged is not touched."""
    claim(Path(out), RUN, ["*.yaml"])
    for name, part in stage_values(values).items():
        path = Path(out) / f"{name}.yaml"
        text = _dump(part)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m asr.config", description=__doc__.splitlines()[0])
    parser.add_argument("--conf", required=True, help="the YAML to read")
    parser.add_argument("--out", help="folder for the per-stage files (default: only check)")
    parser.add_argument("--base", help="base model in place of the YAML's")
    parser.add_argument("--ngpu", help="GPUs in place of the YAML's; 0 is the processor")
    arguments, rest = parser.parse_known_args()
    values = resolve(arguments.conf, rest, arguments.base)
    ngpu = values.get("ngpu", 1) if arguments.ngpu is None else arguments.ngpu
    if not str(ngpu).isdigit():
        raise UsageError(f"--ngpu takes a whole number, not '{ngpu}'")
    if arguments.out:
        write_stage_files(values, arguments.out)
    columns = ",".join(values.get("report_conf", {}).get("publish_columns", ()))
    print(ngpu, values.get("data_conf", {}).get("max_unknown_characters", ""), columns, values["base"], sep="\n")
