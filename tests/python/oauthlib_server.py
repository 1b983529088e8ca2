"""What oauthlib's authorization server makes of authorization requests.

Reads lines of JSON: first the clients (id, redirect URIs, scopes), then one query a line. Writes a line for each query: its class,
`fatal` for a page, `redirect` for an error that goes back to the client, or `ok`; with `redirect`, also where to, error and state.
"""

import json
import os
import sys
from urllib.parse import parse_qs, urlsplit

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"

from oauthlib.oauth2 import FatalClientError, OAuth2Error, RequestValidator, WebApplicationServer


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
        return True

    def get_default_scopes(self, client_id, request, *args, **kwargs):
        return self.clients[client_id]["scopes"]

    def validate_scopes(self, client_id, scopes, client, request, *args, **kwargs):
        return all(scope in self.clients[client_id]["scopes"] for scope in scopes)


def judge(server, query):
    try:
        server.validate_authorization_request(f"https://as.example/authorize?{query}")
    except FatalClientError:
        return {"class": "fatal"}
    except OAuth2Error as error:
        answer = urlsplit(error.in_uri(error.redirect_uri))
        told = parse_qs(f"{answer.query}&{answer.fragment}")  # the fragment, where response_mode asked for it
        return {"class": "redirect", "to": error.redirect_uri, "error": error.error, "state": told.get("state", [None])[0]}
    return {"class": "ok"}


def main():
    lines = iter(sys.stdin)
    server = WebApplicationServer(Clients(json.loads(next(lines))))
    for line in lines:
        print(json.dumps(judge(server, json.loads(line))))


if __name__ == "__main__":
    main()
