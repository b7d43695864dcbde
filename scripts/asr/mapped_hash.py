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
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asr.files import sha256_file

THREADS = 2
STEP = 1 << 18  # bytes of a file below which it does not pay to wake the threads


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


class _File:
    """A file's digest up to ``done``, an offset, and the offset that may be read up to."""

    def __init__(self, path: Path, tensors: Sequence[torch.Tensor]) -> None:
        self.path, self.digest, self.done, self.reached = path, hashlib.sha256(), 0, 0
        places = (mapping(path, value.data_ptr()) for value in tensors if value.numel())
        self.begin, self.size = next(places, None) or (0, 0)

    def hash(self) -> None:
        """Hash what has been reached, and give it back."""
        if self.reached > self.done:
            size = self.reached - self.done
            place = (ctypes.c_ubyte * size).from_address(self.begin + self.done)
            self.digest.update(np.ctypeslib.as_array(place))
            release(self.begin + self.done, size)
            self.done = self.reached

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

    def __init__(self, paths: Sequence[Path], tensors: Sequence[Sequence[torch.Tensor]]) -> None:
        self.files = [_File(path, values) for path, values in zip(paths, tensors, strict=True)]
        self.pool = ThreadPoolExecutor(THREADS)
        self.running: list[Future[None]] = []

    def __enter__(self) -> Hashes:
        return self

    def __exit__(self, *_: Any) -> None:
        self.pool.shutdown(cancel_futures=True)

    @staticmethod
    def _hash(files: Sequence[_File]) -> None:
        for file in files:
            file.hash()

    def _wait(self) -> None:
        for item in self.running:
            item.result()

    def covers(self, index: int, address: int) -> bool:
        """Whether ``address`` is in the mapping of that file: it is then given back when it has been hashed."""
        file = self.files[index]
        return 0 <= address - file.begin < file.size

    def reach(self, addresses: Sequence[int]) -> None:
        """For each file an address up to which it has been read, 0 for one that is not covered."""
        ahead = [(file, address - file.begin) for address, file in zip(addresses, self.files, strict=True) if address]
        if max((offset - file.done for file, offset in ahead), default=0) < STEP:
            return
        self._wait()
        for file, offset in ahead:
            file.reached = max(file.reached, offset)
        self.running = [self.pool.submit(self._hash, self.files[number::THREADS]) for number in range(THREADS)]

    def finish(self) -> list[str]:
        """The digests of the whole files."""
        self._wait()
        return list(self.pool.map(_File.finish, self.files))
