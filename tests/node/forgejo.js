// openid-client with a forge: strict discovery, PKCE, ID token, userinfo and a refresh.

import * as oauth from "openid-client";

import { Browser, hasForm } from "./browser.js";
import { given, issuer, same } from "./given.js";

/** Signs in and allows; the URL that tells the app. */
async function allow(url) {
  const browser = new Browser(given.http);
  let page = await browser.open(url.href);
  const { username, password } = given.account;
  for (const [path, fields] of [["/login", { username, password }], ["/login/oauth/grant", { granted: "true" }]]) {
    if (!hasForm(page, path)) throw new Error(`no form for ${path} at ${page.url}: ${page.text}`);
    page = await browser.submit(page, path, fields);
  }
  return new URL(page.url);
}

const { app } = given;
const execute = [oauth.allowInsecureRequests, oauth.enableNonRepudiationChecks];
const config = await oauth.discovery(issuer, app.client_id, undefined, oauth.ClientSecretBasic(app.client_secret), { execute });
const pkceCodeVerifier = oauth.randomPKCECodeVerifier();
const [expectedState, expectedNonce] = [oauth.randomState(), oauth.randomNonce()];
const answered = await allow(
  oauth.buildAuthorizationUrl(config, {
    redirect_uri: given.redirect_uri,
    scope: "openid profile read:user",
    state: expectedState,
    nonce: expectedNonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: "S256",
  }),
);
const checks = { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: true };
const tokens = await oauth.authorizationCodeGrant(config, answered, checks);
same("token_type", tokens.token_type, "bearer");
same("aud", tokens.claims().aud, [app.client_id]);
const info = await oauth.fetchUserInfo(config, tokens.access_token, tokens.claims().sub);
same("preferred_username", info.preferred_username, given.account.username);
const { active, aud, username } = await oauth.tokenIntrospection(config, tokens.access_token);
same("introspection", [active, aud, username], [true, [app.client_id], given.account.username]);
const refreshed = await oauth.refreshTokenGrant(config, tokens.refresh_token);
same("aud after a refresh", refreshed.claims().aud, [app.client_id]);
