"""Numbers of chance that depend on (seed, epoch, purpose, key) and on nothing else: no process, no machine, no order.

Draws are SplitMix64 (Steele, Lea, Flood 2014) over a hash of the key: the same numbers on every machine and in every
NumPy, a million at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

GOLDEN, MIX1, MIX2 = (np.uint64(value) for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def hashes_of(keys: Iterable[str]) -> np.ndarray:
    """Return [n] uint64 of utterance keys, the same everywhere (Python's own hash differs in each process)."""
    digests = b"".join(hashlib.blake2b(key.encode(), digest_size=8).digest() for key in keys)
    return np.frombuffer(digests, "<u8")


def mixed(values: np.ndarray) -> np.ndarray:
    """Return SplitMix64's finaliser: every bit of the input moves every bit of the output. uint64 in, uint64 out."""
    values = values + GOLDEN
    values = (values ^ (values >> np.uint64(30))) * MIX1
    values = (values ^ (values >> np.uint64(27))) * MIX2
    return values ^ (values >> np.uint64(31))


def draws(hashes: np.ndarray, seed: int, epoch: int, purpose: int) -> np.ndarray:
    """Return [n] uint64, uniform: one number for each key's hash in this epoch and for this purpose."""
    state = np.zeros(1, np.uint64)
    for number in (seed, epoch, purpose):
        state = mixed(state ^ np.uint64(number))
    return mixed(np.asarray(hashes, np.uint64) ^ state)


def permutation(count: int, seed: int, epoch: int, purpose: int) -> np.ndarray:
    """Return [count] a shuffled 0 … count - 1, the same on every machine."""
    return np.argsort(draws(np.arange(count, dtype=np.uint64), seed, epoch, purpose), kind="stable")


def more(number: np.uint64, count: int) -> np.ndarray:
    """Return [count] uint64, uniform, that one of them stands for."""
    return mixed(np.arange(count, dtype=np.uint64) ^ mixed(np.asarray([number], np.uint64)))


def one_of(factors: Sequence[float], numbers: np.ndarray) -> np.ndarray:
    """Return [n] one of the factors for each of [n] uniform uint64, each factor as likely as the others."""
    # The upper bits: a product with the number of factors keeps them uniform, where a remainder would not.
    upper = numbers >> np.uint64(32)
    return np.asarray(factors, np.float64)[(upper * np.uint64(len(factors)) >> np.uint64(32)).astype(int)]


def fractions(numbers: np.ndarray) -> np.ndarray:
    """Return [n] numbers from 0 to below 1 of [n] uniform uint64."""
    return (numbers >> np.uint64(11)).astype(np.float64) / (1 << 53)


def around_zero(limit: float, numbers: np.ndarray) -> np.ndarray:
    """Return [n] numbers between -limit and limit for each of [n] uniform uint64."""
    return (2.0 * fractions(numbers) - 1.0) * float(limit)


def around_one(limit: float, numbers: np.ndarray) -> np.ndarray:
    """Return [n] factors between 1 - limit and 1 + limit for each of [n] uniform uint64."""
    return 1.0 + around_zero(limit, numbers)


def between(limits: Sequence[float], numbers: np.ndarray) -> np.ndarray:
    """Return [n] numbers between the two limits for each of [n] uniform uint64."""
    low, high = limits
    return low + (high - low) * fractions(numbers)
