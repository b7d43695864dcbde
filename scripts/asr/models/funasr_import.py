"""FunASR without all of its models: ``import funasr`` in a third of the time, for commands that load or train a model.

FunASR (1.4.16) imports every module that it has, some two hundred models among them, so that their classes are in its
tables. After ``import_funasr`` a class's module is imported when a table is asked for the class. Which module that is,
is read off the sources. A name that no module registers, and any other FunASR, get the whole import after all.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import pkgutil
import re
import sys
from pathlib import Path
from typing import Any

VERSION = "1.4.16"
# Tables that exist only when something has registered for them.
LATE = ("adaptor_classes", "lid_predictor_classes", "preprocessor_classes", "prompt_classes")
# Of modules that register the same names, those whose classes a whole import leaves in the tables.
LAST = frozenset(
    {
        "funasr.models.conformer_rwkv.model",
        "funasr.models.e_paraformer.decoder",
        "funasr.models.llm_asr_nar.adaptor",
        "funasr.models.sa_asr.transformer_decoder",
    }
)
_REGISTERED = re.compile(r"tables\.register\(\s*[\"'](\w+)[\"']\s*,\s*(?:key\s*=\s*)?[\"']([^\"']+)[\"']")


def import_funasr() -> None:
    """Import FunASR with tables that fill themselves. Nothing is done where it is imported already."""
    if "funasr" in sys.modules:
        return
    walk, pkgutil.walk_packages = pkgutil.walk_packages, lambda *_, **__: iter(())  # type: ignore[assignment]
    try:
        import funasr
    finally:
        pkgutil.walk_packages = walk
    if funasr.__version__.strip() != VERSION:
        _import_everything()
        return
    from funasr.register import tables

    for name in {name for name in dir(tables) if name.endswith("_classes")} | set(LATE):
        setattr(tables, name, Table(name, getattr(tables, name, {})))


@functools.cache
def index() -> dict[str, dict[str, str]]:
    """Return {table: {name: module}} of every class that FunASR's sources register."""
    spec = importlib.util.find_spec("funasr")
    folder = Path(spec.origin if spec and spec.origin else "funasr").parent
    modules: dict[str, dict[str, str]] = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        module = ".".join(parts).removesuffix(".__init__")
        for table, name in _REGISTERED.findall(path.read_text(encoding="utf-8", errors="replace")):
            names = modules.setdefault(table, {})
            if names.get(name) not in LAST:
                names[name] = module
    return modules


@functools.cache
def _import_everything() -> None:
    sys.modules["funasr"].import_submodules("funasr")


class Table(dict[str, Any]):
    """One of FunASR's tables, which imports a class's module when it is asked for the class."""

    def __init__(self, name: str, classes: dict[str, Any]) -> None:
        super().__init__(classes)
        self.modules = index().get(name, {})

    def __setitem__(self, name: str, value: Any) -> None:
        """Register a class, unless it is one that a whole import would replace."""
        module, last = value.__module__, self.modules.get(name)
        if last == module or last not in LAST or not module.startswith("funasr."):
            super().__setitem__(name, value)

    def __missing__(self, name: str) -> Any:
        try:
            importlib.import_module(self.modules[name])
        except (KeyError, ImportError):  # nobody registers it; a package is missing, which FunASR says in its own way
            pass
        if name not in self:
            _import_everything()
        if name not in self:
            raise KeyError(name)
        return self[name]

    def get(self, name: Any, default: Any = None) -> Any:
        """Return the class of that name, or ``default``."""
        try:
            return default if name is None else self[name]
        except KeyError:
            return default
