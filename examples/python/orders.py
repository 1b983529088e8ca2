"""A small service that is protected by scopegate. The stubs, once, with grpcio==1.85.1 and grpcio-tools==1.85.1, and then the service:

    python -m grpc_tools.protoc -Iproto --python_out=stubs --grpc_python_out=stubs \\
        scopegate/v1/token_service.proto google/rpc/status.proto
    PYTHONPATH=stubs python examples/python/orders.py
"""

import os
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from scopegate_wsgi import RequireScopes, connect

LISTEN = os.environ.get("LISTEN", "127.0.0.1:3000")
PUBLIC_URL = os.environ.get("PUBLIC_URL", f"http://{LISTEN}")


def orders(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [f"orders of {environ['scopegate.identity'].sub}\n".encode()]


def routes(environ, start_response):
    route = ROUTES.get((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
    if route:
        return route(environ, start_response)
    start_response("404 Not Found", [("Content-Length", "0")])
    return []


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


if __name__ == "__main__":
    tokens = connect(os.environ.get("SCOPEGATE", "127.0.0.1:50051"))
    ROUTES = {
        ("GET", "/orders"): RequireScopes(orders, tokens, PUBLIC_URL, "orders:read"),
        ("POST", "/orders"): RequireScopes(orders, tokens, PUBLIC_URL, "orders:read", "orders:write"),
    }
    host, port = LISTEN.split(":")
    server = make_server(host, int(port), routes, server_class=Server, handler_class=WSGIRequestHandler)
    print(f"listening on {host}:{server.server_port}", flush=True)
    server.serve_forever()
