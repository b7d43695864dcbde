"""sha256 of mapped files while their tensors are being added up: what is in the processor's cache is not read twice.

A checkpoint is mapped by ``torch.load(mmap=True)``; ``Hashes`` finds the mapping and hashes the file behind whoever
reads it, in threads, and gives the pages back. Where there is no mapping to be found the file is read.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import mmap
import os
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asr.core.digests import sha256_file

THREADS = 2
STEP = 1 << 20  # bytes of a file below which it does not pay to wake a thread
MOST_BEHIND = 1 << 22  # bytes of a file that may wait: they are in memory, and soon no longer in the cache


@functools.cache
def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return libc


def advise(begin: int, size: int, advice: int | None) -> None:
    """madvise of the pages from the one that ``begin`` (an address) is in; a system without it loses nothing."""
    first, last = begin // mmap.PAGESIZE * mmap.PAGESIZE, (begin + size) // mmap.PAGESIZE * mmap.PAGESIZE
    if advice is not None and last > first:
        _libc().madvise(first, last - first, advice)


def release(begin: int, size: int) -> None:
    """Give back pages of a mapped file. Not of memory: the same call would empty it."""
    advise(begin, size, getattr(mmap, "MADV_DONTNEED", None))


def mapping(path: Path, address: int) -> tuple[int, int] | None:
    """Where in memory the file begins that is mapped at ``address``, and its size; None if that is not ``path``."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
        found = os.stat(path)
    except OSError:
        return None
    for line in lines:
        places, _, offset, _, inode, *_ = line.split(maxsplit=5)
        begin, end = (int(place, 16) for place in places.split("-"))
        if begin <= address < end:
            start = begin - int(offset, 16)
            return (start, found.st_size) if int(inode) == found.st_ino and start + found.st_size <= end else None
    return None


def _layout(path: Path) -> tuple[list[tuple[str, int, int]], list[bytes]]:
    """Records of a checkpoint (name, place, size), and the content of those that say what the others are."""
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
        small = [archive.read(item) for item in records if item.filename.endswith(("/data.pkl", "/byteorder"))]
    return [(item.filename, item.header_offset, item.file_size) for item in records], small


def alike(path: Path, first: Path, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
    """The tensors of ``path``, mapped, if it is laid out as ``first``, byte for byte but for the numbers; else None.

    Args:
        state: the tensors of ``first``, mapped by ``torch.load``. Its unpickling of the same thing again, in Python, is
            what this saves: it takes as long as adding the numbers up.
    """
    values = [value for value in state.values() if value.numel()]
    try:
        found = mapping(first, values[0].data_ptr()) if values else None
        if found is None or path.stat().st_size != found[1] or _layout(path) != _layout(first):
            return None
        if not all(value.is_contiguous() and 0 <= value.data_ptr() - found[0] < found[1] for value in values):
            return None
        memory = np.memmap(path, np.uint8, "c")  # what torch.load maps may be written to as well, and is never kept
    except (OSError, zipfile.BadZipFile, ValueError):
        return None
    return {
        key: torch.frombuffer(memory, dtype=value.dtype, count=value.numel(), offset=value.data_ptr() - found[0]).view(
            value.shape
        )
        if value.numel()
        else value
        for key, value in state.items()
    }


class _File:
    """A file's digest up to ``done``, an offset, and the offset that may be read up to."""

    def __init__(self, path: Path, tensors: Sequence[torch.Tensor]) -> None:
        self.path, self.digest, self.done, self.reached = path, hashlib.sha256(), 0, 0
        self.running: Future[None] | None = None
        places = (mapping(path, value.data_ptr()) for value in tensors if value.numel())
        self.begin, self.size = next(places, None) or (0, 0)

    def hash(self) -> None:
        """Hash what has been reached, and give it back."""
        while (size := min(self.reached - self.done, MOST_BEHIND)) > 0:
            place = (ctypes.c_ubyte * size).from_address(self.begin + self.done)
            self.digest.update(np.ctypeslib.as_array(place))
            release(self.begin + self.done, size)
            self.done += size

    def wait(self) -> None:
        """For the thread that hashes it; its error, if it had one, is raised here."""
        if self.running is not None:
            self.running.result()

    def follow(self, pool: ThreadPoolExecutor) -> None:
        """Have what has been reached hashed, unless that is at work already; wait only where it falls far behind."""
        behind = self.reached - self.done
        if behind >= MOST_BEHIND:
            self.wait()
        if behind >= STEP and (self.running is None or self.running.done()):
            self.wait()
            self.running = pool.submit(self.hash)

    def finish(self) -> str:
        """The whole file's sha256."""
        if not self.size:
            return sha256_file(self.path)
        self.reached = self.size
        self.hash()
        return self.digest.hexdigest()


class Hashes:
    """The digests of ``paths``, whose tensors (for each path its own, mapped; none where they are not) are being read.

    A context: it ends its threads, whatever happens.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        tensors: Sequence[Sequence[torch.Tensor]],
    ) -> None:
        self.files = [_File(*item) for item in zip(paths, tensors, strict=True)]
        self.pool = ThreadPoolExecutor(THREADS)

    def __enter__(self) -> Hashes:
        return self

    def __exit__(self, *_: Any) -> None:
        self.pool.shutdown(cancel_futures=True)

    def covers(self, index: int, address: int) -> bool:
        """Whether ``address`` is in the mapping of that file: it is then given back when it has been hashed."""
        file = self.files[index]
        return 0 <= address - file.begin < file.size

    def reach(self, addresses: Sequence[int]) -> None:
        """For each file an address up to which it has been read, 0 for one that is not covered."""
        for address, file in zip(addresses, self.files, strict=True):
            if address:
                file.reached = max(file.reached, address - file.begin)
                file.follow(self.pool)

    def finish(self) -> list[str]:
        """The digests of the whole files."""
        for file in self.files:
            file.wait()
        return list(self.pool.map(_File.finish, self.files))
