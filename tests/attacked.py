"""A small test set to be attacked: references, two honest systems, and stage 5's command called in this process.

An attack changes a ``Scored`` before it is scored. What must happen: it is refused (a status and a line), or named
(what the honest score does not say), or is no gain (the tuned CER is at least the honest one).
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import score as score_command
from asr.core.errors import RecipeError
from asr.core.manifest import Utterance, write_manifest

SAID = (
    "今天天气很好", "请打开客厅的灯", "我要喝两杯水", "三月五号下午两点", "电话幺三八零零", "花儿都开了", "嗯我想回家",
    "放一首歌", "WiFi连不上", "长江很长", "二〇一二年", "他见过我",
)  # fmt: skip
SPEAKERS, ROUNDS = 6, 3


@dataclass
class Outcome:
    """What a command did: its status, all that it said, and score.json where it wrote one."""

    status: int
    said: str
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def cer(self) -> float:
        return self.result["systems"]["tuned"]["cer"]


def call(main: Callable[[], object], *arguments: object) -> Outcome:
    """A command's main with these arguments, in this process; errors as ``asr.core.errors.run`` has them."""
    said, before = io.StringIO(), sys.argv
    sys.argv = ["command", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            main()
        return Outcome(0, said.getvalue())
    except RecipeError as error:
        return Outcome(error.exit_status, f"{said.getvalue()}error: {error}\n")
    except SystemExit as error:
        return Outcome(int(error.code or 0), said.getvalue())
    finally:
        sys.argv = before


def wrong(text: str, share: float, seed: object) -> str:
    """``text`` with some characters taken for another, some left out, some put in."""
    chance = random.Random(f"{seed} {text}")
    done = ""
    for char in text:
        draw = chance.random()
        done += "错" if draw < share else "" if draw < 1.3 * share else char + "吧" if draw < 1.6 * share else char
    return done


class Scored:
    """exp/TAG as stage 5 meets it, before it is written. ``lines`` are those of a hypothesis file, as bytes."""

    def __init__(self, folder: Path, size: int = SPEAKERS * len(SAID)) -> None:
        self.folder = folder
        self.references = [
            Utterance(f"k{n:03d}", f"{folder}/k{n:03d}.wav", said, 150, len(said), f"s{n % SPEAKERS}", 1.5, 24000)
            for n, said in enumerate(SAID[n // SPEAKERS % len(SAID)] for n in range(size))
        ]
        self.train = [
            Utterance(f"t{n}", f"{folder}/t{n}.wav", said, 150, len(said), f"t{n % 3}", 1.5, 24000)
            for n, said in enumerate(("别的话", "放一首歌"))
        ]
        self.texts = {
            name: {item.key: wrong(item.target, share, f"{name} {item.key}") for item in self.references}
            for name, share in (("baseline", 0.5), ("tuned", 0.2))
        }
        self.change: Callable[[bytes], bytes] = bytes  # of the tuned model's file
        self.options: list[object] = []
        self.before: Callable[[], object] = lambda: None  # once the files are there

    @property
    def tuned(self) -> dict[str, str]:
        return self.texts["tuned"]

    def reference(self, place: int, **fields: Any) -> None:
        """Change fields of one reference."""
        self.references[place] = self.references[place]._replace(**fields)

    def score(self, name: str = "run") -> Outcome:
        """Write the files and score them, with ``--train``."""
        exp = self.folder / name
        exp.mkdir(exist_ok=True)
        write_manifest(exp / "test.jsonl", self.references)
        write_manifest(exp / "train.jsonl", self.train)
        for system, texts in self.texts.items():
            lines = "".join(f"{key} {text}".rstrip(" ") + "\n" for key, text in texts.items())
            (exp / system).mkdir(exist_ok=True)
            data = lines.encode()
            (exp / system / "hyp.txt").write_bytes(self.change(data) if system == "tuned" else data)
        self.before()
        done = call(
            score_command.main, "--ref", exp / "test.jsonl", "--hyp", exp / "tuned/hyp.txt",
            "--baseline", exp / "baseline/hyp.txt", "--train", exp / "train.jsonl", "--out", exp / "score",
            *self.options,
        )  # fmt: skip
        if done.status == 0:
            done.result = json.loads((exp / "score/score.json").read_text(encoding="utf-8"))
        return done


def set_options(*options):
    """Attack by options of the command."""

    def attack(it):
        it.options = options

    return attack


def drop(*systems, keys=("k000", "k007", "k013")):
    """Attack by lines that are not there."""

    def attack(it):
        for system in systems:
            for key in keys:
                del it.texts[system][key]

    return attack


def fields(place=0, **changed):
    """Attack by fields of one reference."""
    return lambda it: it.reference(place, **changed)
