"""The page for exploring: whole by itself, silent, under a policy that allows one script."""

from __future__ import annotations

import base64
import builtins
import hashlib
import json
import re
from dataclasses import replace

import pytest

from browser import started
from builders.study import draw, gather
from wbcbench.core.errors import UsageError
from wbcbench.report import Notice, Report
from wbcbench.report.formats import load_template
from wbcbench.report.interactive import to_interactive

EVIL = "</script><script>alert(1)</script>{{ x }} ]]> \u202e"


def made(records):
    report = Report("Study", "", (Notice(EVIL, EVIL),), ())
    return to_interactive(report, gather("study", records), load_template("interactive.html.j2"))


@pytest.fixture(scope="module")
def page():
    return made(draw(3))


def charts(page):
    [text] = re.findall(r'id="charts">(.*?)</script>', page.decode(), re.DOTALL)
    return json.loads(text)


def test_the_page_needs_nothing_else_and_allows_its_one_script_by_digest(page):
    html = page.decode()
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]+)"', html)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    [script] = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy
    assert not re.search(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=", html.replace(script, ""))


def test_every_run_is_a_point_and_every_epoch_a_place_on_its_curve(page):
    sets = charts(page)["datasets"].values()
    assert sorted(map(len, sets)) == [12, 48]
    assert all({"energy_j", "balanced_accuracy", "block"} <= set(each[0]) for each in sets)


def test_the_same_study_gives_the_same_bytes(page):
    assert made(draw(3)) == page


def test_text_of_records_cannot_leave_the_data(page):
    records = [replace(r, run_id=EVIL) for r in draw(1)]
    html = made(records).decode()
    assert html.count("<script") == 2
    assert html.count("</script>") == 2
    assert "alert(1)</script>" not in html
    names = {
        each["run"].strip() for own in charts(html.encode())["datasets"].values() for each in own
    }
    assert names == {"</script><script>alert(1)</script>{{ x }} ]]>"}


@pytest.mark.parametrize("records", [[], draw(1, channels=())], ids=["no runs", "no joules"])
def test_a_study_without_joules_or_runs_still_has_a_page(records):
    assert b'id="charts"' in made(records)


def test_without_the_extra_the_message_names_it(monkeypatch):
    known = builtins.__import__

    def without(name, *rest):
        if name == "altair":
            raise ImportError(name="altair")
        return known(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"needs altair.*wbcbench\[interactive\]"):
        made(draw(1))


def test_a_browser_draws_it_silently_and_offline_and_lets_runs_be_picked(page, tmp_path):
    path = tmp_path / "interactive.html"
    path.write_bytes(page)
    noise = []
    with started() as browser:
        shown = browser.new_page()
        shown.on("console", lambda message: noise.append(message.text))
        shown.on("pageerror", lambda error: noise.append(str(error)))
        shown.on("request", lambda request: noise.append(request.url))
        shown.goto(path.as_uri())
        shown.wait_for_selector("#shown svg")
        lines = "#shown svg .mark-line path"
        assert shown.locator(lines).count() == 12
        shown.select_option("#shown select", index=1)
        shown.wait_for_function(f"document.querySelectorAll('{lines}').length === 4")
        shown.check("#shown input[value=epochs]")
    assert noise == [path.as_uri()]
