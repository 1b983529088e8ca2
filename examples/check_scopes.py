"""What a Python service does with the token of a request: may it do this, and if not, what to answer?

    python -m grpc_tools.protoc -Iproto --python_out=stubs --grpc_python_out=stubs \\
        scopegate/v1/token_service.proto google/rpc/status.proto   # once, into a directory that you made
    PYTHONPATH=stubs python examples/check_scopes.py TOKEN SCOPE…
"""

import argparse

import grpc
from scopegate.v1 import token_service_pb2 as api
from scopegate.v1.token_service_pb2_grpc import TokenServiceStub

parser = argparse.ArgumentParser(description="Check whether an access token has scopes.")
parser.add_argument("token")
parser.add_argument("scope", nargs="*")
parser.add_argument("--endpoint", default="127.0.0.1:50051")
arguments = parser.parse_args()

with grpc.insecure_channel(arguments.endpoint) as channel:
    request = api.CheckScopesRequest(token=arguments.token, required_scopes=arguments.scope)
    try:
        answer = TokenServiceStub(channel).CheckScopes(request, timeout=1)
    except grpc.RpcError as error:
        # Nobody knows whether the token is good. Let nothing through, and sign nobody out: not 401 but 503.
        raise SystemExit(f"UNKNOWN ({error.code().name}: {error.details()})\nHTTP 503\nRetry-After: 1")

print(api.Decision.Name(answer.decision).removeprefix("DECISION_"))
print(f"HTTP {answer.http_status}")
if answer.www_authenticate:
    print(f"WWW-Authenticate: {answer.www_authenticate}")
