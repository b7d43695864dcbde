"""Several processes and several machines: one training, whatever it is spread over, and whatever dies."""

import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest
import torch

from asr.core.errors import RecipeError
from asr.core.out_of_memory import all_too_large
from asr.core.run_records import read_resume_points
from asr.training.distributed.several_nodes import Machines, machines, tell, telling, wait_for_first
from tests import trained
from tests.patience import PATIENCE, wait_until

TWO = {"PET_NNODES": "2", "PET_RDZV_ENDPOINT": "first:29400", "PET_RDZV_ID": "job-7"}
# DDP wants to be told that nothing uses the decoder's embedding where its sampling is off.
UNUSED = {"find_unused_parameters": True}


def same(one: Path, two: Path) -> bool:
    first, second = trained.weights(one), trained.weights(two)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_machine_alone_needs_no_variables_and_restarts_alone_make_no_rendezvous():
    assert machines({}) == Machines()
    assert machines({"PET_NNODES": "1", "PET_MAX_RESTARTS": "3"}) == Machines(1, 0, "")


def test_the_variables_of_torchrun_say_which_machine_this_is():
    assert machines({**TWO, "PET_NODE_RANK": "1"}) == Machines(2, 1, "job-7 first:29400")
    assert machines({**TWO, "PET_NNODES": "1:4", "PET_NODE_RANK": "3"}).count == 4


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("PET_RDZV_ENDPOINT", "PET_RDZV_ENDPOINT is not set, .* give the first machine's HOST:PORT"),
        ("PET_RDZV_ID", "PET_RDZV_ID is not set, .* new for every launch"),
        ("PET_NODE_RANK", "PET_NODE_RANK is not set, .* 0 on the machine that prepares"),
    ],
)
def test_a_variable_that_is_missing_is_named(missing, says):
    environment = {**TWO, "PET_NODE_RANK": "0"}
    del environment[missing]
    with pytest.raises(RecipeError, match=says):
        machines(environment)


@pytest.mark.parametrize("rank", ["2", "-1", "one"])
def test_a_machine_that_is_not_counted_from_0_is_refused(rank):
    with pytest.raises(RecipeError, match=f"PET_NNODES 2, PET_NODE_RANK {rank}: .*counted from 0"):
        machines({**TWO, "PET_NODE_RANK": rank})


def test_the_others_learn_whether_the_first_trains_has_ended_or_failed(tmp_path):
    first, other = Machines(2, 0, "a b:1"), Machines(2, 1, "a b:1")
    with pytest.raises(ZeroDivisionError), telling(tmp_path, first):
        raise ZeroDivisionError
    with pytest.raises(RecipeError, match="the first machine has failed"):
        wait_for_first(tmp_path, other)
    first, other = Machines(2, 0, "c b:1"), Machines(2, 1, "c b:1")
    with telling(tmp_path, first):
        with pytest.raises(RecipeError, match=r"prepared nothing in 0 s; .*PET_RDZV_ID the same on all"):
            wait_for_first(tmp_path, other, patience=0.1)
        tell(tmp_path, first, "trains")
        assert wait_for_first(tmp_path, other)
    assert not wait_for_first(tmp_path, other)


def test_an_id_of_an_earlier_launch_is_refused_and_what_it_left_is_not_believed(tmp_path):
    with telling(tmp_path, Machines(2, 0, "a b:1")):
        pass
    with (
        pytest.raises(RecipeError, match="PET_RDZV_ID a was used before; give all machines a new one"),
        telling(tmp_path, Machines(2, 0, "a b:1")),
    ):
        pass
    with pytest.raises(RecipeError, match="prepared nothing"):
        wait_for_first(tmp_path, Machines(2, 1, "new b:1"), patience=0.1)


def test_a_machine_alone_leaves_no_word_for_others(tmp_path):
    with telling(tmp_path, Machines()):
        tell(tmp_path, Machines(), "trains")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_two_processes_are_one_process_with_accumulation(tmp_path):
    """With nothing left to chance: each process draws by its own number, so with dropout they differ by what is drawn.

    Batches 2k and 2k+1 of the one process are step k of the two; DDP averages as accumulation does.
    """
    one = trained.lay_out(tmp_path, "one", train_conf={"accum_grad": 2}, **trained.NO_CHANCE)
    two = trained.lay_out(tmp_path, "two", cpu_processes=2, train_conf=UNUSED, **trained.NO_CHANCE)
    for exp in (one, two):
        trained.train(exp)
    assert len(trained.scalars(two, "train/loss")) == 3 * 24 / 4 / 2
    assert trained.scalars(two, "train/loss") == pytest.approx(trained.scalars(one, "train/loss")[::2], rel=1e-5)
    for name in ("validation/loss", "validation/cer"):
        assert trained.scalars(two, name) == pytest.approx(trained.scalars(one, name), rel=1e-5)
    base = trained.weights(tmp_path / "base/model.pt")
    ours, theirs = trained.weights(one / "model.pt"), trained.weights(two / "model.pt")
    moved = max((ours[name] - base[name]).abs().max() for name in base)
    assert max((ours[name] - theirs[name]).abs().max() for name in base) < 1e-3 * moved


def rank_process(exp: Path, rank: int) -> int | None:
    """The process that trains as ``rank``, if it is there."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
        except OSError:
            continue
        if f"{exp}/launch.json".encode() in command and f"\0RANK={rank}\0".encode() in b"\0" + environment + b"\0":
            return int(folder.name)
    return None


LONG = {"max_epoch": 12, "save_checkpoint_interval": 2, "validate_interval": 10_000, "keep_nbest_models": 3}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A training of two processes that nothing happens to; others are laid out beside it."""
    exp = trained.lay_out(tmp_path_factory.mktemp("long"), "undisturbed", cpu_processes=2, train_conf=LONG)
    trained.train(exp)
    return exp


@pytest.mark.slow
def test_a_process_that_dies_is_started_anew_and_the_weights_are_those_of_an_undisturbed_run(undisturbed):
    exp = trained.lay_out(undisturbed.parent, "killed", cpu_processes=2, train_conf=LONG)
    child = trained.start(exp, PET_MAX_RESTARTS="1")
    while not (exp / "saves.json").exists() and child.poll() is None:
        time.sleep(0.01)
    os.kill(rank_process(exp, 1), signal.SIGKILL)
    said = child.communicate(timeout=PATIENCE)[0]
    assert child.returncode == 0, said
    assert "a training process died: all are restarted (restart 1 of 1)" in said
    assert "resumed from killed/model.pt.ep" in said
    assert "trained: 3 checkpoints" in said
    assert "Traceback" not in said
    assert same(undisturbed / "model.pt", exp / "model.pt")
    assert (undisturbed / "checkpoints.json").read_bytes() == (exp / "checkpoints.json").read_bytes()


def watched(folder: Path) -> dict[str, str]:
    """Environment of a training that does what the files in ``folder`` say; see tests/hooks."""
    hooks = Path(__file__).resolve().parents[1] / "hooks"
    return {"WATCHED": str(folder), "PYTHONPATH": os.pathsep.join([str(hooks), os.environ.get("PYTHONPATH", "")])}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def as_machine(number: int, name: str, nodes: str = "2") -> dict[str, str]:
    return {
        "PET_NNODES": nodes,
        "PET_NODE_RANK": str(number),
        "PET_RDZV_BACKEND": "c10d",
        "PET_RDZV_ENDPOINT": name,
        "PET_RDZV_ID": f"test-{name}",
        "PET_MAX_RESTARTS": "1",  # a stop must not be taken for a death
        "GLOO_SOCKET_IFNAME": "lo",
    }


def both(exp: Path, stop_when=None) -> list[tuple[int, str]]:
    """Train on two machines, which are this one twice; the status and the words of each."""
    meet = f"127.0.0.1:{free_port()}"
    children = [trained.start(exp, **as_machine(number, meet)) for number in (1, 0)]
    if stop_when:
        while not stop_when() and all(child.poll() is None for child in children):
            time.sleep(0.01)
        children[0].send_signal(signal.SIGTERM)
    said = [child.communicate(timeout=PATIENCE)[0] for child in children]
    return [(child.returncode, words) for child, words in zip(children, said, strict=True)]


@pytest.mark.slow
def test_two_machines_train_what_one_with_two_processes_does(tmp_path):
    alone = trained.lay_out(tmp_path, "alone", cpu_processes=2)
    trained.train(alone)
    exp = trained.lay_out(tmp_path, "several")
    (other, others_words), (first, words) = both(exp)
    assert (first, other) == (0, 0), words + others_words
    assert "trained: 3 checkpoints" in words
    assert "machine 1 of 2: trained; the first tells the result" in others_words
    assert same(alone / "model.pt", exp / "model.pt")
    assert json.loads((exp / "machines.json").read_text())["state"] == "over"


@pytest.mark.slow
def test_a_stop_on_one_machine_saves_and_stops_on_both_and_both_go_on(undisturbed):
    exp = trained.lay_out(undisturbed.parent, "several", train_conf=LONG)
    for status, words in both(exp, stop_when=(exp / "saves.json").exists):
        assert status == 130, words
        assert "stopped; the same command resumes from the newest checkpoint" in words
        assert "restarted" not in words
    assert read_resume_points(exp)[0].damage(exp) is None
    for status, words in both(exp):
        assert status == 0, words
    assert same(undisturbed / "model.pt", exp / "model.pt")


@pytest.mark.slow
def test_a_machine_that_joins_is_trained_with_and_its_leaving_is_survived(tmp_path):
    """PET_NNODES=1:2: torchrun stops the workers, which save, and begins them anew on as many machines as there are."""
    exp = trained.lay_out(tmp_path, "grows", train_conf={**LONG, "max_epoch": 40})
    meet = f"127.0.0.1:{free_port()}"
    roles = [{**as_machine(number, meet, "1:2"), "PET_RDZV_CONF": "last_call_timeout=1"} for number in (0, 1)]
    (tmp_path / "slow").touch()  # or it might be done before the other machine has come
    first = trained.start(exp, **roles[0], **watched(tmp_path))
    wait_until(lambda: (exp / "saves.json").exists(), "the first save", first)
    other = trained.start(exp, **roles[1])
    wait_until(lambda: (exp / "train.1.log").exists(), "the second machine", first, other)
    (tmp_path / "slow").unlink()
    seen = time.time()
    wait_until(lambda: (exp / "saves.json").stat().st_mtime > seen, "a later save", first, other)
    os.killpg(other.pid, signal.SIGKILL)
    other.communicate(timeout=PATIENCE)
    words = first.communicate(timeout=PATIENCE)[0]
    assert first.returncode == 0, words
    assert words.count("resumed from grows/model.pt.ep") == 2, words
    assert "stopped" not in words
    assert "trained: 3 checkpoints" in words


@pytest.mark.slow
def test_memory_that_runs_out_while_gradients_are_exchanged_is_survived(undisturbed, tmp_path):
    """The processes begin anew by themselves, with what did not fit in parts."""
    exp = trained.lay_out(undisturbed.parent, "large", cpu_processes=2, train_conf={**LONG, "max_epoch": 4})
    (tmp_path / "room").write_text("60")  # padded frames of features, which a batch of four has 32 to 112 of
    said = trained.train(exp, **watched(tmp_path))
    lines = said.splitlines()
    restarts = lines.count("restarted from the newest checkpoint, with smaller parts")
    assert restarts >= 1
    assert sum("out of memory while gradients were exchanged" in line for line in lines) == restarts
    assert not [line for line in lines if line.startswith("error: ")]
    assert "trained: 3 checkpoints" in said
    assert "Traceback" not in said
    assert all_too_large(exp)["CPU"].padded_frames <= 112
