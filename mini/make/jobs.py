"""Many small jobs in a few processes, with progress lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from multiprocessing import Pool
from typing import Any


def run_jobs(make: Callable[[Any], int], jobs: Sequence[Any], workers: int, label: str) -> None:
    """Calls `make` with every job; it returns how many clips it made."""
    start, made = time.monotonic(), 0
    with Pool(workers) as pool:
        for done, count in enumerate(pool.imap_unordered(make, jobs, chunksize=4), 1):
            made += count
            if done % 100 == 0 or done == len(jobs):
                elapsed = time.monotonic() - start
                print(f"{label}: {done}/{len(jobs)} texts, {made} clips made, {elapsed:.0f} s", flush=True)
