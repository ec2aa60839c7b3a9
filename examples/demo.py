"""One process stores a conversation on a local Upstash, another reads it back. No account, no network.

Run it with: make demo
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from rich.console import Console
from rich.table import Table
from rich.text import Text

from chatstash import UpstashRedisChatMessageHistory, with_history
from chatstash.local import LocalUpstash, StatsSnapshot

SESSION = "ada-lovelace"
DAY = 86_400
QUESTIONS = ["My name is Ada. What is an Upstash?", "And where did you put what I said?", "What is my name?"]
ANSWERS = [
    "Redis you reach over HTTP: no connection to keep, so it suits functions that come and go.",
    "In a Redis list, newest first: any process with the url and the token can read it.",
    "Ada. I read it from the conversation, not from memory.",
]
TITLE = "Cost, as the server counted it"
console = Console(highlight=False)


def scripted_model() -> GenericFakeChatModel:
    def answers() -> Iterator[AIMessage]:
        yield from map(AIMessage, ANSWERS)

    return GenericFakeChatModel(messages=answers())


def hold_conversation() -> None:
    """The part that you would write, with a real model instead of the scripted one."""
    prompt = ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("human", "{question}")])
    chain = with_history(
        prompt | scripted_model(),
        lambda session_id: UpstashRedisChatMessageHistory(session_id, ttl=DAY),
        input_messages_key="question",
        history_messages_key="history",
    )
    for question in QUESTIONS:
        chain.invoke({"question": question}, {"configurable": {"session_id": SESSION}})


def show_transcript() -> None:
    """Runs in the second process, which finds the url and token in its environment."""
    result = UpstashRedisChatMessageHistory(SESSION).read()
    transcript = Table.grid(padding=(0, 2))
    for message, record in zip(result.messages, result.records, strict=True):
        who = "you" if isinstance(message, HumanMessage) else "ai"
        when = f"{record.time:%H:%M:%S}" if record.time else ""
        # Text instead of a string: rich would read stored text as markup.
        transcript.add_row("", Text(when, "dim"), Text(who, "bold cyan"), Text(str(message.content)))
    console.print(transcript)


def show_cost(name: str, spent: StatsSnapshot, table: Table) -> None:
    counts = (spent.requests, spent.commands, spent.bytes_received, spent.bytes_sent)
    table.add_row(name, *(f"{count:,}" for count in counts))


def main() -> None:
    table = Table("", "HTTP requests", "commands", "bytes up", "bytes down", title=TITLE)
    for column in table.columns[1:]:
        column.justify = "right"
    with LocalUpstash() as upstash:
        os.environ |= upstash.environment
        console.print(
            f"[bold]A local Upstash is running at[/] {upstash.url}: a real Valkey behind Upstash's REST API.\n"
        )
        start = upstash.stats
        hold_conversation()
        held = upstash.stats
        console.print(f"Process {os.getpid()} held a conversation of {len(QUESTIONS)} turns. Another reads it back:\n")
        sys.stdout.flush()
        subprocess.run([sys.executable, __file__, "--read"], check=True)
        console.print()
        show_cost(f"{len(QUESTIONS)} turns, each read + append with a ttl", held - start, table)
        show_cost("reading the conversation back", upstash.stats - held, table)
    console.print(table)


if __name__ == "__main__":
    show_transcript() if "--read" in sys.argv else main()
