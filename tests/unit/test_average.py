"""Averaging: the mean by hand, and nothing averaged that does not belong together."""

import json
import os
import subprocess
import sys
import zipfile

import pytest
import torch

from asr.averaging.best import average, average_run, trained_until
from asr.averaging.mean import mean_state, write_mean
from asr.core.digests import sha256_file
from asr.core.errors import RecipeError
from asr.core.run_records import note_digest, read_digests
from asr.training.checkpoints import checkpoint

LARGE = 1 << 17  # elements


def save(path, **tensors):
    checkpoint.save({"state_dict": tensors, "optimizer": {"big": 1}}, path)
    return path


def test_mean_by_hand_in_float64_and_in_the_own_type(tmp_path):
    # 1e8 + 1 is not a float32: summed in float32 the mean would be 1e8 / 3.
    values = (1e8, 1.0, 1.0)
    paths = [
        save(tmp_path / f"{i}", w=torch.tensor([value]), n=torch.tensor(7 + i), h=torch.tensor([value]).half() / 1e4)
        for i, value in enumerate(values)
    ]
    mean = mean_state(paths, newest=2)
    assert mean["w"].dtype == torch.float32
    assert mean["w"].item() == torch.tensor((1e8 + 2) / 3, dtype=torch.float64).float().item()
    assert mean["h"].dtype == torch.float16
    assert mean["n"].item() == 9  # a counter is the newest checkpoint's, never a mean or a sum


def test_one_checkpoint_is_itself(tmp_path):
    path = save(tmp_path / "a", w=torch.randn(5))
    assert torch.equal(mean_state([path])["w"], torch.load(path)["state_dict"]["w"])


@pytest.mark.parametrize(
    "other", [{"w": torch.ones(3)}, {"v": torch.ones(2)}, {"w": torch.ones(2), "v": torch.ones(1)}]
)
def test_checkpoints_of_another_model_are_refused_by_name(tmp_path, other):
    a, b = save(tmp_path / "a", w=torch.ones(2)), save(tmp_path / "b", **other)
    with pytest.raises(RecipeError, match=str(b)):
        mean_state([a, b])


def ranked(tmp_path, values):
    for name, value in values.items():
        save(tmp_path / name, w=torch.tensor([value]))
    checkpoint.write_ranking(tmp_path, "cer", values, len(values), True)


def test_the_n_best_go_in_and_avg_json_says_which(tmp_path, capsys):
    ranked(tmp_path, {"model.pt.ep1": 0.5, "model.pt.ep2": 0.2, "model.pt.ep3": 0.3})
    record = average(tmp_path, 2)
    assert (record["file"], capsys.readouterr().out) == ("model.pt.avg2", "")
    assert torch.load(tmp_path / "model.pt.avg2")["state_dict"]["w"].item() == pytest.approx(0.25)
    listed = json.loads((tmp_path / "avg.json").read_text())["checkpoints"]
    assert [(item["file"], item["value"]) for item in listed] == [("model.pt.ep2", 0.2), ("model.pt.ep3", 0.3)]
    assert all(len(item["sha256"]) == 64 for item in listed)


def test_fewer_than_asked_for_is_said_and_is_in_the_name(tmp_path, capsys):
    ranked(tmp_path, {"model.pt.ep1": 0.5, "model.pt.ep2": 0.2})
    (tmp_path / "model.pt.avg10").touch()
    assert average(tmp_path, 10)["file"] == "model.pt.avg2"
    assert "asked for the 10 best, there are only 2 ranked: writing model.pt.avg2" in capsys.readouterr().out
    assert not (tmp_path / "model.pt.avg10").exists()  # FunASR's own would be a lie


def test_a_truncated_checkpoint_is_named_and_one_that_is_gone_is_done_without(tmp_path, capsys):
    ranked(tmp_path, {"model.pt.ep1": 0.5, "model.pt.ep2": 0.2, "model.pt.ep3": 0.3, "model.pt.ep4": 0.6})
    whole = (tmp_path / "model.pt.ep2").read_bytes()
    (tmp_path / "model.pt.ep2").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RecipeError, match=r"model\.pt\.ep2: cannot be read.* remove it and run stage 4 again"):
        average(tmp_path, 2)
    assert not list(tmp_path.glob("model.pt.avg*"))
    (tmp_path / "model.pt.ep2").unlink()
    assert [item["file"] for item in average(tmp_path, 2)["checkpoints"]] == ["model.pt.ep3", "model.pt.ep1"]
    assert capsys.readouterr().out == "model.pt.ep2: file missing; averaged without it\n"
    (tmp_path / "model.pt.ep4").unlink()  # the worst, and wanted now
    assert average(tmp_path, 4)["file"] == "model.pt.avg2"
    assert capsys.readouterr().out.splitlines() == [
        "model.pt.ep2: file missing; averaged without it",
        "model.pt.ep4: file missing; averaged without it",
        "asked for the 4 best, there are only 2 ranked: writing model.pt.avg2",
    ]
    for path in tmp_path.glob("model.pt.ep*"):
        path.unlink()
    with pytest.raises(RecipeError, match="all 4 ranked checkpoints are missing; put them back, or give --restart"):
        average(tmp_path, 2)


@pytest.fixture
def noted(tmp_path):
    """Two ranked checkpoints whose digests are known since they were written."""
    values = {"model.pt.ep1": 0.5, "model.pt.ep2": 0.2}
    for number, name in enumerate(values):
        note_digest(tmp_path, name, checkpoint.save({"state_dict": {"w": torch.ones(3) * number}}, tmp_path / name))
    checkpoint.write_ranking(tmp_path, "cer", values, 2, True)
    return tmp_path


def test_digests_are_of_the_files_as_they_are_read(noted):
    real = [sha256_file(noted / name) for name in ("model.pt.ep2", "model.pt.ep1")]
    assert [item["sha256"] for item in average(noted, 2)["checkpoints"]] == real
    path = noted / "digests.json"
    for text in ("", "[]", '{"model.pt.ep2": 3}', None):  # without a record there is nothing to compare with
        path.write_text(text) if text is not None else path.unlink()
        assert [item["sha256"] for item in average(noted, 2)["checkpoints"]] == real


def test_bit_rot_that_keeps_size_and_time_is_found_and_the_old_average_stays(noted):
    average(noted, 2)
    before = (noted / "model.pt.avg2").read_bytes()
    path = noted / "model.pt.ep1"
    about, raw = path.stat(), bytearray(path.read_bytes())
    raw[-1] ^= 1  # in the archive's last record: torch.load sees nothing
    path.write_bytes(raw)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    with pytest.raises(RecipeError, match=r"model\.pt\.ep1: is not the file that was written there \(another sha256"):
        average(noted, 2)
    assert (noted / "model.pt.avg2").read_bytes() == before
    assert not list(noted.glob(".*"))


KILLED = """
import os, signal, sys
from pathlib import Path
from asr.core import files

folder = Path(sys.argv[1])
with files.atomic_open(folder / "model.pt.avg2", "wb") as stream:
    stream.write(b"half")
    stream.flush()
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    print("at it", flush=True)
    sys.stdin.readline()
"""


def test_the_next_start_sweeps_what_a_kill_left_and_nothing_that_somebody_is_at(noted):
    words = [sys.executable, "-c", KILLED, str(noted)]
    assert subprocess.run([*words, "killed"]).returncode == -9
    own = [noted / ".notes.tmp", noted / ".model.pt.avg2.tmp", noted / "model.pt.avg2.abcd1234.tmp"]  # the user's
    for path in own:
        path.touch()
    left = {path for path in noted.glob(".*.tmp") if path not in own}
    assert len(left) == 1
    with subprocess.Popen([*words, "alive"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "at it\n"
        (busy,) = {path for path in noted.glob(".*.tmp") if path not in own} - left
        with pytest.raises(RecipeError, match=r"base\.yaml: not there"):  # what comes after is not asked for here
            average_run(noted, 2)
        assert not left.pop().exists()
        assert busy.exists()
        other.communicate("\n")
    assert other.returncode == 0
    assert (noted / "model.pt.avg2").read_bytes() == b"half"
    assert {path.name for path in noted.glob("*.tmp")} | {path.name for path in noted.glob(".*.tmp")} == {
        path.name for path in own
    }


def test_digests_of_files_that_are_gone_are_forgotten(noted):
    (noted / "model.pt.ep1").unlink()
    note_digest(noted, "model.pt.ep3", checkpoint.save({"state_dict": {"w": torch.ones(3)}}, noted / "model.pt.ep3"))
    assert sorted(read_digests(noted)) == ["model.pt.ep2", "model.pt.ep3"]


def test_counters_are_of_the_checkpoint_trained_longest(tmp_path):
    names = ["model.pt.ep3.200", "model.pt.ep10", "model.pt.ep3", "model.pt.ep3.1000"]
    assert sorted(names, key=trained_until) == [names[2], names[0], names[3], names[1]]
    for name, count in zip(names, (5, 12, 4, 7), strict=True):
        save(tmp_path / name, w=torch.ones(1), num_batches_tracked=torch.tensor(count), table=torch.tensor([1, 2]))
    checkpoint.write_ranking(tmp_path, "cer", dict.fromkeys(names[::-1], 0.1), 10, True)
    average(tmp_path, 4)
    state = torch.load(tmp_path / "model.pt.avg4")["state_dict"]
    assert state["num_batches_tracked"].item() == 12
    assert state["table"].tolist() == [1, 2]


def test_tables_and_masks_that_differ_are_refused(tmp_path):
    for differing in (torch.tensor([1, 3]), torch.tensor([True, True])):
        a = save(tmp_path / "a", table=torch.zeros_like(differing))
        b = save(tmp_path / "b", table=differing)
        with pytest.raises(RecipeError, match="b: table is an integer table"):
            mean_state([a, b])
    with pytest.raises(RecipeError, match=r"b: tensor w is int64 \(1,\), in a float \(1,\)"):
        mean_state([save(tmp_path / "a", w=torch.ones(1)), save(tmp_path / "b", w=torch.ones(1).long())])


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64])
def test_every_width_is_summed_in_float64_and_rounded_once(tmp_path, kind):
    torch.manual_seed(1)
    size = LARGE + 3
    values = [torch.randn(size).to(kind) for _ in range(3)]
    paths = [save(tmp_path / str(i), w=value) for i, value in enumerate(values)]
    expected = (sum(value.double() for value in values) / 3).to(kind)
    assert torch.equal(mean_state(paths)["w"], expected)
    write_mean(paths, tmp_path / "out")
    assert torch.equal(torch.load(tmp_path / "out")["state_dict"]["w"], expected)


def test_a_wider_checkpoint_is_not_narrowed(tmp_path):
    a, b = save(tmp_path / "a", w=torch.ones(1).half()), save(tmp_path / "b", w=torch.tensor([1.0001]))
    assert mean_state([a, b])["w"].dtype == torch.float32
    assert mean_state([a, b])["w"].item() == pytest.approx(1.00005, abs=1e-7)


def of_all_kinds(seed):
    """A state with tied weights, a transposed tensor, a view into a larger storage, an empty one and a scalar."""
    torch.manual_seed(seed)
    tied, flat = torch.randn(7, 5), torch.randn(3 * LARGE)
    return {
        "embed.weight": tied,
        "turned": torch.randn(5, 9).T,
        "view": flat[10 : 20 + 2 * LARGE],
        "out.weight": tied,
        "empty": torch.empty(0, 4),
        "scalar": torch.tensor(2.5),
        "half": torch.randn(33).bfloat16(),
    }


def test_the_file_is_what_torch_would_have_saved_and_every_reader_reads_it(tmp_path):
    states = [of_all_kinds(seed) for seed in range(3)]
    paths = [save(tmp_path / str(i), **state) for i, state in enumerate(states)]
    digest, digests = write_mean(paths, tmp_path / "out")
    expected = {
        key: (sum(state[key].double() for state in states) / 3).to(value.dtype) for key, value in states[0].items()
    }
    for options in ({}, {"mmap": True}, {"weights_only": False}, {"map_location": "cpu", "mmap": True}):
        state = torch.load(tmp_path / "out", **options)["state_dict"]
        assert list(state) == list(expected)
        assert all(torch.equal(state[key], expected[key]) for key in expected), options
        assert state["embed.weight"].data_ptr() == state["out.weight"].data_ptr()  # saved once
    with zipfile.ZipFile(tmp_path / "out") as archive:
        assert archive.testzip() is None
        assert sum("/data/" in name for name in archive.namelist()) == len(expected) - 1  # tied once
    assert [digest, *digests] == [sha256_file(path) for path in (tmp_path / "out", *paths)]
    torch.save({"state_dict": state}, tmp_path / "torch")
    spent = (tmp_path / "out").stat().st_size - (tmp_path / "torch").stat().st_size
    assert abs(spent) < 64 * 2 * 12  # padding
    assert not list(tmp_path.glob(".*"))


def test_weights_tied_in_one_checkpoint_only_are_not_tied_in_the_mean(tmp_path):
    one = torch.ones(3)
    a = save(tmp_path / "a", x=one, y=one)
    b = save(tmp_path / "b", x=torch.ones(3), y=torch.zeros(3))
    mean = mean_state([a, b])
    assert (mean["x"].tolist(), mean["y"].tolist()) == ([1.0] * 3, [0.5] * 3)


def test_a_checkpoint_that_is_not_a_number_is_named(tmp_path):
    good = save(tmp_path / "good", w=torch.ones(2), mask=torch.tensor([0.0, -torch.inf]))
    bad = save(tmp_path / "bad", w=torch.tensor([1.0, torch.nan]), mask=torch.tensor([0.0, -torch.inf]))
    with pytest.raises(RecipeError, match=r"bad: tensor w contains NaN"):
        write_mean([good, bad], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert mean_state([good, good])["mask"].tolist() == [0.0, -torch.inf]


def test_a_file_without_tensors_and_one_that_is_not_a_checkpoint_are_named(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "none")
    with pytest.raises(RecipeError, match="none: no tensor in it"):
        mean_state([tmp_path / "none"])
    (tmp_path / "text").write_text("no")
    with pytest.raises(RecipeError, match="text: cannot be read as a checkpoint"):
        mean_state([tmp_path / "text"])


def test_the_old_format_that_cannot_be_mapped_is_read_too_and_not_emptied(tmp_path):
    value = torch.randn(3 * LARGE)
    torch.save({"state_dict": {"w": value}}, tmp_path / "old", _use_new_zipfile_serialization=False)
    path = save(tmp_path / "new", w=value)
    for paths in ([tmp_path / "old"] * 2, [tmp_path / "old", path]):
        assert torch.equal(mean_state(paths)["w"], value)


MEMORY = """
import sys
from pathlib import Path
from asr.averaging.mean import write_mean

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024

folder = Path(sys.argv[1])
write_mean([folder / "small"], folder / "out")  # what is imported late, and threads
before = peak()
write_mean([folder / name for name in sys.argv[2:]], folder / "out")
print(peak() - before)
"""


def test_memory_is_three_models_however_many_the_checkpoints(tmp_path):
    """Mapped pages included: the sums in float64, and the file that is being added."""
    megabytes = 128
    state = {f"w{i}": torch.full((1024, 1024), float(i)) for i in range(megabytes // 4)}
    save(tmp_path / "small", w=torch.ones(4))
    for name in "abc":
        save(tmp_path / name, **state)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path), *"abcabc"], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 3.1 * megabytes, done.stdout


def test_funasrs_own_averaging_agrees(tmp_path):
    from funasr.train_utils.average_nbest_models import average_checkpoints

    torch.manual_seed(0)
    values = {f"model.pt.ep{i}": 0.9 - 0.01 * i for i in range(4)}
    for name in values:
        save(tmp_path / name, w=torch.randn(100, 50), b=torch.randn(50))
    torch.save(
        {"avg_keep_nbest_models_type": "acc", "val_acc_step_or_epoch": values, "state_dict": {}}, tmp_path / "model.pt"
    )
    theirs = torch.load(average_checkpoints(str(tmp_path), last_n=3))["state_dict"]
    checkpoint.write_ranking(tmp_path, "acc", values, 4, True)
    ours = torch.load(tmp_path / average(tmp_path, 3)["file"])["state_dict"]
    assert all(torch.allclose(ours[key], theirs[key], rtol=0, atol=1e-6) for key in theirs)
