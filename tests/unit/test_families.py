"""The door: every YAML has a family and a test, every family a YAML, and a model folder is known by its class."""

import pytest
import yaml

from asr.config.load import resolve
from asr.core.errors import RecipeError
from asr.models import families
from tests.dozen import ROOT
from tests.families import CASES, TRIED_ELSEWHERE


def confs():
    """Every YAML in conf/ that names a base model."""
    found = {f"conf/{path.name}": yaml.safe_load(path.read_text(encoding="utf-8")) for path in ROOT.glob("conf/*.yaml")}
    return {name: values for name, values in found.items() if "base" in values}


def test_every_conf_is_tried_by_a_case_and_no_case_is_of_a_conf_that_is_gone():
    tried = {case.conf for case in CASES.values()} | TRIED_ELSEWHERE.keys()
    assert tried == confs().keys()
    for name in TRIED_ELSEWHERE.values():
        assert (ROOT / name).is_file()


def test_every_family_has_a_conf_and_one_that_adapts():
    for name in families.FAMILIES:
        own = [values for values in confs().values() if values["family"] == name]
        assert own, name
        assert any("lora_conf" in values for values in own), name


@pytest.mark.parametrize("name", CASES)
def test_a_case_resolves_and_learns_by_heart_unless_it_says_why_not(name):
    case = CASES[name]
    values = resolve(ROOT / case.conf, list(case.overrides))
    assert values["family"] in families.FAMILIES
    if not case.learns:
        assert "lora_conf" in values or values.get("from_scratch") or values["family"] in ("paraformer", "whisper")


def test_each_family_has_a_case_that_learns():
    learn = {resolve(ROOT / case.conf, [])["family"] for case in CASES.values() if case.learns}
    assert learn == families.FAMILIES.keys()


def test_a_folder_is_known_by_the_class_in_its_configuration(tmp_path):
    for family in families.FAMILIES.values():
        for kind in family.models:
            (tmp_path / "config.yaml").write_text(f"model: {kind}\n")
            assert families.of_folder(tmp_path) is family
    (tmp_path / "config.yaml").write_text("model: Whisper\n")
    with pytest.raises(RecipeError, match="is a Whisper, which the recipe does not know; it knows Paraformer"):
        families.of_folder(tmp_path)


def test_no_class_is_claimed_twice():
    claimed = [kind for family in families.FAMILIES.values() for kind in family.models]
    assert len(claimed) == len(set(claimed))


def test_an_option_of_another_family_is_named_with_its_owner():
    for family in families.FAMILIES.values():
        for other in families.FAMILIES.values():
            for key in other.decode_options.keys() - family.decode_options.keys():
                with pytest.raises(RecipeError, match=rf"decode_conf\.{key} is for"):
                    families.check_options(family, {key: 1})
