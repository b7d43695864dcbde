"""What may be published names nobody: paths word by word, speakers by number, columns that were asked for alone."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asr.core.manifest import write_manifest
from asr.core.names import UNKNOWN_SPEAKER, published_names
from asr.core.publishable_paths import REPOSITORY, public, public_command
from asr.preparation.splits.rules import loso_split
from asr.preparation.splits.split_file import Split
from asr.reporting.page import write_html
from asr.reporting.results_md import results
from asr.scoring.compare_runs import compare, read_runs, write
from asr.scoring.files import read_score, read_table
from asr.scoring.score import Request, score
from tests.patience import PATIENCE
from tests.report_example import bare_page
from tests.scored import systems_of

ROOT = Path(__file__).resolve().parents[2]
SECRET = "王五"
HOSTILE = st.text("ab 王/,;:\"'=()[]{}|\\$~.+-#&*\n\t", max_size=6)
PATHS = st.builds(
    lambda start, parts: start + "/".join(parts),
    st.sampled_from(("/", "/home/", "~/", "~joe/", "../", "../../", "x/../../", "//", "./../")),
    st.lists(st.builds(lambda before, after: f"{before}{SECRET}{after}", HOSTILE, HOSTILE), min_size=1, max_size=3),
)
TEXTS = ("{}", "[{}]", "[a, {}]", "{{a: {}}}", "see {}", "was:{}", "x={}", "a ({})", "'{}'", '"{}"', "file:{}", "a,{}")


def commands(path: str, text: str) -> list[str]:
    options = ("--corpus", "--split", "--speakers", "--data", "--conf", "--base")
    words = ["bash", "run.sh", *(word for option in options for word in (option, path))]
    return [
        *words,
        f"--corpus={path}",
        f"++llm_conf.init_param_path={path}",
        f"++a.b={text.format(path)}",
        f"--{path}",
        path,
        path,
    ]


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> dict:
    references, systems = systems_of(tmp_path_factory.mktemp("scored"), [("妈好", "马好", "妈好")] * 4)
    return score(references, systems, Request(replicates=10))


@settings(max_examples=100, deadline=None)
@given(PATHS, st.sampled_from(TEXTS))
@example(f"/data/{SECRET} 的 文件夹/CDSD", "{}")
@example(f"/data/a,{SECRET}/b:c;d\"e'f/{SECRET}=.yaml+text-disjoint", "{}")
@example(f"/data/a b/{SECRET}", "see {}")
def test_no_part_of_a_path_elsewhere_is_shown(scored, path, text):
    words = commands(path, text)
    config = {"base": path, "llm_conf": {"init_param_path": path}, "list": [path], "note": text.format(path)}
    changed = [[f"base {path} -> {path}"]]
    record = {"command": words, "conf": path, "config": {**config, "changed while training": changed}}
    record |= {"base": {"id": path}, "decode": {"tuned": {"inputs": {"method": f"read from {path}"}}}}
    shown = public(record)
    assert public(shown) == shown  # provenance.json is made public, and so are the pages made from it
    pages = (json.dumps(shown, ensure_ascii=False), results("t", scored, record), bare_page(scored, shown))
    for page in pages:
        assert not set(SECRET) & set(page)
    assert shown["command"][2:6] == [
        "--corpus",
        "/path/to/corpus" + _kind(path),
        "--split",
        "/path/to/split" + _kind(path),
    ]


def _kind(path: str) -> str:
    """What is left of a name: that of a kind of file."""
    return re.search(r"(\.(csv|jsonl?|pt|tsv|txt|ya?ml))?(\+text-disjoint)?$", path)[0]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text("ab王五 ,;:\"'=\n\t$\\!*~/", min_size=1), max_size=4))
def test_the_words_that_run_sh_records_are_those_that_were_given(words):
    """lib.sh's ``quoted`` and Python's shlex, which provenance.py splits by, mean the same."""
    script = f'eval "$(sed -n "/^quoted()/,/^}}/p" {shlex.quote(str(ROOT / "scripts/lib.sh"))})"; quoted "$@"'
    line = subprocess.run(["bash", "-c", script, "-", *words], capture_output=True, text=True, check=True).stdout
    assert shlex.split(line) == words


def test_a_setting_in_front_of_the_command_stays_one_that_a_shell_takes():
    shown = public_command(["CDSD_ROOT=/home/joe/a b", "bash", "run.sh", "--strict"])
    assert shlex.join(shown) == "CDSD_ROOT=/path/to/CDSD_ROOT bash run.sh --strict"
    assert public_command(["CDSD_ROOT=", "bash"]) == ["CDSD_ROOT=", "bash"]


def test_what_lies_in_the_repository_is_named():
    words = ["bash", "run.sh", "--corpus", f"{REPOSITORY}/data/a b", "--conf", "conf/mini.yaml", "--tag", "a b"]
    words += [
        "--base",
        "iic/speech_paraformer-large",
        "++a.b=[1, 2]",
        "++a.c=x/y",
        "--split",
        "conf/split_cdsd_1h.yaml",
    ]
    shown = public_command(words)
    assert shown == [word.removeprefix(f"{REPOSITORY}/") for word in words]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("loso:02", "loso:02"),
        ("loso:张三", "loso:SPEAKER"),
        ("loso:张三+text-disjoint", "loso:SPEAKER+text-disjoint"),
        ("speaker-dependent:02,张三,S018", "speaker-dependent:02,SPEAKER,SPEAKER"),
        ("speaker-dependent:张三@3min", "speaker-dependent:SPEAKER@3min"),
        ("speaker-dependent:02@1.5min+text-disjoint", "speaker-dependent:02@1.5min+text-disjoint"),
        ("speaker-dependent:张@三min", "speaker-dependent:SPEAKER"),
        ("seeded+text-disjoint", "seeded+text-disjoint"),
        ("/home/张三.yaml+text-disjoint", "/path/to/split.yaml+text-disjoint"),
    ],
)
def test_a_split_names_no_speaker(given, shown):
    assert public_command(["bash", "run.sh", "--split", given])[-1] == shown


def test_a_split_is_described_without_names():
    sets = {"train": ("李四",), "val": ("赵六",), "test": (SECRET,)}
    assert Split(sets, "file", f"/x/{SECRET}.yaml").describe(published=True) == "a file of speakers (given)"
    assert SECRET in Split(sets, "file", f"/x/{SECRET}.yaml").describe()
    left_out = loso_split({SECRET, "01", "02", "03"}, SECRET, (8, 1, 1), 1)
    assert (SECRET in left_out.describe(), SECRET in left_out.describe(published=True)) == (True, False)
    assert "(02)" in loso_split({SECRET, "01", "02", "03"}, "02", (8, 1, 1), 1).describe(published=True)


def test_names_to_publish():
    names = published_names(["李四", "02", "S018", "1234", UNKNOWN_SPEAKER, "02", "３"])
    assert names == {"02": "02", "1234": "S2", "S018": "S3", UNKNOWN_SPEAKER: UNKNOWN_SPEAKER, "李四": "S5", "３": "S6"}


@pytest.fixture
def exp(tmp_path) -> Path:
    """exp/t of four speakers with names, scored by local/score.py; of one utterance the tuned model says nothing."""
    references, _ = systems_of(tmp_path, [("妈妈你好", "马妈你好", "妈妈你好"), ("四天", "十天", "四天")] * 6)
    who = ("李四", SECRET, "张三", "05")
    named = [item._replace(speaker=who[n % 4], key=f"{who[n % 4]}_{n}") for n, item in enumerate(references)]
    write_manifest(tmp_path / "ref.jsonl", named)
    for name in ("baseline", "tuned"):
        lines = (tmp_path / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        texts = [f"{item.key} {line.split()[1]}\n" for item, line in zip(named, lines, strict=True)]
        (tmp_path / f"{name}.txt").write_text("".join(texts[1:] if name == "tuned" else texts), encoding="utf-8")
    table = "speaker\tname\tphone\tseverity\n" + "".join(f"{name}\t{name}名\t13812345678\tmild\n" for name in who)
    (tmp_path / "speakers.tsv").write_text(table, encoding="utf-8")
    return tmp_path / "exp" / "t"


def scorer(exp: Path, *more: str) -> subprocess.CompletedProcess:
    folder = next(parent for parent in exp.parents if (parent / "ref.jsonl").is_file())
    files = {
        "--ref": "ref.jsonl",
        "--hyp": "tuned.txt",
        "--baseline": "baseline.txt",
        "--speaker-table": "speakers.tsv",
    }
    words = [word for option, name in files.items() for word in (option, str(folder / name))]
    return subprocess.run(
        [sys.executable, str(ROOT / "local/score.py"), *words, "--out", str(exp / "score"), *more],
        env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def test_scores_and_figures_name_no_speaker_no_id_and_no_column_that_was_not_asked_for(exp):
    done = scorer(exp)
    assert done.returncode == 0, done.stderr
    assert "not used: name, phone, severity; name it to --group-by" in done.stdout
    assert read_score(exp / "score")["groups"]["speaker_table"] == {}
    done = scorer(exp, "--group-by", "severity")
    found = read_score(exp / "score")
    assert list(found["by_speaker"]) == ["05", "S2", "S3", "S4"]
    assert list(found["groups"]["speaker_table"]) == ["severity"]
    assert found["systems"]["tuned"]["n_missing"] == 1
    write_html(exp, "t", found, {})
    (exp / "RESULTS.md").write_text(results("t", found, {}), encoding="utf-8")
    for path in (exp / "score/score.json", exp / "RESULTS.md", *(exp / "figures").iterdir()):
        text = path.read_bytes().decode("utf-8", "replace")
        assert not re.search("张三|李四|王五|1381234|妈妈你好", text), path
    rows = [line.split("\t")[:2] for line in (exp / "score/per_speaker.tsv").read_text(encoding="utf-8").splitlines()]
    assert rows == [["speaker", "published"], ["05", "05"], ["张三", "S2"], ["李四", "S3"], [SECRET, "S4"]]
    assert f">{SECRET}</a></bdi>" in (exp / "report.html").read_text(encoding="utf-8")  # private, and of use so


def test_a_speakers_row_is_the_speakers(exp):
    """The names change places (张三 before 李四 before 王五): 李四, who has the missing hypothesis, has it still."""
    scorer(exp)
    missing = [
        row["speaker"] for row in read_table(exp / "score/per_utterance.tsv") if row["tuned_status"] == "missing"
    ]
    rows = {row["speaker"]: row["tuned_n_missing"] for row in read_table(exp / "score/per_speaker.tsv")}
    found = read_score(exp / "score")["by_speaker"]
    assert (missing, rows) == (["李四"], {"05": "0", "张三": "0", "李四": "1", SECRET: "0"})
    assert {name: row["tuned"]["n_missing"] for name, row in found.items()} == {"05": 0, "S2": 0, "S3": 1, "S4": 0}


def test_runs_compared_name_nobody(exp):
    folder = exp.parent.parent
    (folder / "tuned.txt").write_text((folder / "baseline.txt").read_text(encoding="utf-8"), encoding="utf-8")
    other = exp.parent / SECRET / "t"
    for run in (exp, other):
        assert scorer(run).returncode == 0
    found = compare(read_runs([exp, other]), count=20)
    write(folder, found)
    assert {row["name"] for row in found["systems"]} == {"untouched base", "1/t", "2/t"}
    for name in ("compare.json", "COMPARED.md"):
        assert not re.search("张三|李四|王五|妈妈你好", (folder / name).read_text(encoding="utf-8"))
