"""asr.serve against those whom nobody asked: other pages, other computers, and what the command line refuses."""

import json
import re
import shlex
import socket
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPConnection

import pytest

from asr.core.errors import RecipeError, UsageError
from asr.serving import run
from tests.patience import PATIENCE
from tests.serving import served

pytest.importorskip("uvicorn")
TOKEN = "correct-horse-battery"


def ask(address: str, path: str = "/v1/models", method: str = "GET", body: str | None = None, **headers: str):
    """Return (status, headers, text); ``_`` in a header's name is ``-``. No redirect is followed."""
    place = urllib.parse.urlsplit(address)
    line = HTTPConnection(place.hostname, place.port, timeout=PATIENCE)
    line.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = line.getresponse()
    text = answer.read().decode()
    line.close()
    return answer.status, answer.headers, text


def code(answer) -> str | None:
    return json.loads(answer[2])["error"]["code"]


@pytest.fixture(scope="module")
def at_home():
    with served(origins=("app://dictation",)) as address:
        yield address


@pytest.fixture(scope="module")
def with_token():
    with served(token=TOKEN, hosts=None) as address:
        yield address


def test_a_name_that_was_made_to_point_here_is_refused(at_home):
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", "[::1", ""):
        assert code(ask(at_home, Host=host)) == "wrong_host"
    for host in ("127.0.0.1", "localhost:8000", "LOCALHOST"):
        assert ask(at_home, Host=host)[0] == 200


def test_pages_from_elsewhere_cannot_drive_it(at_home):
    port = urllib.parse.urlsplit(at_home).port
    elsewhere = (
        "https://evil.example",
        "null",
        f"http://127.0.0.1.evil.example:{port}",
        "http://127.0.0.1:1",
        "http://[",
    )
    for origin in elsewhere:
        answer = ask(at_home, "/v1/audio/transcriptions", "POST", "--x--", Origin=origin)
        assert (answer[0], code(answer)) == (403, "wrong_origin")
        assert "access-control-allow-origin" not in answer[1]
    assert ask(at_home, Origin=at_home)[0] == 200  # its own page
    assert "--allow-origin https://evil.example" in ask(at_home, Origin=elsewhere[0])[2]


def test_an_app_that_is_named_may(at_home):
    answer = ask(at_home, Origin="app://dictation")
    assert (answer[0], answer[1]["access-control-allow-origin"]) == (200, "app://dictation")
    asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "authorization"}
    assert ask(at_home, "/v1/audio/transcriptions", "OPTIONS", Origin="app://dictation", **asked)[0] == 200
    assert ask(at_home, "/v1/audio/transcriptions", "OPTIONS", Origin="app://other", **asked)[0] == 400


def test_every_answer_forbids_frames_and_guessing(at_home):
    for path in ("/", "/healthz", "/nothing"):
        headers = ask(at_home, path)[1]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "frame-ancestors 'none'"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
    assert ask(at_home, "/docs")[0] == 404  # that page loads scripts from elsewhere


def test_without_the_token_there_is_nothing_to_see(with_token):
    wrong = ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}, {"Cookie": "asr_session=x"})
    for headers in (*wrong, {"Authorization": f"Bearer {TOKEN}é"}, {"Cookie": f"asr_session={TOKEN}; =;;"}):
        answer = ask(with_token, **headers)
        assert (answer[0], code(answer), answer[1]["www-authenticate"]) == (401, "invalid_api_key", "Bearer")
    assert ask(with_token, "/v1/audio/transcriptions", "POST", "x" * 2_000_000)[0] == 401
    assert ask(with_token, Authorization=f"Bearer {TOKEN}")[0] == 200
    assert ask(with_token, "/healthz")[0] == 200


def test_a_browser_is_asked_once(with_token):
    status, headers, _ = ask(with_token, "/", Accept="text/html")
    assert (status, headers["location"]) == (303, "/login?next=/")
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    assert ask(with_token, "/login", "POST", "token=wrong", **form)[0] == 401
    for where, to in (("/record", "/record"), ("//evil.example", "/"), ("https://evil.example", "/"), ("/\\evil", "/")):
        path = f"/login?next={urllib.parse.quote(where)}"
        status, headers, _ = ask(with_token, path, "POST", f"token={TOKEN}", **form)
        assert (status, headers["location"]) == (303, to)
    cookie = headers["set-cookie"]
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; ")[1:])
    assert TOKEN not in cookie
    assert ask(with_token, Cookie=cookie.split(";")[0])[0] == 200
    assert code(ask(with_token, Cookie=cookie.split(";")[0], Origin="https://evil.example")) == "wrong_origin"


@pytest.mark.parametrize(
    ("words", "kind", "said"),
    [
        ([], UsageError, "--model DIR is missing"),
        (["--model", "m", "--prompts", "p"], UsageError, "--prompts is for recording"),
        (["--model", "m", "--port", "99999"], UsageError, "--port takes a number up to 65535"),
        (["--model", "m", "--max-minutes", "0"], UsageError, "--max-minutes takes a whole number from 1, not 0"),
        (["--model", "m", "--host", "0.0.0.0"], RecipeError, "needs a token; a fresh one: --token="),
        (["--model", "m", "--host", "::"], RecipeError, "needs a token"),
        (["--model", "m", "--host", "my-pc"], RecipeError, "needs a token"),
        (["--model", "m", "--token", "short"], UsageError, "--token takes at least 16"),
        (["--model", "m", "--certfile", "c"], UsageError, "--certfile and --keyfile belong together"),
        (["--model", "m", "--certfile", "c", "--keyfile", "k"], RecipeError, "c: no such file"),
        (["--model", "m", "--host", "192.0.2.1", "--token", TOKEN], RecipeError, "cannot listen there"),
        (["--model", "nowhere", "--port", "0"], RecipeError, "nowhere: not a FunASR model folder"),
    ],
)
def test_what_the_command_line_refuses(words, kind, said, monkeypatch):
    monkeypatch.delenv("ASR_TOKEN", raising=False)
    with pytest.raises(kind, match=re.escape(said)) as refused:
        run.main(words)
    assert "\n" not in str(refused.value)


def test_a_fresh_token_is_one_that_is_taken(monkeypatch):
    with pytest.raises(RecipeError) as refused:
        run.main(["--model", "nowhere", "--host", "0.0.0.0", "--port", "0"])
    again = shlex.split(str(refused.value))[-1]
    with pytest.raises(RecipeError, match="nowhere: not a FunASR model folder"):
        run.main(["--model", "nowhere", "--host", "0.0.0.0", "--port", "0", again])


def test_a_certificate_that_is_none_is_named(tmp_path):
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("no PEM\n")
    files = [f"--certfile={tmp_path}/cert.pem", f"--keyfile={tmp_path}/key.pem"]
    with pytest.raises(RecipeError, match="no certificate and its key, as PEM"):
        run.main(["--model", "m", *files])


def test_a_port_in_use_is_one_line_with_the_command_that_works(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RecipeError) as refused:
            run.main(["--model", "my model", "--port", str(port), "--phrases=f"])
        said, _, command = str(refused.value).partition("; another: ")
        assert said == f"port {port} of 127.0.0.1 is in use"
        words = shlex.split(command)
        assert words[:-1] == ["bash", "scripts/serve.sh", "--model", "my model", "--phrases=f", "--port"]
        with socket.create_server(("127.0.0.1", int(words[-1]))):
            pass


@pytest.mark.parametrize("package", ["fastapi", "uvicorn", "python_multipart"])
def test_a_missing_package_is_one_line(package, monkeypatch):
    find = run.importlib.util.find_spec
    monkeypatch.setattr(run.importlib.util, "find_spec", lambda name: None if name == package else find(name))
    with pytest.raises(RecipeError, match=r"not installed: bash scripts/install\.sh --deploy$"):
        run.main(["--model", "m", "--port", "0"])
