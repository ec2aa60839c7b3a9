"""A chat model without a model: it recites, word by word, so that the chat runs offline."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

from langchain_core.language_models import SimpleChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from pydantic import Field

HAIKUS = (
    "A list, newest first.\nThe function wakes, reads, and sleeps.\nNothing was forgotten.",
    "Cold start, warm reply:\none request up, one back down.\nThe bill stays asleep.",
    "Two tabs, one question.\nThe guard lets a single answer\ninto the record.",
)
SIDEBAR = """\
This is the whole sidebar:

```python
page = store.list_sessions(user_id=user, limit=20)
for session in page.sessions:
    print(session.title, session.updated_at)
```

`page.next_cursor` leads to the next page. It costs **one request**, whatever the number of conversations."""
REGENERATE = """\
This is *regenerate*:

```python
with history.guarded_turn(replacing=answer_id) as turn:
    turn.add_ai_message(model.invoke(turn.messages))
```

If the model fails, the old answer stays."""
FIRST = """\
I am a script, not a model. **Everything around me is real:** this conversation is stored in Redis, over HTTP.

- Press *Regenerate*, and I say something else.
- Edit your question: what followed is put aside, not lost.
- Reload the page while I write: I go on, and the draft is there."""
SECOND = """\
Here is another answer to the same question. The first one is kept as an *alternative*: the arrows below lead back \
to it.

Both belong to this conversation, expire with it, and are erased with it."""
THIRD = "A third version, and the last I know. To hear something new, put a real model into the last line of `app.py`."
SCRIPT: dict[str, Sequence[str]] = {"haiku": HAIKUS, "code": (SIDEBAR, REGENERATE), "": (FIRST, SECOND, THIRD)}


class ScriptedModel(SimpleChatModel):
    """Recites what fits the last question: with each call, the next of its answers.

    Attributes:
        pause: Seconds before each word.
        counts: How often each answer was asked for.
    """

    pause: float = 0.04
    counts: dict[str, Any] = Field(default_factory=lambda: {word: itertools.count() for word in SCRIPT})

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _call(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> str:
        question = str(messages[-1].content).lower()
        topic = next(word for word in SCRIPT if word in question)
        answers = SCRIPT[topic]
        number: int = next(self.counts[topic])
        return answers[number % len(answers)]

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for word in re.findall(r"\S+\s*", self._call(messages)):
            await asyncio.sleep(self.pause)
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))
