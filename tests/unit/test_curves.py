"""curves.png: what is drawn of a run, and that drawing it cannot end a training."""

import json
import math
import subprocess
import sys

import pytest
from matplotlib.figure import Figure
from PIL import Image

from asr.core.errors import RecipeError
from asr.core.files import atomic_open
from asr.pages import svg
from asr.progress.curves import draw, draw_or_report, marked, smoothed
from asr.progress.record import ProgressFile


def record_run(exp, count=12, every=4, cer=True, resumed_at=(), **more):
    """A run of ``count`` logged steps with a validation after every ``every``; its CERs are 0.5, 0.4, 0.3, …"""
    exp.mkdir(exist_ok=True)
    file = ProgressFile(exp)
    for at in (0, *resumed_at):
        file.add({"kind": "start", "resumed_at": at})
        for step in range(at + 1, count + 1):
            place = {"total_step": step, "epoch": 1 + (step - 1) // every, "max_epoch": 9}
            values = {"loss": 4.0 / step, "lr": 1e-4, "audio_s_per_s": 100.0, "memory_gb": 1.5, **more}
            file.add({"kind": "train", **place, **values})
            if step % every == 0:
                number = step // every
                value = {"cer": 0.6 - 0.1 * number} if cer else {"accuracy": 0.4 + 0.1 * number}
                name = f"model.pt.ep{number}"
                file.add({"kind": "validation", "total_step": step, "checkpoint": name, "loss": 1.0 / number, **value})
    file.close()
    return exp


def rank(exp, names, by="cer"):
    items = [{"file": f"model.pt.{name}", "value": 0.1} for name in names]
    ranking = {"ranked_by": by, "finished": False, "epochs": 3, "checkpoints": items}
    (exp / "checkpoints.json").write_text(json.dumps(ranking))


@pytest.fixture
def drawn(monkeypatch):
    """The axes of the pictures that are drawn, by what their titles begin with."""
    figures = []
    plain = Figure.subplots
    monkeypatch.setattr(Figure, "subplots", lambda self, *a, **k: figures.append(self) or plain(self, *a, **k))

    def axis(title):
        return next(item for item in figures[-1].axes if item.get_title(loc="left").startswith(title))

    return axis


def line(axis, place=0):
    return list(zip(*axis.lines[place].get_data(), strict=True))


def labels(axis):
    legend = axis.get_legend()
    return [text.get_text() for text in legend.get_texts()] if legend else []


def test_the_picture_has_the_six_curves_of_the_records(tmp_path, drawn):
    exp = record_run(tmp_path / "run")
    draw(exp)
    with Image.open(exp / "curves.png") as image:
        image.load()
        assert min(image.size) > 900
    assert line(drawn("training loss")) == [(step, 4.0 / step) for step in range(1, 13)]
    assert line(drawn("validation loss")) == [(4, 1.0), (8, 0.5), (12, pytest.approx(1 / 3))]
    assert line(drawn("validation CER, %")) == [(4, 50.0), (8, pytest.approx(40)), (12, pytest.approx(30))]
    for title, value in (("learning rate", 1e-4), ("speed", 100.0), ("memory in use", 1.5)):
        assert line(drawn(title)) == [(step, value) for step in range(1, 13)]
    assert [path.name for path in exp.glob(".*")] == []


def test_the_best_and_the_checkpoints_to_be_averaged_are_marked(tmp_path, drawn):
    exp = record_run(tmp_path / "run", 20)
    rank(exp, ["ep5", "ep4", "ep3", "ep1"])
    (exp / "conf").mkdir()
    (exp / "conf" / "average.yaml").write_text("avg_nbest_model: 3\n")
    draw(exp)
    axis = drawn("validation CER")
    assert [step for step, _ in line(axis, 1)] == [20, 16, 12]
    assert line(axis, 2) == [(20, pytest.approx(10))]
    assert labels(axis) == ["to be averaged: 3", "best: 10 %"]
    assert labels(drawn("validation loss")) == []


def test_once_stage_4_has_averaged_its_choice_is_marked_until_training_ranks_anew(tmp_path):
    exp = record_run(tmp_path / "run", 24)
    rank(exp, ["ep6", "ep5", "ep3"])
    names = ["model.pt.ep6", "model.pt.ep5", "model.pt.ep3"]
    assert marked(exp) == ("cer", names, "to be averaged")
    (exp / "avg.json").write_text(json.dumps({"checkpoints": [{"file": name} for name in names[:2]]}))
    assert marked(exp) == ("cer", names[:2], "averaged")
    rank(exp, ["ep7", "ep6", "ep5"])
    assert marked(exp) == ("cer", ["model.pt.ep7", *names[:2]], "to be averaged")


def test_a_run_ranked_by_loss_is_marked_on_its_loss_and_has_no_cer(tmp_path, drawn):
    exp = record_run(tmp_path / "run", cer=False)
    rank(exp, ["ep3"], by="loss")
    draw(exp)
    assert labels(drawn("validation loss")) == ["to be averaged: 1", "best: 0.3333"]
    assert labels(drawn("validation accuracy, %")) == []


def test_what_a_gpu_reserves_is_drawn_beside_what_it_allocates(tmp_path, drawn):
    draw(record_run(tmp_path / "run", reserved_gb=2.5))
    axis = drawn("GPU memory")
    assert (line(axis, 0)[0], line(axis, 1)[0]) == ((1, 1.5), (1, 2.5))
    assert labels(axis) == ["allocated", "reserved"]


def test_steps_are_drawn_once_and_where_a_run_was_resumed_there_is_a_line(tmp_path, drawn):
    draw(record_run(tmp_path / "run", resumed_at=(8,)))
    axis = drawn("training loss")
    assert [step for step, _ in line(axis)] == list(range(1, 13))
    assert list(axis.lines[1].get_xdata()) == [8, 8]


@pytest.mark.parametrize("count", [1, 2, 2000])
def test_few_points_and_many_are_readable(tmp_path, drawn, count):
    draw(record_run(tmp_path / "run", count, every=max(count // 50, 1)))
    axis = drawn("training loss")
    assert (axis.lines[0].get_marker() == "o") == (count < 20)
    assert labels(axis) == ([] if count < 20 else ["as logged", "smoothed"])
    assert axis.get_yscale() == ("log" if count == 2000 else "linear")  # 4 to 0.002


def test_a_run_without_validations_yet_is_drawn(tmp_path, drawn):
    draw(record_run(tmp_path / "run", 3))
    assert drawn("validation loss").get_title(loc="left") == "validation loss: none"


def test_a_mean_of_neighbours_is_level_on_a_level_and_true_at_the_ends():
    assert smoothed([3.0] * 100) == [3.0] * 100
    rising = [float(value) for value in range(100)]
    assert smoothed(rising) == pytest.approx(rising)
    spike = [0.0] * 50 + [41.0] + [0.0] * 49
    assert max(smoothed(spike)) == pytest.approx(41 / 5)
    assert smoothed([1.0, 2.0]) == [1.0, 2.0]


def test_nothing_recorded_is_one_line(tmp_path):
    with pytest.raises(RecipeError, match=r"progress\.jsonl: no training is recorded there; run stage 3 first"):
        draw(tmp_path)
    assert not (tmp_path / "curves.png").exists()


def test_a_picture_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    exp = record_run(tmp_path / "run")
    draw(exp)
    before = (exp / "curves.png").read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("no")))
    with pytest.raises(OSError, match="no"):
        draw(exp)
    assert (exp / "curves.png").read_bytes() == before
    assert list(exp.glob(".curves*")) == []


def test_what_a_killed_process_left_is_swept_but_not_what_is_being_written(tmp_path):
    exp = record_run(tmp_path / "run")
    old = exp / ".curves.png.abcd0123.tmp"
    old.touch()
    with atomic_open(exp / "curves.png", "wb"):
        (busy,) = {*exp.glob(".curves.png.*.tmp")} - {old}
        draw(exp)
        assert (old.exists(), busy.exists()) == (False, True)


def test_a_picture_that_cannot_be_drawn_is_one_line_and_no_error(tmp_path):
    lines = []
    assert draw_or_report(record_run(tmp_path / "run"), lines.append)
    assert (tmp_path / "run" / "curves.png").is_file()
    assert lines == []
    assert not draw_or_report(tmp_path, lines.append)
    (line,) = lines
    assert line.startswith(f"{tmp_path}/curves.png: could not be drawn ({tmp_path}/progress.jsonl: no training is")


def test_drawing_loads_no_torch():
    code = "import sys, asr.progress.curves, asr.progress.reporter, asr.progress.status;"
    code += " print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_values_that_are_no_numbers_are_left_out(tmp_path, drawn):
    exp = record_run(tmp_path / "run", 3)
    file = ProgressFile(exp)
    file.add({"kind": "train", "total_step": 4, "loss": math.nan, "lr": 1e-4})
    file.close()
    draw(exp)
    assert [step for step, _ in line(drawn("training loss"))] == [1, 2, 3]
    assert [step for step, _ in line(drawn("learning rate"))] == [1, 2, 3, 4]


def test_the_font_of_the_figures_is_the_recipes_own(tmp_path, monkeypatch):
    asked = []
    plain = svg._paper_font
    monkeypatch.setattr(svg, "_paper_font", lambda: asked.append(plain()) or asked[-1])
    draw(record_run(tmp_path / "构音障碍"))
    assert asked
