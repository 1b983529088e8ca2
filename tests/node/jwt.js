// Access tokens (RFC 9068) and introspection answers (RFC 9701) that are JSON Web Tokens, as oauth4webapi and jose verify them with
// nothing but the metadata. The first thing that is not so ends it with a failure.

import assert from "node:assert/strict";

import * as jose from "jose";
import * as oauth from "oauth4webapi";

const given = JSON.parse(process.env.SCOPEGATE_DEV);
const insecure = { [oauth.allowInsecureRequests]: true };
const issuer = new URL(given.issuer);
const response = await oauth.discoveryRequest(issuer, { algorithm: "oauth2", ...insecure });
const server = await oauth.processDiscoveryResponse(issuer, response);

const request = (token) => new Request("https://api.example/", { headers: { authorization: `Bearer ${token}` } });
const validate = (token, audience) => oauth.validateJwtAccessToken(server, request(token), audience, insecure);
const forged = (token) => `${token.slice(0, -8)}${"A".repeat(8)}`;

for (const audience of given.audiences) {
  const claims = await validate(given.token, audience);
  assert.equal(claims.client_id, given.client_id);
  assert.equal(claims.scope, "a openid");
}
assert.equal((await validate(given.plain, given.issuer)).aud, given.issuer);
await assert.rejects(validate(given.token, given.issuer), /aud/);
await assert.rejects(validate(forged(given.token), given.audiences[0]), /signature/i);
await assert.rejects(validate(given.id_token, given.client_id), /typ/);

const keys = jose.createRemoteJWKSet(new URL(server.jwks_uri));
const checks = { issuer: given.issuer, audience: given.audiences[0], typ: "at+jwt", algorithms: [given.algorithm] };
const { payload } = await jose.jwtVerify(given.token, keys, checks);
assert.deepEqual(payload.aud, given.audiences);
await assert.rejects(jose.jwtVerify(forged(given.token), keys, checks), jose.errors.JWSSignatureVerificationFailed);

const { client_id, client_secret, algorithm } = given;
assert.deepEqual(server.introspection_signing_alg_values_supported, [algorithm]);
const client = { client_id, introspection_signed_response_alg: algorithm };
const authentication = oauth.ClientSecretBasic(client_secret);
for (const [token, active] of [[given.token, true], ["garbage", false]]) {
  const answered = await oauth.introspectionRequest(server, client, authentication, token, insecure);
  assert.equal(answered.headers.get("content-type"), "application/token-introspection+jwt");
  const answer = await oauth.processIntrospectionResponse(server, client, answered);
  await oauth.validateApplicationLevelSignature(server, answered, insecure);
  assert.equal(answer.active, active);
  assert.equal(answer.jti, active ? payload.jti : undefined);
}
console.log(`${algorithm}: verified, and what was forged refused`);
