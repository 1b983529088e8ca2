// oauth4webapi, one function per flow.

import * as oauth from "oauth4webapi";

import { User, given, issuer, raised, run, same } from "./given.js";

const { api, app, device, machine, shop } = given;
const { redirect_uri } = given;
const insecure = { [oauth.allowInsecureRequests]: true };
const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token";
const secret = oauth.ClientSecretBasic(shop.client_secret);

async function discover(algorithm = "oidc") {
  const response = await oauth.discoveryRequest(issuer, { algorithm, ...insecure });
  return oauth.processDiscoveryResponse(issuer, response);
}

/** The parameters of an authorization request; pairs, so that one may come twice. */
async function newRequest(client, verifier, other = []) {
  return [
    ["client_id", client.client_id],
    ["redirect_uri", redirect_uri],
    ["response_type", "code"],
    ["code_challenge", await oauth.calculatePKCECodeChallenge(verifier)],
    ["code_challenge_method", "S256"],
    ...other,
  ];
}

function authorizationUrl(server, parameters) {
  const url = new URL(server.authorization_endpoint);
  url.search = new URLSearchParams(parameters);
  return url;
}

/** What the client is told, the tokens that it gets for it, and how to ask for them once more. */
async function authorize(server, client, authentication, other, { user = new User(), decision, DPoP, expected } = {}) {
  const [verifier, state] = [oauth.generateRandomCodeVerifier(), oauth.generateRandomState()];
  const parameters = await newRequest(client, verifier, [["state", state], ...other]);
  const location = await user.answer(authorizationUrl(server, parameters), decision);
  const answered = oauth.validateAuthResponse(server, client, location, state);
  const redeem = () => redeemCode(server, client, authentication, answered, verifier, { DPoP, expected });
  return { location, state, tokens: await redeem(), redeem };
}

async function redeemCode(server, client, authentication, answered, verifier, { DPoP, expected } = {}) {
  const options = { DPoP, ...insecure };
  const response = await oauth.authorizationCodeGrantRequest(
    server, client, authentication, answered, redirect_uri, verifier, options,
  );
  const tokens = await oauth.processAuthorizationCodeResponse(server, client, response, expected);
  if (tokens.id_token) await oauth.validateApplicationLevelSignature(server, response, insecure);
  return tokens;
}

async function refresh(server, client, authentication, token, { DPoP, ...additionalParameters } = {}) {
  const options = { additionalParameters, DPoP, ...insecure };
  const response = await oauth.refreshTokenGrantRequest(server, client, authentication, token, options);
  return oauth.processRefreshTokenResponse(server, client, response);
}

async function introspect(server, client, authentication, token) {
  const response = await oauth.introspectionRequest(server, client, authentication, token, insecure);
  return oauth.processIntrospectionResponse(server, client, response);
}

async function revoke(server, client, authentication, token) {
  const response = await oauth.revocationRequest(server, client, authentication, token, insecure);
  return oauth.processRevocationResponse(response);
}

async function discovery() {
  for (const algorithm of ["oidc", "oauth2"]) {
    const server = await discover(algorithm);
    same(`issuer, by ${algorithm}`, server.issuer, issuer.origin);
    same("iss is in every answer", server.authorization_response_iss_parameter_supported, true);
  }
  const another = new URL("https://another.example");
  const response = await oauth.discoveryRequest(issuer, insecure);
  const error = await raised(() => oauth.processDiscoveryResponse(another, response));
  same("an issuer that is another", error.code, oauth.JSON_ATTRIBUTE_COMPARISON);
}

async function denied() {
  const server = await discover();
  const error = await raised(() => authorize(server, app, oauth.None(), [["scope", "a"]], { decision: "deny" }));
  same("error that the app sees", error.error, "access_denied");
}

async function code() {
  const server = await discover();
  for (const method of [oauth.ClientSecretBasic, oauth.ClientSecretPost]) {
    const authentication = method(shop.client_secret);
    const { tokens } = await authorize(server, shop, authentication, [["scope", "a b"]]);
    same("token_type", tokens.token_type, "bearer");
    const refreshed = await refresh(server, shop, authentication, tokens.refresh_token);
    const introspection = await introspect(server, shop, authentication, refreshed.access_token);
    same("active", introspection.active, true);
    same("iss", introspection.iss, issuer.origin);
    await revoke(server, shop, authentication, refreshed.refresh_token);
    same("after revoking", await introspect(server, shop, authentication, refreshed.access_token), { active: false });
    const error = await raised(() => refresh(server, shop, authentication, refreshed.refresh_token));
    same("error when refreshing", error.error, "invalid_grant");
  }
}

async function replayedCode() {
  const server = await discover();
  const { tokens, redeem } = await authorize(server, shop, secret, [["scope", "a"]]);
  same("error of the second use", (await raised(redeem)).error, "invalid_grant");
  same("the first one's token", await introspect(server, shop, secret, tokens.access_token), { active: false });
}

async function mixUp() {
  const server = await discover();
  const { location, state } = await authorize(server, app, oauth.None(), [["scope", "a"]]);
  const other = { ...server, issuer: "https://another.example" };
  const confused = await raised(() => oauth.validateAuthResponse(other, app, location, state));
  same("another issuer than that of the answer", confused.message, 'unexpected "iss" (issuer) response parameter value');
  location.searchParams.delete("iss");
  const stripped = await raised(() => oauth.validateAuthResponse(server, app, location, state));
  same("an answer without issuer", stripped.message, 'response parameter "iss" (issuer) missing');
}

async function idToken() {
  const server = await discover();
  const nonce = oauth.generateRandomNonce();
  const expected = { expectedNonce: nonce, maxAge: 60, requireIdToken: true };
  const other = [["scope", "openid profile"], ["nonce", nonce], ["max_age", "60"]];
  const { tokens } = await authorize(server, app, oauth.None(), other, { expected });
  const claims = oauth.getValidatedIdTokenClaims(tokens);
  same("aud", claims.aud, app.client_id);
  const response = await oauth.userInfoRequest(server, app, tokens.access_token, insecure);
  const info = await oauth.processUserInfoResponse(server, app, claims.sub, response);
  same("preferred_username", info.preferred_username, given.account.username);
  const refreshed = oauth.getValidatedIdTokenClaims(await refresh(server, app, oauth.None(), tokens.refresh_token));
  same("sub after a refresh", refreshed.sub, claims.sub);
  const dead = await oauth.userInfoRequest(server, app, "x", insecure);
  const error = await raised(() => oauth.processUserInfoResponse(server, app, claims.sub, dead));
  same("challenge for a dead token", error.cause[0].parameters.error, "invalid_token");
}

async function pushedRequest() {
  const server = await discover();
  const [verifier, state] = [oauth.generateRandomCodeVerifier(), oauth.generateRandomState()];
  const push = async (client, authentication, other, options) => {
    const parameters = await newRequest(client, verifier, [["state", state], ...other]);
    const response = await oauth.pushedAuthorizationRequest(
      server, client, authentication, parameters, { ...options, ...insecure },
    );
    return oauth.processPushedAuthorizationResponse(server, client, response);
  };
  const { request_uri, expires_in } = await push(shop, secret, [["scope", "a"]]);
  same("expires_in", expires_in, 600);
  const url = authorizationUrl(server, [["client_id", shop.client_id], ["request_uri", request_uri]]);
  const answered = oauth.validateAuthResponse(server, shop, await new User().answer(url), state);
  same("scope", (await redeemCode(server, shop, secret, answered, verifier)).scope, "a");
  const error = await raised(() => push(shop, oauth.ClientSecretPost("wrong"), [["scope", "a"]]));
  same("status for a wrong secret", error.status, 401);

  // The code is bound to the key of the proof (RFC 9449 section 10.1).
  const DPoP = oauth.DPoP(app, await oauth.generateKeyPair("ES256"));
  const bound = await push(app, oauth.None(), [["scope", "a"]], { DPoP });
  const boundUrl = authorizationUrl(server, [["client_id", app.client_id], ["request_uri", bound.request_uri]]);
  const location = await new User().answer(boundUrl);
  const answer = oauth.validateAuthResponse(server, app, location, state);
  const without = await raised(() => redeemCode(server, app, oauth.None(), answer, verifier));
  same("the code without its key", without.error, "invalid_grant");
  same("with its key", (await redeemCode(server, app, oauth.None(), answer, verifier, { DPoP })).token_type, "dpop");
}

async function dpop() {
  const server = await discover();
  const key = async () => oauth.DPoP(app, await oauth.generateKeyPair("ES256"));
  const DPoP = await key();
  const jkt = await DPoP.calculateThumbprint();
  const other = [["scope", "openid"], ["dpop_jkt", jkt]];
  const { tokens } = await authorize(server, app, oauth.None(), other, { DPoP });
  const { sub } = oauth.getValidatedIdTokenClaims(tokens);
  const info = await oauth.userInfoRequest(server, app, tokens.access_token, { DPoP, ...insecure });
  same("sub", (await oauth.processUserInfoResponse(server, app, sub, info)).sub, sub);
  const bare = await oauth.userInfoRequest(server, app, tokens.access_token, insecure);
  const error = await raised(() => oauth.processUserInfoResponse(server, app, sub, bare));
  same("challenge for who shows no key", error.cause[0].scheme, "dpop");

  const none = oauth.None();
  const stolen = await raised(() => refresh(server, app, none, tokens.refresh_token));
  same("refreshing without the key", stolen.error, "invalid_grant");
  const others = await raised(async () => refresh(server, app, none, tokens.refresh_token, { DPoP: await key() }));
  same("refreshing with another", others.error, "invalid_grant");
  same("with the key", (await refresh(server, app, none, tokens.refresh_token, { DPoP })).token_type, "dpop");

  const bound = (await authorize(server, shop, secret, [["scope", "a"]], { DPoP })).tokens;
  same("cnf", (await introspect(server, shop, secret, bound.access_token)).cnf, { jkt });
}

/** Asks as the device, until the answer is this one; the tokens that it ends in, or nothing. */
async function poll(server, device_code, error) {
  for (;;) {
    const response = await oauth.deviceCodeGrantRequest(server, device, oauth.None(), device_code, insecure);
    const answer = await oauth.processDeviceCodeResponse(server, device, response).catch((answer) => answer);
    if (!answer.error || answer.error === error) return answer;
    same("the device waits", ["authorization_pending", "slow_down"].includes(answer.error), true);
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}

async function deviceFlow() {
  const server = await discover();
  const start = async () => {
    const response = await oauth.deviceAuthorizationRequest(server, device, oauth.None(), { scope: "a" }, insecure);
    return oauth.processDeviceAuthorizationResponse(server, device, response);
  };
  const { device_code, verification_uri_complete } = await start();
  await poll(server, device_code, "authorization_pending");
  await poll(server, device_code, "slow_down");
  await new User().open(new URL(verification_uri_complete));
  same("scope", (await poll(server, device_code)).scope, "a");

  const other = await start();
  await new User().open(new URL(other.verification_uri_complete), "deny");
  same("the user denied", (await poll(server, other.device_code, "access_denied")).error, "access_denied");
}

async function registration() {
  const server = await discover();
  const register = async (other) => {
    const metadata = { client_name: "Third", redirect_uris: [redirect_uri], scope: "a openid", ...other };
    const response = await oauth.dynamicClientRegistrationRequest(server, metadata, insecure);
    return oauth.processDynamicClientRegistrationResponse(response);
  };
  const client = await register({ grant_types: ["authorization_code", "refresh_token"] });
  same("its method, if it says none", client.token_endpoint_auth_method, "client_secret_basic");
  const authentication = oauth.ClientSecretBasic(client.client_secret);
  const { tokens } = await authorize(server, client, authentication, [["scope", "a openid"]]);
  same("aud", oauth.getValidatedIdTokenClaims(tokens).aud, client.client_id);
  same("its own token", (await introspect(server, client, authentication, tokens.access_token)).active, true);
  same("a wrong grant type", (await raised(() => register({ grant_types: ["implicit"] }))).error, "invalid_client_metadata");

  const pair = await oauth.generateKeyPair("ES256");
  const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", pair.publicKey);
  const keys = { token_endpoint_auth_method: "private_key_jwt", jwks: { keys: [{ kty, crv, x, y }] } };
  const signer = await register(keys);
  const proven = await authorize(server, signer, oauth.PrivateKeyJwt(pair.privateKey), [["scope", "a"]]);
  same("scope of one that signs", proven.tokens.scope, "a");
}

async function resources() {
  const server = await discover();
  const two = [["scope", "a"], ["resource", given.resource], ["resource", "https://mail.example"]];
  const { tokens } = await authorize(server, shop, secret, two);
  const aud = async (token) => (await introspect(server, shop, secret, token)).aud;
  same("aud", await aud(tokens.access_token), [given.resource, "https://mail.example"]);
  const one = await refresh(server, shop, secret, tokens.refresh_token, { resource: given.resource });
  same("aud of the one for a resource", await aud(one.access_token), [given.resource]);
  const asked = await introspect(server, api, oauth.ClientSecretBasic(api.client_secret), one.access_token);
  same("the resource may ask", [asked.active, asked.client_id], [true, shop.client_id]);
  const unknown = [["scope", "a"], ["resource", "https://other.example"]];
  const error = await raised(() => authorize(server, shop, secret, unknown));
  same("an unknown resource", error.error, "invalid_target");
}

async function protectedResource() {
  // As the proxy in front of the resource does.
  const fetchFromServer = (url, options) => {
    const { host, pathname } = new URL(url);
    same("host that is asked", host, new URL(given.resource).host);
    return fetch(new URL(pathname, issuer), options);
  };
  const resource = new URL(given.resource);
  const response = await oauth.resourceDiscoveryRequest(resource, { [oauth.customFetch]: fetchFromServer });
  const metadata = await oauth.processResourceDiscoveryResponse(resource, response);
  same("authorization_servers", metadata.authorization_servers, [issuer.origin]);
  same("scopes_supported", metadata.scopes_supported, ["a"]);
}

async function otherGrants() {
  const server = await discover();
  const authentication = oauth.ClientSecretBasic(machine.client_secret);
  const response = await oauth.clientCredentialsGrantRequest(server, machine, authentication, { scope: "a" }, insecure);
  same("scope", (await oauth.processClientCredentialsResponse(server, machine, response)).scope, "a");

  const { tokens } = await authorize(server, shop, secret, [["scope", "a b"]]);
  const parameters = { subject_token: tokens.access_token, subject_token_type: ACCESS_TOKEN, scope: "b" };
  const exchanged = await oauth.genericTokenEndpointRequest(server, shop, secret, EXCHANGE, parameters, insecure);
  same("exchanged", (await oauth.processGenericTokenEndpointResponse(server, shop, exchanged)).scope, "b");
}

await run({
  discovery,
  denied,
  code,
  replayedCode,
  mixUp,
  idToken,
  pushedRequest,
  dpop,
  deviceFlow,
  registration,
  resources,
  protectedResource,
  otherGrants,
});
