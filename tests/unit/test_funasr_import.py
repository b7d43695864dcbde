"""FunASR imported a class at a time: the same classes as by its own whole import, and far less of it."""

import json
import os
import subprocess
import sys

import pytest

from asr.models.funasr_import import index

WHOLE = """
import json, sys
import funasr
from funasr.register import tables
kinds = {}
for table in json.loads(sys.argv[1]):
    kinds |= {f"{table}.{name}": kind for name, kind in getattr(tables, table, {}).items()}
print(json.dumps({name: f"{kind.__module__}.{kind.__qualname__}" for name, kind in kinds.items()}))
"""
LAZILY = """
import json, sys
from asr.models.funasr_import import import_funasr

import_funasr()
from funasr.register import tables
kinds = {name: getattr(tables, name.split(".")[0]).get(name.split(".", 1)[1]) for name in json.loads(sys.argv[1])}
print(json.dumps({name: f"{kind.__module__}.{kind.__qualname__}" for name, kind in kinds.items()}))
"""


@pytest.fixture
def python(request, tmp_path):
    """What a new Python prints last."""

    def run(code: str, *words: str) -> str:
        (tmp_path / "program.py").write_text(code, encoding="utf-8")
        command = [sys.executable, str(tmp_path / "program.py"), *words]
        environment = {**os.environ, "PYTHONPATH": str(request.config.rootpath / "scripts")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[-1]

    return run


def test_every_table_has_the_classes_of_a_whole_import(python):
    whole = json.loads(python(WHOLE, json.dumps(list(index()))))
    assert len(whole) > 140
    del whole["model_classes.OpenMOSS-Team/MOSS-Transcribe-Diarize"]  # named by a constant; no family has it
    assert json.loads(python(LAZILY, json.dumps(list(whole)))) == whole


def test_one_model_brings_no_other(python):
    code = """
import sys
from asr.models.funasr_import import import_funasr

import_funasr()
from funasr.register import tables
assert tables.model_classes.get("Paraformer").__module__ == "funasr.models.paraformer.model"
assert tables.decoder_classes.get("ParaformerSANMDecoder").__module__ == "funasr.models.e_paraformer.decoder"
print([name for name in ("transformers", "funasr.models.fun_asr_nano.model") if name in sys.modules])
"""
    assert python(code) == "[]"


def test_a_class_of_ones_own_is_registered_and_one_that_nobody_has_is_none(python):
    code = """
import sys
from asr.models.funasr_import import import_funasr

import_funasr()
from funasr.register import tables

@tables.register("model_classes", "Conformer")
class Mine:
    pass

assert tables.model_classes.get("Conformer") is Mine
assert tables.model_classes.get(None) is None
print(tables.model_classes.get("Nobody"))
"""
    assert python(code) == "None"
