// One Chromium for all tests of a run. Standard input has a line for each scenario to play, standard output one for what came of it;
// with the end of the input everything ends. The first line out says where the client of the scenarios listens.

import { createInterface } from "node:readline";

import { chromium } from "playwright-core";

import { startClient } from "./client.js";
import * as scenarios from "./pages.js";

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-sandbox"],
});
const client = await startClient();
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
say({ client: client.origin });

for await (const line of createInterface({ input: process.stdin })) {
  const { id, scenario, world } = JSON.parse(line);
  play(scenario, world).then(
    () => say({ id }),
    (error) => say({ id, error: error.stack ?? String(error) }),
  );
}
await browser.close();
process.exit(0);

async function play(name, world) {
  if (!Object.hasOwn(scenarios, name)) throw new Error(`there is no scenario ${name}`);
  const stage = { browser, client, contexts: [], ...world };
  try {
    await scenarios[name](stage);
  } finally {
    await Promise.all(stage.contexts.map((context) => context.close()));
  }
}
