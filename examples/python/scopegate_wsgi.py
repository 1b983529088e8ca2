"""Copy it into your service: WSGI middleware for any application (Flask: `app.wsgi_app = RequireScopes(app.wsgi_app, …)`)."""

import json
from http import HTTPStatus
from urllib.parse import quote

import grpc
from scopegate.v1 import token_service_pb2 as api
from scopegate.v1.token_service_pb2_grpc import TokenServiceStub

DEADLINE = 0.25  # seconds
# UNAVAILABLE means that nobody knows, so it is asked again, within the deadline.
SERVICE_CONFIG = {"methodConfig": [{
    "name": [{"service": "scopegate.v1.TokenService", "method": "CheckScopes"}],
    "retryPolicy": {"maxAttempts": 3, "initialBackoff": "0.02s", "maxBackoff": "0.1s", "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"]}}]}


def connect(target):
    """A client of the sidecar at `unix:/run/scopegate/grpc.sock` or `127.0.0.1:50051`, one in each worker of a server that forks."""
    return TokenServiceStub(grpc.insecure_channel(target, options=[
        ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
        ("grpc.default_authority", "localhost"),  # that of a Unix socket would be its path, which HTTP/2 servers refuse
        ("grpc.enable_http_proxy", 0),  # the tokens are not for the proxy that leads to the rest of the world
        ("grpc.keepalive_time_ms", 10_000), ("grpc.keepalive_timeout_ms", 1_000), ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0), ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 1_000)]))


class RequireScopes:
    """Lets pass what has all of these scopes; `environ["scopegate.identity"]` is whose token it came with. DPoP proofs name `public_url`,
    the address under which clients reach this service, without a path."""

    def __init__(self, application, tokens, public_url, *scopes):
        self.application, self.tokens, self.public_url, self.scopes = application, tokens, public_url, scopes

    def __call__(self, environ, start_response):
        # A header that comes twice comes here as one, with a comma in it, which no token has.
        scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() not in ("bearer", "dpop") or not token:
            return refuse(start_response, 401, f'Bearer scope="{" ".join(self.scopes)}"')
        question = api.CheckScopesRequest(token=token, required_scopes=self.scopes, include_introspection=True)
        if scheme.lower() == "dpop":  # RFC 9449
            path = quote(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""), encoding="latin-1")
            question.proof.http_method, question.proof.http_uri = environ["REQUEST_METHOD"], self.public_url + path
            question.proof.dpop.extend([environ["HTTP_DPOP"]] if "HTTP_DPOP" in environ else [])
        try:
            answer = self.tokens.CheckScopes(question, timeout=DEADLINE)
        except grpc.RpcError:  # not 401: the token may be good
            return refuse(start_response, 503, retry_after="1")
        if answer.decision != api.DECISION_ALLOWED:
            return refuse(start_response, answer.http_status, answer.www_authenticate)
        environ["scopegate.identity"] = answer.introspection
        return self.application(environ, start_response)


def refuse(start_response, status, challenge="", retry_after=""):
    headers = {"WWW-Authenticate": challenge, "Retry-After": retry_after, "Cache-Control": "no-store", "Content-Length": "0"}
    start_response(f"{status} {HTTPStatus(status).phrase}", [(name, value) for name, value in headers.items() if value])
    return []
