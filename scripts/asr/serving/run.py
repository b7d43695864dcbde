"""Serve a tuned model on this computer: OpenAI's transcription protocol, and a page to speak to.

    bash scripts/serve.sh --model exp/TAG/model       or a folder of asr.export, exp/TAG/deploy
    bash scripts/serve.sh --record DIR                the page that records sentences, alone or beside the other

It listens on this computer alone (127.0.0.1) unless --host says otherwise; then a token is required, for programs and
for the page. Browsers give a page on another computer the microphone by https only: --certfile and --keyfile. Nothing
that is sent is stored, unless --keep DIR.
"""

from __future__ import annotations

import argparse
import errno
import importlib.util
import ipaddress
import os
import secrets
import shlex
import socket
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asr.core.errors import RecipeError, UsageError
from asr.serving import keeping
from asr.serving.decoder import Worker, open_decoder
from asr.serving.settings import INSTALL, Settings

LOOPBACK = ("127.0.0.1", "localhost", "::1")
SHORTEST_TOKEN = 16
PORT = 8000


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m asr.serve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, metavar="DIR", help="exp/TAG/model, exp/TAG, or exp/TAG/deploy")
    parser.add_argument("--record", type=Path, metavar="DIR", help="record sentences into this folder")
    parser.add_argument("--prompts", type=Path, metavar="FILE", help="sentences of your own to record, one a line")
    parser.add_argument(
        "--host", default=LOOPBACK[0], help="address to listen on (default: %(default)s, this computer)"
    )
    parser.add_argument("--port", type=int, default=PORT, help="(default: %(default)s)")
    parser.add_argument(
        "--token",
        default=os.environ.get("ASR_TOKEN", ""),
        help="required of everybody (default: ASR_TOKEN, if it is set)",
    )
    parser.add_argument("--certfile", type=Path, metavar="FILE", help="certificate for https, PEM")
    parser.add_argument("--keyfile", type=Path, metavar="FILE", help="its private key, PEM")
    parser.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="a page or an app whose"
        " scripts may use the server, as its browser names it (https://example.org, app://name)",
    )
    parser.add_argument("--phrases", type=Path, metavar="FILE", help="phrases to prefer, one a line (names, places)")
    parser.add_argument(
        "--adapter", type=Path, metavar="DIR", help="exp/TAG/adapter, or a folder of speakers' adapters"
    )
    parser.add_argument("--speaker", default="", metavar="NAME", help="whose adapter, where nobody asks for another's")
    parser.add_argument("--ngpu", type=int, default=0, help="1 uses a GPU (default: the CPU)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep every recording and its text there")
    parser.add_argument(
        "--max-megabytes", type=int, default=100, metavar="N", help="largest upload (default: %(default)s)"
    )
    parser.add_argument(
        "--max-minutes", type=int, default=30, metavar="N", help="longest recording (default: %(default)s)"
    )
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C. RecipeError for what stands in the way, before the model is loaded where that is possible."""
    given = _arguments(words)
    settings = _settings(given)
    for package, module in (("fastapi", "fastapi"), ("uvicorn", "uvicorn"), ("python-multipart", "python_multipart")):
        if not importlib.util.find_spec(module):
            raise RecipeError(f"the server needs {package}, which is not installed: {INSTALL}")
    listening = _listen(given.host, given.port, sys.argv[1:] if words is None else words)
    with listening:
        if settings.keep:
            keeping.prepare(settings.keep)
        decoder = (
            open_decoder(given.model, given.ngpu, given.phrases, given.adapter, given.speaker) if given.model else None
        )
        from asr.serving.app import create_app

        worker = Worker()
        server = make_server(create_app(settings, decoder, worker), given.certfile, given.keyfile)
        worker.is_ending = lambda: server.should_exit
        given.port = listening.getsockname()[1]  # of --port 0
        print("\n".join(_greeting(given, settings, decoder.name if decoder else None)), flush=True)
        try:
            server.run(sockets=[listening])
        finally:
            worker.end()
    return 0


def _settings(given: argparse.Namespace) -> Settings:
    """Return what the command line decides. UsageError or RecipeError where that cannot be."""
    if not given.model and not given.record:
        raise UsageError("--model DIR is missing (or --record DIR, to record alone); bash scripts/serve.sh --help")
    if given.speaker and not given.adapter:
        raise UsageError("--speaker chooses among adapters: give --adapter DIR as well")
    if given.prompts and not given.record:
        raise UsageError("--prompts is for recording: give --record DIR as well")
    for name in ("max_megabytes", "max_minutes"):
        if getattr(given, name) < 1:
            raise UsageError(f"--{name.replace('_', '-')} takes a whole number from 1, not {getattr(given, name)}")
    if not 0 <= given.port < 65536:
        raise UsageError(f"--port takes a number up to 65535, not {given.port}")
    _check_token(given)
    _check_certificate(given)
    at_home = is_loopback(given.host)
    hosts = frozenset({*LOOPBACK, given.host.lower()}) if at_home else None
    return Settings(
        hosts,
        given.token,
        tuple(given.allow_origin),
        given.max_megabytes,
        given.max_minutes,
        given.keep,
        given.record,
        given.prompts,
        bool(given.certfile),
    )


def is_loopback(host: str) -> bool:
    """Return whether only this computer can reach a server that listens on ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _check_token(given: argparse.Namespace) -> None:
    if not given.token:
        if is_loopback(given.host):
            return
        fresh = secrets.token_urlsafe(18)
        raise RecipeError(
            f"--host {given.host}: others reach the server there, so it needs a token; a fresh one: --token={fresh}"
        )
    if (
        len(given.token) < SHORTEST_TOKEN
        or not given.token.isascii()
        or not given.token.isprintable()
        or " " in given.token
    ):
        raise UsageError(f"--token takes at least {SHORTEST_TOKEN} letters, digits or marks, without blanks")


def _check_certificate(given: argparse.Namespace) -> None:
    if bool(given.certfile) != bool(given.keyfile):
        raise UsageError("--certfile and --keyfile belong together")
    if not given.certfile:
        return
    for path in (given.certfile, given.keyfile):
        if not path.is_file():
            raise RecipeError(f"{path}: no such file")

    def refuse() -> str:
        raise RecipeError(
            f"{given.keyfile}: the key has a password; take it off: openssl pkey -in {given.keyfile} -out NEW.pem"
        )

    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(given.certfile, given.keyfile, refuse)
    except ssl.SSLError as error:
        raise RecipeError(
            f"{given.certfile}, {given.keyfile}: no certificate and its key, as PEM ({error.reason})"
        ) from None


def _listen(host: str, port: int, words: Sequence[str]) -> socket.socket:
    """Return a socket that listens. RecipeError with the next command where the port is taken."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise RecipeError(f"--host {host}: not an address of this computer ({error.strerror or error})") from None
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind(address)
        made.listen(128)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            again = shlex.join(
                ["bash", "scripts/serve.sh", *_without_port(words), "--port", str(_free_port(host, port))]
            )
            raise RecipeError(f"port {port} of {host} is in use; another: {again}") from None
        if error.errno == errno.EACCES:
            raise RecipeError(
                f"--port {port}: ports below 1024 are the system's; take one from 1024 on, such as {PORT}"
            ) from None
        raise RecipeError(
            f"--host {host}: cannot listen there ({error.strerror}); addresses of this computer: ip address"
        ) from None
    return made


def _without_port(words: Sequence[str]) -> list[str]:
    """Return the command's words without --port."""
    left, skip = [], False
    for word in words:
        if not skip and word.partition("=")[0] != "--port":
            left.append(word)
        skip = word == "--port" and not skip
    return left


def _free_port(host: str, port: int) -> int:
    for other in range(port + 1, min(port + 100, 65536)):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            try:
                probe.bind((host, other))
                return other
            except OSError:
                continue
    return 0


def _greeting(given: argparse.Namespace, settings: Settings, model: str | None) -> list[str]:
    """Return what is said when the server is ready."""
    at_home, scheme = is_loopback(given.host), "https" if settings.tls else "http"
    shown = f"[{given.host}]" if ":" in given.host else given.host
    name = shown if shown not in ("0.0.0.0", "[::]", "") else _own_address()
    address = f"{scheme}://{name}:{given.port}"
    lines = [f"serving at {address} (Ctrl-C ends it)"]
    if model:
        lines.append(f"  speak:    open {address} in a browser")
        lines.append(f"  programs: OpenAI's protocol at {address}/v1, model {model}")
    if settings.record:
        lines.append(f"  record:   {address}/record, into {settings.record}")
    if settings.keep:
        lines.append(f"note: every recording and its text are kept in {settings.keep}")
    if not at_home and not settings.tls:
        lines.append(
            "note: without https (--certfile, --keyfile) browsers refuse the microphone to other computers, and"
        )
        lines.append("      the token and what is said can be read on the way")
    return lines


def _own_address() -> str:
    """Return the address by which others find this computer; its name where it has no way out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing, but chooses the interface
            return probe.getsockname()[0]
        except OSError:
            return socket.gethostname()


def make_server(app: Any, certfile: Path | None = None, keyfile: Path | None = None) -> Any:
    """Return uvicorn's server of an application."""
    import uvicorn

    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,  # who asked for what is nobody's business
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=3,
        ssl_certfile=certfile and str(certfile),
        ssl_keyfile=keyfile and str(keyfile),
    )
    return uvicorn.Server(config)
