"""Every job of the server, at the foot of the sidebar of every page and of every visitor."""

from __future__ import annotations

import re
import urllib.error
import urllib.request

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import PageOpener
from tests.browser.driver import find_chart, open_app, settle
from tests.browser.explorer import (
    JOB_SECONDS,
    TinyTable,
    expect_alert,
    finish_compress,
    link,
    press_compress,
    runs_on_disk,
    shown_run,
)
from tests.browser.server import Server
from tests.browser.test_explore_jobs import LONG_JOB

pytestmark = pytest.mark.usefixtures("quiet_log")

QUIET_SECONDS = 4  # four looks of the list, if it still looked


def job_list(page: Page) -> Locator:
    """The list of jobs in the sidebar."""
    return page.locator(".st-key-job-list")


def cancels(page: Page) -> Locator:
    """Its Cancel buttons."""
    return job_list(page).get_by_role("button", name="Cancel")


def expect_listed(page: Page, words: str | re.Pattern[str]) -> None:
    """The list says so, as soon as this page's turn on a busy machine comes."""
    expect(job_list(page)).to_contain_text(words, timeout=JOB_SECONDS * 1000)


def turn_to(page: Page, name: str, heading: str) -> None:
    """Change the page while a job runs: with its panel looking again and again, none is at rest."""
    page.get_by_role("link", name=name).click()
    page.get_by_role("heading", name=heading).wait_for()


def test_two_visitors_wait_in_one_line_and_each_gets_only_its_own(
    app_server: Server, tiny: TinyTable, page: Page, open_page: PageOpener
) -> None:
    before = runs_on_disk(app_server)
    open_app(page, link(app_server, **LONG_JOB))
    find_chart(page)
    press_compress(page)
    with open_page() as other:
        open_app(other, link(app_server, tiny.path, map="PCA", k=2, by="Dimension", j=3))
        opened_with = shown_run(other.url)
        press_compress(other)
        expect_listed(other, "Compression, another session’s")
        expect_listed(
            other, re.compile("Compression, yours.*Waiting for its turn, next in line", re.DOTALL)
        )
        expect_listed(page, "Waiting for its turn, next in line")
        expect(cancels(page)).to_have_count(1, timeout=JOB_SECONDS * 1000)
        other.reload()
        expect_listed(other, "Compression, yours")
        turn_to(other, "Learn", "Why several subspaces?")
        expect_listed(other, "Waiting for its turn, next in line")
        expect(cancels(other)).to_have_count(1, timeout=JOB_SECONDS * 1000)
        turn_to(page, "Accuracy", "Does the smaller model still work?")
        cancels(page).click()
        expect_listed(page, "Ended lately")
        other.get_by_role("link", name="Explore").click()
        run = finish_compress(other, before=opened_with)
        assert runs_on_disk(app_server) == before | {run}
        find_chart(other)
        expect(other.get_by_test_id("stAlert").filter(has_text="Cancelled")).to_have_count(0)
    settle(page)
    assert shown_run(page.url) is None
    page.get_by_role("link", name="Explore").click()
    expect_alert(page, "Cancelled")


def test_nothing_is_asked_while_no_job_is_active(
    app_server: Server, tiny: TinyTable, page: Page
) -> None:
    sent: list[object] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))
    open_app(page, link(app_server, tiny.path, map="PCA", k=2, by="Dimension", j=2))
    before = shown_run(page.url)
    press_compress(page)
    expect_listed(page, "Compression, yours")
    finish_compress(page, before=before)
    expect_listed(page, "Ended lately")
    settle(page)
    assert sent, "frames are seen at all"
    sent.clear()
    page.wait_for_timeout(QUIET_SECONDS * 1000)
    assert sent == []


def test_uploads_from_other_sites_are_refused(app_server: Server) -> None:
    request = urllib.request.Request(
        f"{app_server.url}/_stcore/upload_file/session/file", data=b"x", method="PUT"
    )
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=30)
