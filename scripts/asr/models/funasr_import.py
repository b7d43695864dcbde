"""FunASR without all of its models: ``import funasr`` takes a third of the time, in every stage.

FunASR (1.4.16) imports every module that it has, some two hundred models among them, so that their classes are in its
tables. Here a class's module is imported when a table is asked for the class. Which module that is, is read off the
sources; where two register one name, ``LAST`` says which of them a whole import leaves in the table. A name that no
module registers, and any other FunASR, get the whole import after all.
"""

from __future__ import annotations

import functools
import importlib
import importlib.abc
import importlib.util
import pkgutil
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

VERSION = "1.4.16"
# Tables that are there only when something has registered for them.
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


@functools.cache
def index() -> dict[str, dict[str, str]]:
    """{table: {name: module}} of every class that FunASR's sources register."""
    spec = importlib.util.find_spec("funasr")
    folder = Path(spec.origin if spec and spec.origin else "funasr").parent
    found: dict[str, dict[str, str]] = {}
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if "tables.register" not in text:
            continue
        parts = path.relative_to(folder.parent).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        for table, name in _REGISTERED.findall(text):
            names = found.setdefault(table, {})
            if names.get(name) not in LAST:
                names[name] = module
    return found


@functools.cache
def everything() -> None:
    """The whole import, once."""
    sys.modules["funasr"].import_submodules("funasr")


class Table(dict[str, Any]):
    """One of FunASR's tables, which imports a class's module when it is asked for the class."""

    def __init__(self, name: str, known: dict[str, Any]) -> None:
        super().__init__(known)
        self.name = name

    def __setitem__(self, name: str, value: Any) -> None:
        """Register a class, unless it is one that a whole import would replace."""
        module, last = value.__module__, index().get(self.name, {}).get(name)
        if last == module or last not in LAST or not module.startswith("funasr."):
            super().__setitem__(name, value)

    def _find(self, name: str) -> None:
        if name in self:
            return
        if module := index().get(self.name, {}).get(name):
            try:
                importlib.import_module(module)
            except ImportError:  # a package is missing that this model wants: FunASR says so in its own way
                pass
        if name not in self:
            everything()

    def __getitem__(self, name: str) -> Any:
        self._find(name)
        return super().__getitem__(name)

    def get(self, name: Any, default: Any = None) -> Any:
        """The class of that name, or ``default``."""
        if name is not None:
            self._find(name)
        return super().get(name, default)


@contextmanager
def _nothing_walked() -> Iterator[None]:
    real = pkgutil.walk_packages
    pkgutil.walk_packages = lambda *_, **__: iter(())  # type: ignore[assignment]
    try:
        yield
    finally:
        pkgutil.walk_packages = real


def _complete(funasr: Any) -> None:
    """Give a module that was executed without its walk tables that fill themselves."""
    if funasr.__version__.strip() != VERSION:
        everything()
        return
    from funasr.register import tables

    for name in {name for name in dir(tables) if name.endswith("_classes")} | set(LATE):
        setattr(tables, name, Table(name, getattr(tables, name, {})))


class _Loader(importlib.abc.Loader):
    """The loader of funasr's own __init__, but for what that walks through."""

    def __init__(self, own: Any) -> None:
        self.own = own

    def create_module(self, spec: Any) -> Any:
        return self.own.create_module(spec)

    def exec_module(self, module: Any) -> None:
        with _nothing_walked():
            self.own.exec_module(module)
        _complete(module)

    def __getattr__(self, name: str) -> Any:  # what else a loader is asked for, such as data files
        return getattr(self.own, name)


class _Finder(importlib.abc.MetaPathFinder):
    """Stands before the finders that find funasr, and puts ``_Loader`` before its loader."""

    searching = False

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "funasr" or self.searching:
            return None
        self.searching = True
        try:
            spec = importlib.util.find_spec("funasr")
        finally:
            self.searching = False
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


def lazily() -> None:
    """From now on ``import funasr`` imports little; nothing is done where it is imported already."""
    if "funasr" not in sys.modules:
        sys.meta_path.insert(0, _Finder())
