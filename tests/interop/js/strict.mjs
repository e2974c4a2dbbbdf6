// @parse/node-apn as a long-lived provider: its first line of input is {options, behindS} (how far
// its clock is behind), each further one {notification, recipients}. Prints a line for each of
// those: {kind: "result", sent, failed}.
import { createInterface } from "node:readline";
import apn from "@parse/node-apn";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const next = async () => JSON.parse((await lines.next()).value ?? "null");

const { options, behindS } = await next();
const now = Date.now;
Date.now = () => now() - behindS * 1000;

const provider = new apn.Provider(options);
for (let job; (job = await next()) !== null; ) {
  const result = await provider.send(
    Object.assign(new apn.Notification(), job.notification),
    job.recipients,
  );
  const failed = result.failed.map((one) => ({ ...one, error: one.error?.message }));
  console.log(JSON.stringify({ kind: "result", sent: result.sent, failed }));
}
await provider.shutdown();
