"""The top of report.html: what was found, how sure it is, and what the page holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from asr.core.names import NOT_ALL_KNOWN
from asr.pages.html import SWITCH, Words, both, table
from asr.reporting.figures import SYSTEMS
from asr.reporting.results_md import SIMULATED
from asr.scoring.comparison import NO_CHARACTER
from asr.scoring.speaker_interval import MIN_SPEAKERS, ONE_SPEAKER
from asr.scoring.tables import p_value, percent

_SIMULATED: Words = (
    SIMULATED.replace("**", ""),
    "本语料是模拟语音：先合成，再按公开的方法加以损伤；它只表明流程可以运行，不作任何临床结论。",
)


def signed(rate: float | None, digits: int = 2) -> str:
    """A fraction as per cent with a true minus; ``n/a`` where there is none."""
    return percent(rate, digits).replace("-", "−")


def span(ci95: Sequence[float] | None, digits: int = 2) -> str:
    """An interval of fractions as per cent; nothing where there is none."""
    return f"{signed(ci95[0], digits)} – {signed(ci95[1], digits)}" if ci95 else ""


def top(tag: str, score: Mapping[str, Any], corpus: Mapping[str, Any], embedded: bool) -> list[str]:
    """Header and headline; the header opens ``<main>``."""
    name = escape(tag)
    parts = [f"<header>\n<h1>{both(f'Results: {name}', f'结果：{name}')}</h1>\n{SWITCH}\n</header>\n<main>"]
    if corpus.get("simulated"):
        parts.append(f'<p class="banner" role="note">{both(*_SIMULATED)}</p>')
    if score.get("silence_note"):
        parts.append(f'<p class="banner" role="note">{_note(score["silence_note"])}</p>')
    parts += [_sentence(score), _cards(score), _speaker_note(score), *_missing(score), _holds(corpus, embedded)]
    parts += [_systems(score), *_certainty(score)]
    return parts


def _holds(corpus: Mapping[str, Any], embedded: bool) -> str:
    audio = ("holds copies of the clips", "并含音频片段的副本")
    if not embedded:
        audio = ("links to the clips by relative path, without a copy of them", "音频只以相对路径链接，页内没有副本")
    english = f"This page holds transcripts, hypotheses and speaker ids, and {audio[0]}."
    chinese = f"本页含有转写文本、识别结果和说话人编号，{audio[1]}。"
    terms = (
        " CDSD’s terms apply: its audio and transcripts may not be passed on, and its speakers are patients. Publish "
        "scores, not this page.",
        "适用 CDSD 的使用条款：音频和转写不得转交他人，说话人是患者。可以公布得分，不要公布本页。",
    )
    if corpus.get("simulated"):
        terms = (
            " This corpus may be given away; a page made from CDSD may not be: there CDSD’s terms apply.",
            "本语料可以公开分发；用 CDSD 生成的页面则适用 CDSD 的使用条款，不得转交他人。",
        )
    elif "cdsd" not in str(corpus.get("name", "CDSD")).lower():
        terms = (
            " The corpus’s own terms apply (where it is from CDSD, CDSD’s, which forbid passing on audio and "
            "transcripts), and its speakers may be patients.",
            "适用该语料自己的使用条款（来自 CDSD 的数据适用 CDSD 的条款，禁止转交音频和转写）；说话人可能是患者。",
        )
    return f'<p class="note" id="holds">{both(english + terms[0], chinese + terms[1])}</p>'


def _sentence(score: Mapping[str, Any]) -> str:
    comparison = score.get("comparison")
    if not comparison:
        return f'<p class="lead">{_note(score["comparison_note"])}</p>'
    return f'<p class="lead">{_note(comparison["verdict_note"])}</p>'


def _card(name: Words, value: str, below: str = "", kind: str = "") -> str:
    mark = f' class="{kind}"' if kind else ""
    more = f"<small>{below}</small>" if below else ""
    return f"<div{mark}><dt>{both(*name)}{more}</dt><dd>{value}</dd></div>"


def _interval(ci95: Sequence[float] | None, digits: int = 2) -> str:
    if not ci95:
        return both("no interval", "无区间")
    return both(f"95 %: {span(ci95, digits)}", f"95 % 区间 {span(ci95, digits)}")


def _cards(score: Mapping[str, Any]) -> str:
    names = {
        "baseline": ("CER before: the base model", "微调前字错率"),
        "tuned": ("CER after fine-tuning", "微调后字错率"),
    }
    cards = [
        _card(names[system], _rate(row["cer"]), _interval(row.get("ci95")), system)
        for system, row in score["systems"].items()
    ]
    comparison = score.get("comparison")
    if comparison and comparison["absolute_reduction"] is not None:
        relative = _interval(comparison.get("relative_ci95"), 1)
        cards.append(_card(("relative reduction", "相对下降"), _rate(comparison["relative_reduction"], 1), relative))
        counts = [f"{comparison[f'utterances_{kind}']:,}" for kind in ("better", "worse", "same")]
        below = both(f"worse {counts[1]}, same {counts[2]}", f"变差 {counts[1]}，不变 {counts[2]}")
        cards.append(_card(("utterances that got better", "变好的语句"), counts[0], below))
    reference, row = score["reference"], next(iter(score["systems"].values()))
    size = both(
        f"{reference['n_utt']:,} utterances, {row['ref_len']:,} characters",
        f"{reference['n_utt']:,} 条语句，{row['ref_len']:,} 字",
    )
    speakers = f"{reference['n_speakers']:,}" if reference["n_speakers"] else both("not known", "不详")
    cards.append(_card(("test speakers", "测试说话人"), speakers, size))
    return '<dl class="cards">\n' + "\n".join(cards) + "\n</dl>"


def _rate(rate: float | None, digits: int = 2) -> str:
    return "n/a" if rate is None else f"{signed(rate, digits)} %"


def _speaker_note(score: Mapping[str, Any]) -> str:
    return f"<p>{_note(score['speaker_note'])}</p>" if score.get("speaker_note") else ""


def _note(note: Mapping[str, str]) -> str:
    return both(escape(note["en"]), escape(note["zh"]))


def _missing(score: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, row in score["systems"].items():
        if row["n_missing"]:
            english = f"{name}: {row['n_missing']:,} missing hypotheses, counted as deletions"
            chinese = f"{SYSTEMS[name][1]}：缺 {row['n_missing']:,} 条识别结果，按删除计"
            lines.append(f'<p class="banner" role="note">{both(english, chinese)}</p>')
    return lines


def _systems(score: Mapping[str, Any]) -> str:
    header = [("system", "系统"), ("CER %", "字错率 %"), ("95 %, speakers", "95 %（说话人）")]
    header += [("95 %, utterances", "95 %（语句）"), ("sub / del / ins", "替换 / 删除 / 插入")]
    header += [("SER %", "句错率 %"), ("empty", "空"), ("missing", "缺"), ("length ratio", "长度比")]
    header += [
        ("raw CER %", "未规范化 %"),
        ("mean of speakers %", "按说话人平均 %"),
        ("of utterances %", "按语句平均 %"),
    ]
    rows = []
    for name, row in score["systems"].items():
        intervals = (span(row.get("ci95")), span(row.get("ci95_utterance")))
        counts = [" / ".join(f"{row[key]:,}" for key in ("sub", "del", "ins"))]
        ratio = "n/a" if row.get("length_ratio") is None else f"{row['length_ratio']:.2f}"
        tail = (f"{row['n_empty']:,}", f"{row['n_missing']:,}", ratio)
        others = [percent(row.get(key)) for key in ("raw_cer", "speaker_mean_cer", "utterance_mean_cer")]
        rows.append(
            (both(*SYSTEMS[name]), percent(row["cer"]), *intervals, *counts, percent(row["ser"]), *tail, *others)
        )
    return f"{table('', [both(*pair) for pair in header], rows)}\n{_about(score)}"


_WHY_ZH = {
    NOT_ALL_KNOWN: "并非所有说话人都已知",
    NO_CHARACTER: "参考文本中没有字",
    ONE_SPEAKER: "一位说话人占去大半的字",
}


def _about(score: Mapping[str, Any]) -> str:
    row = next(iter(score["systems"].values()))
    note = escape(str(row.get("ci95_note") or ""))
    english = (
        "CER is corpus-level: errors of all utterances over all reference characters, on normalised text; a missing "
        "hypothesis counts as deletions. Means of speakers’ and of utterances’ rates stand beside it and are never it."
    )
    chinese = (
        "字错率按整个语料计算：所有语句的错误数除以参考文本的总字数，先做文本规范化；缺失的识别结果按删除计。"
        "按说话人、按语句平均的数值仅供对照，不能代替字错率。"
    )
    how = (f" Intervals: {note}.", "区间：对说话人用刀切法（jackknife），取 t 分布的分位数。")
    if not row.get("ci95"):
        few = _WHY_ZH.get(row.get("ci95_note"), f"说话人不足 {MIN_SPEAKERS} 位")
        how = (f" No interval over speakers: {note}.", f"没有给出按说话人的区间：{few}。")
    return f'<p class="muted">{both(english + how[0], chinese + how[1])}</p>'


def _certainty(score: Mapping[str, Any]) -> list[str]:
    """The comparison's tests in a table; nothing without a baseline."""
    found = score.get("comparison")
    if not found or found["absolute_reduction"] is None:
        return []
    rows = []
    for kind, digits, words in (
        ("absolute", 2, ("CER reduction, points", "字错率下降，百分点")),
        ("relative", 1, ("relative reduction, %", "相对下降，%")),
    ):
        intervals = [span(found.get(f"{kind}_{name}"), digits) for name in ("ci95", "ci95_utterance")]
        rows.append((both(*words), signed(found[f"{kind}_reduction"], digits), *intervals))
    for name, text in (found.get("text") or {}).items():
        if text:
            words = both(f"relative reduction, {name} text, %", f"相对下降，{_TEXT_ZH.get(name, name)}的文本，%")
            rows.append((words, signed(text["relative_reduction"], 1), span(text.get("relative_ci95"), 1), ""))
    header = ["", both("value", "数值"), both("95 %, over speakers", "95 %，按说话人")]
    header.append(both("95 %, over utterances", "95 %，按语句"))
    title = f"<h3>{both('How sure it is', '有多可靠')}</h3>"
    tests = [f"<p>{both(*words)}</p>" for words in _tests(found)]
    return [title, table("", header, rows), *tests]


_TEXT_ZH = {"seen": "见过", "unseen": "没见过"}


def _tests(found: Mapping[str, Any]) -> list[Words]:
    lines = []
    speakers = found.get("speakers")
    if speakers and speakers.get("p") is not None:
        smallest = speakers.get("smallest_p")
        few = smallest is not None and smallest > 0.01
        least = "" if not few else f" (with so few, p cannot fall below {smallest:.3g})"
        least_zh = "" if not few else f"（人数这么少，p 最低只能到 {smallest:.3g}）"
        lines.append(
            (
                f"Speakers: {speakers['better']} better, {speakers['worse']} worse, {speakers['same']} the same; "
                f"sign-flip test over the speakers, {_p(speakers['p'])}{least}.",
                f"说话人：{speakers['better']} 人变好，{speakers['worse']} 人变差，{speakers['same']} 人不变；"
                f"按说话人的符号翻转检验 {_p(speakers['p'])}{least_zh}。",
            )
        )
    segments = found.get("mapsswe")
    if segments and segments.get("p") is not None:
        note = f" ({escape(str(segments['note']))})" if segments.get("note") else ""
        size = f"{segments['segments']:,}"
        lines.append(
            (
                f"Matched-pair sentence-segment word error test (MAPSSWE) over {size} segments: "
                f"z = {segments['z']:.2f}, {_p(segments['p'])}{note}; it takes segments as independent, which those "
                "of one speaker are not.",
                f"MAPSSWE 检验，{size} 个片段：z = {segments['z']:.2f}，{_p(segments['p'])}；"
                "它假定各片段独立，而同一说话人的片段并不独立。",
            )
        )
    return lines


def _p(value: float) -> str:
    shown = p_value(value)
    return f"p {'' if shown.startswith('<') else '= '}{escape(shown)}"
