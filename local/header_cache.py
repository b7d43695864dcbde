"""What is known of each audio file, kept beside the data folder, so that an unchanged file is not read again.

A row holds while the file's size, modification time and change time are what they were; the change time notices a file
that was put back with its old modification time. The cache is never needed: a database that is damaged, locked or
cannot be written is done without, and a damaged one is made anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from audio_headers import AudioError, Header, read_header
from corpus import Cut

VERSION = 1  # of the tables; a file of another version is thrown away
_TABLES = """
CREATE TABLE IF NOT EXISTS headers (folder TEXT, name TEXT, size INT, mtime INT, ctime INT, samples INT, rate INT,
  channels INT, unread INT, kind TEXT, detail TEXT, PRIMARY KEY (folder, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sounds (folder TEXT, name TEXT, cut TEXT, size INT, mtime INT, ctime INT, found TEXT,
  PRIMARY KEY (folder, name, cut)) WITHOUT ROWID;
"""
_AT_ONCE = 5000  # rows a transaction; a killed run loses at most these

Stamp = tuple[int, int, int]  # size, mtime_ns, ctime_ns


class HeaderCache(contextlib.AbstractContextManager["HeaderCache"]):
    """Headers, and what decoding found, by file. ``path`` None: nothing is kept.

    ``reused`` and ``read`` count the headers taken from the cache and from files.
    """

    def __init__(self, path: Path | None) -> None:
        self.reused = self.read = 0
        self._database = _open(path) if path else None
        self._folder: str | None = None
        self._rows: dict[str, tuple[Any, ...]] = {}
        self._new: list[tuple[Any, ...]] = []
        self._seen: set[str] = set()
        self._used_folders: set[str] = set()

    def __exit__(self, *_: object) -> None:
        """Write what is new, also when the run failed: what was read need not be read again."""
        self._leave_folder()
        if self._database:
            with _without_it():
                self._forget_other_folders()
                self._database.commit()
            self._database.close()
            self._database = None

    def header(self, path: str) -> Header:
        """``read_header`` of ``path``, from the cache where the file is unchanged; AudioErrors are kept as well."""
        if self._database is None:
            self.read += 1
            return read_header(path)
        folder, name = os.path.split(path)
        if folder != self._folder:
            self._enter_folder(folder)
        self._seen.add(name)
        stamp = _stamp(path)
        row = self._rows.get(name)
        if row is not None and row[:3] == stamp:
            self.reused += 1
            return _made(row[3:])
        self.read += 1
        try:
            header = read_header(path)
        except AudioError as error:
            self._keep((folder, name, *(stamp or (-1, -1, -1)), 0, 0, 0, 0, error.kind, error.detail), stamp)
            raise
        self._keep((folder, name, *(stamp or (-1, -1, -1)), *header, None, None), stamp)
        return header

    def sound(self, path: str, cut: Cut | None) -> Any:
        """What ``put_sound`` kept for this clip of this very file, or None."""
        stamp = _stamp(path)
        if self._database is None or stamp is None:
            return None
        query = "SELECT found FROM sounds WHERE folder=? AND name=? AND cut=? AND size=? AND mtime=? AND ctime=?"
        try:
            row = self._database.execute(query, (*os.path.split(path), _cut(cut), *stamp)).fetchone()
            return None if row is None else json.loads(row[0])
        except (sqlite3.Error, ValueError):
            return None

    def put_sound(self, path: str, cut: Cut | None, found: Any) -> None:
        """Keep ``found`` (anything JSON can hold) for a clip, as long as its file is unchanged."""
        stamp = _stamp(path)
        if self._database is None or stamp is None:
            return
        row = (*os.path.split(path), _cut(cut), *stamp, json.dumps(found, ensure_ascii=False))
        with _without_it():
            self._database.execute("INSERT OR REPLACE INTO sounds VALUES (?,?,?,?,?,?,?)", row)

    def commit(self) -> None:
        """Make safe what was kept so far: a run that is killed later loses only what comes after."""
        if self._database:
            with _without_it():
                self._write()
                self._database.commit()

    def _enter_folder(self, folder: str) -> None:
        self._leave_folder()
        self._folder = folder
        self._used_folders.add(folder)
        assert self._database is not None
        query = (
            "SELECT name, size, mtime, ctime, samples, rate, channels, unread, kind, detail FROM headers WHERE folder=?"
        )
        try:
            self._rows = {row[0]: row[1:] for row in self._database.execute(query, (folder,))}
        except (sqlite3.Error, UnicodeEncodeError):
            self._rows = {}

    def _leave_folder(self) -> None:
        """Forget the files of the folder that were not asked for: they are gone, or have no transcript any more."""
        gone = [(self._folder, name) for name in self._rows.keys() - self._seen]
        if self._database and gone:
            with _without_it():
                self._database.executemany("DELETE FROM headers WHERE folder=? AND name=?", gone)
                self._database.executemany("DELETE FROM sounds WHERE folder=? AND name=?", gone)
        self._rows, self._seen = {}, set()
        self._write()

    def _forget_other_folders(self) -> None:
        assert self._database is not None
        known = {row[0] for row in self._database.execute("SELECT DISTINCT folder FROM headers")}
        for folder in known - self._used_folders:
            self._database.execute("DELETE FROM headers WHERE folder=?", (folder,))
            self._database.execute("DELETE FROM sounds WHERE folder=?", (folder,))

    def _keep(self, row: tuple[Any, ...], stamp: Stamp | None) -> None:
        if stamp is None:
            return
        self._new.append(row)
        if len(self._new) >= _AT_ONCE:
            self._write()
            self.commit()

    def _write(self) -> None:
        rows, self._new = self._new, []
        if self._database and rows:
            with _without_it():
                self._database.executemany("INSERT OR REPLACE INTO headers VALUES (?,?,?,?,?,?,?,?,?,?,?)", rows)


@contextlib.contextmanager
def _without_it() -> Iterator[None]:
    """Go on without the cache where the database fails, but not where this module is wrong."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise
    except (sqlite3.Error, UnicodeEncodeError):
        pass


def _made(row: tuple[Any, ...]) -> Header:
    *numbers, kind, detail = row
    if kind is not None:
        raise AudioError(kind, detail)
    return Header(*numbers)


def _stamp(path: str) -> Stamp | None:
    try:
        about = os.stat(path)
    except (OSError, ValueError):
        return None
    return about.st_size, about.st_mtime_ns, about.st_ctime_ns


def _cut(cut: Cut | None) -> str:
    return "" if cut is None else json.dumps(cut)


def _open(path: Path) -> sqlite3.Connection | None:
    for _ in range(2):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(path, timeout=0)
            if database.execute("PRAGMA user_version").fetchone()[0] not in (0, VERSION):
                raise sqlite3.DatabaseError("another version")
            database.executescript(_TABLES)
            database.execute(f"PRAGMA user_version={VERSION}")
            database.execute("BEGIN IMMEDIATE")  # a second run at the same time does without
            return database
        except sqlite3.OperationalError:  # locked, or not to be written
            return None
        except sqlite3.DatabaseError:
            with contextlib.suppress(OSError):
                path.unlink()
        except OSError:
            return None
    return None
