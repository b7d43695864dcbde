"""What a person watches while training: lines, TensorBoard, progress.jsonl, through kills and resumes."""

import itertools
import json
import logging
import re
import time
import types

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboardX import SummaryWriter

from asr.progress import record as progress_file
from asr.progress import reporter
from asr.progress.curves import draw_or_report
from asr.progress.record import ProgressFile, clock
from asr.progress.reporter import Progress, Step


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    """test_curves.py draws them."""
    monkeypatch.setattr(reporter, "draw_or_report", lambda *_: True)


@pytest.fixture
def logged(caplog):
    caplog.set_level(logging.INFO, "asr.progress")
    return lambda: [record.getMessage() for record in caplog.records]


def step(total, loss=1.0, epochs_of=4, **more):
    epoch, place = divmod(total - 1, epochs_of)
    values = {"accuracy": 0.5, "lr": 1e-4, "audio_seconds": 10.0, **more}
    return Step(epoch=epoch, step=place + 1, steps_in_epoch=epochs_of, total_steps=total, loss=loss, **values)


starts = itertools.count(1)


def writer(exp):
    """As FunASR's trainer makes it; a file is named by the second that it is begun in, and here they begin in one."""
    return SummaryWriter(str(exp / "tensorboard"), filename_suffix=f".{next(starts):03d}")


def run(exp, steps, interval=1, losses=0.0, validate=True, close=True):
    """A process that does ``steps``, of 4 to an epoch, and validates after each epoch."""
    exp.mkdir(exist_ok=True)
    watched = Progress(5, interval, writer(exp))
    for total in steps:
        watched.update(step(total, losses + total))
        if validate and total % 4 == 0:
            watched.validated(f"model.pt.ep{total // 4}", {"loss": 2.0, "accuracy": 0.4, "cer": losses + 0.3}, total)
    if close:
        watched.close()
    else:  # a kill: nothing is closed, but what was written is there
        watched.writer.close()
    return watched


def scalars(exp):
    accumulator = EventAccumulator(str(exp / "tensorboard"), size_guidance={"scalars": 0})
    accumulator.Reload()
    return {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]
    }


def test_a_line_says_loss_speed_memory_waiting_and_padding(tmp_path, logged, monkeypatch):
    monkeypatch.setattr(reporter, "memory", lambda: {"memory_gb": 11.52, "reserved_gb": 15.7})
    now = iter((0.0, 10.0, 20.0))
    monkeypatch.setattr(reporter, "time", types.SimpleNamespace(monotonic=lambda: next(now), time=time.time))
    watched = Progress(5, 2, writer(tmp_path), world_size=3)
    for total in (1, 2):
        watched.update(step(total, 0.25, waited=1.0, padded_seconds=12.5))
    assert logged() == [
        "epoch 1/5 step 2/4 loss 0.250 acc 0.500 lr 1.00e-04 memory 11.5 GB (15.7 reserved) waiting 10 % padding 20 %"
        " audio 3 s/s left 0:03:00"
    ]


def test_what_is_not_known_is_not_logged(tmp_path, logged, monkeypatch):
    monkeypatch.setattr(reporter, "memory", dict)
    watched = Progress(5, 1, writer(tmp_path))
    watched.update(step(1, accuracy=None))
    assert re.fullmatch(
        r"epoch 1/5 step 1/4 loss 1\.000 lr 1\.00e-04 waiting 0 % audio \d+ s/s left 0:00:0\d", logged()[0]
    )
    assert not {"train/accuracy", "train/memory_gb", "train/padding_share"} & scalars(tmp_path).keys()


def test_on_the_cpu_memory_is_what_is_resident():
    kept = torch.ones(64 << 18)  # 64 MB
    used = reporter.memory()
    assert used.keys() == {"memory_gb"}
    assert kept.numel() * 4 / 2**30 < used["memory_gb"] < 64


def test_a_loss_on_the_gpu_is_read_only_where_it_is_logged(tmp_path):
    class Loss:
        asked = 0

        def __float__(self):
            Loss.asked += 1
            return 0.5

    watched = Progress(5, 10, writer(tmp_path))
    for total in range(1, 10):
        watched.update(step(total, Loss(), epochs_of=20))
    assert Loss.asked == 0
    watched.update(step(10, Loss(), epochs_of=20))
    assert Loss.asked == 1


def test_the_speed_of_training_is_without_validation(tmp_path, monkeypatch):
    now = iter((0.0, 10.0, 110.0, 120.0))  # begun, step 1, validated in 100 s, step 2
    monkeypatch.setattr(reporter, "time", types.SimpleNamespace(monotonic=lambda: next(now), time=time.time))
    watched = Progress(5, 2, writer(tmp_path))
    watched.update(step(1))
    watched.validated("model.pt.ep0.1", {"loss": 1.0}, 1)
    watched.update(step(2))
    (record,) = progress_file.read(tmp_path).train
    assert record["audio_s_per_s"] == pytest.approx(1.0)


def test_tensorboard_has_the_scalars_by_step(tmp_path):
    run(tmp_path, range(1, 9), interval=2)
    found = scalars(tmp_path)
    train = ("loss", "accuracy", "lr", "audio_seconds_per_second", "waiting_share", "memory_gb")
    assert found.keys() == {f"train/{name}" for name in train} | {
        f"validation/{n}" for n in ("loss", "accuracy", "cer")
    }
    assert found["train/loss"] == [(2, 2.0), (4, 4.0), (6, 6.0), (8, 8.0)]
    assert found["validation/cer"] == [(4, pytest.approx(0.3)), (8, pytest.approx(0.3))]


def test_steps_that_a_resumed_run_does_again_are_drawn_once_and_in_order(tmp_path):
    run(tmp_path, range(1, 12), close=False)
    run(tmp_path, range(9, 14), losses=100.0)  # from the checkpoint of step 8
    wanted = [(n, float(n)) for n in range(1, 9)] + [(n, 100.0 + n) for n in range(9, 14)]
    assert scalars(tmp_path)["train/loss"] == wanted
    assert [(record["total_step"], record["loss"]) for record in progress_file.read(tmp_path).train] == wanted
    names = [(record["checkpoint"], record["cer"]) for record in progress_file.read(tmp_path).validation]
    assert names == [("model.pt.ep1", 0.3), ("model.pt.ep2", 0.3), ("model.pt.ep3", 100.3)]


def test_a_validation_that_a_resumed_run_has_not_come_to_again_does_not_count(tmp_path):
    run(tmp_path, range(1, 13), close=False)
    run(tmp_path, range(9, 12))  # the save after the validation of step 12 did not become whole
    assert [record["total_step"] for record in progress_file.read(tmp_path).validation] == [4, 8]
    assert [step for step, _ in scalars(tmp_path)["validation/cer"]] == [4, 8]


def test_a_run_that_was_killed_before_it_saved_is_restarted(tmp_path):
    run(tmp_path, range(1, 4), close=False)
    run(tmp_path, range(1, 3), losses=100.0)
    assert [step for step, _ in scalars(tmp_path)["train/loss"]] == [1, 2]
    assert [record["loss"] for record in progress_file.read(tmp_path).train] == [101.0, 102.0]


def test_a_run_that_goes_on_at_the_end_of_an_epoch_only_validates_first(tmp_path):
    run(tmp_path, range(1, 5), validate=False)
    again = Progress(5, 1, writer(tmp_path))
    again.validated("model.pt.ep1", {"cer": 0.25}, 4)
    again.update(step(5))
    again.close()
    found = progress_file.read(tmp_path)
    assert [start["resumed_at"] for start in found.starts] == [0, 4]
    assert [record["total_step"] for record in found.train] == [1, 2, 3, 4, 5]
    assert scalars(tmp_path)["validation/cer"] == [(4, 0.25)]


def test_a_line_that_a_kill_has_cut_is_left_out_and_the_next_one_whole(tmp_path):
    run(tmp_path, range(1, 4), close=False)
    path = tmp_path / progress_file.FILE
    path.write_bytes(path.read_bytes()[:-20])
    assert [record["total_step"] for record in progress_file.read(tmp_path).train] == [1, 2]
    run(tmp_path, range(3, 5))
    found = progress_file.read(tmp_path)
    assert [record["total_step"] for record in found.train] == [1, 2, 3, 4]
    assert found.damaged == 1
    assert [start["resumed_at"] for start in found.starts] == [0, 2]


def test_a_file_of_anything_is_read(tmp_path):
    lines = [
        "[1]",
        "null",
        '{"kind": "train"}',
        '{"kind": "train", "total_step": "1"}',
        "\x00\xff",
        '{"kind": "other"}',
        "",
    ]
    (tmp_path / progress_file.FILE).write_text("\n".join(lines), encoding="utf-8")
    found = progress_file.read(tmp_path)
    assert (found.train, found.validation, found.starts, found.damaged) == ([], [], [], 6)
    assert progress_file.read(tmp_path / "nowhere").train == []


def test_a_value_that_is_no_number_is_null(tmp_path):
    file = ProgressFile(tmp_path)
    file.add({"kind": "train", "total_step": 1, "loss": float("nan"), "lr": torch.tensor(0.5), "left": float("inf")})
    file.close()
    line = (tmp_path / progress_file.FILE).read_text()
    assert json.loads(line, parse_constant=pytest.fail) == {
        "kind": "train",
        "total_step": 1,
        "loss": None,
        "lr": 0.5,
        "left": None,
    }


def test_a_progress_file_that_cannot_be_written_is_reported_once_and_ends_nothing(tmp_path, logged):
    (tmp_path / progress_file.FILE).mkdir()
    run(tmp_path, range(1, 5))
    assert [line for line in logged() if "progress.jsonl" in line] == [
        "progress.jsonl: not written any more (Is a directory); training goes on"
    ]
    assert len(scalars(tmp_path)["train/loss"]) == 4


def test_a_disk_that_fills_up_ends_nothing(tmp_path, logged):
    watched = Progress(5, 1, writer(tmp_path))
    watched.update(step(1))
    watched.file._stream.close()
    watched.file._stream = open("/dev/full", "wb")  # noqa: SIM115
    watched.update(step(2)), watched.update(step(3))
    watched.close()
    assert sum("No space left" in line for line in logged()) == 1
    assert len(logged()) == 4


def test_curves_are_drawn_after_validations_but_not_twice_a_minute(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(reporter, "draw_or_report", lambda exp, _: drawn.append(exp) or True)
    run(tmp_path, range(1, 13))
    assert drawn == [tmp_path]
    monkeypatch.setattr(reporter, "DRAW_EVERY", 0.0)
    run(tmp_path, range(13, 21))
    assert drawn == [tmp_path] * 3


def test_curves_that_cannot_be_drawn_are_reported_once_and_end_nothing(tmp_path, logged, monkeypatch):
    monkeypatch.setattr(reporter, "draw_or_report", draw_or_report)
    monkeypatch.setattr(reporter, "DRAW_EVERY", 0.0)
    (tmp_path / "curves.png").mkdir()
    run(tmp_path, range(1, 9))
    (line,) = [line for line in logged() if "curves.png" in line]
    assert line.startswith(f"{tmp_path}/curves.png: could not be drawn (")
    assert line.endswith("; training goes on")


def test_other_ranks_write_nothing(tmp_path):
    Progress(5, 1, None, shown=False).close()
    Progress(5, 1, writer(tmp_path), shown=False).close()
    assert not (tmp_path / progress_file.FILE).exists()


def test_seconds_are_shown_as_a_clock():
    assert [clock(value) for value in (-3, 0, 61, 36061.9)] == ["0:00:00", "0:00:00", "0:01:01", "10:01:01"]


def test_the_bar_shows_the_last_lines_loss_and_reads_no_other(tmp_path, monkeypatch):
    class Loss:
        read = 0

        def __float__(self):
            Loss.read += 1
            return 7.25

    monkeypatch.setenv("ASR_TTY", str(tmp_path / "terminal"))
    monkeypatch.setattr(reporter, "BAR_EVERY", 0.0)
    watched, reads = Progress(5, 3), []
    for total in range(1, 8):
        watched.update(step(total, Loss(), epochs_of=8, accuracy=None))
        reads.append(Loss.read)
    watched.close()
    assert reads == [0, 0, 1, 1, 1, 2, 2]
    shown = (tmp_path / "terminal").read_text(encoding="utf-8")
    assert "step 2/8 lr" in shown
    assert "step 4/8 loss 7.250 lr" in shown
