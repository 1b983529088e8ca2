// openid-client, one function per flow.

import * as oauth from "openid-client";

import { beTheUser, client, issuer, raised, run, same, scope } from "./dev.js";

/** The metadata of RFC 8414, and how the client authenticates. */
async function discover(authentication) {
  const options = { algorithm: "oauth2", execute: [oauth.allowInsecureRequests] };
  return oauth.discovery(issuer, client.client_id, undefined, authentication, options);
}

async function authorize(config, decision = "approve") {
  const pkceCodeVerifier = oauth.randomPKCECodeVerifier();
  const expectedState = oauth.randomState();
  const url = oauth.buildAuthorizationUrl(config, {
    redirect_uri: client.redirect_uri,
    scope,
    state: expectedState,
    code_challenge: await oauth.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: "S256",
  });
  const answered = await beTheUser(url, decision);
  return oauth.authorizationCodeGrant(config, answered, { pkceCodeVerifier, expectedState });
}

async function discovery() {
  const metadata = (await discover(oauth.ClientSecretBasic(client.client_secret))).serverMetadata();
  same("issuer", metadata.issuer, issuer.origin);
  same("PKCE is supported", metadata.supportsPKCE(), true);
}

async function denying() {
  const config = await discover(oauth.ClientSecretBasic(client.client_secret));
  const error = await raised(() => authorize(config, "deny"));
  same("error that the app sees", error.error, "access_denied");
}

async function codeRefreshIntrospectAndRevoke() {
  for (const authentication of [oauth.ClientSecretBasic, oauth.ClientSecretPost]) {
    const config = await discover(authentication(client.client_secret));
    const tokens = await authorize(config);
    same("token_type", tokens.token_type, "bearer");
    same("scope", tokens.scope.split(" ").sort(), [...client.scopes].sort());

    const refreshed = await oauth.refreshTokenGrant(config, tokens.refresh_token);
    same("another access token", refreshed.access_token !== tokens.access_token, true);
    const narrowed = await oauth.refreshTokenGrant(config, refreshed.refresh_token, { scope: client.scopes[0] });
    same("scope of the narrowed token", narrowed.scope, client.scopes[0]);

    const introspection = await oauth.tokenIntrospection(config, narrowed.access_token);
    same("active", introspection.active, true);
    same("client_id", introspection.client_id, client.client_id);
    same("scope", introspection.scope, client.scopes[0]);

    await oauth.tokenRevocation(config, narrowed.access_token);
    same("after revoking", await oauth.tokenIntrospection(config, tokens.access_token), { active: false });
    const error = await raised(() => oauth.refreshTokenGrant(config, narrowed.refresh_token));
    same("error when refreshing", error.error, "invalid_grant");
  }
}

async function wrongSecret() {
  const config = await discover(oauth.ClientSecretBasic("wrong"));
  const error = await raised(() => oauth.refreshTokenGrant(config, "x"));
  same("status", error.status, 401);
  same("challenge", error.cause.map((challenge) => challenge.scheme), ["basic"]);
}

await run(discovery, denying, codeRefreshIntrospectAndRevoke, wrongSecret);
