"""Which sub-package may import which, and that nothing imports in a circle; read off the sources, nothing is run."""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "scripts" / "asr"
# Each sub-package and those that it may import; docs/architecture.md shows it as a picture.
MAY_IMPORT = {
    "core": (),
    "audio": ("core",),
    "scoring": ("core",),
    "language": ("core", "scoring"),
    "pages": ("core",),
    "system": ("core",),
    "progress": ("core", "pages"),
    "models": ("core", "audio"),
    "config": ("core", "audio", "models"),  # audio: the default of max_unreadable
    "data": ("core", "audio", "models", "config"),
    "training": ("core", "audio", "scoring", "system", "progress", "models", "config", "data"),
    "decoding": ("core", "audio", "scoring", "progress", "models", "config", "language"),
    "averaging": ("core", "scoring", "models", "config", "training.checkpoints", "decoding"),
    "export": ("core", "audio", "scoring", "pages", "models", "config", "language", "decoding"),
    "serving": ("core", "audio", "models", "language", "pages", "decoding", "export"),
    "reporting": ("core", "audio", "scoring", "pages", "system", "progress", "config"),
    "preparation": ("core", "audio", "scoring", "pages", "progress", "models"),
    "experiments": ("core", "scoring", "pages", "system", "config", "reporting"),
}
FUNASR = {"models", "data", "training"}
WITHOUT_TORCH = {"core", "scoring", "language", "pages", "system", "config", "reporting", "preparation"}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in PACKAGE.rglob("*.py") if "fonts" not in path.parts}


@functools.cache
def imports(name: str, text: str, module_level: bool = False) -> tuple[str, ...]:
    """Return what a module imports, of ours by module; imports for type checkers alone are none."""
    return tuple(_imports(name, text, module_level))


def _imports(name: str, text: str, module_level: bool) -> Iterator[str]:
    tree = ast.parse(text)
    inside = {
        id(node)
        for part in ast.walk(tree)
        if (isinstance(part, ast.If) and getattr(part.test, "id", "") == "TYPE_CHECKING")
        or (module_level and isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef))
        for node in ast.walk(part)
    }
    for node in ast.walk(tree):
        if id(node) in inside:
            continue
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                yield module if module in SOURCES else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def sub_package(module: str) -> str:
    """Return a module's sub-package; "" for the package itself and for its front doors."""
    first = module.split(".")[1:2]
    return first[0] if first and (PACKAGE / first[0]).is_dir() else ""


def broken(sources: dict[str, str]) -> set[tuple[str, str]]:
    """Return (module, what it may not import) of every import that breaks the rule."""
    faults = set()
    for name, text in sources.items():
        own = sub_package(name)
        for target in imports(name, text):
            other = sub_package(target)
            if target.split(".")[0] != "asr":
                if target.split(".")[0] == "funasr" and own not in FUNASR:
                    faults.add((name, "funasr"))
            elif not other and target != "asr":
                faults.add((name, target))  # a front door
            elif own and other != own and target != "asr":
                allowed = [f"asr.{entry}" for entry in MAY_IMPORT[own]]
                if not any(target == entry or target.startswith(f"{entry}.") for entry in allowed):
                    faults.add((name, f"asr.{other}"))
            elif not own and name == "asr" and other:
                faults.add((name, f"asr.{other}"))
    return faults


def read_sources() -> dict[str, str]:
    return {name: path.read_text(encoding="utf-8") for name, path in SOURCES.items()}


def test_every_sub_package_is_in_the_rule_and_says_what_it_is_for():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == set(MAY_IMPORT)
    for path in PACKAGE.rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_each_sub_package_says_what_it_may_import(package):
    sentence = ast.get_docstring(ast.parse((PACKAGE / package / "__init__.py").read_text())).partition("Imports ")[2]
    names = re.split(r", | and ", re.split(r"[;.](?:\s|$)", sentence)[0]) if MAY_IMPORT[package] else []
    assert tuple(names) == MAY_IMPORT[package]


def test_imports_keep_the_rule():
    assert broken(read_sources()) == set()


@pytest.mark.parametrize(
    ("module", "line", "named"),
    [
        ("asr.core.files", "from asr.scoring.cer import align", "asr.scoring"),
        ("asr.decoding.run", "def f():\n    from funasr import AutoModel", "funasr"),
        ("asr.averaging.mean", "from asr.training.trainer import RecipeTrainer", "asr.training"),
        ("asr.scoring.cer", "from asr import train", "asr.train"),
    ],
)
def test_a_line_that_breaks_the_rule_is_found(module, line, named):
    sources = read_sources()
    sources[module] += f"\n{line}\n"
    assert (module, named) in broken(sources)


def cycle(sources: dict[str, str]) -> list[str]:
    """Return modules that import each other in a circle; none where there is no cycle."""
    edges = {
        name: {target for target in imports(name, text) if target in sources and target != "asr"} - {name}
        for name, text in sources.items()
    }
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_import_cycles():
    sources = read_sources()
    assert cycle(sources) == []
    sources["asr.core.files"] += "\nfrom asr.core.manifest import read_manifest\n"
    assert cycle(sources)


def test_the_sub_packages_that_need_no_torch_do_not_import_it_at_once():
    for name, text in read_sources().items():
        if sub_package(name) in WITHOUT_TORCH:
            heavy = {target.split(".")[0] for target in imports(name, text, module_level=True)} & {
                "torch",
                "torchaudio",
            }
            assert not heavy, name


def test_nothing_in_the_package_imports_local():
    local = {path.stem for path in (PACKAGE.parents[1] / "local").glob("*.py")}
    for name, text in read_sources().items():
        assert not {target.split(".")[0] for target in imports(name, text)} & (local - set(sys.stdlib_module_names)), (
            name
        )


def test_the_page_names_every_sub_package_and_only_files_that_exist():
    page = (PACKAGE.parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert [name for name in MAY_IMPORT if f'{name}["{name}<br/>' not in page] == []
    named = re.findall(r"`((?:[a-z_0-9]+/)+[a-z_0-9]*(?:\.(?:py|yaml|jsonl))?)`", page)
    assert len(named) > 30
    roots = (PACKAGE, PACKAGE.parents[1])
    assert [name for name in named if not any((root / name).exists() for root in roots)] == []
