"""The sections of report.html with their figures: by speaker, by groups, Mandarin, training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from asr.pages.html import Words, both, entry, figure, heading
from asr.pages.svg import Pen, drawing, svg
from asr.reporting import figures
from asr.reporting.curves import Curves
from asr.reporting.figures import OTHER_CLIPS, SYSTEMS, group_rows
from asr.reporting.headline import signed, span
from asr.reporting.mandarin import heat_maps, mandarin_section
from asr.scoring.tables import percent, speaker_count

Plot = Callable[[Pen], Any]
TEXTS: dict[str, Words] = {"seen": ("seen", "见过"), "unseen": ("unseen", "没见过")}


def plots(score: Mapping[str, Any], curves: Curves) -> dict[str, Plot]:
    """Every figure that the run has something for, by its name, in the order of the page."""
    found: dict[str, Plot] = {}
    lines = score.get("reference_lines") or []
    speakers = group_rows(score["by_speaker"], "ci95_utterance")
    if speakers:
        found["speakers"] = lambda pen: figures.rates(speakers, pen, lines)
    groups = score.get("groups") or {}
    for name in ("text", "length", "duration", "rate"):
        rows = group_rows(groups.get(name) or {}, "ci95", TEXTS if name == "text" else None)
        if rows:
            found[name] = lambda pen, rows=rows: figures.rates(rows, pen)
    for kind, system, tables in heat_maps(score):
        name = f"{kind}_{system}" if system else kind
        found[name] = lambda pen, tables=tables: figures.confusions(tables, pen)
    if curves:
        found["training"] = lambda pen: figures.curves(curves, pen)
    return found


def sections(score: Mapping[str, Any], curves: Curves) -> list[str]:
    """HTML of every section between the headline and the error browser."""
    pen = Pen()
    with drawing(pen):
        drawn = {name: svg(plot(pen), f"picture-{name}") for name, plot in plots(score, curves).items()}
    groups = score.get("groups") or {}
    parts = [_speakers(score, drawn), _texts(score, drawn)]
    parts += [_group(score, groups.get(name), drawn, name) for name in ("length", "duration", "rate")]
    parts += _speaker_table(score, groups.get("speaker_table"))
    parts += [*mandarin_section(score, drawn), _training(curves, drawn)]
    return parts


def _legend(score: Mapping[str, Any]) -> list[str]:
    return [entry(name, both(*SYSTEMS[name])) for name in score["systems"]]


def _picture(drawn: Mapping[str, str], name: str, legend: Sequence[str], caption: Words) -> str:
    return figure(f"picture-{name}", drawn[name], legend, caption) if name in drawn else ""


def _speakers(score: Mapping[str, Any], drawn: Mapping[str, str]) -> str:
    caption = (
        "Each speaker’s CER with its 95 % interval over the speaker’s utterances, where there is one.",
        "各说话人的字错率及按其语句计算的 95 % 区间（如有）。",
    )
    many = len(score["by_speaker"]) > figures.MOST_NAMED
    if many:
        caption = (f"{caption[0]} Highest first; names are in the table.", f"{caption[1]}从高到低，名字见下表。")
    parts = [heading("By speaker", "各说话人"), _picture(drawn, "speakers", _legend(score), caption)]
    parts += _reference_lines(score)
    return "\n".join([*parts, _table(score, ("speaker", "说话人"), score["by_speaker"])])


def _reference_lines(score: Mapping[str, Any]) -> list[str]:
    lines = score.get("reference_lines")
    if not lines:
        return []
    items = []
    for line in lines:
        source = escape(str(line.get("source") or ""))
        english = f"{escape(line['name'])}: {percent(line['cer'])} % ({escape(str(line.get('note') or ''))}; {source})"
        note = escape(str(line.get("note_zh") or line.get("note") or ""))
        chinese = f"{escape(line.get('name_zh') or line['name'])}：{percent(line['cer'])} %（{note}；{source}）"
        items.append(f"<li>{both(english, chinese)}</li>")
    words = (
        f"Grey lines: {OTHER_CLIPS[0]}. A reference, never a test that was passed.",
        f"灰线：{OTHER_CLIPS[1]}。仅供参照，不是通过了的测试。",
    )
    return [f'<p class="muted">{both(*words)}</p>\n<ul class="muted">{"".join(items)}</ul>']


def _texts(score: Mapping[str, Any], drawn: Mapping[str, str]) -> str:
    title = heading("Text seen or unseen in fine-tuning", "微调时见过与没见过的文本")
    groups = (score.get("groups") or {}).get("text")
    if groups is None:
        words = ("Not computed: the scorer was not given the train manifest.", "没有计算：打分时没有给出训练清单。")
        return f"{title}\n<p>{both(*words)}</p>"
    caption = (
        "Seen: the exact text (normalised) is in train. The base model may have seen any text. Bars: 95 % intervals "
        "over speakers, where there are enough of them.",
        "见过：规范化后的文本原样出现在训练集中。基础模型可能见过任何文本。横条：按说话人的 95 % 区间（人数足够时）。",
    )
    named = {name: {**row, "name": TEXTS.get(name)} for name, row in groups.items()}
    drawing_ = _picture(drawn, "text", _legend(score), caption)
    return "\n".join([title, drawing_, _table(score, ("text", "文本"), named)])


_GROUPS: dict[str, tuple[Words, Words, Words]] = {
    "length": (
        ("By length of the reference", "按参考文本的长度"),
        ("characters", "字数"),
        ("Characters of the normalised reference.", "规范化后参考文本的字数。"),
    ),
    "duration": (
        ("By duration of the clip", "按片段时长"),
        ("seconds", "秒"),
        ("Seconds of the clip, silence at its ends included.", "片段的秒数，含首尾静音。"),
    ),
    "rate": (
        ("By speaking rate", "按语速"),
        ("characters/s", "字/秒"),
        (
            "Characters per second. Pauses and silence count as time: a low rate may be slow speech or long silence.",
            "每秒字数。停顿和静音也计入时间：数值低可能是说得慢，也可能只是静音长。",
        ),
    ),
}


_OVER: Words = (
    "95 %: over speakers, of whom a group must have four, none with most of its characters; else its figures are "
    "those of these speakers alone.",
    "95 % 区间按说话人计算，一组至少要有 4 位，且没有一位占去大半的字；否则数字只说明这几位说话人。",
)


def _group(score: Mapping[str, Any], groups: Mapping[str, Any] | None, drawn: Mapping[str, str], name: str) -> str:
    title, column, caption = _GROUPS[name]
    parts = [heading(*title)]
    if not groups:
        return "\n".join([*parts, f"<p>{both('Not computed.', '没有计算。')}</p>"])
    note = (f"{caption[0]} {_OVER[0]}", f"{caption[1]}{_OVER[1]}")
    return "\n".join([*parts, _picture(drawn, name, _legend(score), note), _table(score, column, groups)])


def _speaker_table(score: Mapping[str, Any], columns: Mapping[str, Any] | None) -> list[str]:
    if not columns:
        return []
    parts = [heading("By what the speaker table says", "按说话人表"), f'<p class="muted">{both(*_OVER)}</p>']
    for column, groups in columns.items():
        name = escape(str(column))
        parts += [f"<h3><bdi>{name}</bdi></h3>", _table(score, (name, name), groups)]
    return ["\n".join(parts)]


def _table(score: Mapping[str, Any], first: Words, groups: Mapping[str, Any]) -> str:
    """Rates of ``groups`` in a table that a click on a header sorts."""
    systems = list(score["systems"])
    by_speaker = groups is score["by_speaker"]
    interval = "ci95_utterance" if by_speaker else "ci95"
    header = [first, ("utterances", "语句"), ("characters", "字"), *[("speakers", "说话人")] * (not by_speaker)]
    for name in systems:
        english, chinese = SYSTEMS[name]
        header += [(f"{english} CER %", f"{chinese}字错率 %"), ("95 %", "95 %")]
    header += [("reduction, points", "下降，百分点")] if len(systems) > 1 else []
    rows = []
    for group, row in groups.items():
        words = row.get("name")
        cells = [f"{row['n_utt']:,}", f"{row['ref_len']:,}", *[speaker_count(row)] * (not by_speaker)]
        for name in systems:
            count = row.get(name) or {}
            cells += [percent(count.get("cer")), span(count.get(interval)) or "n/a"]
        known = [(row.get(name) or {}).get("cer") for name in systems]
        if len(systems) > 1:
            cells.append(signed(known[0] - known[1]) if None not in known else "n/a")
        shown = both(*words) if words else f"<bdi>{escape(str(group))}</bdi>"
        rows.append(f'<tr><th scope="row">{shown}</th><td>{"</td><td>".join(cells)}</td></tr>')
    head = "".join(
        f'<th scope="col" aria-sort="none"><button type="button">{both(*pair)}</button></th>' for pair in header
    )
    label = f'tabindex="0" role="region" aria-label="{first[0]}" data-label-en="{first[0]}" data-label-zh="{first[1]}"'
    return (
        f'<div class="box tall" {label}><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n'
        + "\n".join(rows)
        + "\n</tbody></table></div>"
    )


def _training(curves: Curves, drawn: Mapping[str, str]) -> str:
    title = heading("Training", "训练过程")
    if not curves:
        words = (
            "No curves: the run’s folder has no TensorBoard record.",
            "没有曲线：该运行的文件夹中没有 TensorBoard 记录。",
        )
        return f"{title}\n<p>{both(*words)}</p>"
    legend = [entry("plain several", both("training", "训练")), entry("plain tuned", both("validation", "验证"))]
    cer = curves.get("validation/cer")
    best = min(cer, key=lambda point: point[1]) if cer else None
    caption = (
        "Loss, validation CER and learning rate over training steps.",
        "损失、验证集字错率与学习率随训练步数的变化。",
    )
    if best:
        caption = (
            f"{caption[0]} The lowest validation CER of one checkpoint is {percent(best[1])} %, at step {best[0]:,}; "
            "validation decodes greedily and counts a token as a character.",
            f"{caption[1]}单个检查点的最低验证集字错率为 {percent(best[1])} %（第 {best[0]:,} 步）；"
            "验证时贪心解码，一个词元算一个字。",
        )
    return f"{title}\n{_picture(drawn, 'training', legend, caption)}"
