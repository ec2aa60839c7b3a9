"""Conversations leave a store and come back: as JSON Lines, Markdown, OpenAI's chat format and ChatGPT's export."""

from chatstash.transfer.chatgpt.importing import aimport_chatgpt, import_chatgpt
from chatstash.transfer.chatgpt.reading import ChatGPTConversation, aread_chatgpt_export, read_chatgpt_export
from chatstash.transfer.exporting import aexport_jsonl, export_jsonl
from chatstash.transfer.importing import aimport_jsonl, import_jsonl
from chatstash.transfer.markdown import to_markdown
from chatstash.transfer.messages import to_openai
from chatstash.transfer.report import Imported, ImportProblem, ImportReport, Skipped

__all__ = [
    "ChatGPTConversation",
    "ImportProblem",
    "ImportReport",
    "Imported",
    "Skipped",
    "aexport_jsonl",
    "aimport_chatgpt",
    "aimport_jsonl",
    "aread_chatgpt_export",
    "export_jsonl",
    "import_chatgpt",
    "import_jsonl",
    "read_chatgpt_export",
    "to_markdown",
    "to_openai",
]
