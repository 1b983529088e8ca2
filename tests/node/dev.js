// The server to drive, and its user: `SCOPEGATE_DEV` is the line that `scopegate dev --output json` printed.

import { isDeepStrictEqual } from "node:util";

import { Browser } from "./browser.js";

export const dev = JSON.parse(process.env.SCOPEGATE_DEV);
export const { account, client } = dev;
export const issuer = new URL(dev.http);
export const scope = client.scopes.join(" ");

/** Signs in, presses the button and tells where the app is told. */
export async function beTheUser(url, decision) {
  const browser = new Browser(client.redirect_uri);
  const login = await browser.open(url.href);
  const consent = await browser.submit(login, "/login", { username: account.username, password: account.password });
  const page = await browser.submit(consent, "/consent", { decision });
  if (!page.url.startsWith(`${client.redirect_uri}?`)) throw new Error(`the browser is at ${page.url}: ${page.text}`);
  return new URL(page.url);
}

export function same(what, seen, expected) {
  if (!isDeepStrictEqual(seen, expected)) {
    throw new Error(`${what}: expected ${JSON.stringify(expected)}, saw ${JSON.stringify(seen)}`);
  }
  console.log(`${what}: ${JSON.stringify(seen)}`);
}

/** The error that a call has to end in. */
export async function raised(call) {
  let answer;
  try {
    answer = await call();
  } catch (error) {
    return error;
  }
  throw new Error(`expected an error, but the call returned ${JSON.stringify(answer)}`);
}

/** Runs the flows one after the other; the first thing that is not as expected ends the program with a failure. */
export async function run(...flows) {
  for (const flow of flows) {
    console.log(`== ${flow.name}`);
    await flow();
  }
}
