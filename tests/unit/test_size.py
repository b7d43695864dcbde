"""No product file, function or line of ancestors is longer than a reader can hold; read off the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LONGEST_FILE, LONGEST_FUNCTION, DEEPEST = 300, 40, 2  # lines, docstring included; classes of ours, one below the other


def sources() -> dict[str, str]:
    """Return {path: text} of the product's Python."""
    paths = sorted([*(ROOT / "scripts/asr").rglob("*.py"), *(ROOT / "local").rglob("*.py")])
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in paths}


def too_long(texts: dict[str, str]) -> Iterator[str]:
    """Yield each file, and each function as "file name", that is longer than it may be."""
    for path, text in texts.items():
        if len(text.splitlines()) > LONGEST_FILE:
            yield path
        for node in ast.walk(ast.parse(text)):
            is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            if is_function and node.end_lineno - node.lineno >= LONGEST_FUNCTION:
                yield f"{path} {node.name}"


def too_deep(texts: dict[str, str]) -> set[str]:
    """Return the classes that have more than one ancestor of ours in a row; classes of one name are taken as one."""
    bases: dict[str, set[str]] = {}
    for text in texts.values():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                names = {ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases} - {node.name}
                bases.setdefault(node.name, set()).update(names)

    def depth(name: str) -> int:
        return 1 + max(map(depth, bases[name]), default=0) if name in bases else 0

    return {name for name in bases if depth(name) > DEEPEST}


def test_no_file_and_no_function_is_longer_than_it_may_be():
    assert list(too_long(sources())) == []


def test_no_class_has_more_than_one_ancestor_of_ours_in_a_row():
    assert too_deep(sources()) == set()


def test_what_is_too_long_or_too_deep_is_found():
    longest = "def f():\n" + "    a = 1\n" * 39
    assert list(too_long({"a.py": longest})) == []
    assert list(too_long({"a.py": longest + "    a = 2\n"})) == ["a.py f"]
    assert list(too_long({"a.py": "a = 1\n" * 301})) == ["a.py"]
    assert too_deep({"a.py": "class A(dict): ...\nclass B(A): ..."}) == set()
    assert too_deep({"a.py": "class A: ...\nclass B(A): ...", "b.py": "class C(a.B[int]): ..."}) == {"C"}
