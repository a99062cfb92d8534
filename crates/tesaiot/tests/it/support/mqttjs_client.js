// A device that speaks MQTT.js: connects, subscribes to its commands, publishes one sample at each quality of service,
// says goodbye. The exit code is 0 only when all of it was acknowledged.
// Arguments: the folder with node_modules, then the options of the connection as JSON:
// {url, ca, certificate, key, clientId, username, password, protocolVersion, topic, commands, first}
const path = require('path');
const fs = require('fs');

const mqtt = require(path.join(process.argv[2], 'node_modules', 'mqtt'));
const options = JSON.parse(process.argv[3]);
const read = (file) => (file ? fs.readFileSync(file) : undefined);

async function run() {
  const client = await mqtt.connectAsync(options.url, {
    ca: read(options.ca),
    cert: read(options.certificate),
    key: read(options.key),
    clientId: options.clientId,
    username: options.username,
    password: options.password,
    protocolVersion: options.protocolVersion,
    reconnectPeriod: 0,
    connectTimeout: 20000,
  }, false);
  const [granted] = await client.subscribeAsync(options.commands, { qos: 2 });
  if (granted.qos !== 2) throw new Error(`granted ${granted.qos}`);
  for (const qos of [0, 1, 2]) {
    await client.publishAsync(options.topic, JSON.stringify({ sample: options.first + qos }), { qos });
  }
  await client.endAsync();
}

run().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
