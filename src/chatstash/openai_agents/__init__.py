"""chatstash for the OpenAI Agents SDK: `UpstashSession`. Needs no package of OpenAI to be imported."""

from chatstash.openai_agents.session import UpstashSession

__all__ = ["UpstashSession"]
