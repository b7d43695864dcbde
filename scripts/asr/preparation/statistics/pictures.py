"""The pictures of data_statistics.html with their titles, axes, legends and what they show, in both languages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from asr.pages.html import Words, both, entry, figure, heading, table
from asr.pages.svg import drawing
from asr.preparation.splits.split_file import SPLITS
from asr.preparation.statistics import charts as figures
from asr.preparation.statistics.html import split_name
from asr.preparation.statistics.text import percent

Picture = Callable[[Mapping[str, Any], str], str]


def pictures(statistics: Mapping[str, Any]) -> list[str]:
    """Every section with a picture, in the order of the page."""
    makers = (_speakers, _lengths, _durations, _rates, _overlap, _characters)
    with drawing():
        return [make(statistics) for make in makers]


def _figure(picture: Picture, statistics: Mapping[str, Any], axis: Words, legend: Sequence[str], caption: Words) -> str:
    name = f"picture-{picture.__name__}"
    return figure(name, picture(statistics, name), legend, caption, axis)


def _split_legend(statistics: Mapping[str, Any], names: Sequence[str] = SPLITS) -> list[str]:
    legend = [entry(name, split_name(name)) for name in names]
    if any("+" in row["split"] for row in statistics["by_speaker"].values()):
        legend.append(entry("several", both("in several", "属于多个集合")))
    return legend


def _unnamed(count: int) -> Words:
    """A remark where there are too many speakers for a name each."""
    if count <= figures.MOST_NAMED:
        return "", ""
    return f" {count:,} speakers, their names are in the table below.", f"共 {count:,} 位说话人，名字见下表。"


def _range(values: Sequence[float], form: str) -> str:
    low, high = (f"{value:,{form}}" for value in (min(values), max(values)))
    return low if low == high else f"{low}–{high}"


def _speakers(statistics: Mapping[str, Any]) -> str:
    rows = statistics["by_speaker"]
    counts = [row["utterances"] for row in rows.values()]
    minutes = [row["hours"] * 60 for row in rows.values()]
    more = _unnamed(len(rows))
    caption = (
        f"A speaker has {_range(counts, '')} utterances, {_range(minutes, '.1f')} minutes.{more[0]}",
        f"每位说话人 {_range(counts, '')} 条语句，{_range(minutes, '.1f')} 分钟。{more[1]}",
    )
    axis = ("above: utterances; below: minutes of audio", "上：语句数；下：音频分钟数")
    drawn = _figure(figures.speakers, statistics, axis, _split_legend(statistics)[:3], caption)
    return f"{heading('Utterances and minutes by speaker', '各说话人的语句数与时长')}\n{drawn}"


def _lengths(statistics: Mapping[str, Any]) -> str:
    parts = [statistics["splits"][name] for name in SPLITS]
    medians = [f"{row['length']['median']:g}" for row in parts]
    ones, twos = ([percent(row[key]) for row in parts] for key in ("one_character", "at_most_two_characters"))
    longest = max(row["length"]["max"] for row in parts)
    caption = (
        f"{_each(medians)[0]} characters in the median; one character: {_each(ones)[0]}; at most two: "
        f"{_each(twos)[0]}; the longest has {longest}. A mean of per-utterance CERs would be ruled by the shortest: "
        "read the corpus-level CER.",
        f"中位数 {_each(medians)[1]} 字；单字 {_each(ones)[1]}；至多两字 {_each(twos)[1]}；最长 {longest} 字。"
        "按语句平均字错率会被最短的语句左右，请看整个语料的字错率。",
    )
    axis = ("% of the split’s utterances, by characters", "占该集合语句的百分比，按字数")
    drawn = _figure(figures.lengths, statistics, axis, _split_legend(statistics)[:3], caption)
    return f"{heading('How long the transcripts are', '转写的字数')}\n{drawn}"


def _each(values: Sequence[object]) -> Words:
    """One value for train, val and test: ``5 (train), 4 (val), 6 (test)``, or the one they all have."""
    if len(set(values)) == 1:
        return str(values[0]), str(values[0])
    named = list(zip(SPLITS, values, strict=True))
    return ", ".join(f"{value} ({name})" for name, value in named), "、".join(
        f"{value}（{name}）" for name, value in named
    )


def _durations(statistics: Mapping[str, Any]) -> str:
    parts = [statistics["splits"][name] for name in SPLITS]
    medians = [f"{row['seconds']['median']:.2f}" for row in parts]
    short = [percent(row["under_one_second"]) for row in parts]
    longest, above = max(row["seconds"]["max"] for row in parts), sum(row["above_default_limit"] for row in parts)
    caption = (
        f"{_each(medians)[0]} s in the median; under one second: {_each(short)[0]}; the longest has {longest:.2f} s. "
        f"{above:,} clips are above 20.48 s, which FunASR drops by default; here training’s limit is set to keep them.",
        f"中位数 {_each(medians)[1]} 秒；不到一秒：{_each(short)[1]}；最长 {longest:.2f} 秒。"
        f"{above:,} 个片段超过 20.48 秒：FunASR 默认会丢弃它们，本配方按最长的片段设上限，予以保留。",
    )
    axis = (
        "% of the split’s utterances, by seconds: half a second a column, from 10 s on (line) a second",
        "占该集合语句的百分比，按秒：每格半秒，10 秒（竖线）以后每格一秒",
    )
    legend = [*_split_legend(statistics)[:3], entry("limit", both("FunASR’s default limit", "FunASR 默认上限"))]
    drawn = _figure(figures.durations, statistics, axis, legend, caption)
    return f"{heading('How long the clips are', '片段时长')}\n{drawn}"


def _rates(statistics: Mapping[str, Any]) -> str:
    rows = sorted(statistics["by_speaker"].values(), key=lambda row: row["rate"]["median"])
    low, high = (f"{rows[place]['rate']['median']:.2f}" for place in (0, -1))
    more = _unnamed(len(rows))
    caption = (
        f"Slowest speaker {low}, fastest {high} characters per second in the median. Pauses and silence at the ends "
        f"count as time, so a slow rate may be a slow speaker or a long silence.{more[0]}",
        f"中位数最慢的说话人每秒 {low} 字，最快 {high} 字。停顿和首尾静音也计入时间，数值低可能只是静音长。{more[1]}",
    )
    axis = (
        "characters per second, slowest speaker first: median (mark), 5th to 95th percentile of utterances (bar)",
        "每秒字数，从慢到快：横标为中位数，竖条为语句的第 5 至第 95 百分位",
    )
    drawn = _figure(figures.rates, statistics, axis, _split_legend(statistics), caption)
    return f"{heading('Speaking rate by speaker', '各说话人的语速')}\n{drawn}"


def _overlap(statistics: Mapping[str, Any]) -> str:
    test, val = (statistics["splits"][name]["in_train"] for name in ("test", "val"))
    caption = (
        f"Exact text in train: {percent(test['share'])} of the test utterances ({percent(test['characters_share'])} of "
        f"their characters), {percent(val['share'])} of the validation utterances "
        f"({percent(val['characters_share'])}). Unseen speakers are not unseen sentences: read the CER of both groups.",
        f"文本原样出现在训练集中：测试语句的 {percent(test['share'])}（按字 {percent(test['characters_share'])}），"
        f"验证语句的 {percent(val['share'])}（按字 {percent(val['characters_share'])}）。"
        "没听过的说话人不等于没见过的句子：两组的字错率都要看。",
    )
    counted = sum(row["in_train"] is not None for row in statistics["by_speaker"].values())
    more = _unnamed(counted)
    axis = (
        "% of the speaker’s utterances whose text is in train too; line: % of their characters",
        "该说话人的语句中文本也在训练集的百分比；横线：按字计的百分比",
    )
    legend = [*_split_legend(statistics)[1:], entry("line", both("by characters", "按字计"))]
    drawn = _figure(figures.overlap, statistics, axis, legend, (caption[0] + more[0], caption[1] + more[1]))
    return f"{heading('Prompt overlap', '文本重合')}\n{drawn}\n{_overlap_table(statistics)}"


def _overlap_table(statistics: Mapping[str, Any]) -> str:
    rows = []
    for name in SPLITS:
        cells = [split_name(name)]
        for other in SPLITS:
            seen = statistics["splits"][name][f"in_{other}"]
            cells.append("" if seen is None else f"{percent(seen['share'])} ({seen['utterances']:,})")
        rows.append(cells)
    header = [both("utterances of", "语句属于")]
    header += [both(f"with a text in {name}", f"文本也在 {name}") for name in SPLITS]
    return table("", header, rows)


def _characters(statistics: Mapping[str, Any]) -> str:
    test, vocabulary = statistics["splits"]["test"], statistics["vocabulary"]
    new, times = test["characters_not_in_train"], test["occurrences_not_in_train"]
    caption = (
        f"The test set has {new:,} characters that train has not; they occur {times:,} times. Train has "
        f"{statistics['splits']['train']['singletons']:,} characters only once.",
        f"测试集有 {new:,} 个字不在训练集中，共出现 {times:,} 次。训练集中只出现一次的字有 "
        f"{statistics['splits']['train']['singletons']:,} 个。",
    )
    legend = [*_split_legend(statistics)[:3], entry("pale", both("not in train", "不在训练集中"))]
    if vocabulary:
        legend.append(entry("bad", both("without a token of the base model", "不在基础模型词表中")))
    axis = ("number of different characters", "不同的字的数目")
    drawn = _figure(figures.characters, statistics, axis, legend, caption)
    parts = [heading("Characters and the model’s tokens", "字与模型词表"), drawn, _characters_table(statistics)]
    return "\n".join(parts + _without_token(statistics))


def _characters_table(statistics: Mapping[str, Any]) -> str:
    vocabulary, rows = statistics["vocabulary"], []
    words = [("different characters", "不同的字"), ("occur once", "只出现一次")]
    words += [("not in train", "不在训练集中"), ("occurrences", "出现次数")]
    if vocabulary:
        words += [("without a token", "不在词表中"), ("occurrences", "出现次数")]
    for name in SPLITS:
        row = statistics["splits"][name]
        values = [row["distinct_characters"], row["singletons"]]
        values += [row["characters_not_in_train"], row["occurrences_not_in_train"]]
        if vocabulary:
            found = vocabulary["splits"][name]
            values.append(found["distinct_characters"] - found["covered_characters"])
            values.append(found["occurrences"] - found["covered_occurrences"])
        rows.append((split_name(name), *(f"{value:,}" for value in values)))
    return table("", [both("split", "集合"), *(both(*pair) for pair in words)], rows)


def _without_token(statistics: Mapping[str, Any]) -> list[str]:
    vocabulary = statistics["vocabulary"]
    if not vocabulary:
        return [
            f"<p>{both('No base model was given, so tokens were not checked.', '没有指定基础模型，未检查词表。')}</p>"
        ]
    if not vocabulary["uncovered"]:
        words = both("The base model has a token for every character.", "每个字都在基础模型的词表中。")
        return [f"<p>{words}</p>"]
    count, shown = vocabulary["uncovered_characters"], min(len(vocabulary["uncovered"]), figures.MOST_LETTERS)
    caption = (
        f"The base model cannot write these: each becomes &lt;unk&gt;. {shown} of {count:,} characters, the most "
        "frequent first.",
        f"基础模型写不出这些字，都会变成 &lt;unk&gt;。共 {count:,} 个，图中为最常见的 {shown} 个。",
    )
    axis = ("occurrences in the corpus", "在语料中的出现次数")
    drawn = _figure(figures.uncovered, statistics, axis, _split_legend(statistics)[:3], caption)
    return [f"<h3>{both('Characters without a token', '不在词表中的字')}</h3>\n{drawn}"]
