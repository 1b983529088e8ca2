"""What oauthlib's server makes of requests.

Reads lines of JSON: first the clients (id, redirect URIs, scopes; maybe a secret), then one request a line.

An authorization request is a text, its query. The answer is its class, `fatal` for a page, `redirect` for an error that goes back to the
client, or `ok`; with the description of errors, and with `redirect`, also where to, error and state.

Any other request is an object: `endpoint`, `token` or `revoke`; `authorization`, a header or null; `body`. The answer is its status, and
error and description. Codes and refresh tokens are named for what they are: `CODE id` was given to the client of this id with a challenge,
`BARE id` without one, and `REFRESH id` is its refresh token; each of these is good as often as it comes.
"""

import base64
import json
import os
import sys
from types import SimpleNamespace
from urllib.parse import parse_qs, unquote_plus, urlsplit

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"

from oauthlib.oauth2 import FatalClientError, OAuth2Error, RequestValidator, WebApplicationServer

CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


class Clients(RequestValidator):
    def __init__(self, clients):
        self.clients = {client["id"]: client for client in clients}

    def validate_client_id(self, client_id, request, *args, **kwargs):
        return client_id in self.clients

    def validate_redirect_uri(self, client_id, redirect_uri, request, *args, **kwargs):
        return redirect_uri in self.clients[client_id]["redirect_uris"]

    def get_default_redirect_uri(self, client_id, request, *args, **kwargs):
        uris = self.clients[client_id]["redirect_uris"]
        return uris[0] if len(uris) == 1 else None

    def validate_response_type(self, client_id, response_type, client, request, *args, **kwargs):
        return response_type == "code"

    def is_pkce_required(self, client_id, request):
        return "secret" not in self.clients[client_id]

    def get_default_scopes(self, client_id, request, *args, **kwargs):
        return self.clients[client_id]["scopes"]

    def validate_scopes(self, client_id, scopes, client, request, *args, **kwargs):
        return all(scope in self.clients[client_id]["scopes"] for scope in scopes)

    # The token endpoint, and revocation. Which clients authenticate is as providers do it: those that have a secret, or send one.

    def credentials(self, request):
        scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return request.client_id, request.client_secret
        return [unquote_plus(part) for part in base64.b64decode(encoded).decode().split(":", 1)]

    def client_authentication_required(self, request, *args, **kwargs):
        client_id, secret = self.credentials(request)
        return secret is not None or "secret" in self.clients.get(client_id, {"secret": ""})

    def authenticate_client(self, request, *args, **kwargs):
        client_id, secret = self.credentials(request)
        request.client = SimpleNamespace(client_id=client_id)
        return secret is not None and self.clients.get(client_id, {}).get("secret") == secret

    def authenticate_client_id(self, client_id, request, *args, **kwargs):
        request.client = SimpleNamespace(client_id=client_id)
        return client_id in self.clients and "secret" not in self.clients[client_id]

    def validate_grant_type(self, client_id, grant_type, client, request, *args, **kwargs):
        return True

    def validate_code(self, client_id, code, client, request, *args, **kwargs):
        return code in (f"CODE {client_id}", f"BARE {client_id}")

    def get_code_challenge(self, code, request):
        return CHALLENGE if code.startswith("CODE ") else None

    def get_code_challenge_method(self, code, request):
        return "S256"

    def confirm_redirect_uri(self, client_id, code, redirect_uri, client, request, *args, **kwargs):
        return redirect_uri == self.clients[client_id]["redirect_uris"][0]

    def validate_refresh_token(self, refresh_token, client, request, *args, **kwargs):
        return refresh_token == f"REFRESH {client.client_id}"

    def get_original_scopes(self, refresh_token, request, *args, **kwargs):
        return self.clients[refresh_token.split(" ")[1]]["scopes"]

    def save_token(self, token, request, *args, **kwargs):
        pass

    def invalidate_authorization_code(self, client_id, code, request, *args, **kwargs):
        pass

    def revoke_token(self, token, token_type_hint, request, *args, **kwargs):
        pass


def authorize(server, query):
    try:
        server.validate_authorization_request(f"https://as.example/authorize?{query}")
    except FatalClientError as error:
        return {"class": "fatal", "description": error.description}
    except OAuth2Error as error:
        answer = urlsplit(error.in_uri(error.redirect_uri))
        told = parse_qs(f"{answer.query}&{answer.fragment}")  # the fragment, where response_mode asked for it
        return {"class": "redirect", "to": error.redirect_uri, "error": error.error, "description": error.description,
                "state": told.get("state", [None])[0]}
    return {"class": "ok"}


def answer(server, endpoint, authorization, body):
    create = {"token": server.create_token_response, "revoke": server.create_revocation_response}[endpoint]
    headers = {"Authorization": authorization} if authorization else {}
    _, body, status = create(f"https://as.example/{endpoint}", http_method="POST", body=body, headers=headers)
    told = json.loads(body or "{}")
    return {"status": status, "error": told.get("error", ""), "description": told.get("error_description", "")}


def main():
    lines = iter(sys.stdin)
    server = WebApplicationServer(Clients(json.loads(next(lines))))
    for line in lines:
        request = json.loads(line)
        said = authorize(server, request) if isinstance(request, str) else answer(server, **request)
        print(json.dumps(said))


if __name__ == "__main__":
    main()
