// The official OpenAI and Anthropic SDKs for Node against the demo.
import assert from "node:assert/strict";
import test from "node:test";

import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const demo = JSON.parse(process.env.LLM_PROXY_DEMO);
const apiKey = demo.keys.default;
const openai = new OpenAI({ baseURL: `${demo.base_url}/v1`, apiKey, maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: demo.base_url, apiKey, maxRetries: 0 });

const tools = [
  {
    type: "function",
    function: {
      name: "get_weather",
      parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
    },
  },
];

for (const model of ["gigachat", "yandexgpt", "qwen", "cloudru", "vllm", "openai", "azure", "anthropic"]) {
  const ask = (text, more = {}) =>
    openai.chat.completions.create({ model, messages: [{ role: "user", content: text }], ...more });

  test(`${model}: plain and streamed`, async () => {
    const answer = await ask("[[sim: text=Привет, мир!]] Скажи");
    assert.equal(answer.choices[0].message.content, "Привет, мир!");
    let text = "";
    for await (const chunk of await ask("[[sim: text=раз два три; chunks=5]] Счёт", { stream: true })) {
      text += chunk.choices[0]?.delta?.content ?? "";
    }
    assert.equal(text, "раз два три");
  });

  test(`${model}: a tool and its result`, async () => {
    const question = { role: "user", content: "[[sim: tools=1]] Погода в Твери?" };
    const first = await openai.chat.completions.create({ model, messages: [question], tools });
    const { message } = first.choices[0];
    const result = { role: "tool", tool_call_id: message.tool_calls[0].id, content: "5 градусов" };
    const final = await openai.chat.completions.create({ model, messages: [question, message, result], tools });
    assert.match(final.choices[0].message.content, /5 градусов/);
  });

  test(`${model}: errors`, async () => {
    await assert.rejects(ask("[[sim: status=429; retry_after=3]] Да"), OpenAI.RateLimitError);
    await assert.rejects(ask("[[sim: status=500]] Да"), OpenAI.InternalServerError);
  });

  test(`${model}: Anthropic's SDK`, async () => {
    const body = { model, max_tokens: 200, messages: [{ role: "user", content: "[[sim: text=Да, верно; chunks=3]] Скажи" }] };
    const answer = await anthropic.messages.create(body);
    assert.equal(answer.content.at(-1).text, "Да, верно");
    const final = await anthropic.messages.stream(body).finalMessage();
    assert.equal(final.content.at(-1).text, "Да, верно");
  });
}

test("responses, embeddings, models", async () => {
  const answer = await openai.responses.create({ model: "gigachat", input: "[[sim: text=Да]] Скажи" });
  assert.equal(answer.output_text, "Да");
  const kinds = [];
  for await (const event of await openai.responses.create({ model: "gigachat", input: "Скажи", stream: true })) {
    kinds.push(event.type);
  }
  assert.equal(kinds.at(-1), "response.completed");
  const vectors = await openai.embeddings.create({ model: "gigachat-embeddings", input: ["да", "нет"] });
  assert.equal(vectors.data.length, 2);
  const names = (await openai.models.list()).data.map((model) => model.id);
  assert.ok(names.includes("yandexgpt"));
});
