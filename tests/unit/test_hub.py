"""Stage 0 by a model's id: from a cache, from a hub on this machine, and what is said where there is neither."""

import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from asr.config.load import resolve
from asr.config.stage_files import write_stage_files
from asr.core.errors import RecipeError
from asr.models import base_folder, hub
from tests import tiny
from tests.trained import values

NAME = "iic/Tiny-1.0"
SCRIPTS = str(Path(hub.__file__).parents[1])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.make_model(tmp_path_factory.mktemp("base") / "model")


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


@pytest.fixture
def answering():
    """Start a hub that answers every request with a status, or never; its address."""
    begun, over = [], threading.Event()

    def start(status):
        class Hub(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if status is None:
                    over.wait()
                    return
                body = json.dumps({"Code": status, "Message": "said by the hub", "Success": False}).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        begun.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub))
        begun[-1].daemon_threads = True
        threading.Thread(target=begun[-1].serve_forever, daemon=True).start()
        return f"127.0.0.1:{begun[-1].server_address[1]}"

    yield start
    over.set()
    for server in begun:
        server.shutdown()
        server.server_close()


def stage_0(folder, endpoint, name=NAME, **more):
    """``python -m asr.base_model`` with that hub, and home and caches of its own."""
    conf = folder / "conf.yaml"
    conf.write_text(json.dumps({**values(Path("x")), "base": name}))
    write_stage_files(resolve(conf, []), folder / "exp" / "conf")
    kept = {key: value for key, value in os.environ.items() if not key.upper().endswith("_PROXY")}
    environment = kept | {
        "PYTHONPATH": SCRIPTS,
        "HOME": str(folder / "home"),
        "MODELSCOPE_CACHE": str(folder / "cache"),
        "MODELSCOPE_ENDPOINT": endpoint,
        "MODELSCOPE_API_MAX_RETRIES": "1",
        "MODELSCOPE_REPO_TREE_PAGE_TIMEOUT_SECONDS": "1",
        "MODELSCOPE_REPO_TREE_LIST_TIMEOUT_SECONDS": "2",
        **more,
    }
    for key in ("HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME", "MODELSCOPE_DOMAIN"):
        environment.pop(key, None) if key not in more else None
    words = [sys.executable, "-m", "asr.base_model", "--base", name, "--exp", str(folder / "exp")]
    return subprocess.run(words, capture_output=True, text=True, env=environment)


ELSEWHERE = f"; run `modelscope download --model {NAME} --local_dir Tiny-1.0` where there is a network, bring"


@pytest.mark.parametrize(
    ("status", "scheme", "said"),
    [
        (404, "http", "has no model of that id that you may read (status 404); see that it is written as on"),
        (403, "http", "has no model of that id that you may read (status 403)"),
        (500, "http", f"answers with status 500; try again later, or {ELSEWHERE[2:]}"),
        (None, "http", f"cannot be reached (no answer in time){ELSEWHERE}"),
        (200, "https", f"cannot be reached (TLS failed: a proxy in between, or a wrong clock){ELSEWHERE}"),
    ],
)
def test_what_a_hub_answers_is_said_with_what_to_do(tmp_path, answering, status, scheme, said):
    endpoint = f"{scheme}://{answering(status)}"
    done = stage_0(tmp_path, endpoint)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"error: base model {NAME}: ModelScope ({endpoint}) {said}"), done.stderr


def test_a_hub_that_is_not_there_is_told_from_a_proxy_that_is_not_there(tmp_path):
    nobody = f"http://127.0.0.1:{free_port()}"
    done = stage_0(tmp_path, nobody)
    assert f"ModelScope ({nobody}) cannot be reached (the connection was refused){ELSEWHERE}" in done.stderr
    done = stage_0(tmp_path, "http://hub.invalid", HTTP_PROXY=nobody)
    assert "ModelScope (http://hub.invalid) cannot be reached (the proxy that HTTP_PROXY" in done.stderr


def test_the_first_cause_is_said_whatever_is_raised_above_it():
    with pytest.raises(socket.gaierror) as unknown:
        socket.getaddrinfo("no name", 80, flags=socket.AI_NUMERICHOST)
    for first, said in (
        (unknown.value, "cannot be reached (its name is not known here: no network, or no DNS)"),
        (OSError(101, "Network is unreachable"), "cannot be reached ([Errno 101] Network is unreachable)"),
        (OSError(28, "No space left on device", "/cache/x"), "/cache/x: No space left on device; MODELSCOPE_CACHE"),
        (RuntimeError("word " * 100), "cannot be reached (" + "word " * 31 + "...)"),
    ):
        above = TimeoutError("outgoing traffic has been disabled") if first is unknown.value else ValueError("tried")
        above.__context__ = first
        assert said in hub.explained(NAME, above)


SAFE = "Tiny-1___0"  # the client's way of writing a dot
LAYOUTS = {
    "cache/models/iic--Tiny-1.0/snapshots/master": {},
    f"cache/models/iic/{SAFE}": {},
    f"cache/hub/models/iic/{SAFE}": {},
    f"cache/hub/iic/{SAFE}": {},
    "cache/iic/Tiny-1.0": {},
    "home/.cache/huggingface/hub/models--iic--Tiny-1.0/snapshots/123": {"refs/main": "123"},
}


@pytest.mark.parametrize("place", LAYOUTS)
def test_a_cache_of_any_layout_is_looked_into_first(model, tmp_path, monkeypatch, capsys, place):
    shutil.copytree(model, tmp_path / place)
    for name, text in LAYOUTS[place].items():
        path = tmp_path / place / "../.." / name
        path.parent.mkdir()
        path.write_text(text)
    for name in ("HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    assert base_folder.resolve(NAME) == tmp_path / place
    assert capsys.readouterr().out.startswith(f"{NAME}: taken from the cache, {tmp_path / place} ")


def test_half_a_download_in_the_cache_is_named_and_not_taken(model, tmp_path, answering):
    place = tmp_path / "cache" / "models" / "iic--Tiny-1.0" / "snapshots" / "master"
    shutil.copytree(model, place)
    (place / "am.mvn").unlink()
    done = stage_0(tmp_path, f"http://{answering(404)}")
    assert done.returncode == 1
    assert f"not taken from the cache: {place / 'am.mvn'}: named in configuration.json and not there" in done.stdout
    assert "(status 404)" in done.stderr


def test_a_cache_folder_as_base_is_its_snapshot(model, tmp_path):
    folder = tmp_path / "models--iic--Tiny"
    assert hub.snapshot(model) == model
    shutil.copytree(model, folder / "snapshots" / "abc")
    assert hub.snapshot(folder) == folder / "snapshots" / "abc"
    (folder / "snapshots" / "def").mkdir()
    with pytest.raises(RecipeError, match=r"snapshots: holds 2 snapshots; give --base the one you mean"):
        hub.snapshot(folder)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc\n")
    done = stage_0(tmp_path, "http://hub.invalid", name=str(folder))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "exp" / "base").resolve() == folder / "snapshots" / "abc"
    record = json.loads((tmp_path / "exp" / "base.json").read_text())
    assert (record["id"], record["digest"]) == (str(folder), base_folder.digest(model)["digest"])


def test_the_command_that_is_named_is_one(tmp_path, answering):
    program = str(Path(sys.executable).with_name("modelscope"))
    words = hub.elsewhere(NAME).split("`")[1].split()
    more = {"HOME": str(tmp_path), "MODELSCOPE_ENDPOINT": f"http://{answering(404)}", "MODELSCOPE_API_MAX_RETRIES": "1"}
    done = subprocess.run(
        [program, *words[1:]], capture_output=True, text=True, env={**os.environ, **more}, cwd=tmp_path
    )
    assert words[0] == "modelscope"
    assert "said by the hub" in done.stdout + done.stderr  # asked for the model, and no usage error


def test_a_link_that_a_killed_run_left_is_in_nobodys_way(model, tmp_path):
    for name in (".base.new", f".base.{os.getpid()}"):
        (tmp_path / name).symlink_to("/nowhere")
    base_folder.link(model, tmp_path)
    base_folder.link(model, tmp_path)
    assert (tmp_path / "base").resolve() == model
    assert not (tmp_path / ".base.new").is_symlink()
