// Sends one notification to each recipient with @parse/node-apn and prints what came of it.
// Its argument is {provider, notification, recipients} as JSON.
import apn from "@parse/node-apn";

const { provider: options, notification, recipients } = JSON.parse(process.argv[2]);
const provider = new apn.Provider(options);
const result = await provider.send(
  Object.assign(new apn.Notification(), notification),
  recipients,
);
await provider.shutdown();
console.log(JSON.stringify(result));
