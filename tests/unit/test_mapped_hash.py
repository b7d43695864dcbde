"""The sha256 of checkpoints that are hashed while they are averaged is that of the files, however they are laid out."""

import hashlib
from pathlib import Path

import pytest
import torch

from asr.averaging.mapped_hash import STEP, Hashes, alike, mapping
from asr.averaging.mean import write_mean
from asr.models.loading import open_state

SIZE = STEP // 4 * 3 + 5  # float32 elements: three times what wakes the threads, and not a whole number of pages


def state(seed: int, names: str = "abc") -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    made = {name: torch.randn(SIZE) for name in sorted(names)}
    return {name: made[name] for name in names} | {"count": torch.tensor(seed), "small": torch.randn(3)}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check(folder: Path, *states: dict[str, torch.Tensor], **how) -> None:
    """Write the states, average them, and compare every digest with that of the file's bytes."""
    paths = [folder / f"model.pt.ep{number}" for number in range(len(states))]
    for path, item in zip(paths, states, strict=True):
        torch.save({"state_dict": item}, path, **how)
    written, digests = write_mean(paths, folder / "mean.pt")
    assert digests == [sha256(path) for path in paths]
    assert written == sha256(folder / "mean.pt")
    mean = torch.load(folder / "mean.pt", weights_only=True)["state_dict"]
    for name in "abc":
        expected = sum(item[name].double() for item in states) / len(states)
        assert torch.allclose(mean[name].double(), expected, atol=1e-6)


def test_files_are_hashed_as_they_are(tmp_path):
    check(tmp_path, state(1), state(2), state(3))


def test_tensors_may_lie_in_another_order(tmp_path):
    check(tmp_path, state(1), state(2, "cba"), state(3, "bca"))


def test_tensors_may_be_parts_of_others_or_stand_askew(tmp_path):
    whole = torch.randn(2 * SIZE)
    shared = state(1) | {"a": whole[:SIZE], "b": whole[SIZE:]}
    askew = state(2) | {"c": torch.randn(2, SIZE).T[:, 0]}
    check(tmp_path, shared, askew, state(3))


def test_a_file_that_cannot_be_mapped_is_read(tmp_path):
    check(tmp_path, state(1), state(2), _use_new_zipfile_serialization=False)


def test_a_mapping_is_found_and_only_of_the_file_itself(tmp_path):
    torch.save(state(1), tmp_path / "one")
    torch.save(state(2), tmp_path / "two")
    opened, mapped = open_state(tmp_path / "one")
    assert mapped
    begin, size = mapping(tmp_path / "one", opened["a"].data_ptr())
    assert size == (tmp_path / "one").stat().st_size
    assert begin <= opened["a"].data_ptr() < begin + size
    assert mapping(tmp_path / "two", opened["a"].data_ptr()) is None
    assert mapping(tmp_path / "one", torch.ones(3).data_ptr()) is None


def test_it_hashes_on_the_way_and_not_only_at_the_end(tmp_path):
    torch.save(state(1), tmp_path / "one")
    opened, _ = open_state(tmp_path / "one")
    with Hashes([tmp_path / "one"], [list(opened.values())]) as hashes:
        address = opened["a"].data_ptr()
        assert hashes.covers(0, address)
        hashes.reach([address + 4 * SIZE])
        hashes.files[0].wait()
        assert 4 * SIZE <= hashes.files[0].done < (tmp_path / "one").stat().st_size
        assert hashes.finish() == [sha256(tmp_path / "one")]


def test_an_error_while_averaging_ends_the_threads_and_is_told(tmp_path):
    torch.save({"state_dict": state(1)}, tmp_path / "one")
    torch.save({"state_dict": state(2) | {"c": torch.full((SIZE,), float("nan"))}}, tmp_path / "two")
    with pytest.raises(Exception, match=r"two: tensor c is not a number"):
        write_mean([tmp_path / "one", tmp_path / "two"], tmp_path / "mean.pt")
    assert not (tmp_path / "mean.pt").exists()


def test_a_file_laid_out_as_the_first_needs_no_unpickling(tmp_path):
    # torch names the folder in an archive after the file: of one name, or written through a stream, they are alike
    first, second = tmp_path / "1/model.pt", tmp_path / "2/model.pt"
    for path, seed in ((first, 1), (second, 2)):
        path.parent.mkdir()
        whole = state(seed) | {"half": torch.randn(7).half(), "none": torch.zeros(0), "table": torch.randn(3, 4)}
        torch.save({"state_dict": {f"module.{key}": value for key, value in whole.items()}}, path)
    found, expected = alike(second, first, open_state(first)[0]), open_state(second)[0]
    assert found is not None
    assert list(found) == list(expected)
    assert all(found[key].dtype == expected[key].dtype for key in found)
    assert all(torch.equal(found[key], expected[key]) for key in found)
    assert mapping(second, found["a"].data_ptr()) is not None


@pytest.mark.parametrize(
    "other",
    [
        state(2, "cba"),
        state(2) | {"small": torch.randn(3, 1)},
        state(2) | {"small": torch.zeros(3, dtype=torch.int32)},
        {("d" if key == "c" else key): value for key, value in state(2).items()},
    ],
    ids=["order", "shape", "type", "name"],
)
def test_a_file_of_another_layout_is_read_as_any_other(tmp_path, other):
    for folder, item in (("1", state(1)), ("2", other)):
        (tmp_path / folder).mkdir()
        torch.save(item, tmp_path / folder / "model.pt")
    first = tmp_path / "1/model.pt"
    assert alike(tmp_path / "2/model.pt", first, open_state(first)[0]) is None
    assert alike(tmp_path / "3/model.pt", first, open_state(first)[0]) is None
