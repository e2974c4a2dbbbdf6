// Is a WebSocket device with npm's ws until it is closed, and tells what it sees. What it is told
// on standard input, line by line, it sends.
import { createInterface } from "node:readline";
import WebSocket from "ws";

const say = (kind, what = {}) => console.log(JSON.stringify({ kind, ...what }));

const socket = new WebSocket(process.argv[2]);
socket.on("upgrade", ({ headers }) =>
  say("upgrade", { extensions: headers["sec-websocket-extensions"] ?? null }),
);
socket.on("open", () => say("open"));
socket.on("message", (data, isBinary) => say("message", { data: data.toString(), isBinary }));
socket.on("ping", () => say("ping"));
socket.on("pong", (data) => say("pong", { data: data.toString() }));
socket.on("unexpected-response", async (_, response) => {
  const body = Buffer.concat(await response.toArray()).toString();
  say("refusal", { status: response.statusCode, headers: response.headers, body });
  process.exit();
});
socket.on("error", (error) => say("error", { message: error.message }));
socket.on("close", (code, reason) => {
  say("close", { code, reason: reason.toString() });
  process.exit();
});
for await (const line of createInterface({ input: process.stdin })) {
  const [what, ...words] = line.split(" ");
  socket[what](...words.map((word) => (what === "close" ? Number(word) : word)));
}
