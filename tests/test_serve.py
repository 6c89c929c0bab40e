"""The page as files, and its server: for this machine's own browser, and for nobody else."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from dataset_tools.errors import MissingDependency, ModelFileError, OutputError, UsageError
from pipelines import site as sites
from pipelines.cli import photomend
from pipelines.serve import HOST, Server
from pipelines.site import Site, site_of, write_site
from pix2pix import model_file
from tests.playwright import served
from tests.test_pipelines_engines import write_model


@pytest.fixture(autouse=True)
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page of two files, so that the tests need no Node."""
    folder = tmp_path / "built"
    (folder / "ort").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>page</title>")
    (folder / "ort" / "x.wasm").write_bytes(b"\0asm")
    monkeypatch.setattr(sites, "BUILT", folder)
    return folder


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with served(site_of([write_model(tmp_path / "my model.onnx")])) as address:
        yield address


def ask(url: str, path: str, method: str = "GET", host: str | None = None) -> tuple[int, dict[str, str], bytes]:
    """(status, headers in lower case, body)."""
    place = urlsplit(url).netloc
    connection = http.client.HTTPConnection(place, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or place)
    connection.endheaders()
    answer = connection.getresponse()
    try:
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_a_site_has_the_page_the_models_and_their_list(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    run = write_model(tmp_path / "run" / "model.onnx", 32, cell=8)
    one = write_model(tmp_path / "mine, too.onnx")
    site = site_of([tmp_path / "run", one], offline=True)
    assert sorted(site.files) == [
        "faces.onnx",
        "index.html",
        "models.json",
        "models/mine-too.onnx",
        "models/run.onnx",
        "ort/x.wasm",
    ]
    assert site.read("models/run.onnx") == run.read_bytes()
    told = json.loads(site.read("models.json") or b"")
    assert told["offline"] is True
    assert told["models"] == [
        {"name": "run", "file": "models/run.onnx", "task": "mosaic"},
        {"name": "mine-too", "file": "models/mine-too.onnx", "task": "other"},
    ]


def test_what_cannot_be_a_site_is_one_line(tmp_path: Path, built: Path) -> None:
    one, other = tmp_path / "a" / "m.onnx", tmp_path / "b" / "m.onnx"
    for each in (one, other):
        each.parent.mkdir()
        write_model(each)
    with pytest.raises(UsageError, match="two models are called m: give one of them another name"):
        site_of([one, other])
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ModelFileError, match=r"text\.onnx"):
        site_of([tmp_path / "text.onnx"])
    (built / "index.html").unlink()
    with pytest.raises(MissingDependency, match=r"the page was not built: run `make page`, which needs Node.js and npm"):
        site_of([one])


def test_a_written_site_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = write_model(tmp_path / "m.onnx")
    size, site = write_site([model], tmp_path / "new" / "site"), site_of([model], offline=True)
    written = {path.relative_to(tmp_path / "new/site").as_posix(): path.read_bytes() for path in (tmp_path / "new").rglob("*.*")}
    assert written == {name: site.read(name) for name in site.files}
    assert size == sum(map(len, written.values()))
    with pytest.raises(OutputError, match="site"):
        write_site([model], tmp_path / "new" / "site")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(OutputError, match=r"(?i)no (space|room)"):
        write_site([model], tmp_path / "other")
    assert {path.name for path in tmp_path.iterdir()} == {"built", "m.onnx", "new"}


def test_the_server_gives_what_it_has_and_nothing_else(url: str) -> None:
    status, headers, body = ask(url, "/")
    assert (status, body) == (200, b"<!doctype html><title>page</title>")
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert ask(url, "/ort/x.wasm")[1]["content-type"] == "application/wasm"
    assert ask(url, "/models/my-model.onnx?x=1")[1]["content-type"] == "application/octet-stream"
    for path in (
        "/nothing",
        "/../built/index.html",
        "/%2e%2e/m.onnx",
        "//etc/passwd",
        "/etc/passwd",
        "/ort",
        "/ort/",
        "/models/",
        "/%00",
    ):
        assert ask(url, path)[::2] == (404, b"there is no such file\n"), path
    status, headers, body = ask(url, "/", "HEAD")
    assert (status, headers["content-length"], body) == (200, "34", b"")
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert ask(url, "/", method)[0] == 501


def test_a_file_that_has_gone_is_not_found(url: str, built: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (built / "ort" / "x.wasm").unlink()
    assert ask(url, "/ort/x.wasm")[0] == 404
    place = urlsplit(url)
    with socket.create_connection((str(place.hostname), int(place.port or 0)), timeout=5) as gone:
        gone.sendall(b"GET / HTTP/1.1\r\n")  # and hangs up
    assert ask(url, "/")[0] == 200
    assert capfd.readouterr().err == ""


def test_the_page_may_load_nothing_from_elsewhere(url: str) -> None:
    headers = ask(url, "/")[1]
    policy = dict(each.strip().split(" ", 1) for each in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert {word for value in policy.values() for word in value.split()} == {"'none'", "'self'", "'wasm-unsafe-eval'", "blob:"}
    assert (headers["cross-origin-opener-policy"], headers["cross-origin-embedder-policy"]) == ("same-origin", "require-corp")
    assert (headers["referrer-policy"], headers["x-content-type-options"]) == ("no-referrer", "nosniff")
    assert "access-control-allow-origin" not in headers
    assert "Python" not in headers["server"]


def test_other_names_for_this_machine_are_refused(url: str) -> None:
    """A page of another site, whose name was made to lead here, must not read this one's."""
    port = urlsplit(url).port
    for host in ("example.com", f"example.com:{port}", HOST, f"{HOST}:{int(port or 0) + 1}"):
        assert ask(url, "/models.json", host=host)[0] == 403, host
    assert ask(url, "/models.json", host=f"localhost:{port}")[0] == 200


def test_nobody_else_can_connect(url: str) -> None:
    port = urlsplit(url).port
    assert port
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing; tells this machine's other address
        own = probe.getsockname()[0]
    if own.startswith("127."):
        pytest.skip("this machine has no other address")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((own, port), timeout=5)


def test_a_port_that_is_taken_is_one_line() -> None:
    with Server(Site({})) as one, pytest.raises(UsageError, match=f"--port {one.port} cannot be had .*: take another"):
        Server(Site({}), one.port)


def test_the_command_serves_until_it_is_stopped(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m.onnx")
    code = (f"import sys; from pathlib import Path; from pipelines import site; site.BUILT = Path({str(sites.BUILT)!r}); "
            f"from pipelines.cli import run; sys.exit(run(['serve', '--model', {str(model)!r}, '--no-open']))")  # fmt: skip
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    line = process.stdout.readline()
    url, _, rest = line.partition(" ")
    assert rest == "(Ctrl-C ends it)\n"
    assert ask(url, "/")[0] == 200
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == 0


def test_export_writes_a_site_after_the_proof(tmp_path: Path) -> None:
    one, other = write_model(tmp_path / "one.onnx", 32, cell=8), write_model(tmp_path / "other.onnx", 32)
    output = tmp_path / "site"
    given = ["export", str(one), str(other), str(output), "--format", "web", "--license", "cc0-1.0"]
    done = CliRunner().invoke(photomend, given)
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"{output}: ")
    assert "a folder; on the photos that ship not a value is off" in done.output
    assert model_file.read(output / "models" / "one.onnx")[1]["licence"] == "cc0-1.0"
    again = CliRunner().invoke(photomend, given)
    assert isinstance(again.exception, UsageError)
    assert str(again.exception) == f"OUTPUT {output} exists: choose another name, or remove it"
    two = CliRunner().invoke(photomend, ["export", str(one), str(other), str(tmp_path / "x.onnx")])
    assert two.exit_code == 2
    assert "--format onnx takes one MODEL, and 2 were given" in two.output
