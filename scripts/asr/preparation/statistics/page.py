"""data_statistics.html: the figures of statistics.json as a page to look at, in English and Chinese.

One file that opens from disk and asks the network for nothing. It is made of statistics.json's content alone, so it
holds no transcript and can be shown to people who may not read the corpus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from asr.pages.html import SWITCH, both, document, heading, table
from asr.preparation.splits.split_file import SPLITS
from asr.preparation.statistics.html import split_name
from asr.preparation.statistics.pictures import pictures
from asr.preparation.statistics.text import by_split, percent

_STYLE = Path(__file__).resolve().parent / "page.css"
_SEVERITIES = {"error": ("error", "错误"), "warning": ("warning", "警告"), "note": ("note", "提示")}


def page(statistics: Mapping[str, Any]) -> str:
    """The whole page, the same bytes for the same statistics."""
    name = str(statistics["corpus"]["name"])
    body = [_header(statistics), _cards(statistics), _about(statistics), _splits(statistics), _problems(statistics)]
    body += [*pictures(statistics), _speakers(statistics)]
    title = (f"Data statistics: {name}", f"数据统计：{name}")
    return document(title, body, style=_STYLE.read_text(encoding="utf-8"))


def _header(statistics: Mapping[str, Any]) -> str:
    corpus = statistics["corpus"]
    name, parts = escape(str(corpus["name"])), escape(" + ".join(map(str, corpus.get("parts", []))))
    part = both(f", part {parts}", f"，{parts} 部分") if parts else ""
    heading = both(f"Data statistics: {name}", f"数据统计：{name}")
    lines = [f"<header>\n<h1>{heading}{part}</h1>\n{SWITCH}\n</header>\n<main>"]
    if corpus.get("simulated"):
        english = "Simulated speech, no clinical claim: a program made these voices, nobody was recorded."
        chinese = "模拟语音，不作任何临床结论：声音由程序生成，没有录制任何人。"
        lines.append(f'<p class="banner" role="note">{both(english, chinese)}</p>')
    english = (
        "This page holds counts, single characters and the corpus’s own speaker ids; no transcript and no audio. Its "
        "speakers may be patients: show it to people who may work with the corpus, and before you pass it on, make "
        "sure that the corpus’s terms and your ethics approval allow figures by speaker to be given out."
    )
    chinese = (
        "本页只有计数、单个汉字和语料库自己的说话人编号，没有转写文本，也没有音频。说话人可能是患者：请只给有权使用该语料库的人看；"
        "转发之前，请确认语料库的使用条款和伦理批件允许公开按说话人统计的数字。"
    )
    lines.append(f'<p class="note">{both(english, chinese)}</p>')
    return "\n".join(lines)


def _cards(statistics: Mapping[str, Any]) -> str:
    total, test = statistics["total"], statistics["splits"]["test"]
    seen = test["in_train"]["share"] if test["in_train"] else 0
    cards = [
        ("speakers", "说话人", f"{total['speakers']:,}"),
        ("utterances", "语句", f"{total['utterances']:,}"),
        ("hours", "小时", f"{total['hours']:.2f}"),
        ("characters", "字", f"{total['characters']:,}"),
        ("different characters", "不同的字", f"{total['distinct_characters']:,}"),
        ("different texts", "不同的文本", f"{total['distinct_texts']:,}"),
        ("of the test utterances: text also in train", "的测试语句文本也在训练集中", percent(seen)),
    ]
    if statistics["vocabulary"]:
        count = statistics["vocabulary"]["uncovered_characters"]
        cards.append(("characters without a token", "不在模型词表中的字", f"{count:,}"))
    items = "\n".join(f"<div><dt>{both(en, zh)}</dt><dd>{value}</dd></div>" for en, zh, value in cards)
    return f'<dl class="cards">\n{items}\n</dl>'


def _about(statistics: Mapping[str, Any]) -> str:
    corpus, split = statistics["corpus"], statistics["split"]
    rows = [
        (both("split", "划分"), f'<span lang="en">{escape(str(split["description"]))}</span>'),
        (both("corpus digest", "语料摘要"), f"<code>{escape(str(corpus['digest']))}</code>"),
    ]
    if split.get("digest"):
        rows.append((both("split digest", "划分摘要"), f"<code>{escape(str(split['digest']))}</code>"))
    if statistics["vocabulary"]:
        rows.append((both("base model", "基础模型"), _tokens(statistics["vocabulary"])))
    return '<dl class="facts">\n' + "\n".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows) + "\n</dl>"


def _tokens(vocabulary: Mapping[str, Any]) -> str:
    if vocabulary["characters"] is None:
        return both("a tokenizer by pieces, asked for each character", "按子词切分，已逐字检查")
    count = f"{vocabulary['characters']:,}"
    return both(f"tokens for {count} characters", f"词表含 {count} 个单字")


def _splits(statistics: Mapping[str, Any]) -> str:
    columns = ("speakers", "utterances", "hours", "characters", "distinct_characters", "distinct_texts")
    words = (("speakers", "说话人"), ("utterances", "语句"), ("hours", "小时"), ("characters", "字"))
    words += (("different characters", "不同的字"), ("different texts", "不同的文本"))
    named = [(split_name(name), statistics["splits"][name]) for name in SPLITS]
    rows = [
        (name, *(f"{row[key]:.2f}" if key == "hours" else f"{row[key]:,}" for key in columns))
        for name, row in (*named, (both("total", "合计"), statistics["total"]))
    ]
    header = (both("split", "集合"), *(both(*pair) for pair in words))
    return (
        f"{heading('The split', '划分')}\n{table('', header, rows)}\n{_manual(statistics.get('differences'))}".rstrip()
    )


def _manual(differences: Sequence[str] | None) -> str:
    if differences is None:
        return ""
    if not differences:
        return f"<p>{both('The 1h part’s counts are the manual’s.', '1h 部分的数目与手册一致。')}</p>"
    lines = "\n".join(f'<li lang="en">{escape(line)}</li>' for line in differences)
    head = both("The 1h part’s counts differ from the manual’s:", "1h 部分的数目与手册不同：")
    return f"<p>{head}</p>\n<ul>\n{lines}\n</ul>"


def _problems(statistics: Mapping[str, Any]) -> str:
    found = statistics.get("problems", [])
    title = heading("Problems found", "发现的问题")
    if not found:
        return f"{title}\n<p>{both('None.', '无。')}</p>"
    rows = []
    for row in found:
        severity = row["severity"]
        words = both(*_SEVERITIES[severity]) if severity in _SEVERITIES else escape(severity)
        rows.append((words, f'<span lang="en">{escape(str(row["kind"]))}</span>', f"{row['count']:,}"))
    header = (both("severity", "程度"), both("kind", "种类"), both("count", "数目"))
    english = "Each one is in problems.tsv, with its file and line; what every kind means is in docs/data.md."
    chinese = "每个问题连同文件和行号都在 problems.tsv 中；各种类的含义见 docs/data.md。"
    return f'{title}\n<p class="muted">{both(english, chinese)}</p>\n{table("", header, rows, words=(0, 1))}'


_COLUMNS = (
    *(("speaker", "说话人"), ("split", "集合"), ("utterances", "语句"), ("minutes", "分钟"), ("characters", "字")),
    *(("different characters", "不同的字"), ("different texts", "不同的文本")),
    *(("median s", "时长中位数（秒）"), ("median characters", "字数中位数"), ("characters/s", "字/秒")),
    *(("5 %", "5 %"), ("median", "中位数"), ("95 %", "95 %"), ("text in train", "文本在训练集中")),
)


def _speakers(statistics: Mapping[str, Any]) -> str:
    rows = []
    for speaker, row in by_split(statistics["by_speaker"]):
        counts = (f"{row[key]:,}" for key in ("characters", "distinct_characters", "distinct_texts"))
        rate = (f"{row['rate'][key]:.2f}" for key in ("overall", "p5", "median", "p95"))
        medians = (f"{row['median_seconds']:.2f}", f"{row['median_length']}")
        seen = percent(row["in_train"]["share"]) if row["in_train"] else ""
        cells = (row["split"], f"{row['utterances']:,}", f"{row['hours'] * 60:.1f}", *counts, *medians, *rate, seen)
        rows.append(f'<tr><th scope="row">{escape(speaker)}</th><td>{"</td><td>".join(cells)}</td></tr>')
    head = "".join(
        f'<th scope="col" aria-sort="none"><button type="button">{both(*pair)}</button></th>' for pair in _COLUMNS
    )
    english = "A click on a header sorts, a second one sorts the other way. Percentiles are over utterances."
    note = f'<p class="muted">{both(english, "点击表头排序，再点一次反向排序。百分位数按语句计算。")}</p>'
    labels = 'tabindex="0" role="region" aria-label="Speakers" data-label-en="Speakers" data-label-zh="说话人"'
    body = "\n".join(rows)
    return (
        f'{heading("Speakers, one by one", "各说话人")}\n{note}\n<div class="box tall" {labels}><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )
