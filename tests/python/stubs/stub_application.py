"""What the stub applications have in common: a small HTTP server that asks the sidecar `CheckScopes`. `SCOPEGATE` is where that is."""

import json
import os
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import grpc
from scopegate.v1 import token_service_pb2 as api
from scopegate.v1.token_service_pb2_grpc import TokenServiceStub

DEADLINE = 2  # seconds: a loaded machine
TOKENS = TokenServiceStub(grpc.insecure_channel(os.environ.get("SCOPEGATE", "127.0.0.1:50051"), options=[
    ("grpc.default_authority", "localhost"), ("grpc.enable_http_proxy", 0)]))


class Application(BaseHTTPRequestHandler):
    """An application of these has `handle_request`, which calls `self.reply` once."""

    protocol_version = "HTTP/1.1"

    def query(self, name):
        return (parse_qs(urlsplit(self.path).query).get(name) or [None])[0]

    def in_header(self, *schemes, exact=()):
        """The token behind one of the schemes, whose case is of no matter, or behind one that is spelled so."""
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        return token.strip() if scheme.lower() in schemes or scheme in exact else None

    def in_cookie(self, name):
        cookie = SimpleCookie(self.headers.get("Cookie", "")).get(name)
        scheme, _, token = unquote(cookie.value if cookie else "").partition(" ")
        return token if scheme.lower() == "bearer" else None

    def check(self, token, *scopes):
        """The answer of the sidecar, or None if it does not know. It is never asked about nothing."""
        question = api.CheckScopesRequest(token=token, required_scopes=scopes, include_introspection=True)
        try:
            return TOKENS.CheckScopes(question, timeout=DEADLINE)
        except grpc.RpcError:
            return None

    def reply(self, status, body, content_type="application/json", **headers):
        text = body if isinstance(body, str) else json.dumps(body)
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(text.encode())))
        for name, value in headers.items():
            if value:
                self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(text.encode())

    def answer(self):
        self.body = {}  # of this request: a connection has several
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get_content_type() == "application/x-www-form-urlencoded":
            self.body = {name: values[0] for name, values in parse_qs(data.decode()).items()}
        self.handle_request(self.command, urlsplit(self.path).path)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def log_message(self, *_):
        """Nothing: the paths of some have tokens in them."""


def serve(application):
    host, port = os.environ.get("LISTEN", "127.0.0.1:0").split(":")
    server = ThreadingHTTPServer((host, int(port)), application)
    print(f"listening on {host}:{server.server_port}", flush=True)
    server.serve_forever()
