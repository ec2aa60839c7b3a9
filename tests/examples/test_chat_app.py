"""The chat of the examples: what its server promises the page."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from chatstash import Store, UpstashRedisChatMessageHistory
from tests.examples.chatting import Browser, Server, text_in
from tests.examples.conftest import EXAMPLES


def test_an_answer_is_streamed_and_stored(server: Server, ada: Browser) -> None:
    server.model.answers = ["Par|is."]
    with ada.writing("geo", "Capital of France?") as events:
        assert next(events) == ("words", "Par")
        server.model.go_on.set()
        assert list(events) == [("words", "is."), ("done", None)]
    history = UpstashRedisChatMessageHistory("geo", user_id=ada.user)
    assert [message.content for message in history.messages] == ["Capital of France?", "Paris."]
    assert ada.titles() == ["Capital of France?"]


def test_the_model_reads_the_conversation(server: Server, ada: Browser) -> None:
    ada.write("geo", "Capital of France?")
    ada.write("geo", "And of Italy?")
    assert [message.content for message in server.model.asked[-1]] == ["Capital of France?", "Paris.", "And of Italy?"]


def test_nobody_sees_or_changes_what_is_anothers(ada: Browser, bob: Browser) -> None:
    ada.write("same", "Ada's")
    bob.write("same", "Bob's")
    assert (ada.titles(), bob.titles()) == (["Ada's"], ["Bob's"])
    assert bob.client.delete("/api/sessions/same").status_code == 204
    assert bob.client.patch("/api/sessions/same", json={"title": "mine"}).status_code == 404
    assert ada.transcript("same") == ["Ada's", "Paris."]


@pytest.mark.parametrize("cookie", [None, "", "ada", "../ada", "0" * 31, "0" * 33])
def test_without_the_cookie_nothing_is_shown(server: Server, cookie: str | None) -> None:
    cookies = None if cookie is None else {"user": cookie}
    with httpx.Client(base_url=server.url, cookies=cookies) as client:
        assert client.get("/api/sessions").status_code == 401
        assert client.delete("/api/me").status_code == 401


def test_the_list_has_pages_newest_first(ada: Browser) -> None:
    with Store(index=True) as store:
        for number in range(25):
            UpstashRedisChatMessageHistory(f"s{number:02}", user_id=ada.user, store=store).add_user_message(
                f"Q{number}"
            )
    first = ada.get("sessions")
    second = ada.get("sessions", cursor=first["next_cursor"])
    shown = [each["session_id"] for each in first["sessions"] + second["sessions"]]
    assert shown == [f"s{number:02}" for number in reversed(range(25))]
    assert second["next_cursor"] is None
    assert ada.client.get("/api/sessions", params={"cursor": "nonsense"}).status_code == 400


def test_a_conversation_has_pages(ada: Browser) -> None:
    with Store(index=True) as store:
        history = UpstashRedisChatMessageHistory("long", user_id=ada.user, store=store)
        for number in range(45):
            history.add_user_message(f"Q{number}")
    newest = ada.get("sessions/long/messages")
    older = ada.get("sessions/long/messages", before=newest["cursor"])
    assert [each["text"] for each in older["messages"] + newest["messages"]] == [f"Q{number}" for number in range(45)]
    assert older["cursor"] is None


def test_a_new_title_does_not_reorder_the_list(ada: Browser) -> None:
    ada.write("one", "One")
    ada.write("two", "Two")
    renamed = ada.client.patch("/api/sessions/one", json={"title": "Uno"}).raise_for_status().json()
    assert renamed["title"] == "Uno"
    assert ada.titles() == ["Two", "Uno"]
    assert ada.client.patch("/api/sessions/none", json={"title": "x"}).status_code == 404
    assert ada.client.patch("/api/sessions/one", json={"title": ""}).status_code == 422


def test_another_answer_replaces_one_which_stays_an_alternative(server: Server, ada: Browser) -> None:
    server.model.answers = ["First.", "Second."]
    ada.write("talk", "Say something.")
    (_, answer) = ada.messages("talk")
    assert text_in(ada.write("talk", replacing=answer["id"])) == "Second."
    assert ada.transcript("talk") == ["Say something.", "Second."]
    assert [message.content for message in server.model.asked[-1]] == ["Say something."]
    (_, answer) = ada.messages("talk")
    assert answer["versions"]["shown"] == 1
    _show(ada, "talk", answer["versions"]["ids"][0])
    (_, answer) = ada.messages("talk")
    assert (answer["text"], answer["versions"]["shown"]) == ("First.", 0)
    _show(ada, "talk", answer["versions"]["ids"][1])
    assert ada.transcript("talk") == ["Say something.", "Second."]


def test_an_edited_question_takes_the_place_of_all_that_followed(server: Server, ada: Browser) -> None:
    ada.write("talk", "One?")
    server.model.answers = ["Two."]
    ada.write("talk", "Two?")
    server.model.answers = ["Anew."]
    (question, *_) = ada.messages("talk")
    ada.write("talk", "Edited?", replacing=question["id"])
    (question, answer) = ada.messages("talk")
    assert (question["text"], answer["text"]) == ("Edited?", "Anew.")
    _show(ada, "talk", question["versions"]["ids"][0])
    assert ada.transcript("talk") == ["One?", "Paris.", "Two?", "Two."]


def _show(browser: Browser, session: str, version: str) -> None:
    browser.client.post(f"/api/sessions/{session}/version", json={"version": version}).raise_for_status()


def test_a_failed_replacement_changes_nothing(server: Server, ada: Browser) -> None:
    ada.write("talk", "Say something.")
    (_, answer) = ada.messages("talk")
    server.model.answers = [RuntimeError("the key sk-123 is wrong")]
    (failed, done) = ada.write("talk", replacing=answer["id"])
    assert (failed[0], done) == ("failed", ("done", None))
    assert "sk-123" not in failed[1]
    assert ada.transcript("talk") == ["Say something.", "Paris."]


def test_what_is_not_there_is_not_replaced(ada: Browser) -> None:
    ada.write("talk", "Say something.")
    (failed, _) = ada.write("talk", "Edited", replacing="AZNx3k0Qp7Zb1c2d.0/2")
    assert failed == ("failed", "This message is no longer there. Nothing was changed.")
    assert ada.transcript("talk") == ["Say something.", "Paris."]


def test_a_question_whose_answer_failed_is_answered_later(server: Server, ada: Browser) -> None:
    server.model.answers = [RuntimeError("overloaded"), "Paris."]
    assert ada.write("geo", "Capital of France?")[0][0] == "failed"
    assert ada.transcript("geo") == ["Capital of France?"]
    for _ in range(2):  # the second time, in another tab
        ada.write("geo")
        assert ada.transcript("geo") == ["Capital of France?", "Paris."]


def test_an_answer_goes_on_when_the_page_is_closed(server: Server, ada: Browser) -> None:
    server.model.answers = ["Par|is."]
    with ada.writing("geo", "Capital of France?") as events:
        next(events)
    assert _once(lambda: ada.get("sessions/geo/draft")["text"]) == "Par"
    assert ada.get("sessions/geo/messages")["draft"] == {"text": "Par", "is_here": True}
    server.model.go_on.set()
    assert _once(lambda: ada.transcript("geo")[1:]) == ["Paris."]
    assert ada.get("sessions/geo/draft") is None


def test_an_answer_that_broke_off_is_left_as_a_draft_until_the_next(server: Server, ada: Browser) -> None:
    server.model.answers = ["Par|{fail}", "Paris."]
    server.model.go_on.set()
    assert [name for name, _ in ada.write("geo", "Capital of France?")] == ["words", "failed", "done"]
    page = ada.get("sessions/geo/messages")
    assert (len(page["messages"]), page["draft"]) == (1, {"text": "Par", "is_here": False})
    ada.write("geo")
    assert ada.transcript("geo") == ["Capital of France?", "Paris."]
    assert ada.get("sessions/geo/draft") is None


def _once(ask: Callable[[], Any]) -> Any:
    """Ask until the answer is not empty."""
    while not (answer := ask()):
        pass
    return answer


def test_a_stopped_answer_keeps_what_was_written(server: Server, ada: Browser) -> None:
    server.model.answers = ["Par|is.| And much more."]
    with ada.writing("geo", "Capital of France?") as events:
        next(events)
        server.model.go_on.set()
        ada.client.post("/api/sessions/geo/stop").raise_for_status()
        assert list(events)[-1] == ("done", None)
    assert ada.transcript("geo")[0] == "Capital of France?"
    assert ada.transcript("geo")[1].startswith("Par")


def test_a_deleted_conversation_does_not_come_back_with_its_answer(server: Server, ada: Browser) -> None:
    server.model.answers = ["Par|is."]
    with ada.writing("geo", "Capital of France?") as events:
        next(events)
        ada.client.delete("/api/sessions/geo").raise_for_status()
        server.model.go_on.set()
        assert list(events) == [("done", None)]
    assert (ada.titles(), ada.transcript("geo"), ada.get("sessions/geo/draft")) == ([], [], None)


def test_one_answer_at_a_time_in_a_conversation(server: Server, ada: Browser) -> None:
    server.model.answers = ["Par|is."]
    with ada.writing("geo", "Capital of France?") as events:
        next(events)
        again = ada.client.post("/api/sessions/geo/answer", json={"text": "Me too"})
        assert again.status_code == 409
        server.model.go_on.set()
        list(events)
    assert ada.transcript("geo") == ["Capital of France?", "Paris."]


def test_export_has_all_messages_of_the_user_and_no_others(ada: Browser, bob: Browser) -> None:
    ada.write("geo", "Capital of France?")
    bob.write("geo", "Bob's secret")
    exported = ada.client.get("/api/export").raise_for_status()
    assert "attachment" in exported.headers["content-disposition"]
    assert "Capital of France?" in exported.text
    assert "Bob's secret" not in exported.text


def test_deleting_my_data_leaves_no_key_of_mine(
    server: Server, ada: Browser, bob: Browser, run: Callable[..., Any]
) -> None:
    bob.write("geo", "Bob's")
    others = set(run("KEYS", "*"))
    ada.write("geo", "Capital of France?")
    (_, answer) = ada.messages("geo")
    ada.write("geo", replacing=answer["id"])
    server.model.answers = ["Unfini|shed"]
    with ada.writing("other", "While it is written") as events:
        next(events)
        assert ada.client.delete("/api/me").raise_for_status().json() == {"sessions": 2}
        server.model.go_on.set()
        list(events)
    assert set(run("KEYS", "*")) == others
    assert ada.get("sessions")["sessions"] == []
    assert bob.transcript("geo") == ["Bob's", "Paris."]


def test_the_page_runs_no_foreign_script_and_asks_no_other_host(server: Server) -> None:
    page = httpx.get(server.url)
    assert "default-src 'none'; script-src 'self'" in page.headers["content-security-policy"]
    cookie = page.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    texts = [file.read_text() for file in (EXAMPLES / "chat_app" / "static").iterdir()]
    hosts = {host for text in texts for host in re.findall(r"https?://([\w.]+)", text)}
    assert hosts == {"www.w3.org"}  # the namespace of SVG: a name, which nobody asks for
    assert not any("innerHTML" in text or "insertAdjacentHTML" in text for text in texts)
