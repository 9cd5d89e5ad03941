// Validates each ServiceMonitor of a rendered chart against the schema of the Prometheus operator, which the schemas of
// Kubernetes itself do not hold.   monitor.mjs PACKAGES MONITORS.json
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [packages, file] = process.argv.slice(2);
const models = `${resolve(packages)}/node_modules/@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1`;
const { ServiceMonitor } = await import(pathToFileURL(`${models}/index.js`));
for (const monitor of JSON.parse(readFileSync(file))) {
  new ServiceMonitor(monitor).validate();
}
