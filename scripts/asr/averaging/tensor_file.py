"""Write a checkpoint as ``torch.save`` does, tensor by tensor: the model is never in memory as a whole.

torch.save wants every tensor at once. Its file is a zip archive without compression: a pickle that says which tensor
lies in which record, then one record a storage, each at a multiple of 64 bytes so that it can be mapped. Here torch
writes the pickle, of tensors whose memory is never touched (``torch.serialization.skip_data``), and the records are
filled in one after another, with their checksums: torch.load with and without mmap and ``unzip -t`` read the result.
"""

from __future__ import annotations

import hashlib
import os
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import torch

from asr.training.checkpoints.checkpoint import whole

ALIGNMENT = 64  # torch's own
PADDING = b"FB"  # the mark of torch's padding field in a record's header
SYNC_EVERY = 1 << 26  # bytes
_ZIP64_FROM = 2_000_000_000  # bytes: below zipfile's own limit, with room


class _HashedStream:
    """What zipfile writes into: cannot seek, so that the sha256 is known at the end without reading the file again.

    What has been written is sent to the disk meanwhile: at the end there is less to wait for.
    """

    def __init__(self, stream: IO[bytes], pool: ThreadPoolExecutor) -> None:
        self.stream, self.pool, self.digest = stream, pool, hashlib.sha256()
        self.hashing: Future[None] | None = None
        self.syncing: Future[None] | None = None
        self.not_synced = 0

    def write(self, data: Any) -> int:
        data = bytes(data)  # the caller uses its buffer again
        self.wait()
        self.hashing = self.pool.submit(self.digest.update, data)
        self.stream.write(data)
        self.not_synced += len(data)
        if self.not_synced >= SYNC_EVERY and (self.syncing is None or self.syncing.done()):
            if self.syncing is not None:
                self.syncing.result()  # a disk that fails says so here
            self.not_synced, self.syncing = 0, self.pool.submit(os.fsync, self.stream.fileno())
        return len(data)

    def wait(self) -> None:
        if self.hashing is not None:
            self.hashing.result()

    def finish(self) -> str:
        """The sha256 of all that was written."""
        self.wait()
        if self.syncing is not None:
            self.syncing.result()
        return self.digest.hexdigest()

    def flush(self) -> None:
        self.stream.flush()


def _skeleton(template: Mapping[str, torch.Tensor], folder: Path) -> tuple[list[zipfile.ZipInfo], dict[str, bytes]]:
    """The records of ``torch.save({"state_dict": template})`` in order, and what is in all but the storages."""
    with tempfile.TemporaryFile(dir=folder) as stream:  # a hole where the tensors would be
        with torch.serialization.skip_data():
            torch.save({"state_dict": dict(template)}, stream)
        with zipfile.ZipFile(stream) as archive:
            records = archive.infolist()
            small = {item.filename: archive.read(item) for item in records if "/data/" not in item.filename}
    return records, small


def save_streamed(
    path: str | os.PathLike[str],
    template: Mapping[str, torch.Tensor],
    blocks: Callable[[str], Iterable[torch.Tensor]],
    check: Callable[[], None] = lambda: None,
) -> str:
    """Write ``{"state_dict": …}`` to ``path``, whole or not at all, and return its sha256.

    Args:
        template: {key: contiguous tensor of the right shape and type}, made by ``torch.empty`` and not looked into;
            keys that are to be one tensor share one storage.
        blocks: ``blocks(key)`` gives the values of that tensor, flat, in consecutive pieces. Called once a storage,
            for the first key that has it, in the order of ``template``.
        check: called when all is written and the file has not yet taken its name; it does not where this raises.

    Raises RecipeError where the disk is full, and ValueError when a tensor gets too few or too many values.
    """
    path, owners = Path(path), {}
    for key, tensor in template.items():
        owners.setdefault(tensor.untyped_storage()._cdata, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as stream, ThreadPoolExecutor(2) as pool:
        records, small = _skeleton(template, path.parent)
        keys = iter(owners.values())
        hashed = _HashedStream(stream, pool)
        with zipfile.ZipFile(hashed, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[arg-type]
            for record in records:
                if record.filename in small:
                    pieces: Iterable[Any] = [small[record.filename]]
                else:
                    pieces = (piece.reshape(-1).view(torch.uint8).numpy() for piece in blocks(next(keys)))
                _write(archive, record, pieces)
        check()
        return hashed.finish()


def _write(archive: zipfile.ZipFile, record: zipfile.ZipInfo, pieces: Iterable[Any]) -> None:
    """One record, its data at a multiple of ALIGNMENT as in torch's own files."""
    info = zipfile.ZipInfo(record.filename, (1980, 1, 1, 0, 0, 0))
    info.file_size, info.compress_size, info.CRC = record.file_size, 0, 0  # zipfile counts and sums by itself
    large = record.file_size > _ZIP64_FROM
    begin = archive.fp.tell() + len(info.FileHeader(large)) + len(PADDING) + 2
    padding = -begin % ALIGNMENT
    info.extra = PADDING + struct.pack("<H", padding) + b"Z" * padding
    written = 0
    with archive.open(info, "w", force_zip64=large) as entry:
        for piece in pieces:
            entry.write(piece)
            written += len(piece)
    if written != record.file_size:
        raise ValueError(f"{record.filename}: {written} bytes for a record of {record.file_size}")
