// oauth4webapi, one function per flow.

import * as oauth from "oauth4webapi";

import { beTheUser, client as registered, issuer, raised, run, same, scope } from "./dev.js";

const client = { client_id: registered.client_id };
const insecure = { [oauth.allowInsecureRequests]: true };

/** The metadata of RFC 8414. */
async function discover() {
  const response = await oauth.discoveryRequest(issuer, { algorithm: "oauth2", ...insecure });
  return oauth.processDiscoveryResponse(issuer, response);
}

async function authorize(server, authentication, decision = "approve") {
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const url = new URL(server.authorization_endpoint);
  url.search = new URLSearchParams({
    client_id: client.client_id,
    redirect_uri: registered.redirect_uri,
    response_type: "code",
    scope,
    state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
  });
  const answered = oauth.validateAuthResponse(server, client, await beTheUser(url, decision), state);
  const redeem = async () => {
    const { redirect_uri } = registered;
    const response = await oauth.authorizationCodeGrantRequest(
      server, client, authentication, answered, redirect_uri, verifier, insecure,
    );
    return oauth.processAuthorizationCodeResponse(server, client, response);
  };
  return { tokens: await redeem(), redeem };
}

async function refresh(server, authentication, token) {
  const response = await oauth.refreshTokenGrantRequest(server, client, authentication, token, insecure);
  return oauth.processRefreshTokenResponse(server, client, response);
}

async function introspect(server, authentication, token) {
  const response = await oauth.introspectionRequest(server, client, authentication, token, insecure);
  return oauth.processIntrospectionResponse(server, client, response);
}

async function discovery() {
  const server = await discover();
  same("issuer", server.issuer, issuer.origin);
  same("iss is in every answer", server.authorization_response_iss_parameter_supported, true);
}

async function denying() {
  const error = await raised(async () => authorize(await discover(), oauth.None(), "deny"));
  same("error that the app sees", error.error, "access_denied");
}

async function codeRefreshIntrospectAndRevoke() {
  const server = await discover();
  for (const method of [oauth.ClientSecretBasic, oauth.ClientSecretPost]) {
    const authentication = method(registered.client_secret);
    const { tokens } = await authorize(server, authentication);
    same("token_type", tokens.token_type, "bearer");
    const refreshed = await refresh(server, authentication, tokens.refresh_token);
    const introspection = await introspect(server, authentication, refreshed.access_token);
    same("active", introspection.active, true);
    same("iss", introspection.iss, issuer.origin);
    const revoked = await oauth.revocationRequest(server, client, authentication, refreshed.refresh_token, insecure);
    await oauth.processRevocationResponse(revoked);
    same("after revoking", await introspect(server, authentication, refreshed.access_token), { active: false });
    const error = await raised(() => refresh(server, authentication, refreshed.refresh_token));
    same("error when refreshing", error.error, "invalid_grant");
  }
}

async function replayedCode() {
  const server = await discover();
  const authentication = oauth.ClientSecretBasic(registered.client_secret);
  const { tokens, redeem } = await authorize(server, authentication);
  same("error of the second use", (await raised(redeem)).error, "invalid_grant");
  same("the first one's token", await introspect(server, authentication, tokens.access_token), { active: false });
}

await run(discovery, denying, codeRefreshIntrospectAndRevoke, replayedCode);
