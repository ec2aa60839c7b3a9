"""The content of a message of ChatGPT as text. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

_NOT_SHOWN: Mapping[str, str] = {
    "thoughts": "it is reasoning",
    "reasoning_recap": "it is reasoning",
    "user_editable_context": "it is the user's custom instructions",
    "model_editable_context": "it is the memory of ChatGPT",
}
_MEDIA: Mapping[str, str] = {
    "image_asset_pointer": "image",
    "audio_asset_pointer": "audio",
    "video_container_asset_pointer": "video",
    "real_time_user_audio_video_asset_pointer": "audio and video",
}


class Content(NamedTuple):
    """The text of a message.

    Attributes:
        text: Its text.
        left_out: The parts that the text only names, or leaves out.
    """

    text: str
    left_out: list[str]


class NoText(NamedTuple):
    """Why a message has no text."""

    reason: str


def content_of(message: Mapping[str, Any]) -> Content | NoText:
    """Return the content of a message, or why it has none."""
    content = message.get("content")
    if isinstance(content, str):
        content = {"content_type": "text", "parts": [content]}
    if not isinstance(content, dict):
        return NoText("it has no content")
    kind = content.get("content_type")
    if isinstance(kind, str) and kind in _NOT_SHOWN:
        return NoText(_NOT_SHOWN[kind])
    if isinstance(parts := content.get("parts"), list):
        texts, left_out = _joined(parts)
    else:
        texts, left_out = _fields(content), []
    if text := "\n".join(each for each in texts if each.strip()):
        return Content(text, left_out)
    if left_out:
        return NoText("; ".join(left_out))
    is_known = "parts" in content or any(name in content for name in _TEXT_FIELDS)
    return NoText("it is empty" if is_known else f"its content is of the type {str(kind)!r:.60}, which has no text")


def _joined(parts: list[Any]) -> tuple[list[str], list[str]]:
    texts: list[str] = []
    left_out: list[str] = []
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and part.get("content_type") in _MEDIA:
            name = _MEDIA[part["content_type"]]
            pointer = part.get("asset_pointer")
            texts.append(f"[{name}: {pointer}]" if isinstance(pointer, str) else f"[{name}]")
            left_out.append(f"its {name} is only named")
        elif isinstance(part, dict) and (found := _fields(part)):
            texts += found
        elif part is not None:
            kind = part.get("content_type") if isinstance(part, dict) else type(part).__name__
            left_out.append(f"a part of the type {str(kind)!r:.60} was left out")
    return texts, left_out


_TEXT_FIELDS = ("title", "url", "text", "result", "summary", "content")
"""Where the content of tools has its text: `text` of code and output, `result` of browsing, and so on."""


def _fields(content: Mapping[str, Any]) -> list[str]:
    return [value for name in _TEXT_FIELDS if isinstance(value := content.get(name), str) and value]
