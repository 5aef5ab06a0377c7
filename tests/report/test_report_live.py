"""The report of a study that is going on: served here alone, read only, kept current."""

from __future__ import annotations

import http.client
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.request

import pytest
import typer
from typer.testing import CliRunner

from builders.run import make_record, save
from program import command
from wbcbench.commands.report import report as report_command
from wbcbench.commands.serve import LOOPBACK, LiveReport, keep_up_to_date, listen
from wbcbench.core.errors import UsageError
from wbcbench.report.publish import MANIFEST_FILE, Manifest, format_manifest, publish, read_manifest

SECRET = b"not for readers"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A report with things beside it that nobody may get."""
    results = tmp_path_factory.mktemp("results")
    save(results, make_record(), make_record("relu-dropout"))
    publish(results, "runs", results / "reports", ["html", "md", "csv"])
    found = results / "reports" / "runs"
    (results / "reports" / "secret.txt").write_bytes(SECRET)
    (found / "private.txt").write_bytes(SECRET)
    (found / ".hidden").write_bytes(SECRET)
    return found


@pytest.fixture(scope="module")
def server(folder):
    made = listen(folder, 0, 5.0)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


def ask(server, target, method="GET", host=None):
    """One request as it is written, without a client's own tidying up."""
    connection = http.client.HTTPConnection(LOOPBACK, server.server_address[1], timeout=10)
    connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", host or f"{LOOPBACK}:{server.server_address[1]}")
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_it_listens_on_loopback_alone(server):
    assert server.server_address[0] == "127.0.0.1"
    assert server.url.startswith("http://127.0.0.1:")


def test_the_served_page_reloads_by_itself_and_the_one_on_disk_does_not(server, folder):
    answer, body = ask(server, "/")
    assert answer.status == 200
    assert answer.getheader("Refresh") == "5"
    on_disk = (folder / "report.html").read_bytes()
    assert b"refresh" not in on_disk[:2000]
    assert body == on_disk


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("report.html", "text/html; charset=utf-8"),
        ("report.md", "text/markdown; charset=utf-8"),
        ("summary.csv", "text/csv; charset=utf-8"),
        ("figures/learning-curves.svg", "image/svg+xml"),
    ],
)
def test_every_file_of_the_report_has_its_type_and_strict_headers(server, name, kind):
    answer, body = ask(server, f"/{name}?x=1")
    assert (answer.status, answer.getheader("Content-Type")) == (200, kind)
    assert answer.getheader("X-Content-Type-Options") == "nosniff"
    assert answer.getheader("Cache-Control") == "no-store"
    assert answer.getheader("Referrer-Policy") == "no-referrer"
    assert "frame-ancestors 'none'" in answer.getheader("Content-Security-Policy")
    assert answer.getheader("Server") == "wbcbench"
    assert int(answer.getheader("Content-Length")) == len(body) > 0


def test_head_says_the_same_without_a_body(server):
    whole, body = ask(server, "/report.html")
    head, nothing = ask(server, "/report.html", "HEAD")
    assert head.status == 200
    assert head.getheader("Content-Length") == whole.getheader("Content-Length") == str(len(body))
    assert nothing == b""


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_it_is_read_only(server, folder, method):
    before = sorted(path.name for path in folder.rglob("*"))
    answer, _ = ask(server, "/report.html", method)
    assert answer.status == 501
    assert sorted(path.name for path in folder.rglob("*")) == before


@pytest.mark.parametrize(
    "target",
    [
        "/../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/%252e%252e/secret.txt",
        "/figures/../../secret.txt",
        "/figures/..%5c..%5csecret.txt",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "/etc/passwd",
        "/private.txt",
        "/.hidden",
        "/files.json",
        "/figures",
        "/figures/",
        "/./report.html",
        "/report.html%00.txt",
        "/report.html/",
        "/%c0%ae%c0%ae/secret.txt",
        "http://127.0.0.1/../secret.txt",
    ],
)
def test_nothing_else_is_shown_and_no_spelling_leads_out(server, target):
    answer, body = ask(server, target)
    assert answer.status == 404
    assert SECRET not in body
    assert b"root:" not in body
    assert b"figures" not in body


def test_a_link_is_not_followed_even_if_the_report_lists_it(server, folder):
    listed = read_manifest(folder)
    link = folder / "tables" / "link.csv"
    link.symlink_to(folder.parent / "secret.txt")
    files = {**listed.files, "tables/link.csv": "0"}
    (folder / MANIFEST_FILE).write_bytes(
        format_manifest(Manifest(listed.inputs, listed.formats, files))
    )
    try:
        assert ask(server, "/tables/link.csv")[0].status == 404
    finally:
        (folder / MANIFEST_FILE).write_bytes(format_manifest(listed))
        link.unlink()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example"])
def test_a_page_from_elsewhere_cannot_read_it_under_its_own_name(server, host):
    answer, body = ask(server, "/report.html", host=host)
    assert answer.status == 403
    assert b"<html" not in body


def test_before_the_first_record_a_page_waits(tmp_path):
    server = listen(tmp_path / "nothing", 0, 5.0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        answer, body = ask(server, "/")
        assert answer.status == 503
        assert b"reloads by itself" in body
        assert answer.getheader("Refresh") == "5"
    finally:
        server.shutdown()
        server.server_close()


def test_a_taken_port_is_refused_with_the_way_out(tmp_path):
    refused = pytest.raises(UsageError, match="--port")
    with socket.create_server((LOOPBACK, 0)) as taken, refused:
        listen(tmp_path, taken.getsockname()[1], 5.0)


def test_the_report_is_updated_when_a_run_ends_and_only_then(tmp_path):
    save(tmp_path, make_record())
    kept = LiveReport(tmp_path, "runs", tmp_path / "reports", ("html",), 0.05)
    server, stop, told = listen(tmp_path / "reports" / "runs", 0, 5.0), threading.Event(), []
    thread = threading.Thread(target=keep_up_to_date, args=(kept, server, told.append, stop))
    thread.start()
    try:
        _wait(lambda: len(told) == 1)
        assert b"relu-batchnorm" not in ask(server, "/")[1]
        time.sleep(0.3)
        assert len(told) == 1
        save(tmp_path, make_record("relu-batchnorm"))
        _wait(lambda: b"relu-batchnorm" in ask(server, "/")[1])
        _wait(lambda: len(told) > 1)  # told once the page is there
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()


def test_what_is_in_the_way_is_told_and_the_last_report_stays(tmp_path):
    save(tmp_path, make_record())
    kept, told = LiveReport(tmp_path, "runs", tmp_path / "reports", ("tex",), 1.0), []
    kept.refresh(told.append)
    table = tmp_path / "reports" / "runs" / "tables" / "runs-1.tex"
    before = table.read_bytes()
    next(tmp_path.glob("runs/*/record.json")).write_text("{")
    kept.refresh(told.append)
    assert "is not a run record" in told[1]
    assert table.read_bytes() == before


def test_the_command_serves_until_interrupted_and_ends_cleanly(tmp_path):
    save(tmp_path, make_record())
    words = ["report", "runs", "--live", "--results", str(tmp_path), "--out", str(tmp_path / "r")]
    with subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            url = process.stdout.readline().split()[0]
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)
            while "updated" not in process.stderr.readline():
                assert process.poll() is None
            with urllib.request.urlopen(url, timeout=60) as answer:
                assert b"Study runs" in answer.read()
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 0
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()


def test_live_serves_one_study(tmp_path):
    app = typer.Typer()
    app.command()(report_command)
    result = CliRunner().invoke(app, ["a", "b", "--live", "--results", str(tmp_path)])
    assert isinstance(result.exception, UsageError)


def _wait(happened, within_s=90.0):
    end_s = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < end_s
        time.sleep(0.02)
