"""Pages in two languages say the same: X.md and X.zh.md, section by section.

Compared are what no translation changes: headings' levels, code, what tables are looked up by, numbers, links. A rule
returns what differs, a line each, with the section. ``NOT_YET`` names what a pair does not keep; it has to be taken out
when it does, for a mark that is no longer true fails.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAIRS = sorted(path for folder in (".", "docs", "mini") for path in (ROOT / folder).glob("*.zh.md"))

_HAN = re.compile("[\u3400-\u9fff]")
_FENCE = re.compile(r"\s*(`{3,}|~{3,})")
_HEADING = re.compile(r"(#{1,6}) +(.+?)(?: +#+)?$")
_LINK = re.compile(r"\]\(([^()\s]*(?:\([^()]*\))?[^()\s]*)[^()]*\)")
_URL = re.compile(r"https?://[^\s)>，。；）]+")
_CODE = re.compile("`([^`]+)`")
# Only what writes numbers: NFKC would make a thousands separator of the comma in 10，200.
_HALF_WIDTH = str.maketrans("０１２３４５６７８９．％", "0123456789.%")
_NUMBER = re.compile(r"((?<![\d,])\d{1,3}(?:,\d{3})+(?![\d,])|\d+)((?:\.\d+)?)\s?(%|万|亿|million|billion|)")
_TIMES = {"万": 10**4, "million": 10**6, "亿": 10**8, "billion": 10**9}


class Section(NamedTuple):
    """A heading and what stands under it: lines of prose, and the code blocks (the line that opens one, its code)."""

    level: int
    heading: str
    prose: list[str]
    code: list[tuple[str, str]]


class Page(NamedTuple):
    """A page as it is on disk."""

    path: Path
    sections: list[Section]


def read(path: Path) -> Page:
    """The page of a file; what stands above its first heading is a section of level 0."""
    sections, block, fence = [Section(0, "(top)", [], [])], [], ""
    for line in path.read_text(encoding="utf-8").splitlines():
        mark = _FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence) and not line.strip(" `~"):
                sections[-1].code.append((block[0], "\n".join(block[1:])))
                fence = ""
            else:
                block.append(line)
        elif mark:
            fence, block = mark[1], [line.strip()]
        elif heading := _HEADING.match(line):
            sections.append(Section(len(heading[1]), heading[2], [line], []))
        else:
            sections[-1].prose.append(line)
    assert not fence, f"{path}: a code block is not closed"
    return Page(path, sections)


def pairs(english: Page, chinese: Page) -> Iterator[tuple[str, Section, Section]]:
    """What a section is called in a message, and the section in both languages."""
    for one, two in zip(english.sections, chinese.sections, strict=False):
        yield f"{one.heading} / {two.heading}", one, two


def unlike(name: str, what: str, one: Counter[str], two: Counter[str]) -> list[str]:
    """The line that says what only one language has, none where both have the same."""
    only = [f"only in {language}: {', '.join(sorted(more.elements()))}" for language, more in
            (("English", one - two), ("Chinese", two - one)) if more]  # fmt: skip
    return [f"{name}: {what}: {'; '.join(only)}"] if only else []


def headings(english: Page, chinese: Page) -> list[str]:
    """The same levels in the same order."""
    for one, two in zip_longest(english.sections, chinese.sections):
        if one is None or two is None or one.level != two.level:
            shown = [f"{'#' * each.level} {each.heading}" if each else "no heading" for each in (one, two)]
            return [f"{' / '.join(shown)}: the headings differ from here on"]
    return []


def code(english: Page, chinese: Page) -> list[str]:
    """The same code blocks; comments are in the language of the page."""

    def plain(block: tuple[str, str]) -> list[str]:
        return [block[0], *(re.sub(r"(^|\s+)#.*", "", line) for line in block[1].splitlines())]

    found = []
    for name, one, two in pairs(english, chinese):
        for number, blocks in enumerate(zip_longest(one.code, two.code), 1):
            if None in blocks:
                found.append(f"{name}: {len(one.code)} and {len(two.code)} code blocks")
                break
            lines = zip_longest(*map(plain, blocks))
            first = next(((a, b) for a, b in lines if a != b), None)
            found += [f"{name}: code block {number}: {first[0]!r} and {first[1]!r}"] if first else []
    return found


def tables(english: Page, chinese: Page) -> list[str]:
    """The same rows: the code of a first cell, or all of it where it is not translated."""
    found = []
    for name, one, two in pairs(english, chinese):
        rows = [[cell for line in each.prose if (cell := _first_cell(line)) is not None] for each in (one, two)]
        for number, cells in enumerate(zip_longest(*rows), 1):
            if None in cells:
                found.append(f"{name}: {len(rows[0])} and {len(rows[1])} rows of tables")
                break
            shown = [_CODE.findall(cell) if _HAN.search(cells[1]) else cell for cell in cells]
            if shown[0] != shown[1]:
                found.append(f"{name}: row {number}: {shown[0]} and {shown[1]}")
    return found


def _first_cell(line: str) -> str | None:
    cells = re.split(r"(?<!\\)\|", line.strip())
    is_row = len(cells) > 2 and not cells[0] and set(line) - set(" |:-")
    return re.sub("[,、，] *", ", ", cells[1].strip()) if is_row else None


def numbers(english: Page, chinese: Page) -> list[str]:
    """The same numbers, each as often; not those of code blocks and addresses."""
    return [
        line
        for name, one, two in pairs(english, chinese)
        for line in unlike(name, "numbers", _numbers(one), _numbers(two))
    ]


def _numbers(section: Section) -> Counter[str]:
    text = _URL.sub("", _LINK.sub("]", "\n".join(section.prose))).translate(_HALF_WIDTH)
    return Counter(_number(whole.replace(",", "") + part, sign) for whole, part, sign in _NUMBER.findall(text))


def _number(digits: str, sign: str) -> str:
    return f"{(Decimal(digits) * _TIMES[sign]).normalize():f}" if sign in _TIMES else digits + sign


def links(english: Page, chinese: Page) -> list[str]:
    """The same targets, but for the language; a heading is meant by its place."""
    return [
        line
        for name, one, two in pairs(english, chinese)
        for line in unlike(name, "links", _targets(english, one), _targets(chinese, two))
    ]


def _links(section: Section) -> list[str]:
    return _LINK.findall("\n".join(section.prose))


def _targets(page: Page, section: Section) -> Counter[str]:
    return Counter(target if "://" in target else _target(page, target) for target in _links(section))


def _target(page: Page, target: str) -> str:
    name, hash_, anchor = target.partition("#")
    if hash_:
        file = page.path.parent / name if name else page.path
        slugs = [_slug(section.heading) for section in read(file).sections] if file.is_file() else []
        wanted = unquote(anchor)
        hash_, anchor = ("#", f"heading {slugs.index(wanted)}") if wanted in slugs else ("#", f"{anchor} (not there)")
    return name.replace(".zh.md", ".md") + hash_ + anchor


def _slug(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def languages(english: Page, chinese: Page) -> list[str]:
    """A link leads to a page in the reader's language where there is one; but for that to the page's other language."""
    found = []
    for page, other in ((english, chinese), (chinese, english)):
        for section in page.sections:
            for target in _links(section):
                file = page.path.parent / target.partition("#")[0]
                is_chinese = file.name.endswith(".zh.md")
                stem = file.name.removesuffix(".md").removesuffix(".zh")
                same = file.with_name(f"{stem}.md" if page is english else f"{stem}.zh.md")
                strange = file.suffix == ".md" and is_chinese == (page is english) and same.is_file()
                if strange and file.name != other.path.name:
                    found.append(f"{section.heading}: leads to {target}, and there is {same.name}")
    return found


def each_other(english: Page, chinese: Page) -> list[str]:
    """Each says in its first lines where the other is."""
    found = []
    for page, other in ((english, chinese), (chinese, english)):
        top = "\n".join(page.path.read_text(encoding="utf-8").splitlines()[:5])
        if other.path.name not in _LINK.findall(top):
            found.append(f"(top) of {page.path.name}: no link to {other.path.name} in its first five lines")
    return found


RULES: dict[str, Callable[[Page, Page], list[str]]] = {
    rule.__name__: rule for rule in (headings, code, tables, numbers, links, languages, each_other)
}
NOT_YET: dict[tuple[str, str], str] = {}


def _cases() -> Iterator[object]:
    for path in PAIRS:
        name = path.relative_to(ROOT).as_posix()
        for rule in RULES:
            why = NOT_YET.get((name, rule))
            marks = [pytest.mark.xfail(reason=f"{why}; take it out of NOT_YET", strict=True)] if why else []
            yield pytest.param(path, rule, marks=marks, id=f"{name}-{rule}")


@pytest.mark.parametrize(("path", "rule"), _cases())
def test_both_languages_say_the_same(path, rule):
    english = path.with_name(path.name.replace(".zh.md", ".md"))
    assert english.is_file(), f"{path}: of what is it a translation?"
    found = RULES[rule](read(english), read(path))
    assert not found, "\n".join([f"{english.name} and {path.name}, {rule}:", *found])


def test_there_are_pages_in_two_languages():
    names = {path.relative_to(ROOT).as_posix() for path in PAIRS}
    assert names >= {"README.zh.md", "docs/data.zh.md", "docs/scores.zh.md"}
    assert {name for name, _ in NOT_YET} <= names


ENGLISH = """[中文](page.zh.md)

# Title

Of 45,327 clips in 100,000 hours (160 million words) 37.5 % are short; see [the other](other.md#one-thing) and [the hub](https://example.org/v2).

```bash
run --fast 3 # quickly
```

## Table

| `--option` | |
|---|---|
| `a`, `b` | 7 |
| plain words | 8 |
| some words | 9 |
"""
CHINESE = """[English](page.md)

# 标题

10 万小时（1.6 亿字）的 ４5,327 条录音中有 37.5% 很短；见[另一页](other.zh.md#一件事)和[模型库](https://example.org/v2)。

```bash
run --fast 3 # 快
```

## 表

| `--option` | |
|---|---|
| `a`、`b` | 7 |
| plain words | 8 |
| 一些词 | 9 |
"""
PLANTED = {  # what is changed in the Chinese page, by the rule that finds it; and what it says
    "a level": ("headings", "## 表", "### 表", "## Table / ### 表"),
    "a heading too few": ("headings", "## 表", "表", "## Table / no heading"),
    "a command": ("code", "--fast 3", "--fast 4", "Title / 标题: code block 1: 'run --fast 3' and 'run --fast 4'"),
    "a language": ("code", "```bash", "```", "code block 1: '```bash' and '```'"),
    "a block too few": ("code", "```bash\nrun --fast 3 # 快\n```\n", "", "Title / 标题: 1 and 0 code blocks"),
    "an option": ("tables", "`--option`", "`--options`", "Table / 表: row 1"),
    "one of two": ("tables", "`a`、`b`", "`a` 和其他", "Table / 表: row 2: ['a', 'b'] and ['a']"),
    "a word that is output": ("tables", "plain words", "plain word", "Table / 表: row 3"),
    "a row too few": ("tables", "| 一些词 | 9 |\n", "", "Table / 表: 4 and 3 rows"),
    "a number": ("numbers", "37.5%", "37.6%", "Title / 标题: numbers: only in English: 37.5%; only in Chinese: 37.6%"),
    "a per cent sign": ("numbers", "37.5%", "37.5", "only in English: 37.5%; only in Chinese: 37.5"),
    "a number too few": ("numbers", "| 9 |", "| 九 |", "Table / 表: numbers: only in English: 9"),
    "a thousand": ("numbers", "5,327", "5，327", "only in English: 45327; only in Chinese: 327, 45"),
    "ten thousands": ("numbers", "10 万", "1 万", "only in English: 100000; only in Chinese: 10000"),
    "millions": ("numbers", "1.6 亿", "1.6 万", "only in English: 160000000; only in Chinese: 16000"),
    "a target": ("links", "other.zh.md#", "page.zh.md#", "Title / 标题: links"),
    "another heading": ("links", "#一件事", "#另一件事", "other.md#heading 1; only in Chinese: other.md#heading 2"),
    "no heading": ("links", "#一件事", "#one-thing", "other.md#one-thing (not there)"),
    "an address": ("links", "/v2", "/v3", "only in Chinese: https://example.org/v3"),
    "the wrong language": ("languages", "other.zh.md#一件事", "other.md#one-thing", "标题: leads to other.md"),
    "no way back": ("each_other", "[English](page.md)", "English", "(top) of page.zh.md"),
}


def _written(folder: Path, chinese: str) -> tuple[Page, Page]:
    pages = {"page.md": ENGLISH, "page.zh.md": chinese}
    pages |= {"other.md": "# One thing\n\n# Another\n", "other.zh.md": "# 一件事\n\n# 另一件事\n"}
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    return read(folder / "page.md"), read(folder / "page.zh.md")


@pytest.mark.parametrize("rule", RULES)
def test_a_translation_is_no_difference(rule, tmp_path):
    assert RULES[rule](*_written(tmp_path, CHINESE)) == []


@pytest.mark.parametrize(("rule", "old", "new", "message"), PLANTED.values(), ids=PLANTED)
def test_a_planted_difference_is_found(rule, old, new, message, tmp_path):
    assert CHINESE.count(old) == 1
    found = RULES[rule](*_written(tmp_path, CHINESE.replace(old, new)))
    assert len(found) == 1
    assert message in found[0]


def test_every_rule_has_a_planted_difference():
    assert {rule for rule, *_ in PLANTED.values()} == RULES.keys()
