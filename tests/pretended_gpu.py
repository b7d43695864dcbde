"""A pretended GPU: tensors that say they are on the device ``gpu:0``, are computed on the CPU, and are counted.

What only a GPU shows is found without one, with the line of the program that asked for it:

- synchronisations: the host waits until the GPU has done all that was launched. A number that is asked for (``item``,
  ``tolist``, ``if tensor``), an operation whose result's size is data (a boolean index, ``nonzero``), a copy to the
  host, and a copy to the GPU that is not ``non_blocking`` (``torch.tensor(…, device=…)`` is one);
- copies: from the host to the GPU, blocking or not;
- mixed: operations on tensors of both devices, which a GPU refuses;
- kernels: operations that compute, each at least one kernel of a GPU. Views are none.

It says nothing of time, of memory, of autocast (which knows no such device) or of NCCL. That the memory of a copy that
is ``non_blocking`` is pinned is taken on trust. ``tensor[mask] = number`` counts as a synchronisation, and is none on
CUDA.

Import it before the process's first backward pass: torch counts its devices then.

    model = on_gpu(model)
    with counted() as counts:
        model(**on_gpu(batch))[0].backward()
    assert not counts.synchronisations
"""

from __future__ import annotations

import contextlib
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import torch
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

NAME = "gpu"
# Files whose lines are named: the innermost of them is where something happened.
NAMED = ("/asr/", "/tests/", "funasr", "transformers/", "peft/")


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


VIEWS = _names(
    "view _unsafe_view t transpose permute expand slice select unsqueeze squeeze detach alias split split_with_sizes"
    " unbind as_strided chunk _reshape_alias lift_fresh diagonal unfold narrow view_as_real view_as_complex"
)
# The size of what these return is in the data.
SIZED_BY_DATA = _names("nonzero masked_select unique_dim _unique2 unique_consecutive repeat_interleave bincount")
INDEXING = _names("index index_put index_put_ _index_put_impl_")
# Where CUDA takes tensors of the host: copies, indices, CTC's lengths.
TAKES_BOTH = INDEXING | _names("copy_ _to_copy _ctc_loss _ctc_loss_backward set_data")
# torch's own kernels of CTC copy lengths and offsets to the GPU, blocking: ATen/native/cuda/LossCTC.cu.
CTC_COPIES = 3


class _Backend(backend_registration._DummyBackendModule):
    """What torch asks of a device; it is never the accelerator that programs find by themselves."""

    def is_available(self) -> bool:
        return False

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Backend())


@dataclass
class Counts:
    """What was counted; each but ``kernels`` by kind and place: a line, or the backward pass."""

    kernels: int = 0
    synchronisations: Counter[tuple[str, str]] = field(default_factory=Counter)
    copies: Counter[tuple[str, str]] = field(default_factory=Counter)
    mixed: Counter[tuple[str, str]] = field(default_factory=Counter)

    def since(self, before: Counts | None = None) -> Counts:
        """Return what came after ``before``, a copy of an earlier state; without it, a copy of this one."""
        before = before or Counts()
        parts = ("synchronisations", "copies", "mixed")
        return Counts(self.kernels - before.kernels, *(getattr(self, part) - getattr(before, part) for part in parts))


_counts = Counts()


def _place() -> str:
    for frame in reversed(traceback.extract_stack()):
        if any(part in frame.filename for part in NAMED) and frame.filename != __file__:
            return f"{'/'.join(frame.filename.split('/')[-3:])}:{frame.lineno}"
    return "backward pass"


def _synchronised(kind: str, number: int = 1) -> None:
    _counts.synchronisations[kind, _place()] += number


def _copied(kind: str, blocking: bool) -> None:
    _counts.copies[kind, _place()] += 1
    if blocking:
        _synchronised(kind)


class Pretended(torch.Tensor):
    """A tensor of the GPU; ``host`` holds its numbers."""

    is_cuda = True  # as programs ask that copy in the background only where there is a GPU

    @staticmethod
    def __new__(cls, host: torch.Tensor) -> Pretended:
        return torch.Tensor._make_wrapper_subclass(
            cls,
            host.size(),
            strides=host.stride(),
            storage_offset=host.storage_offset(),
            dtype=host.dtype,
            device=torch.device(NAME, 0),
            requires_grad=host.requires_grad,
        )

    def __init__(self, host: torch.Tensor) -> None:
        self.host = host

    def tolist(self) -> Any:
        _synchronised("tolist")
        return self.host.tolist()

    def cpu(self) -> torch.Tensor:
        return self.to("cpu")

    def new(self, *data: Any) -> torch.Tensor:
        _copied("tensor.new", blocking=True)
        return Pretended(self.host.new(*data))

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError(f"can't convert {NAME}:0 device type tensor to numpy. Use Tensor.cpu() first")

    __array__ = numpy

    def __repr__(self) -> str:
        return f"Pretended({self.host})"

    @classmethod
    def __torch_dispatch__(cls, operation: Any, _: Any, given: Any = (), named: Any = None) -> Any:
        return _computed(operation, given, named or {})


class _Mode(TorchDispatchMode):
    """Sees what makes tensors of none."""

    def __torch_dispatch__(self, operation: Any, _: Any, given: Any = (), named: Any = None) -> Any:
        return _computed(operation, given, named or {})


def _host(value: Any) -> Any:
    return value.host if isinstance(value, Pretended) else value


def _pretended(value: Any) -> Any:
    return Pretended(value) if isinstance(value, torch.Tensor) and not isinstance(value, Pretended) else value


def _computed(operation: Any, given: Any, named: dict[str, Any]) -> Any:
    name = operation._schema.name.split("::")[1]
    if torch._C._dispatch_has_kernel_for_dispatch_key(operation.name(), "CompositeImplicitAutograd"):
        with _Mode():
            found = operation.decompose(*given, **named)
        if found is not NotImplemented:
            return found
    if name in ("copy_", "_to_copy"):
        return _copy(operation, name, given, named)
    tensors = [value for value in tree_leaves((given, named)) if isinstance(value, torch.Tensor)]
    here = [value for value in tensors if isinstance(value, Pretended)]
    if here:
        _look(name, given, [value for value in tensors if not isinstance(value, Pretended)])
    device = named.get("device")
    wanted = bool(here) if device is None else torch.device(device).type == NAME
    named = {key: value for key, value in named.items() if key not in ("device", "pin_memory")}
    if device is not None:
        named["device"] = "cpu"
    found = operation(*tree_map(_host, given), **tree_map(_host, named))
    if not wanted or name == "_local_scalar_dense":
        return found
    _counts.kernels += name not in VIEWS
    return return_and_correct_aliasing(operation, given, named, tree_map(_pretended, found))


def _look(name: str, given: Any, of_host: list[torch.Tensor]) -> None:
    """Count what an operation with tensors of the GPU, and perhaps some of the host, asks for."""
    if name == "_local_scalar_dense":
        _synchronised("item")
    if name in SIZED_BY_DATA or name == "equal":
        _synchronised(name)
    if name in INDEXING:
        for index in filter(torch.is_tensor, given[1]):
            if not isinstance(index, Pretended):
                _copied("index of the host", blocking=True)
            elif index.dtype in (torch.bool, torch.uint8):
                _synchronised("boolean index")
    if name == "_ctc_loss":
        lengths = sum(isinstance(value, Pretended) for value in given[2:4])
        if lengths:
            _synchronised("CTC's lengths", lengths)
    if name in ("_ctc_loss", "_ctc_loss_backward"):
        _synchronised(f"torch's {name}", CTC_COPIES)
    if name not in TAKES_BOTH and any(value.dim() for value in of_host):
        _counts.mixed[name, _place()] += 1


def _copy(operation: Any, name: str, given: Any, named: dict[str, Any]) -> Any:
    """copy_ and _to_copy, between the devices or within one."""
    if name == "copy_":
        target, source = given[:2]
        blocking = not (given[2] if len(given) > 2 else named.get("non_blocking", False))
        operation(_host(target), _host(source), *given[2:], **named)
        to_gpu, found = isinstance(target, Pretended), target
    else:
        source, device = given[0], named.get("device")
        blocking = not named.get("non_blocking", False)
        kept = {key: value for key, value in named.items() if key not in ("device", "pin_memory")}
        found = operation(_host(source), **kept)
        to_gpu = isinstance(source, Pretended) if device is None else torch.device(device).type == NAME
        found = Pretended(found) if to_gpu else found
    if isinstance(source, Pretended) and not to_gpu:
        if blocking:
            _synchronised("copy to the host")
    elif to_gpu and not isinstance(source, Pretended):
        _copied("copy to the GPU", blocking)
    else:
        _counts.kernels += to_gpu
    return found


class _Event:
    """torch.cuda.Event: to wait for it is to wait for all that was launched, unless more was launched since."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.at = 0

    def record(self, *_: Any) -> None:
        self.at = _counts.kernels

    def synchronize(self) -> None:
        if self.at == _counts.kernels:
            _synchronised("event")


@contextlib.contextmanager
def counted() -> Iterator[Counts]:
    """Within the block ``device="gpu"`` works, and is counted."""
    global _counts
    before, _counts = _counts, Counts()
    lifted = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor makes them on the host, and copies where we see it
    try:
        with _Mode(), mock.patch("torch.cuda.Event", _Event):
            yield _counts
    finally:
        torch._C._set_only_lift_cpu_tensors(lifted)
        _counts = before


def on_gpu(thing: Any) -> Any:
    """A module, whose parameters and buffers are moved in place, or what of a batch is a tensor; uncounted."""
    if not isinstance(thing, torch.nn.Module):
        return {name: Pretended(value) if torch.is_tensor(value) else value for name, value in thing.items()}
    for layer in thing.modules():
        for name, value in layer._parameters.items():
            if value is not None:
                made = torch.nn.Parameter(Pretended(value.detach().clone()), requires_grad=value.requires_grad)
                layer._parameters[name] = made
        for name, value in layer._buffers.items():
            if value is not None:
                layer._buffers[name] = Pretended(value.detach().clone())
    return thing
