// What people do with the pages, each as a scenario. A scenario is given a stage: the browser, the client, and the world that the test made:
// `issuer`, the `request` for the consent page, `username`, `password`, and what else it needs.

import { deepStrictEqual as same, ok } from "node:assert";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const PHONE = { width: 320, height: 640 };
const DESKTOP = { width: 1280, height: 800 };

/** A person at a browser of their own. Whatever it loads from elsewhere and whatever it complains about is noted. */
async function person(stage, options = {}) {
  const context = await stage.browser.newContext({ viewport: DESKTOP, locale: "en-GB", reducedMotion: "reduce", ...options });
  stage.contexts.push(context);
  context.setDefaultTimeout(30_000);
  const allowed = new Set([stage.issuer, stage.client.origin]);
  const seen = { elsewhere: [], complaints: [] };
  context.on("request", (request) => {
    const { origin, protocol } = new URL(request.url());
    if (protocol !== "data:" && !allowed.has(origin)) seen.elsewhere.push(request.url());
  });
  context.on("weberror", (error) => seen.complaints.push(error.error().message));
  // A page that says no with a status of its own is no fault, but the console has it.
  const expected = /Failed to load resource: the server responded with a status of 4\d\d/;
  context.on("console", (message) => {
    if (message.type() === "error" && !expected.test(message.text())) seen.complaints.push(message.text());
  });
  const page = await context.newPage();
  return { context, page, seen };
}

function unblemished({ seen }) {
  same(seen, { elsewhere: [], complaints: [] }, "nothing from elsewhere, no complaint");
}

const authorize = (stage, more = "") => `${stage.issuer}/authorize?${stage.request}${more}`;

async function signIn(stage, page, password = stage.password) {
  await page.fill("#username", stage.username);
  await page.fill("#password", password);
  await page.press("#password", "Enter");
}

async function arrive(stage, page) {
  await page.waitForURL((url) => url.origin === stage.client.origin);
  same(await page.textContent("h1"), "Welcome back");
  return new URL(page.url()).searchParams;
}

/** What the client gets for a code. */
async function redeem(stage, code) {
  const response = await fetch(`${stage.issuer}/token`, {
    method: "POST",
    headers: { authorization: `Basic ${btoa(`${stage.clientId}:${stage.secret}`)}` },
    body: new URLSearchParams({
      grant_type: "authorization_code",
      code,
      redirect_uri: new URLSearchParams(stage.request).get("redirect_uri"),
      code_verifier: stage.verifier,
    }),
  });
  const answer = await response.json();
  same(response.status, 200, JSON.stringify(answer));
  return answer;
}

/** What every page has to be: whole at 320 px, without a fault that axe finds, in the language that it says. */
async function check(stage, page, name) {
  const { width } = page.viewportSize();
  const scrolls = await page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth");
  ok(!scrolls, `${name} scrolls sideways at ${width} px`);
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run({ resultTypes: ["violations"] }));
  same(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`), [], `axe on ${name}`);
  if (stage.screenshots) {
    mkdirSync(stage.screenshots, { recursive: true });
    await page.screenshot({ path: join(stage.screenshots, `${name}.png`), fullPage: true });
  }
}

export async function allows(stage) {
  const { page, ...ann } = await person(stage);
  await page.goto(authorize(stage));
  await signIn(stage, page);
  await page.uncheck("input[value=b]");
  await page.click("button[value=approve]");
  const answer = await arrive(stage, page);
  ok(answer.get("code"), "there is a code");
  same([answer.get("state"), answer.get("iss")], ["xyz", stage.issuer]);
  same((await redeem(stage, answer.get("code"))).scope, "a", "what was unticked was not granted");
  unblemished(ann);
}

export async function denies(stage) {
  const { page, ...ann } = await person(stage);
  await page.goto(authorize(stage));
  await signIn(stage, page);
  await page.click("button[value=deny]");
  const answer = await arrive(stage, page);
  same([answer.get("error"), answer.get("code")], ["access_denied", null]);
  unblemished(ann);
}

export async function mistypes(stage) {
  const { page, ...ann } = await person(stage);
  await page.goto(authorize(stage));
  await signIn(stage, page, "wrong");
  await page.waitForSelector("[role=alert]");
  same(await page.inputValue("#username"), stage.username, "the name is still there");
  same(await page.inputValue("#password"), "", "the password is not");
  await page.waitForSelector("#password:focus");
  await page.keyboard.type(stage.password);
  await page.keyboard.press("Enter");
  await page.waitForSelector("button[value=approve]");
  unblemished(ann);
}

export async function switchesAccounts(stage) {
  const { page, ...ann } = await person(stage);
  await page.goto(authorize(stage));
  await signIn(stage, page);
  await page.click("button.link");
  await page.waitForSelector("#password");
  await signIn(stage, page);
  await page.click("button[value=approve]");
  ok((await arrive(stage, page)).get("code"));
  unblemished(ann);
}

export async function postsTheAnswer(stage) {
  for (const javaScriptEnabled of [true, false]) {
    const { page, ...ann } = await person(stage, { javaScriptEnabled });
    await page.goto(authorize(stage, "&response_mode=form_post"));
    await signIn(stage, page);
    await page.click("button[value=approve]");
    if (!javaScriptEnabled) await page.click("button.primary");
    await arrive(stage, page);
    same((await page.textContent("pre")).split(" ").sort(), ["code", "iss", "state"]);
    unblemished(ann);
  }
}

export async function isInAFrame(stage) {
  const ann = await person(stage);
  const { page } = ann;
  await page.goto(authorize(stage));
  await signIn(stage, page);
  await page.waitForSelector("button[value=approve]");
  for (const site of [stage.client.origin, stage.client.elsewhere]) {
    for (const inside of [authorize(stage), `${stage.issuer}/login?request=x`, `${stage.issuer}/device`, `${stage.issuer}/assets/logo`]) {
      const answered = page.waitForResponse((response) => response.url().startsWith(stage.issuer));
      await page.goto(`${site}/framing?url=${encodeURIComponent(inside)}`);
      await answered;
      await page.waitForLoadState("networkidle");
      const frame = page.frames()[1];
      const body = await frame.evaluate("document.body.innerText").catch(() => "");
      ok(!/account|sign in|code|password/i.test(body), `${inside} in a frame of ${site} shows ${body}`);
      ok(frame.url().startsWith("chrome-error:"), `${inside} in a frame of ${site} is ${frame.url()}`);
    }
  }
}

/** What was allowed once needs no page; what is new is told apart, and what the app needs has no box. */
export async function isAskedForMore(stage) {
  const { page, ...ann } = await person(stage);
  await page.goto(authorize(stage));
  await signIn(stage, page);
  same(await page.locator("input[type=checkbox]").count(), 1, "b has no box");
  same(await page.locator("ul.about a").count(), 2);
  await page.click("button[value=approve]");
  const first = (await arrive(stage, page)).get("code");
  await page.goto(authorize(stage));
  const second = (await arrive(stage, page)).get("code");
  ok(first && second && first !== second, "a code without a page");
  await page.goto(`${stage.issuer}/authorize?${stage.more}`);
  same(await page.locator("fieldset h3").allTextContents(), ["New", "Allowed before"]);
  same(await page.locator("input[type=checkbox]").evaluateAll((boxes) => boxes.map(({ value }) => value)), ["c", "a"]);
  await check(stage, page, "light-consent-more");
  await page.click("button[value=approve]");
  ok((await arrive(stage, page)).get("code"));
  await page.goto(`${stage.issuer}/authorize?${stage.more}`);
  ok((await arrive(stage, page)).get("code"), "now it was allowed, too");
  unblemished(ann);
}

/** The decision of one tab is not that of the other, and each is taken once. */
export async function hasTwoTabs(stage) {
  const { page, context, ...ann } = await person(stage);
  await page.goto(authorize(stage));
  await signIn(stage, page);
  await page.waitForSelector("button[value=approve]");
  const other = await context.newPage();
  await other.goto(authorize(stage).replace("state=xyz", "state=other"));
  await other.click("button[value=approve]");
  same((await arrive(stage, other)).get("state"), "other");
  await page.click("button[value=approve]");
  same((await arrive(stage, page)).get("state"), "xyz");
  unblemished(ann);
}

/** Pages are not stored: after the answer the page asks anew, and after signing out there is nothing to see. */
export async function goesBack(stage) {
  const { page, ...ann } = await person(stage);
  await page.goto(authorize(stage));
  await signIn(stage, page);
  await page.click("button[value=approve]");
  const first = (await arrive(stage, page)).get("code");
  await page.goBack();
  await page.click("button[value=approve]");
  const second = (await arrive(stage, page)).get("code");
  ok(first && second && first !== second, "a decision of its own");
  await page.goto(`${stage.issuer}/logout`);
  await page.click("button.primary");
  await page.waitForSelector(".sign.good");
  await page.goBack();
  ok(!(await page.content()).includes(stage.username), "the page before shows nobody");
  await page.goto(authorize(stage));
  await page.waitForSelector("#password");
  unblemished(ann);
}

export async function usesTheKeyboard(stage) {
  const { page, ...ann } = await person(stage);
  const focus = () =>
    page.evaluate(() => {
      const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
      const { id, value, type } = document.activeElement;
      return { what: value || id || type, seen: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 };
    });
  await page.goto(authorize(stage));
  await page.waitForSelector("#username:focus");
  await page.keyboard.type(stage.username);
  await page.keyboard.press("Tab");
  same(await focus(), { what: "password", seen: true });
  await page.keyboard.type(stage.password);
  await page.keyboard.press("Enter");
  await page.waitForSelector("button[value=approve]");
  const order = [];
  for (let presses = 0; presses < 12; presses++) {
    await page.keyboard.press("Tab");
    const { what, seen } = await focus();
    ok(seen, `the focus on ${what} can be seen`);
    order.push(what);
    if (what === "b") await page.keyboard.press("Space");
    if (what === "approve") break;
  }
  same(order, ["submit", "a", "b", "deny", "approve"]);
  await page.keyboard.press("Enter");
  ok((await arrive(stage, page)).get("code"));
  unblemished(ann);
}

/** An app that nothing can be sent to: its user carries the code there. */
export async function carriesTheCode(stage) {
  for (const [colorScheme, viewport, name] of [["light", DESKTOP, "light-code"], ["dark", PHONE, "dark-320-code"]]) {
    const { page, context, ...ann } = await person(stage, { colorScheme, viewport });
    await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: stage.issuer });
    await page.goto(authorize(stage));
    await signIn(stage, page);
    await page.waitForSelector("button[value=approve]");
    ok((await page.textContent("main")).includes("Afterwards you get a code"), "where the answer goes");
    await check(stage, page, `${name}-consent`);
    await page.click("button[value=approve]");
    await page.waitForSelector("#code:focus");
    await page.click("#copy_code");
    await page.waitForFunction(() => document.querySelector("#copy_code + [role=status]").textContent === "Copied");
    const code = await page.evaluate("navigator.clipboard.readText()");
    ok((await redeem(stage, code)).access_token);
    await check(stage, page, name);
    ok(await page.evaluate("document.querySelector('#code').scrollHeight <= document.querySelector('#code').clientHeight"), "the code is whole");
    await page.goto(authorize(stage));
    await page.click("button[value=deny]");
    await page.waitForSelector(".sign");
    await check(stage, page, `${name}-denied`);
    unblemished(ann);
  }
}

/** The user takes too long at the app, and then on the way back: both times there is a way to start again. */
export async function comesTooLate(stage) {
  const { page } = await person(stage, { viewport: PHONE });
  const signInAtApp = async () => {
    await page.waitForURL((url) => url.origin === stage.app);
    await page.fill('input[name="user"]', "ann");
    await page.fill('input[name="password"]', stage.password);
    await page.click("button");
  };
  await page.goto(authorize(stage));
  const first = page.url();
  await fetch(stage.later);
  await signInAtApp();
  await page.waitForURL((url) => url.origin === stage.app && url.href !== first && url.searchParams.has("login_challenge"));
  const form = { user: "ann", password: stage.password, challenge: await page.inputValue('input[name="challenge"]') };
  const answer = await page.request.post(page.url(), { form, maxRedirects: 0 });
  await fetch(stage.later);
  await page.goto(answer.headers().location);
  await page.waitForSelector(".sign");
  await check(stage, page, "light-320-start-again");
  await page.click("main a");
  await signInAtApp();
  await page.click("button[value=approve]");
  ok((await arrive(stage, page)).get("code"));
}

export async function connectsADevice(stage) {
  const { page, ...ann } = await person(stage);
  await page.goto(`${stage.issuer}/device`);
  await signIn(stage, page);
  await page.waitForSelector("#user_code:focus");
  await page.keyboard.type("BCDF-GHJK");
  await page.keyboard.press("Enter");
  await page.waitForSelector("[role=alert]");
  await page.waitForSelector("#user_code:focus");
  await page.keyboard.type(stage.userCode.toLowerCase());
  await page.keyboard.press("Enter");
  await page.waitForSelector("button[value=approve]");
  same(await page.textContent("p.code"), stage.userCode);
  await page.focus("button[value=approve]");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".sign.good");
  unblemished(ann);
}

/** Forms reach us from browsers that tell nothing of where they come from but the origin, as Safari did before 16.4. */
export async function comesWithAnOldBrowser(stage) {
  const { page, context, ...ann } = await person(stage);
  let origins = 0;
  await context.route(`${stage.issuer}/**`, async (route) => {
    const headers = await route.request().allHeaders();
    if (route.request().method() === "POST" && headers.origin === stage.issuer) origins += 1;
    for (const name of Object.keys(headers)) if (name.startsWith("sec-fetch-")) delete headers[name];
    await route.continue({ headers });
  });
  await page.goto(authorize(stage));
  await signIn(stage, page);
  await page.click("button[value=approve]");
  ok((await arrive(stage, page)).get("code"));
  same(origins, 2, "both forms told their origin");
  unblemished(ann);
}

export async function opensThePicture(stage) {
  const { page } = await person(stage);
  await page.goto(`${stage.issuer}/assets/logo`);
  same(await page.evaluate("document.documentElement.getAttribute('data-ran')"), null, "its script did not run");
  same(await page.evaluate("document.documentElement.localName"), "svg");
  same(await page.evaluate("self.origin"), "null");
}

/** Every page there is, at one width, in one scheme and one language. */
async function seesEveryPage(stage, { locale, colorScheme, viewport, name }) {
  const ann = await person(stage, { locale, colorScheme, viewport });
  const { page } = ann;
  const look = async (what) => {
    same(await page.getAttribute("html", "lang"), locale, `the language of ${what}`);
    await check(stage, page, `${name}-${what}`);
  };
  await page.goto(authorize(stage));
  await look("login");
  await signIn(stage, page, "wrong");
  await page.waitForSelector("[role=alert]");
  await look("login-refused");
  await signIn(stage, page);
  await page.waitForSelector("button[value=approve]");
  await look("consent");
  await page.goto(`${stage.issuer}/authorize?${stage.unverified}`);
  await look("consent-unverified");
  await page.goto(`${stage.issuer}/authorize?${stage.more}`);
  await look("consent-more");
  await page.goto(`${stage.issuer}/authorize?${stage.impossible}`);
  await look("return");
  await page.goto(`${stage.issuer}/device`);
  await look("device");
  await page.goto(`${stage.issuer}/device?user_code=none`);
  await look("device-unknown");
  await page.goto(`${stage.issuer}/device?user_code=${stage.userCode}`);
  await look("device-consent");
  await page.click("button[value=deny]");
  await page.waitForSelector(".sign");
  await look("device-denied");
  await page.goto(`${stage.issuer}/authorize?client_id=nobody`);
  await look("error");
  await page.goto(`${stage.issuer}/nowhere`);
  await look("not-found");
  await page.goto(`${stage.issuer}/logout?client_id=${stage.clientId}`);
  await look("logout");
  await page.click("button.primary");
  await page.waitForSelector(".sign.good");
  await look("signed-out");
  unblemished(ann);
}

export const seesEveryPageInTheLight = (stage) =>
  seesEveryPage(stage, { locale: "en", colorScheme: "light", viewport: DESKTOP, name: "light" });

export const seesEveryPageInTheDark = (stage) =>
  seesEveryPage(stage, { locale: "en", colorScheme: "dark", viewport: PHONE, name: "dark-320" });

/** Once in the widest language in every language's place: at 320 px long words show. */
export const seesEveryPageIn = (stage) =>
  seesEveryPage(stage, { locale: stage.language, colorScheme: "light", viewport: PHONE, name: `${stage.language}-320` });

/** The client's wish goes before the browser's, and holds through the form. */
export async function isAskedInALanguage(stage) {
  const { page, ...ann } = await person(stage, { locale: "fr" });
  await page.goto(authorize(stage, "&ui_locales=ja+it-CH"));
  const language = () => page.getAttribute("html", "lang");
  same(await language(), "it");
  await signIn(stage, page, "wrong");
  await page.waitForSelector("[role=alert]");
  same(await language(), "it");
  await signIn(stage, page);
  await page.waitForSelector("button[value=approve]");
  same(await language(), "it");
  unblemished(ann);
}

/** A page as the operator wants it. */
export async function looksAt(stage) {
  for (const colorScheme of ["light", "dark"]) {
    const ann = await person(stage, { colorScheme });
    await ann.page.goto(authorize(stage));
    await check(stage, ann.page, `${stage.name}-login-${colorScheme}`);
    await signIn(stage, ann.page);
    await ann.page.waitForSelector("button[value=approve]");
    await check(stage, ann.page, `${stage.name}-consent-${colorScheme}`);
    await ann.page.goto(`${stage.issuer}/nowhere`);
    await check(stage, ann.page, `${stage.name}-error-${colorScheme}`);
    unblemished(ann);
  }
}

/** Without scripts the secret is there, and no button that would do nothing; without a clipboard, the button works. */
export async function copiesTheSecret(stage) {
  for (const [javaScriptEnabled, hasClipboard] of [[false, true], [true, false]]) {
    const { page, ...ann } = await person(stage, { javaScriptEnabled });
    if (!hasClipboard) await page.addInitScript(() => Object.defineProperty(navigator, "clipboard", { value: undefined }));
    await page.goto(`${stage.issuer}/account/clients/new`);
    await signIn(stage, page);
    await page.fill("#name", "Calendar");
    await page.fill("#redirect_uris", `${stage.client.origin}/callback`);
    await page.check("input[value=a]");
    await page.click("button.primary");
    ok(await page.inputValue("#client_secret"), "the secret");
    if (javaScriptEnabled) {
      await page.click("#copy_client_secret");
      await page.waitForFunction(() => document.querySelector("#copy_client_secret + [role=status]").textContent === "Copied");
    } else {
      same(await page.isVisible("#copy_client_secret"), false);
    }
    unblemished(ann);
  }
}

/** An app of one's own is made, used, disconnected, given another secret and deleted. */
export async function managesApps(stage) {
  const { locale, colorScheme, small, name } = stage;
  const { page, ...ann } = await person(stage, { locale, colorScheme, viewport: small ? PHONE : DESKTOP });
  const look = async (what) => {
    same(await page.getAttribute("html", "lang"), locale, `the language of ${what}`);
    await check(stage, page, `${name}-${what}`);
  };
  await page.goto(`${stage.issuer}/account/apps`);
  await look("account-login");
  await signIn(stage, page);
  await page.waitForSelector(".empty");
  await look("apps-none");
  await page.click("nav a:not([aria-current])");
  await page.waitForSelector(".empty");
  await look("clients-none");
  await page.click("a.button");
  await page.fill("#name", "Donaudampfschifffahrtsgesellschaftskapitänsmützenverleih");
  await page.fill("#redirect_uris", "http://shop.example/callback");
  await page.check("input[value=a]");
  await page.click("button.primary");
  await page.waitForSelector("#redirect_uris:focus");
  await look("client-mistake");
  await page.fill("#site", "https://shop.example/");
  await page.fill("#redirect_uris", `${stage.client.origin}/callback`);
  await page.click("button.primary");
  await page.waitForSelector("#client_secret:focus");
  await page.waitForSelector("#copy_client_secret");
  await look("client-made");
  const id = await page.inputValue("#client_id");
  let secret = await page.inputValue("#client_secret");
  await page.focus("#client_secret");
  await page.keyboard.press("Control+A");
  same(await page.evaluate("getSelection().toString()"), secret, "the secret can be selected by keyboard");
  await ann.context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: stage.issuer });
  for (const [field, value] of [["client_id", id], ["client_secret", secret]]) {
    await page.focus(`#copy_${field}`);
    await page.keyboard.press("Enter");
    await page.waitForFunction((id) => document.querySelector(`#copy_${id} + [role=status]`).textContent, field);
    same(await page.evaluate("navigator.clipboard.readText()"), value, `${field} was copied`);
  }
  await look("client-copied");

  const token = async (parameters) => {
    const response = await fetch(`${stage.issuer}/token`, {
      method: "POST",
      headers: { authorization: `Basic ${btoa(`${id}:${secret}`)}` },
      body: new URLSearchParams(parameters),
    });
    return response.json();
  };
  const request = new URLSearchParams(stage.request);
  request.set("client_id", id);
  request.set("scope", "a");
  const redirect_uri = request.get("redirect_uri");
  await page.goto(`${stage.issuer}/authorize?${request}`);
  await look("consent-of-user");
  await page.click("button[value=approve]");
  const code = (await arrive(stage, page)).get("code");
  const tokens = await token({ grant_type: "authorization_code", code, redirect_uri, code_verifier: stage.verifier });
  ok(tokens.refresh_token, JSON.stringify(tokens));

  await page.goto(`${stage.issuer}/account/apps`);
  await look("apps");
  await page.click("form[action*=revoke] button");
  await page.waitForSelector(".empty");
  same((await token({ grant_type: "refresh_token", refresh_token: tokens.refresh_token })).error, "invalid_grant");
  await page.goto(`${stage.issuer}/authorize?${request}`);
  await page.waitForSelector("button[value=approve]");

  await page.goto(`${stage.issuer}/account/clients`);
  await look("clients");
  await page.click("ul.cards h2 a");
  await look("client");
  await page.click("a[href$=secret]");
  await look("client-secret");
  await page.check("input[name=leaked]");
  await page.click("button.primary");
  await page.waitForSelector("#client_secret");
  const old = secret;
  secret = await page.inputValue("#client_secret");
  ok(secret && secret !== old, "another secret");
  same((await token({ grant_type: "refresh_token", refresh_token: "none" })).error, "invalid_grant");
  const present = secret;
  secret = old;
  same((await token({ grant_type: "refresh_token", refresh_token: "none" })).error, "invalid_client");
  secret = present;
  await page.click(".back a");
  await page.click("ul.cards h2 a");
  await page.click("a[href$=delete]");
  await look("client-delete");
  await page.click("button.primary");
  await page.waitForSelector(".empty");
  same((await token({ grant_type: "refresh_token", refresh_token: "none" })).error, "invalid_client");
  await page.click("form[action*=sign-out] button");
  await page.waitForSelector(".sign.good");
  unblemished(ann);
}

/** Two tabs that were opened before either signed in, in one browser; then a third that needs no password, and one that does. */
export async function login_app(stage) {
  const context = await stage.browser.newContext({ locale: "en-GB" });
  stage.contexts.push(context);
  context.setDefaultTimeout(30_000);
  const tabs = await Promise.all([context.newPage(), context.newPage()]);
  const states = ["one", "two"];
  await Promise.all(tabs.map((tab, i) => tab.goto(`${authorize(stage)}&state_of=${states[i]}`)));
  const signInAtApp = async (tab) => {
    ok(tab.url().startsWith(`${stage.app}/login?login_challenge=`), tab.url());
    await tab.fill('input[name="user"]', "ann");
    await tab.fill('input[name="password"]', stage.password);
    await tab.check('input[name="remember"]');
    await tab.click("button");
  };
  for (const tab of tabs) {
    same(await tab.textContent("h1"), "Sign in to Shop");
    same(await tab.inputValue('input[name="user"]'), "ann", "login_hint");
    await signInAtApp(tab);
    await tab.waitForSelector('button[value="approve"]');
  }
  for (const tab of tabs) {
    await tab.click('button[value="approve"]');
    ok((await arrive(stage, tab)).get("code"));
  }
  const third = await context.newPage();
  await third.goto(authorize(stage));
  await third.waitForSelector('button[value="approve"]');
  await third.goto(`${stage.issuer}/authorize?${stage.again}`);
  const challenge = third.url();
  await signInAtApp(third);
  await third.waitForSelector('button[value="approve"]');
  await third.click('button[form="switch"]');
  await third.waitForURL((url) => url.origin === stage.app);
  await signInAtApp(third);
  await third.waitForSelector('button[value="approve"]');
  // Back at the form: the app learns that it was used, and sends the browser to where it starts again.
  await third.goto(challenge);
  await third.waitForURL((url) => url.origin === stage.app && url.href !== challenge);
  await signInAtApp(third);
  await third.waitForSelector('button[value="approve"]');
}
