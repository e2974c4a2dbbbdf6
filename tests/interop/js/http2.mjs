// Keeps an HTTP/2 connection with node's own client: a push, and then either an event stream
// (when a path is given) or nothing. Tells how it ends.
import { once } from "node:events";
import http2 from "node:http2";

const [url, push, events] = process.argv.slice(2);
const say = (kind, what = {}) => console.log(JSON.stringify({ kind, ...what }));

const session = http2.connect(url);
session.on("goaway", (code, lastStream, data) =>
  say("goaway", { code, lastStream, data: data ? new TextDecoder().decode(data) : null }),
);
session.on("error", (error) => say("error", { message: String(error) }));
session.on("close", () => say("close"));

const post = session.request({ ":method": "POST", ":path": push });
post.end('{"mdm":"magic"}');
const [headers] = await once(post, "response");
post.resume();
await once(post, "end");
say("answer", { status: headers[":status"] });

if (events) {
  const stream = session.request({ ":path": events });
  stream.on("data", (data) => say("data", { text: String(data) }));
  stream.on("end", () => say("end"));
}
