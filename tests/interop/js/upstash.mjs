// Runs the official SDK, unmodified, over one family of commands after the other; results as JSON on standard output.
import { Redis } from "@upstash/redis";

const options = { url: process.env.UPSTASH_REDIS_REST_URL, token: process.env.UPSTASH_REDIS_REST_TOKEN };
const redis = new Redis({ ...options, retry: false });
const results = {};

async function family(name, run) {
  await redis.flushall();
  results[name] = await run();
}

const failure = (promise) => promise.then(() => "no error", (error) => `${error.name}: ${error.message}`);

await family("values", async () => [
  await redis.set("k", { deep: [1, null, "naïve 😀"] }, { ex: 100 }),
  await redis.get("k"),
  await redis.ttl("k"),
  await redis.mset({ a: 1, b: "two" }),
  await redis.mget("a", "b", "none"),
  await redis.incr("a"),
  await redis.exists("a", "none"),
  await redis.del("a", "b", "k"),
]);

await family("structures", async () => [
  await redis.rpush("l", "a", { b: 1 }),
  await redis.lrange("l", 0, -1),
  await redis.hset("h", { f: "v", n: 7 }),
  await redis.hgetall("h"),
  await redis.sadd("s", "x"),
  await redis.smembers("s"),
  await redis.zadd("z", { score: 1.5, member: "m" }),
  await redis.zrange("z", 0, -1, { withScores: true }),
  await redis.xadd("x", "1-0", { field: "value" }),
  await redis.xrange("x", "-", "+"),
  await redis.scan(0, { match: "l" }),
]);

await family("booleans", async () => [
  await redis.set("k", true),
  await redis.get("k"),
  await redis.hset("h", { yes: true, no: false }),
  await redis.hgetall("h"),
  await redis.rpush("l", true, false),
  await redis.eval("return ARGV", [], [true, false]),
  await redis.pipeline().set("k", false).get("k").hset("h", { no: true }).hget("h", "no").exec(),
  await redis.multi().set("k", true).get("k").lpush("l", false).lrange("l", 0, 0).exec(),
  await redis.set("k", null),
  await redis.get("k"),
  await redis.set("k", 1e21),
  await redis.get("k"),
  await failure(redis.set("k", undefined)),
  await failure(redis.scan(0, { withType: true })),
]);

await family("pipeline", async () => redis.pipeline().set("k", "v").get("k").lrange("none", 0, -1).exec());
await family("multi", async () => redis.multi().incr("n").incr("n").exec());
await family("errors", async () => {
  await redis.set("k", "v");
  return [
    await failure(redis.lpush("k", "x")),
    await failure(redis.multi().incr("n").lpush("k", "x").exec()),
    await failure(new Redis({ ...options, token: "wrong", retry: false }).get("k")),
    await redis.pipeline().get("k").lpush("k", "x").exec({ keepErrors: true }),
  ];
});

await family("scripts", async () => {
  const body = "#!lua flags=allow-key-locking\nreturn redis.call('INCR', KEYS[1])";
  const script = redis.createScript(body);
  return [await script.exec(["n"], []), await script.exec(["n"], []), await redis.eval(body, ["n"], []),
    await failure(redis.eval("#!lua flags=allow-key-locking\nreturn redis.call('GET', 'other')", ["n"], []))];
});

await family("without base64", async () => {
  const plain = new Redis({ ...options, responseEncoding: false, retry: false });
  await plain.set("k", "naïve 😀");
  return [await plain.get("k"), await plain.ping()];
});

await family("automatic pipelining", async () => {
  const auto = new Redis({ ...options, enableAutoPipelining: true, retry: false });
  return Promise.all([auto.set("k", "v"), auto.get("k"), auto.incr("n")]);
});

await family("subscriptions", async () => {
  const seen = [];
  const channel = redis.subscribe("chat");
  const pattern = redis.psubscribe("ch*");
  await Promise.all([channel, pattern].map((one) => new Promise((resolve) => one.on("subscribe", resolve) || one.on("psubscribe", resolve))));
  const both = new Promise((resolve) => {
    channel.on("message", (event) => { seen.push(["message", event.channel, event.message]); seen.length === 2 && resolve(); });
    pattern.on("pmessage", (event) => { seen.push(["pmessage", event.pattern, event.channel, event.message]); seen.length === 2 && resolve(); });
  });
  while ((await redis.publish("chat", { hello: 1 })) < 2) await new Promise((resolve) => setTimeout(resolve, 20));
  await both;
  await channel.unsubscribe();
  await pattern.unsubscribe();
  return seen.sort();
});

console.log(JSON.stringify(results));
process.exit(0);
