// Reads or writes a conversation with the real LangChain.js class; JSON in on standard input, JSON out.
import { UpstashRedisChatMessageHistory } from "@langchain/community/stores/message/upstash_redis";
import { mapStoredMessagesToChatMessages } from "@langchain/core/messages";

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const { sessionId, write } = JSON.parse(Buffer.concat(chunks).toString());

const history = new UpstashRedisChatMessageHistory({
  sessionId,
  config: { url: process.env.UPSTASH_REDIS_REST_URL, token: process.env.UPSTASH_REDIS_REST_TOKEN },
});

if (write) await history.addMessages(mapStoredMessagesToChatMessages(write));
const messages = await history.getMessages();
console.log(
  JSON.stringify(
    messages.map((message) => ({
      type: message.getType(),
      content: message.content,
      name: message.name ?? null,
      id: message.id ?? null,
      tool_calls: message.tool_calls ?? [],
      invalid_tool_calls: message.invalid_tool_calls ?? [],
      tool_call_id: message.tool_call_id ?? null,
      role: message.role ?? null,
      additional_kwargs: message.additional_kwargs ?? {},
    })),
  ),
);
