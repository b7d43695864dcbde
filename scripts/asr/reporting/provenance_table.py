"""How a result was made, for report.html: the facts of provenance.json and score.json, named in both languages."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from html import escape
from typing import Any

import yaml

from asr.pages.html import Words, both, heading, table
from asr.reporting.results_md import averaged, decoding, time_words

NOT_RECORDED: Words = ("not recorded", "没有记录")


def facts(score: Mapping[str, Any], provenance: Mapping[str, Any]) -> list[tuple[Words, Any]]:
    """Name and value of every fact, None where the run did not record it. ``provenance`` may lack any field."""
    corpus, base = provenance.get("corpus") or {}, provenance.get("base") or {}
    gpu = (provenance["gpu"] or "none") if "gpu" in provenance else None
    versions = provenance.get("versions") or {}
    times = provenance.get("times") or {}
    return [
        (("commit", "提交"), provenance.get("commit")),
        (("corpus", "语料"), corpus.get("name")),
        (("corpus digest", "语料摘要"), corpus.get("digest")),
        (("split", "划分"), corpus.get("split")),
        (("split digest", "划分摘要"), corpus.get("split_digest")),
        (("test set digest", "测试集摘要"), (score.get("reference") or {}).get("digest")),
        (("config file", "配置文件"), provenance.get("conf")),
        (("base model", "基础模型"), base.get("id")),
        (("base digest", "基础模型摘要"), base.get("digest")),
        (("averaged", "平均的检查点"), averaged(provenance.get("average"))),
        (("decoding", "解码方法"), decoding(provenance.get("decode"))),
        (("normaliser", "文本规范化"), _flat(score.get("normalizer"))),
        (("processor", "处理器"), provenance.get("processor")),
        (("GPU", "GPU"), gpu),
        (("versions", "版本"), ", ".join(f"{name} {version}" for name, version in versions.items())),
        (
            ("time by stage, continuations together", "各阶段用时（含中断后的续跑）"),
            ", ".join(f"{name} {time_words(value)}" for name, value in times.items()),
        ),
    ]


def _flat(value: Any) -> str | None:
    """A value of JSON on one line, without braces."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_flat(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return value if value is None or isinstance(value, str) else json.dumps(value)


def how_it_was_made(score: Mapping[str, Any], provenance: Mapping[str, Any]) -> str:
    """The section: facts, the data's sizes, the command, and the configuration as it was resolved."""
    rows = []
    for name, value in facts(score, provenance):
        shown = f'<span lang="en">{escape(str(value))}</span>' if value else both(*NOT_RECORDED)
        rows.append(f"<dt>{both(*name)}</dt><dd>{shown}</dd>")
    parts = [heading("How it was made", "如何得到"), '<dl class="facts">', *rows, "</dl>", *_data(provenance)]
    command, config = provenance.get("command"), provenance.get("config")
    if command:
        line = shlex.join(map(str, command))
        words = both(
            "Command (/path/to/… stands for a path outside the repository)", "命令（仓库以外的路径写作 /path/to/…）"
        )
        parts.append(f"<h3>{words}</h3>\n<pre>{escape(str(line))}</pre>")
    if config:
        text = yaml.safe_dump(config, allow_unicode=True, sort_keys=False, width=120).rstrip()
        words = both("Configuration, as resolved", "最终采用的配置")
        parts.append(f"<details><summary>{words}</summary>\n<pre>{escape(text)}</pre></details>")
    return "\n".join(parts)


def _data(provenance: Mapping[str, Any]) -> list[str]:
    splits = (provenance.get("corpus") or {}).get("splits")
    if not splits:
        return []
    rows = []
    for name, row in splits.items():
        cells = [row.get("speakers"), row.get("utterances"), row.get("hours")]
        forms = ("{:,}", "{:,}", "{:.2f}")
        known = [form.format(cell) if cell is not None else "" for form, cell in zip(forms, cells, strict=True)]
        rows.append((escape(str(name)), *known))
    words = (("split", "集合"), ("speakers", "说话人"), ("utterances", "语句"), ("hours", "小时"))
    return [table("", [both(*pair) for pair in words], rows)]
