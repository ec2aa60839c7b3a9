"""The page of the chat, driven in a real browser."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="Playwright is missing: pip install playwright")

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from chatstash import Store, UpstashRedisChatMessageHistory
from tests.examples.chatting import Server

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")  # as in tools/browser.sh
CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: make browser, or sudo apt-get install chromium")
OFFLINE = ["--disable-quic", "--no-first-run", "--disable-sync", "--disable-component-update"]
PATIENCE = 30_000
"""Milliseconds after which a page that does not become as expected has failed."""
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OFFLINE)
        yield browser
        browser.close()


@pytest.fixture
def logged() -> list[str]:
    """The errors that pages logged; a test that expects some clears them."""
    return []


@pytest.fixture
def context(chromium: Browser, server: Server, logged: list[str]) -> Iterator[BrowserContext]:
    """A browser of one user. Its pages log no error, and ask no other host."""
    context = chromium.new_context(viewport={"width": 1200, "height": 780}, accept_downloads=True)
    context.set_default_timeout(PATIENCE)
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    context.on("weberror", lambda error: logged.append(str(error.error)))
    context.on("console", lambda message: logged.append(message.text) if message.type == "error" else None)
    yield context
    context.close()
    assert logged == []
    assert [url for url in asked if not url.startswith((server.url, "data:"))] == []


@pytest.fixture
def page(context: BrowserContext, server: Server) -> Page:
    page = context.new_page()
    page.goto(server.url)
    expect(page.locator("#welcome")).to_be_visible()
    return page


def ask(page: Page, question: str) -> None:
    page.get_by_role("textbox", name="Your question").fill(question)
    page.keyboard.press("Enter")


def is_answered(page: Page, *texts: str) -> None:
    """Wait until the messages are these, and none is being written."""
    expect(page.locator("body.busy")).to_have_count(0)
    expect(page.locator("#messages .body")).to_have_text(list(texts))


def test_an_answer_appears_while_it_is_written(page: Page, server: Server) -> None:
    server.model.answers = ["Par|is."]
    ask(page, "Capital of France?")
    expect(page.locator(".ai .body")).to_have_text("Par")
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(page.locator("#sessions li")).to_have_text(["Capital of France?"])
    server.model.go_on.set()
    is_answered(page, "Capital of France?", "Paris.")
    expect(page.get_by_role("heading", level=1)).to_have_text("Capital of France?")
    page.reload()
    is_answered(page, "Capital of France?", "Paris.")


def test_a_reloaded_page_follows_the_answer_that_goes_on(page: Page, server: Server) -> None:
    server.model.answers = ["Par|is|."]
    ask(page, "Capital of France?")
    expect(page.locator(".ai .body")).to_have_text("Par")
    page.reload()
    expect(page.locator("#messages .body")).to_have_text(["Capital of France?", "Par"])
    expect(page.locator(".ai.growing")).to_be_visible()
    server.model.go_on.set()
    is_answered(page, "Capital of France?", "Paris.")


def test_an_answer_that_broke_off_can_be_asked_for_again(page: Page, server: Server) -> None:
    server.model.answers = ["Par|{fail}", "Paris."]
    server.model.go_on.set()
    ask(page, "Capital of France?")
    expect(page.get_by_role("status")).to_have_text("No answer came. Try again.")
    expect(page.locator("#messages .body")).to_have_text(["Capital of France?", "Par"])
    expect(page.get_by_text("This answer broke off.")).to_be_visible()
    page.clock.install()
    page.reload()
    expect(page.locator(".ai.growing")).to_be_visible()
    for _ in range(20):  # the page asks again and again whether the draft grows
        with page.expect_response("**/draft"):
            page.clock.run_for(700)
        if page.get_by_text("This answer broke off.").is_visible():
            break
    page.get_by_role("button", name="Answer again").click()
    page.clock.resume()
    is_answered(page, "Capital of France?", "Paris.")


def test_answers_in_two_conversations_at_once(page: Page, server: Server) -> None:
    server.model.answers = ["Par|is.", "Ro|me."]
    ask(page, "Capital of France?")
    expect(page.locator(".ai .body")).to_have_text("Par")
    page.get_by_role("button", name="New chat").click()
    ask(page, "Capital of Italy?")
    expect(page.locator(".ai .body")).to_have_text("Ro")
    page.get_by_role("link", name="Capital of France?").click()
    expect(page.locator("#messages .body")).to_have_text(["Capital of France?", "Par"])
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    server.model.go_on.set()
    is_answered(page, "Capital of France?", "Paris.")
    page.get_by_role("link", name="Capital of Italy?").click()
    is_answered(page, "Capital of Italy?", "Rome.")


def test_regenerate_and_go_back(page: Page, server: Server) -> None:
    server.model.answers = ["First.", "Sec|ond."]
    ask(page, "Say something.")
    is_answered(page, "Say something.", "First.")
    page.get_by_role("button", name="Regenerate").click()
    expect(page.locator(".ai .body")).to_have_text("Sec")
    server.model.go_on.set()
    is_answered(page, "Say something.", "Second.")
    expect(page.locator(".versions")).to_have_text("2/2")
    page.get_by_role("button", name="Earlier version").click()
    is_answered(page, "Say something.", "First.")
    expect(page.locator(".versions")).to_have_text("1/2")
    expect(page.get_by_role("button", name="Earlier version")).to_be_disabled()
    page.get_by_role("button", name="Later version").click()
    is_answered(page, "Say something.", "Second.")


def test_a_failed_regenerate_keeps_the_answer(page: Page, server: Server) -> None:
    server.model.answers = ["First.", RuntimeError("overloaded")]
    ask(page, "Say something.")
    is_answered(page, "Say something.", "First.")
    page.get_by_role("button", name="Regenerate").click()
    expect(page.get_by_role("status")).to_contain_text("No answer came.")
    is_answered(page, "Say something.", "First.")


def test_edit_a_question_and_send_it_again(page: Page, server: Server) -> None:
    server.model.answers = ["Paris.", "Rome."]
    ask(page, "Capital of France?")
    is_answered(page, "Capital of France?", "Paris.")
    page.locator(".human").hover()
    page.get_by_role("button", name="Edit").click()
    field = page.locator("#messages textarea")
    expect(field).to_be_focused()
    expect(field).to_have_value("Capital of France?")
    field.fill("Capital of Italy?")
    page.keyboard.press("Enter")
    is_answered(page, "Capital of Italy?", "Rome.")
    page.get_by_role("button", name="Earlier version").click()
    is_answered(page, "Capital of France?", "Paris.")


def test_stop_keeps_what_was_written(page: Page, server: Server) -> None:
    server.model.answers = ["Par|is, and much more."]
    ask(page, "Capital of France?")
    expect(page.locator(".ai .body")).to_have_text("Par")
    with page.expect_request("**/stop"):
        page.get_by_role("button", name="Stop").click()
    server.model.go_on.set()
    expect(page.locator("body.busy")).to_have_count(0)
    expect(page.locator(".ai .body")).to_contain_text("Par")


def test_rename_and_delete_in_the_list(page: Page, server: Server) -> None:
    for question in ("One", "Two"):
        page.get_by_role("button", name="New chat").click()
        ask(page, question)
        is_answered(page, question, "Paris.")
    items = page.locator("#sessions li")
    expect(items).to_have_text(["Two", "One"])
    items.nth(1).hover()
    items.nth(1).get_by_role("button", name="Rename").click()
    page.get_by_role("textbox", name="New title").fill("Uno")
    page.keyboard.press("Enter")
    expect(items).to_have_text(["Two", "Uno"])
    items.nth(0).hover()
    items.nth(0).get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(items).to_have_text(["Two", "Uno"])
    items.nth(0).get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(items).to_have_text(["Uno"])
    expect(page.locator("#welcome")).to_be_visible()
    items.nth(0).get_by_role("link").click()
    is_answered(page, "One", "Paris.")


def test_more_of_the_list_and_of_a_conversation(page: Page, context: BrowserContext) -> None:
    user = next(cookie["value"] for cookie in context.cookies() if cookie["name"] == "user")
    with Store(index=True) as store:
        for number in range(22):
            UpstashRedisChatMessageHistory(f"s{number}", user_id=user, store=store).add_user_message(f"Q{number}")
        long = UpstashRedisChatMessageHistory("s21", user_id=user, store=store)
        for number in range(1, 45):
            long.add_user_message(f"Q21.{number}")
    page.reload()
    expect(page.locator("#sessions li")).to_have_count(20)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator("#sessions li")).to_have_count(22)
    expect(page.get_by_role("button", name="Show more")).to_have_count(0)
    page.get_by_role("link", name="Q21", exact=True).click()
    expect(page.locator("#messages li")).to_have_count(40)
    page.get_by_role("button", name="Show earlier messages").click()
    expect(page.locator("#messages li")).to_have_count(45)
    expect(page.locator("#messages .body").first).to_have_text("Q21")


def test_a_question_that_does_not_arrive_is_given_back(page: Page, logged: list[str]) -> None:
    page.route("**/answer", lambda route: route.abort())
    ask(page, "Capital of France?")
    expect(page.get_by_role("status")).to_have_text("The server cannot be reached.")
    expect(page.locator("#question")).to_have_value("Capital of France?")
    expect(page.locator("#welcome")).to_be_visible()
    logged.clear()
    page.unroute("**/answer")
    page.locator("#question").press("Enter")
    is_answered(page, "Capital of France?", "Paris.")


HOSTILE = """<img src=x onerror="document.title='taken'"><script>document.title='taken'</script>"""


def test_what_users_and_models_write_is_text(page: Page, server: Server) -> None:
    server.model.answers = [f"{HOSTILE}\n\n```\n{HOSTILE}\n```\n\n- **{HOSTILE}**\n- `{HOSTILE}`"]
    ask(page, HOSTILE)
    expect(page.locator("body.busy")).to_have_count(0)
    expect(page.locator(".human .body")).to_have_text(HOSTILE)
    expect(page.locator(".ai .body code")).to_have_text([HOSTILE, HOSTILE])
    expect(page.locator(".ai .body strong")).to_have_text(HOSTILE)
    expect(page.locator("#sessions li")).to_contain_text("<img src=x")
    expect(page.get_by_role("heading", level=1)).to_contain_text("<img src=x")
    assert page.locator("img, body script, iframe, [onerror]").count() == 0
    assert "taken" not in page.title().split("<img")[0]


def test_export_and_delete_my_data(page: Page, tmp_path: Path) -> None:
    ask(page, "Capital of France?")
    is_answered(page, "Capital of France?", "Paris.")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export my data").click()
    lines = [json.loads(line) for line in Path(download.value.path()).read_text().splitlines()]
    assert "Capital of France?" in json.dumps(lines)
    page.get_by_role("button", name="Delete my data").click()
    page.get_by_role("button", name="Delete everything").click()
    expect(page.get_by_role("status")).to_contain_text("Erased: 1 conversation.")
    expect(page.locator("#welcome")).to_be_visible()
    expect(page.locator("#sessions")).to_have_text("Your conversations appear here.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_narrow_screen_the_list_is_a_menu(page: Page, server: Server, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 360, "height": 640})
    ask(page, "Capital of France?")
    is_answered(page, "Capital of France?", "Paris.")
    link = page.get_by_role("link", name=re.compile("Capital"))
    expect(link).to_be_hidden()
    page.get_by_role("button", name="Show the list").click()
    expect(link).to_be_visible()
    page.get_by_role("button", name="New chat").click()
    expect(link).to_be_hidden()
    expect(page.locator("#welcome")).to_be_visible()
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow == 0
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
