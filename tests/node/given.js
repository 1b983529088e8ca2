// What the test gives: a server, its clients and its user; and what flows are made of.

import { isDeepStrictEqual } from "node:util";

import { Browser, formOf, hasForm } from "./browser.js";

/** tests/it/foreign_clients.rs says what is in it. */
export const given = JSON.parse(process.env.SCOPEGATE_DEV);
export const issuer = new URL(given.http);

/** The user, at a browser of their own. */
export class User {
  browser = new Browser(given.http);

  /** Opens a URL, signs in and decides where they are asked to; where that leads. */
  async open(url, decision = "approve") {
    this.wasAsked = [];
    let page = await this.browser.open(url.href);
    const { username, password } = given.account;
    for (const [path, fields] of [["/login", { username, password }], ["/consent", { decision }], ["/device", { decision }]]) {
      if (!hasForm(page, path)) continue;
      this.wasAsked.push(path);
      page = await this.browser.submit(page, path, fields);
    }
    return page;
  }

  /** The same for an authorization request; the URL that tells the app. */
  async answer(url, decision) {
    const page = await this.open(url, decision);
    if (!page.url.startsWith(`${given.redirect_uri}?`)) throw new Error(`the browser is at ${page.url}: ${page.text}`);
    return new URL(page.url);
  }

  /** The same where the answer comes as a form; the request that it is sent with. */
  async post(url) {
    const body = formOf(await this.open(url), given.redirect_uri);
    return new Request(given.redirect_uri, { method: "POST", body });
  }
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

/** Runs the flow that the command line names; the first thing that is not as expected ends the program with a failure. */
export async function run(flows) {
  const name = process.argv[2];
  await flows[name]();
  console.log(`${name} is done`);
}
