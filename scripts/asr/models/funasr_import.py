"""FunASR without all of its models, in a third of the time, and without what it prints.

FunASR (1.4.16) imports every module that it has, some two hundred models among them, so that their classes are in its
tables. After ``import_funasr`` a class's module is imported when a table is asked for the class. Which module that is,
is read off the sources.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import logging
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError

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
        from funasr.register import tables
    finally:
        pkgutil.walk_packages = walk
    for name, modules in index().items():
        setattr(tables, name, Table(modules))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence FunASR's prints and logging, which importing it configures; on an error they are shown after all."""
    held = io.StringIO()
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(held):
            yield
    except RecipeError:
        raise
    except BaseException:
        sys.stderr.write(held.getvalue())
        raise
    finally:
        logging.disable(disabled)


def index() -> dict[str, dict[str, str]]:
    """Return {table: {name: module}} of every class that FunASR's sources register."""
    (folder,) = importlib.util.find_spec("funasr").submodule_search_locations  # type: ignore[union-attr, misc]
    modules: dict[str, dict[str, str]] = {}
    for path in sorted(Path(folder).rglob("*.py")):
        parts = path.relative_to(Path(folder).parent).with_suffix("").parts
        module = ".".join(parts).removesuffix(".__init__")
        for table, name in _REGISTERED.findall(path.read_text(encoding="utf-8", errors="replace")):
            names = modules.setdefault(table, {})
            if names.get(name) not in LAST:
                names[name] = module
    return modules


class Table(dict[str, Any]):
    """One of FunASR's tables, which imports a class's module when it is asked for the class."""

    def __init__(self, modules: dict[str, str]) -> None:
        super().__init__()
        self.modules = modules

    def __setitem__(self, name: str, value: Any) -> None:
        """Register a class, unless it is one of FunASR's that a whole import would replace."""
        if not value.__module__.startswith("funasr.") or self.modules.get(name) == value.__module__:
            super().__setitem__(name, value)

    def get(self, name: Any, default: Any = None) -> Any:
        """Return the class of that name, or ``default``."""
        if name not in self and name in self.modules:
            importlib.import_module(self.modules[name])
        return super().get(name, default)
