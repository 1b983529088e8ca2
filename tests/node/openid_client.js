// openid-client, one function per flow.

import * as oauth from "openid-client";

import { User, given, issuer, raised, run, same } from "./given.js";

const { app, device, machine, shop } = given;
const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token";

/** The client's view of the server. Every signature of an ID token is verified. */
async function discover(client, authentication, algorithm = "oidc") {
  const execute = [oauth.allowInsecureRequests, oauth.enableNonRepudiationChecks];
  return oauth.discovery(issuer, client.client_id, undefined, authentication, { algorithm, execute });
}

const discoverAsShop = () => discover(shop, oauth.ClientSecretBasic(shop.client_secret));
const discoverAsApp = () => discover(app, oauth.None());

/** An authorization request, and what its answer has to fit to. */
async function newRequest(other = {}) {
  const checks = { pkceCodeVerifier: oauth.randomPKCECodeVerifier(), expectedState: oauth.randomState() };
  const parameters = {
    redirect_uri: given.redirect_uri,
    scope: "a b",
    state: checks.expectedState,
    code_challenge: await oauth.calculatePKCECodeChallenge(checks.pkceCodeVerifier),
    code_challenge_method: "S256",
    ...other,
  };
  if (parameters.scope.includes("openid")) {
    checks.expectedNonce = parameters.nonce = oauth.randomNonce();
  }
  return { parameters, checks };
}

async function authorize(config, other, { user = new User(), decision, DPoP, checks = {} } = {}) {
  const request = await newRequest(other);
  const answered = await user.answer(oauth.buildAuthorizationUrl(config, request.parameters), decision);
  return oauth.authorizationCodeGrant(config, answered, { ...request.checks, ...checks }, undefined, { DPoP });
}

async function discovery() {
  for (const algorithm of ["oidc", "oauth2"]) {
    const metadata = (await discover(shop, oauth.None(), algorithm)).serverMetadata();
    same(`issuer, by ${algorithm}`, metadata.issuer, issuer.origin);
    same("PKCE is supported", metadata.supportsPKCE(), true);
  }
}

async function denied() {
  const config = await discoverAsShop();
  const error = await raised(() => authorize(config, {}, { decision: "deny" }));
  same("error that the app sees", error.error, "access_denied");
}

async function code() {
  for (const authentication of [oauth.ClientSecretBasic, oauth.ClientSecretPost]) {
    const config = await discover(shop, authentication(shop.client_secret));
    const tokens = await authorize(config);
    same("token_type", tokens.token_type, "bearer");
    same("scope", tokens.scope, "a b");

    const refreshed = await oauth.refreshTokenGrant(config, tokens.refresh_token);
    same("another access token", refreshed.access_token !== tokens.access_token, true);
    const narrowed = await oauth.refreshTokenGrant(config, refreshed.refresh_token, { scope: "a" });
    same("scope of the narrowed token", narrowed.scope, "a");

    const introspection = await oauth.tokenIntrospection(config, narrowed.access_token);
    same("active", introspection.active, true);
    same("client_id", introspection.client_id, shop.client_id);
    same("scope", introspection.scope, "a");

    await oauth.tokenRevocation(config, narrowed.access_token);
    same("after revoking", await oauth.tokenIntrospection(config, tokens.access_token), { active: false });
    const error = await raised(() => oauth.refreshTokenGrant(config, narrowed.refresh_token));
    same("error when refreshing", error.error, "invalid_grant");
  }
}

async function wrongSecret() {
  const config = await discover(shop, oauth.ClientSecretBasic("wrong"));
  const error = await raised(() => oauth.refreshTokenGrant(config, "x"));
  same("status", error.status, 401);
  same("challenge", error.cause.map((challenge) => challenge.scheme), ["basic"]);
}

async function idToken() {
  const config = await discoverAsShop();
  const tokens = await authorize(config, { scope: "openid profile a" });
  const claims = tokens.claims();
  same("aud", claims.aud, shop.client_id);
  const info = await oauth.fetchUserInfo(config, tokens.access_token, claims.sub);
  same("preferred_username", info.preferred_username, given.account.username);
  const other = await raised(() => oauth.fetchUserInfo(config, tokens.access_token, "somebody else"));
  same("another sub", other.code, "OAUTH_JSON_ATTRIBUTE_COMPARISON_FAILED");

  const refreshed = (await oauth.refreshTokenGrant(config, tokens.refresh_token)).claims();
  for (const name of ["iss", "sub", "aud", "auth_time", "sid"]) same(`${name} after a refresh`, refreshed[name], claims[name]);

  const checks = { expectedNonce: "another" };
  const mixedUp = await raised(() => authorize(config, { scope: "openid" }, { checks }));
  same("another nonce", mixedUp.code, "OAUTH_JWT_CLAIM_COMPARISON_FAILED");
}

async function signInAnew() {
  const config = await discoverAsShop();
  const user = new User();
  const none = { scope: "openid", prompt: "none" };
  same("nobody is signed in", (await raised(() => authorize(config, none, { user }))).error, "login_required");
  for (const [other, asked] of [
    [{}, ["/login", "/consent"]],
    [{}, []],
    [{ prompt: "none" }, []],
    [{ prompt: "consent" }, ["/consent"]],
    [{ prompt: "login" }, ["/login"]],
    [{ max_age: "3600" }, []],
    [{ max_age: "0" }, ["/login"]],
  ]) {
    const checks = other.max_age ? { maxAge: Number(other.max_age) } : {};
    const tokens = await authorize(config, { scope: "openid", ...other }, { user, checks });
    same(`asked for with ${JSON.stringify(other)}`, user.wasAsked, asked);
    same("auth_time is there", typeof tokens.claims().auth_time, "number");
  }
}

async function formPost() {
  const config = await discoverAsShop();
  const { parameters, checks } = await newRequest({ scope: "openid a", response_mode: "form_post" });
  const request = await new User().post(oauth.buildAuthorizationUrl(config, parameters));
  const tokens = await oauth.authorizationCodeGrant(config, request, checks);
  same("scope", tokens.scope, "a openid");
}

async function signOut() {
  const config = await discoverAsShop();
  const user = new User();
  const tokens = await authorize(config, { scope: "openid" }, { user });
  const url = oauth.buildEndSessionUrl(config, {
    post_logout_redirect_uri: given.after_logout,
    id_token_hint: tokens.id_token,
    state: "s&t",
  });
  same("where the browser is sent", (await user.open(url)).url, `${given.after_logout}?state=s%26t`);
  const none = { scope: "openid", prompt: "none" };
  same("signed out", (await raised(() => authorize(config, none, { user }))).error, "login_required");
}

async function pushedRequest() {
  const config = await discoverAsShop();
  const { parameters, checks } = await newRequest({ scope: "openid a" });
  const url = await oauth.buildAuthorizationUrlWithPAR(config, parameters);
  same("all that the browser carries", [...url.searchParams.keys()].sort(), ["client_id", "request_uri"]);
  const tokens = await oauth.authorizationCodeGrant(config, await new User().answer(url), checks);
  same("scope", tokens.scope, "a openid");
  const unknown = await raised(() => oauth.buildAuthorizationUrlWithPAR(config, { ...parameters, scope: "d" }));
  same("an unknown scope", unknown.error, "invalid_scope");
}

async function dpop() {
  for (const algorithm of ["ES256", "Ed25519", "RS256", "PS256"]) {
    const config = await discoverAsApp();
    const key = async () => oauth.getDPoPHandle(config, await oauth.randomDPoPKeyPair(algorithm));
    const DPoP = await key();
    const { parameters, checks } = await newRequest({ scope: "openid a" });
    const url = await oauth.buildAuthorizationUrlWithPAR(config, parameters, { DPoP });
    const answered = await new User().answer(url);
    const tokens = await oauth.authorizationCodeGrant(config, answered, checks, undefined, { DPoP });
    same(`token_type with ${algorithm}`, tokens.token_type, "dpop");
    const info = await oauth.fetchUserInfo(config, tokens.access_token, tokens.claims().sub, { DPoP });
    same("sub", info.sub, tokens.claims().sub);

    const refresh = (options) => oauth.refreshTokenGrant(config, tokens.refresh_token, undefined, options);
    same("refreshing without the key", (await raised(() => refresh())).error, "invalid_grant");
    same("refreshing with another", (await raised(async () => refresh({ DPoP: await key() }))).error, "invalid_grant");
    same("token_type after a refresh", (await refresh({ DPoP })).token_type, "dpop");
  }
}

async function deviceFlow() {
  const config = await discover(device, oauth.None());
  const started = await oauth.initiateDeviceAuthorization(config, { scope: "a" });
  const polled = [];
  config[oauth.customFetch] = async (...request) => {
    const response = await fetch(...request);
    polled.push((await response.clone().json()).error ?? "tokens");
    // The device asked too early, and is told to wait for longer: time enough for its user.
    if (polled.length === 2) await new User().open(new URL(started.verification_uri_complete));
    return response;
  };
  const tokens = await oauth.pollDeviceAuthorizationGrant(config, { ...started, interval: 0.01 });
  same("what the polls got", polled, ["authorization_pending", "slow_down", "tokens"]);
  same("scope", tokens.scope, "a");
}

async function deviceDenied() {
  const config = await discover(device, oauth.None());
  const started = await oauth.initiateDeviceAuthorization(config, { scope: "a" });
  await new User().open(new URL(started.verification_uri_complete), "deny");
  const error = await raised(() => oauth.pollDeviceAuthorizationGrant(config, { ...started, interval: 0.01 }));
  same("error that the device sees", error.error, "access_denied");
}

/** A client that registers itself with these, over a minimum. */
async function register(metadata, authentication) {
  const execute = [oauth.allowInsecureRequests, oauth.enableNonRepudiationChecks];
  const minimum = {
    client_name: "Third",
    redirect_uris: [given.redirect_uri],
    grant_types: ["authorization_code", "refresh_token"],
    scope: "a b openid",
  };
  return oauth.dynamicClientRegistration(issuer, { ...minimum, ...metadata }, authentication, { execute });
}

async function registration() {
  for (const method of ["client_secret_basic", "client_secret_post", "none"]) {
    const config = await register({ token_endpoint_auth_method: method });
    const { client_id, token_endpoint_auth_method } = config.clientMetadata();
    same("registered method", token_endpoint_auth_method, method);
    const authentication = {
      client_secret_basic: oauth.ClientSecretBasic,
      client_secret_post: oauth.ClientSecretPost,
      none: oauth.None,
    }[method](config.clientMetadata().client_secret);
    const tokens = await authorize(await discover({ client_id }, authentication), { scope: "openid a" });
    same("aud", tokens.claims().aud, client_id);
  }
  const error = await raised(() => register({ redirect_uris: ["javascript:alert(1)"] }));
  same("a bad redirect URI", error.error, "invalid_redirect_uri");
}

async function privateKeyJwt() {
  for (const algorithm of ["ES256", "Ed25519", "RS256", "PS256"]) {
    const { publicKey, privateKey } = await oauth.randomDPoPKeyPair(algorithm, { extractable: true });
    const jwk = await crypto.subtle.exportKey("jwk", publicKey);
    const jwks = { keys: [{ ...jwk, alg: undefined, kid: "1", use: "sig", key_ops: undefined, ext: undefined }] };
    const authentication = oauth.PrivateKeyJwt({ key: privateKey, kid: "1" });
    const config = await register({ token_endpoint_auth_method: "private_key_jwt", jwks }, authentication);
    const { parameters, checks } = await newRequest();
    const url = await oauth.buildAuthorizationUrlWithPAR(config, parameters);
    const tokens = await oauth.authorizationCodeGrant(config, await new User().answer(url), checks);
    const refreshed = await oauth.refreshTokenGrant(config, tokens.refresh_token);
    same(`active, with ${algorithm}`, (await oauth.tokenIntrospection(config, refreshed.access_token)).active, true);
    await oauth.tokenRevocation(config, refreshed.refresh_token);
    same("after revoking", await oauth.tokenIntrospection(config, refreshed.access_token), { active: false });
  }
}

async function clientCredentials() {
  const config = await discover(machine, oauth.ClientSecretBasic(machine.client_secret));
  const tokens = await oauth.clientCredentialsGrant(config, { scope: "a", resource: given.resource });
  same("refresh_token", tokens.refresh_token, undefined);
  const { sub, aud } = await oauth.tokenIntrospection(config, tokens.access_token);
  same("sub and aud", [sub, aud], [`client:${machine.client_id}`, [given.resource]]);

  const DPoP = oauth.getDPoPHandle(config, await oauth.randomDPoPKeyPair());
  same("token_type", (await oauth.clientCredentialsGrant(config, { scope: "a" }, { DPoP })).token_type, "dpop");
  const openid = await raised(() => oauth.clientCredentialsGrant(config, { scope: "openid" }));
  same("a machine signs nobody in", openid.error, "invalid_scope");
  const own = await oauth.clientCredentialsGrant(config, { scope: "a" });
  const error = await raised(() => oauth.fetchUserInfo(config, own.access_token, oauth.skipSubjectCheck));
  same("what userinfo says to a client's own token", error.cause[0].parameters.error, "insufficient_scope");
}

async function tokenExchange() {
  const config = await discoverAsShop();
  const { access_token } = await authorize(config);
  const exchange = (other) =>
    oauth.genericGrantRequest(config, EXCHANGE, { subject_token: access_token, subject_token_type: ACCESS_TOKEN, ...other });
  const narrow = await exchange({ scope: "a" });
  same("scope", narrow.scope, "a");
  same("issued_token_type", narrow.issued_token_type, ACCESS_TOKEN);
  same("more than there was", (await raised(() => exchange({ scope: "a b c" }))).error, "invalid_scope");
}

await run({
  discovery,
  denied,
  code,
  wrongSecret,
  idToken,
  signInAnew,
  formPost,
  signOut,
  pushedRequest,
  dpop,
  deviceFlow,
  deviceDenied,
  registration,
  privateKeyJwt,
  clientCredentials,
  tokenExchange,
});
