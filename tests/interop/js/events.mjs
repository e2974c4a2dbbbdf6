// Listens to an event stream with npm's eventsource until it is killed, and tells what it sees.
import { EventSource } from "eventsource";

const start = performance.now();
const say = (kind, what = {}) =>
  console.log(JSON.stringify({ kind, at_ms: performance.now() - start, ...what }));

const source = new EventSource(process.argv[2], {
  fetch: (url, init) => {
    say("request", { lastEventId: init.headers["Last-Event-ID"] ?? null });
    return fetch(url, init);
  },
});
source.addEventListener("open", () => say("open"));
for (const name of ["message", "ping"]) {
  source.addEventListener(name, (event) =>
    say(name, { data: event.data, lastEventId: event.lastEventId }),
  );
}
source.addEventListener("error", (event) =>
  say("error", { code: event.code ?? null, closed: source.readyState === EventSource.CLOSED }),
);
// One who has given up would end for want of anything to do.
setInterval(() => {}, 60_000);
