// A model for tests: an OpenAI-compatible server that answers every request with the same words and prints one JSON
// line about each. usage: node model.mjs <address> <port> [answer]
import { createServer } from "node:http";

const [address, port, answer = "Hello from the scripted model."] = process.argv.slice(2);

createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const raw = Buffer.concat(chunks);
    const body = JSON.parse(raw.toString() || "{}");
    const seen = { path: request.url, key: request.headers.authorization, bytes: raw.length, tools: body.tools?.map((tool) => tool.function.name) };
    console.log(JSON.stringify(process.env.DUMP ? { ...seen, body } : seen));

    const chunk = (delta, finish_reason = null) =>
      response.write(`data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", created: 0, model: body.model, choices: [{ index: 0, delta, finish_reason }] })}\n\n`);
    response.writeHead(200, { "content-type": "text/event-stream" });
    chunk({ role: "assistant", content: answer });
    chunk({}, "stop");
    response.write(`data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", created: 0, model: body.model, choices: [], usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 } })}\n\n`);
    response.end("data: [DONE]\n\n");
  });
}).listen(Number(port), address);
