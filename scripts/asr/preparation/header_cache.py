"""What is known of each audio file, kept beside the data folder, so that an unchanged file is not read again.

A row holds while the file's size, modification time and change time are what they were; the change time, which no
program can set, notices a file that was put back with its old modification time. The cache is never needed: a database
that is locked or cannot be written is done without, and one that is damaged or of another version is made anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from array import array
from collections.abc import Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

from asr.audio.headers import AudioError, Header, read_header, read_with_stat
from asr.preparation.corpus import Cut

VERSION = 2  # of the tables; a file of another version is thrown away
# Whole paths are the keys: a lookup by (folder, name) is no faster, and the folder would stand in every row as well.
_TABLES = (
    "CREATE TABLE headers (path BLOB PRIMARY KEY, size INT, mtime INT, ctime INT, samples INT, rate INT, channels INT,"
    " unread INT, floating INT, kind TEXT, detail TEXT) WITHOUT ROWID",
    "CREATE TABLE sounds (path BLOB, cut TEXT, size INT, mtime INT, ctime INT, found TEXT, PRIMARY KEY (path, cut))"
    " WITHOUT ROWID",
)
_HEADERS_FROM = "SELECT * FROM headers WHERE path>=? ORDER BY path"
_PUT_HEADER = "INSERT OR REPLACE INTO headers VALUES (?,?,?,?,?,?,?,?,?,?,?)"
_SOUND = "SELECT size, mtime, ctime, found FROM sounds WHERE path=? AND cut=?"
_PUT_SOUND = "INSERT OR REPLACE INTO sounds VALUES (?,?,?,?,?,?)"
_AT_ONCE = 5000  # rows a transaction at least
_OFTEN = 2.0  # seconds between transactions: a run that is killed loses no more headers than are read in these
_CLOCK_TICK = 20_000_000  # ns. A file that changes twice within a tick of the kernel's clock has the same times twice
_WIDTH = 3 + len(Header._fields)
_BITS = 1 << 27  # 16 MB: of a million files unasked for, one in a hundred and thirty stays in the cache

Stamp = tuple[int, int, int]  # size, mtime_ns, ctime_ns


def stamp_of(path: str) -> Stamp | None:
    """What changes when a file's content does; None where there is no such file. Follows symlinks."""
    try:
        about = os.stat(path)
    except (OSError, ValueError):
        return None
    return about.st_size, about.st_mtime_ns, about.st_ctime_ns


class Recorder:
    """Headers as they are read, with what is needed to keep them: cheap to make and to send between processes."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.numbers = array("q")  # _WIDTH for each path: size, mtime, ctime, and the header's five
        self.failed: list[tuple[Any, ...]] = []  # whole rows, of files with which something is wrong

    def header(self, path: str) -> Header:
        """``read_header`` of ``path``."""
        try:
            header, about = read_with_stat(path)
        except AudioError as error:
            known = _is_text(error.detail) and not isinstance(error.__context__, OSError)
            if known and (stamp := stamp_of(path)):  # what the system refused once it may allow the next time
                self.failed.append((os.fsencode(path), *stamp, 0, 0, 0, 0, 0, error.kind, error.detail))
            raise
        self.paths.append(path)
        self.numbers.extend((about.st_size, about.st_mtime_ns, about.st_ctime_ns, *header))
        return header

    def __len__(self) -> int:
        return len(self.paths) + len(self.failed)

    def add(self, other: Recorder) -> None:
        """Take over what another one has read."""
        self.paths += other.paths
        self.numbers += other.numbers
        self.failed += other.failed

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Rows of the table of headers."""
        columns = [self.numbers[place::_WIDTH] for place in range(_WIDTH)]
        nothing = repeat(None)
        yield from zip(map(os.fsencode, self.paths), *columns, nothing, nothing, strict=False)
        yield from self.failed


class HeaderCache(contextlib.AbstractContextManager["HeaderCache"]):
    """Headers, and what decoding found, by file. ``path`` None: nothing is kept.

    ``reused`` and ``read`` count the headers taken from the cache and from files. Memory does not grow with the
    corpus: rows stay in the database, and which files were asked for is kept as one bit each. One process at a time
    uses the file; a second one does without.
    """

    def __init__(self, path: Path | None) -> None:
        self.reused = self.read = 0
        self._path = path
        self._database = _open(path) if path else None
        self._waiting = 0  # sounds since the last commit
        self._committed = time.monotonic()
        self._asked = bytearray(_BITS // 8 if self._database else 0)
        self._rows: sqlite3.Cursor | None = None
        self._next: tuple[Any, ...] | None = None
        self._sought: bytes | None = None  # no row lies between this key and the next row
        self._new = Recorder()  # headers that are not written yet
        self.fresh = self._is_empty()  # nothing is known yet, so nothing needs to be looked up

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(prune=kind is None)

    def close(self, prune: bool) -> None:
        """Make safe what is new. ``prune``: forget the files that were not asked for; not after half a run."""
        if prune:
            self._prune()
        self.commit()
        if self._database:
            self._database.close()
            self._database = None

    def header(self, path: str) -> Header:
        """``read_header`` of ``path``, from the cache where the file is unchanged; AudioErrors are kept as well."""
        if self._database is not None and not self.fresh:
            stamp = stamp_of(path)
            number = hash(path) % _BITS
            self._asked[number >> 3] |= 1 << (number & 7)
            row = self._row(os.fsencode(path))
            if row is not None and row[1:4] == stamp:
                self.reused += 1
                if row[9] is not None:
                    raise AudioError(row[9], row[10])
                return Header(*row[4:9])
        self.read += 1
        if self._database is None:
            return read_header(path)
        if len(self._new.paths) >= _AT_ONCE and time.monotonic() - self._committed > _OFTEN:
            self.commit()
        return self._new.header(path)

    def adopt(self, read: Recorder) -> None:
        """Keep what was read by another process."""
        self.read += len(read)
        if self._database is not None:
            self._new.add(read)

    def _write(self) -> None:
        now, new = time.time_ns(), self._new
        self._new = Recorder()
        if self._database and new:
            try:
                rows = (row for row in new.rows() if abs(now - row[3]) >= _CLOCK_TICK)
                self._database.executemany(_PUT_HEADER, rows)
            except sqlite3.Error as error:
                self._failed(error)

    def _is_empty(self) -> bool:
        try:
            return not self._database or self._database.execute("SELECT 1 FROM headers LIMIT 1").fetchone() is None
        except sqlite3.Error as error:
            self._failed(error)
            return True

    def sound(self, path: str, cut: Cut | None) -> list[Any] | None:
        """What ``put_sound`` kept of this clip of this very file, or None."""
        stamp = stamp_of(path) if self._database else None
        if self._database is None or stamp is None:
            return None
        try:
            row = self._database.execute(_SOUND, (os.fsencode(path), _name(cut))).fetchone()
            return json.loads(row[3]) if row is not None and row[:3] == stamp else None
        except sqlite3.Error as error:
            self._failed(error)
        except (ValueError, TypeError):
            pass
        return None

    def put_sound(self, path: str, cut: Cut | None, stamp: Stamp | None, found: Sequence[Any]) -> None:
        """Keep ``found`` (what JSON can hold) of a clip; ``stamp`` is the file's from before it was decoded."""
        if stamp is not None:
            self._put(_PUT_SOUND, path, stamp, (json.dumps(found, ensure_ascii=False),), (_name(cut),))

    def commit(self) -> None:
        """Make safe what was kept so far: a run that is killed later loses only what comes after."""
        self._waiting, self._committed = 0, time.monotonic()
        self._write()
        if self._database:
            try:
                self._database.commit()
            except sqlite3.Error as error:
                self._failed(error)

    def _row(self, key: bytes) -> tuple[Any, ...] | None:
        """A file's row. Clips come in the order of their paths: then it is the next one, and nothing is searched."""
        try:
            row, before = self._next, self._sought
            if before is None or key <= before or (row is not None and key > row[0]):
                self._rows = self._database.execute(_HEADERS_FROM, (key,))
                self._next = row = self._rows.fetchone()
            self._sought = key
            if row is None or row[0] != key:
                return None
            self._next = self._rows.fetchone()
            return row
        except sqlite3.Error as error:
            self._failed(error)
            return None

    def _put(self, query: str, path: str, stamp: Stamp, found: tuple[Any, ...], key: tuple[str, ...] = ()) -> None:
        if self._database is None or abs(time.time_ns() - stamp[2]) < _CLOCK_TICK:
            return
        try:
            self._database.execute(query, (os.fsencode(path), *key, *stamp, *found))
        except sqlite3.Error as error:
            self._failed(error)
        except UnicodeEncodeError:  # a detail that quotes a name in another encoding
            return
        self._waiting += 1
        if self._waiting >= _AT_ONCE:
            self.commit()

    def _failed(self, error: sqlite3.Error) -> None:
        """Go on without the database; with a new one where it was damaged and not, say, the disk full."""
        damaged = not isinstance(error, sqlite3.OperationalError)
        if self._database:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
        self._database = self._rows = self._next = self._sought = None
        path, self._path = self._path, None  # once: a disk that damages each new one is not to be fought
        if damaged and path and _unlink(path):
            self._database = _open(path)

    def _prune(self) -> None:
        if self._database is None or self.fresh:
            return
        try:
            paths = (row[0] for row in self._database.execute("SELECT path FROM headers"))
            gone = [(path,) for path in paths if not self._was_asked(os.fsdecode(path))]
            for table in ("headers", "sounds"):
                self._database.executemany(f"DELETE FROM {table} WHERE path=?", gone)
        except sqlite3.Error as error:
            self._failed(error)

    def _was_asked(self, path: str) -> int:
        number = hash(path) % _BITS
        return self._asked[number >> 3] & 1 << (number & 7)


def _is_text(detail: str) -> bool:
    try:
        detail.encode()
    except UnicodeEncodeError:  # it quotes a name in another encoding
        return False
    return True


def _name(cut: Cut | None) -> str:
    return "" if cut is None else json.dumps(cut)


def _unlink(path: Path) -> bool:
    """Take a database away, its journal first: a new database would be rolled back by it."""
    try:
        path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _open(path: Path) -> sqlite3.Connection | None:
    """The database, held by this process alone, or None where there can be none."""
    for _ in range(2):
        database = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(path, timeout=0)
            database.execute("PRAGMA locking_mode=EXCLUSIVE")
            # Not forced to the disk: a killed run loses nothing by it, and after a power cut headers are read again.
            database.execute("PRAGMA synchronous=OFF")
            database.execute("BEGIN EXCLUSIVE")
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version != VERSION and database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise sqlite3.DatabaseError(f"version {version}")
            if version != VERSION:
                for table in _TABLES:
                    database.execute(table)
                database.execute(f"PRAGMA user_version={VERSION}")
            database.commit()
            return database
        except (OSError, sqlite3.OperationalError):  # locked, or not to be written
            return None
        except sqlite3.DatabaseError:
            if database:
                database.close()
            if not _unlink(path):
                return None
    return None
