"""Attacks on the scorer by files: hypotheses, references, training sets, speakers, options.

Each attack changes a small scored set (tests.attacked), and stage 5's command meets it. It is refused in a line, or
named in one that the honest score does not have, or it is no gain. Others: test_attacks_texts.py (what a system
writes), test_attacks_compare.py (runs to compare), test_attacks_files.py (audio, checkpoints, decoding).
"""

import os
import re

import pytest

from tests.attacked import Scored, drop, fields, set_options


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """What is said of the untouched set."""
    done = Scored(tmp_path_factory.mktemp("honest")).score()
    assert done.status == 0, done.said
    return done


def sub(old: bytes, new: bytes):
    """A change of the tuned model's file, once."""
    return lambda data: data.replace(old, new, 1)


def set_change(change):
    def attack(it):
        it.change = change

    return attack


def hard_clips_removed(it):
    """From the manifest; the hypotheses still have them."""
    it.references = [item for item in it.references if it.tuned[item.key] == item.target]


def file_of(it, key):
    path = it.folder / f"{key}.wav"
    path.write_bytes(b"RIFF" + key.encode())
    return str(path)


def easy_clips_twice(how):
    """Clips that were recognised, under more keys: their file, a link, or a hard link."""

    def attack(it):
        for place, item in enumerate(it.references[:12]):
            key = f"x{item.key}"
            source = file_of(it, item.key)
            if how:
                how(source, source := str(it.folder / f"{key}.wav"))
            it.references.append(item._replace(key=key, source=source, speaker=f"s{place % 6}"))
            for system, texts in it.texts.items():
                texts[key] = item.target if system == "tuned" else ""

    return attack


def trained_on(how):
    """A test clip in train under another key: its file, a link, or a hard link."""

    def attack(it):
        source = file_of(it, "k000")
        if how:
            how(source, source := str(it.folder / "other.wav"))
        it.train.append(it.train[0]._replace(key="t99", source=source))

    return attack


def same_keys(it):
    it.train += it.references[:5]


def a_key_twice(it):
    it.references.append(it.references[0])


def emptied(some):
    def attack(it):
        for place in range(some):
            it.reference(place, target="")

    return attack


def speakers(name_of):
    def attack(it):
        for place, item in enumerate(it.references):
            it.reference(place, speaker=name_of(place, item.speaker))

    return attack


def said_in_train(it):
    it.train += [item._replace(key=f"t{item.key}", source=f"/t{item.key}.wav", speaker="t") for item in it.references]


def same_speakers(it):
    it.train[0] = it.train[0]._replace(speaker="s0")


def silent(share):
    def attack(it):
        for place, key in enumerate(it.tuned):
            it.tuned[key] = "" if place % share == 0 else it.tuned[key]

    return attack


def one_dominates(it):
    it.reference(0, target="今天天气很好" * 400)
    it.texts["baseline"]["k000"], it.tuned["k000"] = "", "今天天气很好" * 400


def decoded(**record):
    """A decode.json beside the tuned hypotheses, of which something is not so any more."""

    def attack(it):
        def write():
            from asr.core.digests import sha256_file
            from asr.core.files import write_json

            exp = it.folder / "run"
            whole = {
                "inputs": {"manifest": sha256_file(exp / "test.jsonl")},
                "hyp_sha256": sha256_file(exp / "tuned/hyp.txt"),
            }
            write_json(exp / "tuned/decode.json", {**whole, **record})

        it.before = write

    return attack


def surrogate(it):
    """JSON can spell half a character, which no file of texts can."""
    path = it.folder / "run/test.jsonl"
    it.before = lambda: path.write_text(path.read_text(encoding="utf-8").replace("今", r"\ud800", 1), encoding="utf-8")


REFUSED = {
    # The hypotheses.
    "a key twice, the better text last": (set_change(sub(b"k001 ", b"k000 ")), "hyp.txt:2: duplicate key k000"),
    "keys of another test set": (set_change(lambda data: data.replace(b"k0", b"z0")), "hyp.txt:1: key z000"),
    "lines more than there are clips": (set_change(lambda data: data + b"k999 a\n"), "key k999 is not in the ref"),
    "keys in capitals": (set_change(lambda data: data.replace(b"k0", b"K0")), "key K000"),
    "keys with a character that is not seen": (
        set_change(sub(b"k003", "k003\u200b".encode())),
        "hyp.txt:4: key k003",
    ),
    "keys in full width": (set_change(sub(b"k003", "ｋ003".encode())), "hyp.txt:4: key ｋ003"),
    "a byte order mark in the middle": (set_change(sub(b"k003", b"\xef\xbb\xbfk003")), "hyp.txt:4: key"),
    "a line without a key": (set_change(sub(b"k003", b"")), "hyp.txt:4: the line has no key"),
    "GB 18030": (set_change(lambda data: data.decode().encode("gb18030")), "hyp.txt:1: not UTF-8"),
    "UTF-16": (set_change(lambda data: data.decode().encode("utf-16")), "hyp.txt:1: not UTF-8"),
    "half a character": (set_change(lambda data: data[:-2] + b"\n"), "hyp.txt:72: not UTF-8"),
    "lone surrogates": (set_change(sub(b"k003 ", b"k003 \xed\xa0\x80")), "hyp.txt:4: not UTF-8"),
    "a file that was edited after it was decoded": (decoded(hyp_sha256="0" * 64), "not as it was decoded"),
    # The references.
    "hard clips removed from the manifest": (hard_clips_removed, "is not in the reference"),
    "a clip twice in the manifest": (a_key_twice, "test.jsonl:73: duplicate key k000, first on line 1"),
    "a key with a blank": (fields(key="k0 00"), "is empty or holds whitespace"),
    "a clip without a length": (fields(duration=-1.5), "invalid duration -1.5"),
    "half a character in a reference": (surrogate, "lone surrogate"),
    "a speaker of two lines": (fields(speaker="s0\ns1"), "control character"),
    "the training clips as test clips": (same_keys, "5 of its 72 clips are in"),
    "a test clip under another key": (trained_on(None), "clips are in"),
    "a link to a test clip": (trained_on(os.symlink), "clips are in"),
    "a hard link to a test clip": (trained_on(os.link), "clips are in"),
    # The options.
    "an option that takes out words": (set_options("--without", "的"), "--without 的: must be of erhua, fillers"),
    "a seed that is none": (set_options("--seed", "-1"), "--seed -1"),
    "groups that nobody gave": (set_options("--group-by", "severity"), "needs --speaker-table"),
}
USAGE = {"an option that takes out words", "a seed that is none", "groups that nobody gave"}


@pytest.mark.parametrize("name", REFUSED)
def test_an_attack_is_refused(tmp_path, name):
    attack, words = REFUSED[name]
    scored = Scored(tmp_path)
    attack(scored)
    done = scored.score()
    assert done.status == (2 if name in USAGE else 1), done.said
    assert words in done.said.splitlines()[-1]
    assert done.said.splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "run/score/score.json").exists()


NAMED = {
    # The hypotheses.
    "looping hypotheses dropped": (
        drop("tuned"),
        [
            "no hypothesis of tuned for 3 of 72 clips, counted as deletions: k000, k007, k013",
            "Nothing is compared: 3 hypotheses of tuned",
        ],
    ),
    "the same dropped of both systems": (
        drop("tuned", "baseline"),
        ["no hypothesis of baseline for 3 of 72 clips, counted as deletions: k000, k007, k013"],
    ),
    "others dropped of each system": (
        lambda it: (drop("tuned")(it), drop("baseline", keys=("k020", "k021", "k022"))(it)),
        ["Nothing is compared: 3 hypotheses of baseline and 3 hypotheses of tuned are missing"],
    ),
    "a baseline that is not whole": (drop("baseline"), ["Nothing is compared: 3 hypotheses of baseline"]),
    "a model gone silent": (silent(2), ["The tuned model writes too little", "is no recognition"]),
    "one hypothesis of eight emptied": (silent(8), ["9 of its 72 hypotheses are empty"]),
    "an empty baseline": (
        lambda it: it.texts.update(baseline=dict.fromkeys(it.tuned, "")),
        ["The base model writes too little"],
    ),
    "a file decoded of another manifest": (
        decoded(inputs={"manifest": "0" * 64}),
        ["tuned/hyp.txt: the tuned hypotheses were decoded from another manifest"],
    ),
    # The references.
    "references emptied": (emptied(9), ["9 references are empty"]),
    "all references emptied": (emptied(72), ["72 references are empty", "the references have no character"]),
    "recognised clips twice": (
        easy_clips_twice(None),
        ["12 of 84 clips occur more than once: xk000"],
    ),
    "links to recognised clips": (
        easy_clips_twice(os.symlink),
        ["12 of 84 clips occur more than once: xk000"],
    ),
    "hard links to recognised clips": (
        easy_clips_twice(os.link),
        ["12 of 84 clips occur more than once: xk000"],
    ),
    "the test texts in train": (said_in_train, [r"seen text +72 +"]),
    "test speakers in train": (same_speakers, ["1 of the 6 speakers are in the training set too"]),
    # The speakers.
    "a speaker an utterance": (
        speakers(lambda place, _: f"p{place}"),
        ["no figure is over speakers", "nobody can tell whether it would be for other speakers"],
    ),
    "nearly a speaker an utterance": (
        speakers(lambda place, _: f"p{min(place, 68)}"),
        ["no figure is over speakers", "unknown speakers"],
    ),
    "one speaker who is nobody": (fields(speaker="unknown"), ["not all speakers are known"]),
    # Nothing tells a person of many names; how many clips a speaker has is shown beside how many speakers there are.
    "each speaker split in three": (
        speakers(lambda place, name: f"{name}{place // 24}"),
        [r"18 speakers \(4 clips each\)"],
    ),
    "each speaker split in six": (
        speakers(lambda place, name: f"{name}{place // 12}"),
        [r"36 speakers \(2 clips each\)", "half of the 36 speakers have at most 2 clips"],
    ),
    "one speaker split in many": (
        speakers(lambda place, name: f"s0{place}" if name == "s0" else name),
        [r"17 speakers \(1 to 12 clips each, median 1\)", "half of the 17 speakers have at most 1 clip:"],
    ),
    "bad speakers merged": (
        speakers(lambda _, name: "s0" if name < "s3" else "s4" if name < "s5" else "s5"),
        ["no interval over speakers: 3 speakers, at least 4 are needed"],
    ),
    "a speaker alone": (speakers(lambda *_: "s0"), ["1 test speaker: the figures are about this speaker only"]),
    "one speaker who outweighs all": (one_dominates, ["no interval over speakers: "]),
    # The options.
    "fillers and erhua left out": (
        set_options("--without", "fillers,erhua"),
        ["normaliser zh-3, without erhua, fillers"],
    ),
}


@pytest.mark.parametrize("name", NAMED)
def test_an_attack_is_named(honest, tmp_path, name):
    attack, lines = NAMED[name]
    scored = Scored(tmp_path)
    attack(scored)
    done = scored.score()
    assert done.status == 0, done.said
    for line in lines:
        assert re.search(line, done.said), done.said
        assert not re.search(line, honest.said), "the honest score says so too"


NO_GAIN = {
    "a byte order mark first": set_change(lambda data: b"\xef\xbb\xbf" + data),
    "line ends of Windows": set_change(lambda data: data.replace(b"\n", b"\r\n")),
    "lines in another order": set_change(lambda data: b"".join(sorted(data.splitlines(True), reverse=True))),
    "no line end at the end": set_change(lambda data: data[:-1]),
    "a full-width blank behind the key": set_change(sub(b"k003 ", "k003\u3000".encode())),
    "blank lines": set_change(lambda data: data.replace(b"k003", b"\nk003") + b" \n"),
    "speakers with characters that are not seen": speakers(lambda place, name: name + "\u200b" * (place % 5)),
    "speakers in another form": speakers(lambda place, name: ("e\u0301", "\xe9")[place % 2] + name),
    "clips said to be short": lambda it: [it.reference(place, duration=0.1) for place in range(72)],
    "another seed": set_options("--seed", "17"),
}


@pytest.mark.parametrize("name", NO_GAIN)
def test_an_attack_is_no_gain(honest, tmp_path, name):
    scored = Scored(tmp_path)
    NO_GAIN[name](scored)
    done = scored.score()
    assert done.status == 0, done.said
    assert done.cer == honest.cer
    for key in ("cer", "ci95", "n_utt", "n_missing", "speaker_mean_cer"):
        assert done.result["systems"]["tuned"][key] == honest.result["systems"]["tuned"][key]
    assert done.result["reference"]["n_speakers"] == 6
    assert done.result["comparison"]["verdict"] == honest.result["comparison"]["verdict"]


def test_the_verdict_is_of_no_seed(tmp_path):
    """Twenty seeds to choose from: one verdict, and ends of the interval over utterances within a twentieth of it."""
    scored, ends, verdicts = Scored(tmp_path), [], set()
    for seed in range(20):
        scored.options = ["--seed", seed]
        comparison = scored.score().result["comparison"]
        verdicts.add(comparison["verdict"])
        ends.append(comparison["absolute_ci95_utterance"])
    assert len(verdicts) == 1
    low, high = zip(*ends, strict=True)
    assert len(set(low)) > 1
    assert max(max(low) - min(low), max(high) - min(high)) < 0.05 * (min(high) - max(low))


def test_repeated_segments_are_named_and_speakers_stay_as_many(honest, tmp_path):
    """MAPSSWE takes repeated clips as more segments; the test over speakers does not, and the clips are named."""
    scored = Scored(tmp_path)
    for item in list(scored.references):
        scored.references.append(item._replace(key=f"x{item.key}"))
        for texts in scored.texts.values():
            texts[f"x{item.key}"] = texts[item.key]
    done = scored.score()
    once, twice = (found.result["comparison"] for found in (honest, done))
    assert twice["mapsswe"]["segments"] == 2 * once["mapsswe"]["segments"]
    assert twice["mapsswe"]["p"] < once["mapsswe"]["p"]
    assert twice["speakers"] == once["speakers"]
    assert twice["absolute_ci95"] == pytest.approx(once["absolute_ci95"])
    assert "72 of 144 clips occur more than once" in done.said
