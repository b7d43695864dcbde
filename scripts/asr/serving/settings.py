"""What the command line decides about the server, and what it answers where it refuses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

INSTALL = "bash scripts/install.sh --deploy"


@dataclass(frozen=True)
class Settings:
    """How the server is reached, and what it takes.

    Attributes:
        hosts: names by which it may be addressed, in lower case and without a port; None: any, which is safe with a
            token only.
        token: what API clients and the page must know; "" where nobody is asked.
        origins: web pages and apps beside its own pages whose scripts may use it.
        megabytes: the largest upload. minutes: the longest recording.
        keep: where recordings and their texts are kept; None: nowhere.
        record: where prompts are recorded; None: nowhere.
        tls: whether it is reached by https.
    """

    hosts: frozenset[str] | None
    token: str = ""
    origins: tuple[str, ...] = ()
    megabytes: int = 100
    minutes: int = 30
    keep: Path | None = None
    record: Path | None = None
    prompts: Path | None = None
    tls: bool = False
    sessions: set[str] = field(default_factory=set)  # of browsers that have given the token


class RefusedError(Exception):
    """A request that is not answered: the message says why, in a sentence; the rest is as in OpenAI's error object."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code


def error_body(status: int, message: str, param: str | None = None, code: str | None = None) -> dict[str, object]:
    """Return OpenAI's error object (https://platform.openai.com/docs/guides/error-codes)."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
