// The SDK of the Model Context Protocol, client and server, one function per flow. Its server is the resource.

import { createServer } from "node:http";

import { UnauthorizedError } from "@modelcontextprotocol/sdk/client/auth.js";
import { ClientCredentialsProvider, PrivateKeyJwtProvider } from "@modelcontextprotocol/sdk/client/auth-extensions.js";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { requireBearerAuth } from "@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js";
import { InvalidTokenError } from "@modelcontextprotocol/sdk/server/auth/errors.js";
import { createMcpExpressApp } from "@modelcontextprotocol/sdk/server/express.js";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";

import { User, given, issuer, raised, run, same } from "./given.js";

const resource = new URL(given.resource);
// RFC 9728 section 3.1: the path comes after the well-known one.
const METADATA = `/.well-known/oauth-protected-resource${resource.pathname}`;

// The resource.

/** Asks scopegate what a token is. */
async function verifyAccessToken(token) {
  const { client_id, client_secret } = given.api;
  const authorization = `Basic ${btoa(`${client_id}:${client_secret}`)}`;
  const body = new URLSearchParams({ token });
  const response = await fetch(new URL("/introspect", issuer), { method: "POST", headers: { authorization }, body });
  const answer = await response.json();
  if (!answer.active) throw new InvalidTokenError("The access token is not active");
  const [audience] = [answer.aud].flat();
  const scopes = answer.scope.split(" ");
  const extra = { sub: answer.sub, username: answer.username };
  return { token, clientId: answer.client_id, scopes, expiresAt: answer.exp, resource: new URL(audience), extra };
}

/** A server whose one tool says who calls. It listens where the proxy of the test sends what comes to the resource. */
async function serve() {
  const app = createMcpExpressApp();
  app.get(METADATA, async (request, response) => response.json(await (await fetch(new URL(request.path, issuer))).json()));
  const guard = requireBearerAuth({
    verifier: { verifyAccessToken },
    requiredScopes: ["a"],
    resourceMetadataUrl: new URL(METADATA, resource).href,
    expectedResource: resource,
  });
  app.post(resource.pathname, guard, async (request, response) => {
    const server = new McpServer({ name: "orders", version: "1" });
    server.registerTool("whoami", {}, ({ authInfo }) => ({ content: [{ type: "text", text: JSON.stringify(authInfo) }] }));
    const transport = new StreamableHTTPServerTransport({ enableJsonResponse: true });
    await server.connect(transport);
    await transport.handleRequest(request, response, request.body);
  });
  app.all(resource.pathname, (_, response) => response.status(405).end());
  const listening = createServer(app);
  await new Promise((resolve) => listening.listen(given.socket, resolve));
  return () => {
    listening.close();
    listening.closeAllConnections();
  };
}

// The app.

/** An agent that knows nothing but the address of the resource. */
class Agent {
  redirectUrl = given.redirect_uri;
  clientMetadata = {
    client_name: "Agent",
    redirect_uris: [given.redirect_uri],
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    token_endpoint_auth_method: "none",
  };

  state = () => "a state";
  clientInformation = () => this.client;
  saveClientInformation = (client) => (this.client = client);
  tokens = () => this.saved;
  saveTokens = (tokens) => (this.saved = tokens);
  codeVerifier = () => this.verifier;
  saveCodeVerifier = (verifier) => (this.verifier = verifier);
  redirectToAuthorization = (url) => (this.sentTo = url);
  invalidateCredentials = (which) => {
    same("what the server made it forget", which, "tokens");
    delete this.saved;
  };
}

const transportFor = (authProvider) => new StreamableHTTPClientTransport(resource, { authProvider });

/** A connected client. */
async function connect(authProvider) {
  const client = new Client({ name: "agent", version: "1" });
  await client.connect(transportFor(authProvider));
  return client;
}

async function whoami(client) {
  const { content } = await client.callTool({ name: "whoami" });
  return JSON.parse(content[0].text);
}

/** Sends the user to sign in, as the SDK asks for, and connects. */
async function authorize(agent) {
  const error = await raised(() => connect(agent));
  same("the user is needed", error instanceof UnauthorizedError, true);
  const asked = agent.sentTo.searchParams;
  same("where", agent.sentTo.origin + agent.sentTo.pathname, `${issuer.origin}/authorize`);
  same("for which resource", asked.getAll("resource"), [given.resource]);
  same("with PKCE", asked.get("code_challenge_method"), "S256");
  same("for the scope of the challenge", asked.get("scope"), "a");
  const answered = (await new User().answer(agent.sentTo)).searchParams;
  same("state", answered.get("state"), "a state");
  await transportFor(agent).finishAuth(answered.get("code"));
  return connect(agent);
}

async function user() {
  const agent = new Agent();
  const client = await authorize(agent);
  same("registered by itself", agent.client.token_endpoint_auth_method, "none");
  const { clientId, resource, scopes, extra } = await whoami(client);
  same("clientId", clientId, agent.client.client_id);
  same("resource", resource, given.resource);
  same("scopes", scopes, ["a"]);
  same("username", extra.username, given.account.username);
}

async function refreshing() {
  const agent = new Agent();
  const client = await authorize(agent);
  const first = agent.saved;
  agent.saved = { ...first, access_token: "sg_at_expired" };
  same("resource after a refresh", (await whoami(client)).resource, given.resource);
  same("another refresh token", agent.saved.refresh_token !== first.refresh_token, true);

  const body = new URLSearchParams({ token: agent.saved.refresh_token, client_id: agent.client.client_id });
  same("revoked", (await fetch(new URL("/revoke", issuer), { method: "POST", body })).status, 200);
  delete agent.sentTo;
  same("the user is needed again", (await raised(() => whoami(client))) instanceof UnauthorizedError, true);
  same("where", agent.sentTo.pathname, "/authorize");
}

async function machine() {
  const expectedIssuer = issuer.origin;
  const { client_id: clientId, client_secret: clientSecret } = given.machine;
  const withSecret = new ClientCredentialsProvider({ clientId, clientSecret, expectedIssuer, scope: "a" });
  same("who, by a secret", (await whoami(await connect(withSecret))).extra.sub, `client:${clientId}`);

  const { client_id, private_key: privateKey } = given.signer;
  const withKey = new PrivateKeyJwtProvider({ clientId: client_id, privateKey, algorithm: "ES256", expectedIssuer, scope: "a" });
  same("who, by a key", (await whoami(await connect(withKey))).extra.sub, `client:${client_id}`);
}

/** A flow with the resource around it. */
const served = (flow) => async () => {
  const close = await serve();
  await flow();
  close();
};

await run({ user: served(user), refreshing: served(refreshing), machine: served(machine) });
