"""The mean of checkpoints in constant memory: tensors stay on disk, and what has been added up leaves memory again.

Each checkpoint is mapped (``torch.load(mmap=True)``). A block of one tensor at a time is summed over all checkpoints in
float64, divided, rounded to the tensor's own type and written; the pages of the block are given back. What is in memory
is a few blocks, however large the model and however many the checkpoints. (A file in torch's format from before 1.6
cannot be mapped and is held as a whole; neither this recipe nor FunASR writes any.)

What a tensor means decides how it is averaged:

- numbers (float, complex, of any width): the mean; checkpoints that differ in width give the wider one;
- a LoRA adapter: never its factors; W + s B A of each checkpoint is averaged, and the result is a plain model;
- an integer that is one number, such as BatchNorm's num_batches_tracked, is a counter: the newest checkpoint's;
- an integer table (an index, a mask) must be the same in all checkpoints: another table is another model.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import mmap
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asr.averaging import tensor_file
from asr.averaging.mapped_hash import Hashes, advise, alike, release
from asr.core.errors import RecipeError
from asr.models import lora_merge
from asr.models.loading import open_state

BLOCK = 1 << 17  # elements: a float64 sum of 1 MB stays in the processor's cache
THREADS = 2  # that add up; more would wait for the memory
AHEAD = 1 << 24  # bytes of each file that the disk is asked for before they are added up
INSTEAD = "put back the one that was, or remove it and run stage 4 again"
_NATIVE = (torch.float32, torch.float64)  # numpy adds these to float64 twice as fast as torch, which copies them first


class Mean:
    """The mean of checkpoints of one model, key by key.

    Args:
        paths: checkpoint files, in order; the first gives the order of the keys.
        newest: index in ``paths`` of the one whose counters are taken.
        lora: for each path its adapters' settings (``adapters.settings``); None where there are none.
        base: the model that checkpoints of adapters were trained on, and whose tensors they do not hold.

    Raises RecipeError naming the file: one that cannot be read, other keys or shapes than the first one's, adapters
    without settings.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        newest: int = 0,
        lora: Sequence[Mapping[str, lora_merge.Lora]] | None = None,
        base: Path | None = None,
    ) -> None:
        self.paths, self.newest = list(paths), newest
        self.lora = list(lora or [{}] * len(paths))
        opened = [_opened(path) for path in paths[:1]]
        for path in paths[1:]:
            same = alike(path, paths[0], opened[0][0]) if opened[0][1] else None
            opened.append(_opened(path) if same is None else (same, True))
        self.own = [list(state.values()) if mapped else [] for state, mapped in opened]
        if base is not None:
            below = open_state(base)
            opened = [self._upon(below, *item, path, base) for item, path in zip(opened, paths, strict=True)]
        self.states = [state for state, _ in opened]
        self.mapped = [mapped for _, mapped in opened]
        for index in range(len(self.states)):
            self._check_adapters(index)
        self._check_agreement()
        self.template = self._template()
        self._keys = iter(self.template)  # whose tensors the disk has not been asked for
        self._asked = self._begun = 0  # bytes of each file
        self.hashes: Hashes | None = None  # of the files, by whoever wants them while they are read
        self.pool = ThreadPoolExecutor(THREADS)  # ended with the program, or when nothing refers to this any more

    @staticmethod
    def _upon(
        below: tuple[dict[str, torch.Tensor], bool],
        state: dict[str, torch.Tensor],
        mapped: bool,
        path: Path,
        base: Path,
    ) -> tuple[dict[str, torch.Tensor], bool]:
        """A checkpoint of what was trained, with the base's tensors for the rest."""
        for key, value in state.items():
            if not lora_merge.is_factor(key) and (key not in below[0] or below[0][key].shape != value.shape):
                raise RecipeError(f"{path}: tensor {key} is not one of {base}'s: was it trained on another base model?")
        return {**below[0], **state}, mapped and below[1]

    def _name(self, index: int) -> str:
        return str(self.paths[index])

    def _check_adapters(self, index: int) -> None:
        state = self.states[index]
        if not state:
            raise RecipeError(f"{self._name(index)}: no tensor in it, so it is not a checkpoint")
        if any(map(lora_merge.is_factor, state)) and not self.lora[index]:
            raise RecipeError(
                f"{self._name(index)}: holds LoRA adapters, whose factors cannot be averaged, and the run's"
                " configuration (lora_list, lora_rank, lora_alpha in encoder_conf, decoder_conf) does not say how to"
                " merge them"
            )
        lora_merge.refuse_unpaired(state)

    def _check_agreement(self) -> None:
        first = self._plain(0)
        for index in range(1, len(self.states)):
            state = self._plain(index)
            if state.keys() != first.keys():
                odd = sorted(state.keys() ^ first.keys())[0]
                raise RecipeError(
                    f"{self._name(index)}: is of another model than {self.paths[0].name} (tensor {odd}); give --restart"
                    " at stage 3"
                )
            for key, value in state.items():
                here, there = _described(value), _described(first[key])
                if here != there:
                    raise RecipeError(f"{self._name(index)}: tensor {key} is {here}, in {self.paths[0].name} {there}")

    def _plain(self, index: int) -> dict[str, torch.Tensor]:
        return {key: value for key, value in self.states[index].items() if not lora_merge.is_factor(key)}

    def _template(self) -> dict[str, torch.Tensor]:
        """An untouched tensor for each key; keys that are one tensor in every checkpoint are one here too."""
        template: dict[str, torch.Tensor] = {}
        seen: dict[tuple[Any, ...], torch.Tensor] = {}
        for key in self._plain(0):
            values = [state[key] for state in self.states]
            place = tuple((value.data_ptr(), tuple(value.shape), value.stride(), value.dtype) for value in values)
            adapted = any(f"{key.removesuffix('.weight')}.lora_A" in state for state in self.states)
            if not values[0].numel() or adapted:
                place = (key,)
            if place not in seen:
                kinds = [value.dtype for value in values] + [torch.float32] * adapted  # of a base in bf16: as trained
                kind = functools.reduce(torch.promote_types, kinds)
                seen[place] = torch.empty(values[0].shape, dtype=kind)
            template[key] = seen[place]
        return template

    def blocks(self, key: str) -> Iterator[torch.Tensor]:
        """The mean of ``key``, flat, in consecutive blocks; while one is used those after it are added up."""
        values, kind = [state[key] for state in self.states], self.template[key].dtype
        if not (kind.is_floating_point or kind.is_complex):
            yield from self._integers(key, values)
            return
        self._ask_ahead(values[0].numel() * values[0].element_size())
        added = [lora_merge.delta(state, key, lora) for state, lora in zip(self.states, self.lora, strict=True)]
        extra = None if all(item is None for item in added) else sum(item for item in added if item is not None)
        flat = [value.detach().reshape(-1) for value in values]  # a view; a copy where it is not contiguous
        size = flat[0].numel()
        places = [(begin, min(begin + BLOCK, size)) for begin in range(0, size, BLOCK)]
        waiting: collections.deque[Future[torch.Tensor]] = collections.deque()
        for place in places[:THREADS]:
            waiting.append(self.pool.submit(self._block, key, flat, extra, place))
        for number, (begin, end) in enumerate(places):
            block = waiting.popleft().result()
            if number + THREADS < len(places):
                waiting.append(self.pool.submit(self._block, key, flat, extra, places[number + THREADS]))
            yield block
            self._release(key, flat, begin, end)

    def _block(
        self, key: str, flat: Sequence[torch.Tensor], extra: torch.Tensor | None, place: tuple[int, int]
    ) -> torch.Tensor:
        """The mean of the elements from ``place[0]`` to before ``place[1]``, in the tensor's own type."""
        begin, end = place
        kind = self.template[key].dtype
        total = flat[0][begin:end].to(torch.complex128 if kind.is_complex else torch.float64, copy=True)
        for item in flat[1:]:
            _add(total, item[begin:end])
        if extra is not None:
            total += extra.reshape(-1)[begin:end]
        total /= len(flat)
        if bool(torch.isnan(total.sum())) and bool(torch.isnan(total).any()):
            raise self._not_a_number(key)
        return total.to(kind)

    def _ask_ahead(self, size: int) -> None:
        """Have the disk fetch what comes after the next ``size`` bytes, from all files, while these are added up."""
        self._begun += size
        while self._asked < self._begun + AHEAD and (key := next(self._keys, None)) is not None:
            values = [state[key] for state in self.states]
            for value, mapped in zip(values, self.mapped, strict=True):
                if mapped:
                    size_here = value.numel() * value.element_size()
                    advise(value.data_ptr(), size_here, getattr(mmap, "MADV_WILLNEED", None))
            self._asked += values[0].numel() * values[0].element_size()

    def _release(self, key: str, flat: Sequence[torch.Tensor], begin: int, end: int) -> None:
        """Give back the pages of a block, after its hash where one is wanted. Only of mapped files."""
        ends = []
        for index, (state, item) in enumerate(zip(self.states, flat, strict=True)):
            address, width = item.data_ptr(), item.element_size()
            own = self.mapped[index] and address == state[key].data_ptr()
            hashed = own and self.hashes is not None and self.hashes.covers(index, address)
            ends.append(address + end * width if hashed else 0)
            if own and not hashed:
                release(address + begin * width, (end - begin) * width)
        if self.hashes is not None:
            self.hashes.reach(ends)

    def _integers(self, key: str, values: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        value = values[self.newest]
        for index, other in enumerate(values):
            if value.numel() > 1 and not torch.equal(other, value):
                raise RecipeError(
                    f"{self._name(index)}: {key} is an integer table and not that of {self.paths[self.newest].name}; a"
                    " table has no mean: are these checkpoints of one model?"
                )
        yield value.reshape(-1).to(self.template[key].dtype)

    def _not_a_number(self, key: str) -> RecipeError:
        """Which file it is whose mean is not a number."""
        bad = [self._name(index) for index, state in enumerate(self.states) if bool(torch.isnan(state[key]).any())]
        return RecipeError(
            f"{bad[0] if bad else self._name(0)}: tensor {key} is not a number (NaN); that training diverged: lower"
            " optim_conf.lr and give --restart at stage 3"
        )


def _opened(path: Path) -> tuple[dict[str, torch.Tensor], bool]:
    try:
        return open_state(path)
    except RecipeError as error:
        raise RecipeError(f"{error}; {INSTEAD}") from None


def _described(value: torch.Tensor) -> str:
    """Shape and kind, which two checkpoints' tensors have in common; how wide a number is may differ."""
    kind = str(value.dtype).removeprefix("torch.")
    kind = "float" if value.is_floating_point() else "complex" if value.is_complex() else kind
    return f"{kind} {tuple(value.shape)}"


def _add(total: torch.Tensor, value: torch.Tensor) -> None:
    if value.dtype in _NATIVE and total.dtype == torch.float64:
        sums = total.numpy()
        np.add(sums, value.numpy(), out=sums)
    else:
        total += value.to(total.dtype)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """A block is too small for several threads to share, and they would wait for one another where others hash."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def mean_state(
    paths: Sequence[Path],
    newest: int = 0,
    lora: Sequence[Mapping[str, lora_merge.Lora]] | None = None,
    base: Path | None = None,
) -> dict[str, torch.Tensor]:
    """The mean of the checkpoints as a state in memory; see ``Mean``."""
    mean = Mean(paths, newest, lora, base)
    for key, tensor in mean.template.items():
        flat, begin = tensor.view(-1), 0
        for block in mean.blocks(key):
            flat[begin : begin + block.numel()] = block
            begin += block.numel()
    return mean.template


def write_mean(
    paths: Sequence[Path],
    out: Path,
    newest: int = 0,
    lora: Sequence[Mapping[str, lora_merge.Lora]] | None = None,
    base: Path | None = None,
    written: Sequence[str | None] | None = None,
) -> tuple[str, list[str]]:
    """Write the mean as ``torch.save({"state_dict": …})`` would; return its sha256 and those of ``paths``.

    Args:
        written: for each path the sha256 that it was written with, where that is known. It is hashed while it is read
            for the mean, and refused, before ``out`` takes its name, unless it holds the same.

    See ``Mean`` for the others, and for what may go wrong.
    """
    mean = Mean(paths, newest, lora, base)
    digests: list[str] = []

    def check() -> None:
        digests.extend(mean.hashes.finish())
        for path, wanted, found in zip(paths, written or [None] * len(paths), digests, strict=True):
            if wanted not in (None, found):
                raise RecipeError(f"{path}: is not the file that was written there (another sha256); {INSTEAD}")

    with _one_thread(), Hashes(paths, mean.own) as mean.hashes:
        return tensor_file.save_streamed(out, mean.template, mean.blocks, check), digests
