"""Graphs and agents with a scripted model: a turn always does the same, without a network."""

from __future__ import annotations

import itertools
import random
import string
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolCall
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.graph import START, MessagesState, StateGraph

from benchmarks.rounds import CHARACTERS

FILE_CHARACTERS = 2000
_chance = random.Random(13)  # noqa: S311 - not a secret
_numbers = itertools.count()


def text(characters: int = CHARACTERS) -> str:
    """Return random text, which does not compress well."""
    return "".join(_chance.choices(string.ascii_letters + "  ", k=characters))


def question() -> dict[str, Any]:
    """Return the input of a turn."""
    return {"messages": [HumanMessage(text())]}


def config(thread_id: str) -> Any:
    """Return the config of a thread."""
    return {"configurable": {"thread_id": thread_id}}


class Scripted(BaseChatModel):
    """A model that answers a question with one call of a tool, and the tool's result with a text.

    Attributes:
        call: Makes the call.
    """

    call: Callable[[], ToolCall]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **options: Any) -> Any:
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **options: Any,
    ) -> ChatResult:
        is_answer = messages[-1].type == "tool"
        answer = AIMessage(text()) if is_answer else AIMessage("", tool_calls=[self.call()])
        return ChatResult(generations=[ChatGeneration(message=answer)])


def one_node(saver: Any) -> Any:
    """Return a graph of one node that answers."""
    graph = StateGraph(MessagesState)
    graph.add_node("model", lambda _: {"messages": [AIMessage(text())]})
    graph.add_edge(START, "model")
    return graph.compile(checkpointer=saver)


def react(saver: Any) -> Any:
    """Return an agent that calls a tool and then answers: LangChain's `create_agent`."""
    from langchain.agents import create_agent  # noqa: PLC0415 - slow to import, and not needed by each process

    def look_up(word: str) -> str:
        """Look a word up."""
        return f"{word}: {text()}"

    call = Scripted(call=lambda: ToolCall(name="look_up", args={"word": "rain"}, id=f"call_{next(_numbers)}"))
    return create_agent(call, [look_up], checkpointer=saver)


def deep(saver: Any) -> Any:
    """Return a deep agent that writes a file, kept in the state, and then answers."""
    from deepagents import create_deep_agent  # noqa: PLC0415 - slow to import, and not needed by each process

    def call() -> ToolCall:
        number = next(_numbers)
        written = {"file_path": f"/notes/{number}.md", "content": text(FILE_CHARACTERS)}
        return ToolCall(name="write_file", args=written, id=f"call_{number}")

    return create_deep_agent(Scripted(call=call), checkpointer=saver)
