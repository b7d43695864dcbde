"""Texts that repeat themselves: how a model that writes token by token, and no longer listens, is known."""

from __future__ import annotations

TAIL, TIMES, LONGEST = 16, 4, 20


def looped(text: str) -> bool:
    """Return whether a text ends with the same 1 to 20 characters at least 4 times, 16 characters or more in all."""
    for size in range(1, min(LONGEST, len(text) // TIMES) + 1):
        length = max(TAIL, TIMES * size)
        tail = text[-length:]
        if len(tail) == length and tail[size:] == tail[:-size]:
            return True
    return False
