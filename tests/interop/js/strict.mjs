// @parse/node-apn as a long-lived provider: its first line of input is {options, behindS} (how far
// its clock is behind), each further one a list of {notification, to} that are sent at once. Prints
// a line for each of those: {kind: "results", results}, with {sent, failed} for each.
import { createInterface } from "node:readline";
import apn from "@parse/node-apn";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const next = async () => JSON.parse((await lines.next()).value ?? "null");

const { options, behindS } = await next();
const now = Date.now;
Date.now = () => now() - behindS * 1000;

const provider = new apn.Provider(options);
const send = async ({ notification, to }) => {
  const result = await provider.send(Object.assign(new apn.Notification(), notification), to);
  const failed = result.failed.map((one) => ({ ...one, error: one.error?.message }));
  return { sent: result.sent, failed };
};
for (let jobs; (jobs = await next()) !== null; ) {
  console.log(JSON.stringify({ kind: "results", results: await Promise.all(jobs.map(send)) }));
}
await provider.shutdown();
