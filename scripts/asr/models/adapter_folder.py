"""exp/TAG/adapter/: what a run of adapters adds to the model that it was trained on, a few MB, used on that model.

    adapter.json   what it is for: the sha256 of that model's weights, and how the adapters are merged
    adapter.pt     the averaged checkpoints' own tensors, without the model's
    lineage.json   the clips that it and the models before it were trained on

Beside others' it lies in a folder named after its speaker: DIR/02/adapter.json. One model in memory serves all: the
weights that adapters change are set when another speaker's turn comes, to the same numbers as in exp/TAG/model.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from asr.core.digests import sha256_file
from asr.core.errors import RecipeError
from asr.core.files import read_json, write_json
from asr.core.run_folder import RunFolder
from asr.models import lineage, lora_merge
from asr.models.lora_merge import Lora
from asr.models.weights import read_state

SCHEMA_VERSION = 1
RECORD, WEIGHTS = "adapter.json", "adapter.pt"
State = Mapping[str, torch.Tensor]


def write(exp: Path, names: Sequence[str], newest: int, lora: Mapping[str, Lora], base_name: str) -> None:
    """Write exp/TAG/adapter of the checkpoints ``names``, where there is none; built beside its place and renamed.

    Args:
        newest: index of the checkpoint whose counters are taken.
        lora: how its adapters are merged (``asr.models.lora.merging``).
    """
    run = RunFolder(exp)
    building = run.adapter.with_name(f".{run.adapter.name}.new")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir()
    torch.save([read_state(exp / name) for name in names], building / WEIGHTS)
    record = {
        "schema_version": SCHEMA_VERSION,
        "of": base_name,
        "of_sha256": sha256_file((run.base / "model.pt").resolve()),
        "weights_sha256": sha256_file(building / WEIGHTS),
        "newest": newest,
        "lora": {
            part: {"targets": list(one.targets), "rank": one.rank, "alpha": one.alpha} for part, one in lora.items()
        },
    }
    write_json(building / RECORD, record)
    shutil.copyfile(run.lineage, building / lineage.LINEAGE)
    building.rename(run.adapter)


def find(folder: Path) -> dict[str, Path]:
    """Return {speaker: folder} of the adapters in ``folder``, or {"": folder} where it is one itself.

    RecipeError where there is none.
    """
    if (folder / RECORD).is_file():
        return {"": folder}
    found = {path.parent.name: path.parent for path in sorted(folder.glob(f"*/{RECORD}"))}
    if not found:
        raise RecipeError(
            f"{folder}: no adapter in it (adapter.json, or SPEAKER/adapter.json); stage 4 of a run with lora_conf makes"
            f" one: cp -r exp/TAG/adapter {folder}/SPEAKER"
        )
    return found


def read(folder: Path, weights_sha256: str, model: Path) -> dict[str, Any]:
    """Return adapter.json. RecipeError unless it is whole, and was trained on the model with these weights."""
    record = read_json(folder / RECORD, "copy it anew from exp/TAG/adapter")
    if record.get("schema_version") != SCHEMA_VERSION:
        raise RecipeError(f"{folder / RECORD}: is not of schema_version {SCHEMA_VERSION}; run its stage 4 again")
    if record["of_sha256"] != weights_sha256:
        raise RecipeError(
            f"{folder}: an adapter of {record['of']}, and {model}/model.pt has other weights; give it the model that it"
            " was trained on"
        )
    if not (folder / WEIGHTS).is_file() or sha256_file(folder / WEIGHTS) != record["weights_sha256"]:
        raise RecipeError(f"{folder / WEIGHTS}: is not as stage 4 wrote it; copy the folder anew from exp/TAG/adapter")
    return record


def changed_keys(states: Sequence[State]) -> set[str]:
    """Return the names of the model's tensors that checkpoints of adapters change."""
    keys = {key for state in states for key in state}
    adapted = {f"{key.removesuffix('.lora_A')}.weight" for key in keys if key.endswith(".lora_A")}
    return adapted | {key for key in keys if not lora_merge.is_factor(key)}


def changed(base: State, states: Sequence[State], newest: int, lora: Mapping[str, Lora]) -> dict[str, torch.Tensor]:
    """Return the tensors that adapters change, as ``asr.averaging.mean`` has them in the average, in float64.

    Args:
        base: these tensors of the model that they were trained on, on the CPU.
        states: the averaged checkpoints' own tensors. ``newest``: which one's counters are taken.
    """
    found = {}
    for key in changed_keys(states):
        if not base[key].is_floating_point():
            found[key] = states[newest][key]
            continue
        total = torch.zeros(base[key].shape, dtype=torch.float64)
        for state in states:
            whole = {**state, key: state.get(key, base[key])}
            total += whole[key]
            if (added := lora_merge.delta(whole, key, lora)) is not None:
                total += added
        found[key] = total / len(states)
    return found


class Adapters:
    """The adapters of a folder, for one model in memory.

    Args:
        folder: as ``find`` takes it.
        model: the folder whose weights ``module`` was loaded from.

    Attributes:
        folders: {speaker: folder}; {"": folder} is one for everybody.
    """

    def __init__(self, folder: Path, model: Path, module: torch.nn.Module) -> None:
        self.folders = find(folder)
        weights = sha256_file((model / "model.pt").resolve())
        self._records = {name: read(path, weights, model) for name, path in self.folders.items()}
        self._tensors = module.state_dict()
        self._untouched: dict[str, torch.Tensor] = {}  # of the model, where an adapter has changed them
        self._now: Path | None = None

    def use(self, speaker: str) -> Path | None:
        """Give the model this speaker's adapter and return its folder; None, and the model as it was, without one."""
        name = "" if "" in self.folders else speaker
        wanted = self.folders.get(name)
        if wanted != self._now:
            with torch.no_grad():
                for key, value in self._untouched.items():
                    self._tensors[key].copy_(value)
                if wanted:
                    self._put(wanted, self._records[name])
            self._now = wanted
        return wanted

    def _put(self, folder: Path, record: Mapping[str, Any]) -> None:
        states = torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True)
        lora = {part: Lora(tuple(one["targets"]), one["rank"], one["alpha"]) for part, one in record["lora"].items()}
        base = {key: self._tensors[key].cpu() for key in changed_keys(states)}
        for key, value in changed(base, states, record["newest"], lora).items():
            self._untouched.setdefault(key, self._tensors[key].clone())
            self._tensors[key].copy_(value)
