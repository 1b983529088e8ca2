"""The main job, driven by clients that are not ours: requests-oauthlib, authlib and grpcio.

`SCOPEGATE_DEV` is the line that `scopegate dev --output json` printed, `SCOPEGATE_STUBS` the directory of the generated
gRPC stubs. Prints a line per thing seen; the first thing that is not so ends it with a failure.
"""

import json
import os
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

STUBS = Path(__file__).parents[2] / ".tools" / "stubs"
sys.path.insert(0, os.environ.get("SCOPEGATE_STUBS", str(STUBS)))

import grpc
import requests
from authlib.common.security import generate_token
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from oauthlib.oauth2.rfc6749.errors import AccessDeniedError, InvalidGrantError, InvalidScopeError
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

from browser import Browser
from given import raised, same
from scopegate.v1 import token_service_pb2 as api
from scopegate.v1 import token_service_pb2_grpc as api_grpc

DEV = json.loads(os.environ["SCOPEGATE_DEV"])
ACCOUNT, CLIENT = DEV["account"], DEV["client"]
DROPPED = "orders:write"
KEPT = [scope for scope in CLIENT["scopes"] if scope != DROPPED]
TIMEOUT = 5


def main():
    metadata = discover()
    session = new_session()
    wrong_password_asks_again(session, metadata)
    denying_tells_the_app(new_session(), metadata)
    token = authorize(session, metadata)
    with grpc.insecure_channel(DEV["grpc"]) as channel:
        tokens = api_grpc.TokenServiceStub(channel)
        scopes_are_checked(tokens, token["access_token"])
        introspection_says_what_it_is(tokens, token, metadata)
        batches_keep_order_and_fail_singly(tokens, token["access_token"])
        renewed = refresh(session, metadata, tokens, token)
        revocation_is_at_once(metadata, tokens, renewed, earlier=token)
        a_stream_answers_in_order_and_ends_when_nothing_more_is_asked(tokens)
        authlib_does_it_too(metadata, tokens)
        health_and_reflection_answer(channel)


# The app and its user.


def discover():
    answer = requests.get(f"{DEV['http']}/.well-known/oauth-authorization-server", timeout=TIMEOUT)
    metadata = answer.json()
    same("issuer of the metadata", metadata["issuer"], DEV["http"])
    return metadata


def new_session():
    return OAuth2Session(CLIENT["client_id"], redirect_uri=CLIENT["redirect_uri"], scope=CLIENT["scopes"], pkce="S256")


def login_form(browser, url, password=ACCOUNT["password"]):
    form = browser.open(url).form("/login")
    form.fill("username", ACCOUNT["username"])
    form.fill("password", password)
    return form


def be_the_user(url, button):
    """Signs in, unticks one scope and presses the button; where the app is told."""
    browser = Browser(stop_at=CLIENT["redirect_uri"])
    form = browser.submit(login_form(browser, url)).form("/consent")
    same("scopes on the consent page", sorted(form.values("scope")), sorted(CLIENT["scopes"]))
    form.untick("scope", DROPPED)
    page = browser.submit(form, ("decision", button))
    assert page.url.startswith(CLIENT["redirect_uri"] + "?"), f"the browser is at {page.url}: {page.text}"
    return page.url


def answer_for_app(url, state, metadata):
    """The parameters of the redirect, each of which comes once."""
    query = parse_qs(urlsplit(url).query, strict_parsing=True)
    assert all(len(values) == 1 for values in query.values()), f"repeated parameters in {url}"
    answer = {name: values[0] for name, values in query.items()}
    same("state in the redirect", answer["state"], state)
    same("iss in the redirect", answer["iss"], metadata["issuer"])
    return answer


def wrong_password_asks_again(session, metadata):
    url, _ = session.authorization_url(metadata["authorization_endpoint"])
    browser = Browser(stop_at=CLIENT["redirect_uri"])
    page = browser.submit(login_form(browser, url, password="wrong " + ACCOUNT["password"]))
    same("status after a wrong password", page.status, 403)
    same("user name in the form again", page.form("/login").values("username"), [ACCOUNT["username"]])
    same("password in the form again", page.form("/login").values("password"), [""])
    same("still not signed in", browser.open(url).has_form("/login"), True)


def denying_tells_the_app(session, metadata):
    url, state = session.authorization_url(metadata["authorization_endpoint"])
    answered = be_the_user(url, "deny")
    same("error after denying", answer_for_app(answered, state, metadata)["error"], "access_denied")
    redeem = session.fetch_token
    refused = raised(AccessDeniedError, redeem, metadata["token_endpoint"], authorization_response=answered)
    same("error that the app sees", refused.error, "access_denied")


def authorize(session, metadata):
    url, state = session.authorization_url(metadata["authorization_endpoint"])
    answered = be_the_user(url, "approve")
    answer_for_app(answered, state, metadata)
    token = session.fetch_token(
        metadata["token_endpoint"], authorization_response=answered, client_secret=CLIENT["client_secret"]
    )
    same("token type", token["token_type"], "Bearer")
    same("scopes that the user kept", sorted(token["scope"]), sorted(KEPT))
    return dict(token)


def refresh(session, metadata, tokens, old):
    # requests-oauthlib asks for the scopes of its session, which the user did not all grant (RFC 6749 section 6).
    refused = raised(InvalidScopeError, renew, session, metadata)
    same("error when asking for more than was granted", refused.error, "invalid_scope")
    # An app that kept only the token asks for no scopes, and keeps those that it has.
    new = renew(OAuth2Session(CLIENT["client_id"], token=old), metadata)
    assert new["access_token"] != old["access_token"], "refreshing gave the same access token"
    same("scopes after refreshing", sorted(new["scope"]), sorted(KEPT))
    for name, token in [("new", new), ("old", old)]:
        answer = check(tokens, token["access_token"], *KEPT)
        same(f"{name} access token after refreshing", answer.decision, api.DECISION_ALLOWED)
    return new


def renew(session, metadata):
    auth = HTTPBasicAuth(CLIENT["client_id"], CLIENT["client_secret"])
    return dict(session.refresh_token(metadata["token_endpoint"], auth=auth))


# A service that got a token.


def check(tokens, token, *scopes, **more):
    request = api.CheckScopesRequest(token=token, required_scopes=scopes, **more)
    return tokens.CheckScopes(request, timeout=TIMEOUT)


def introspect(tokens, token):
    return tokens.Introspect(api.IntrospectRequest(token=token), timeout=TIMEOUT)


def scopes_are_checked(tokens, token):
    allowed = check(tokens, token, "orders:read")
    same("decision for a granted scope", allowed.decision, api.DECISION_ALLOWED)
    same("its HTTP status", allowed.http_status, 200)
    same("its challenge", allowed.www_authenticate, "")
    assert not allowed.HasField("introspection"), "introspection was not asked for"

    refused = check(tokens, token, "orders:read", DROPPED)
    same("decision with the dropped scope", refused.decision, api.DECISION_INSUFFICIENT_SCOPE)
    same("what is missing", list(refused.missing_scopes), [DROPPED])
    same("its HTTP status", refused.http_status, 403)
    same(
        "its challenge",
        refused.www_authenticate,
        'Bearer error="insufficient_scope", error_description="The access token lacks a required scope", '
        f'scope="orders:read {DROPPED}"',
    )

    either = check(tokens, token, DROPPED, "orders:read", match=api.MATCH_ANY)
    same("decision for either scope", either.decision, api.DECISION_ALLOWED)

    described = check(tokens, token, "orders:read", include_introspection=True).introspection
    same("subject beside the decision", described.sub, introspect(tokens, token).sub)


def introspection_says_what_it_is(tokens, token, metadata):
    answer = introspect(tokens, token["access_token"])
    same("active", answer.active, True)
    same("token_type", answer.token_type, "Bearer")
    same("client_id", answer.client_id, CLIENT["client_id"])
    same("username", answer.username, ACCOUNT["username"])
    same("iss", answer.iss, metadata["issuer"])
    same("scopes", sorted(answer.scopes), sorted(KEPT))
    same("scope", answer.scope, " ".join(answer.scopes))
    same("lifetime", answer.exp - answer.iat, token["expires_in"])
    assert abs(time.time() - answer.iat) < 60 and answer.nbf == answer.iat, f"issued at another time: {answer}"
    assert answer.sub and answer.jti and answer.grant_id, f"nameless: {answer}"

    refresh_token = introspect(tokens, token["refresh_token"])
    same("token_type of the refresh token", refresh_token.token_type, "refresh_token")
    same("its grant", refresh_token.grant_id, answer.grant_id)
    as_access = check(tokens, token["refresh_token"], "orders:read")
    same("decision for a refresh token", as_access.decision, api.DECISION_INACTIVE_TOKEN)


def batches_keep_order_and_fail_singly(tokens, token):
    asked = [(token, "orders:read"), ("", "orders:read"), (token, DROPPED), ("nonsense", "orders:read")]
    requests_ = [api.CheckScopesRequest(token=token, required_scopes=[scope]) for token, scope in asked]
    results = tokens.BatchCheckScopes(api.BatchCheckScopesRequest(requests=requests_), timeout=TIMEOUT).results
    decisions = [result.response.decision if result.HasField("response") else None for result in results]
    same(
        "decisions of the batch",
        decisions,
        [api.DECISION_ALLOWED, None, api.DECISION_INSUFFICIENT_SCOPE, api.DECISION_INACTIVE_TOKEN],
    )
    error = results[1].error
    same("code of the item that failed", error.code, grpc.StatusCode.INVALID_ARGUMENT.value[0])
    same("its detail", [detail.TypeName() for detail in error.details], ["google.rpc.ErrorInfo"])
    assert b"TOKEN_MISSING" in error.details[0].value, f"no reason in {error}"


def revocation_is_at_once(metadata, tokens, token, earlier):
    tokens.Revoke(api.RevokeRequest(token=token["access_token"]), timeout=TIMEOUT)
    answer = check(tokens, token["access_token"], "orders:read")
    same("decision after revoking", answer.decision, api.DECISION_INACTIVE_TOKEN)
    same("its HTTP status", answer.http_status, 401)
    assert answer.www_authenticate.startswith('Bearer error="invalid_token"'), answer.www_authenticate
    for kind in ["access_token", "refresh_token"]:
        same(f"active {kind} after revoking", introspect(tokens, token[kind]).active, False)
    decision = check(tokens, earlier["access_token"], "orders:read").decision
    same("decision for the grant's earlier access token", decision, api.DECISION_INACTIVE_TOKEN)
    refused = raised(InvalidGrantError, renew, OAuth2Session(CLIENT["client_id"], token=token), metadata)
    same("error when refreshing", refused.error, "invalid_grant")


def a_stream_answers_in_order_and_ends_when_nothing_more_is_asked(tokens):
    asked = [api.CheckScopesRequest(token=token) for token in ["x", "", "y"]]
    requests_ = iter([api.StreamCheckScopesRequest(request=request) for request in asked])
    answers = list(tokens.StreamCheckScopes(requests_, timeout=TIMEOUT))
    same("answers of a stream", [answer.WhichOneof("result") for answer in answers], ["response", "error", "response"])
    same("its first decision", answers[0].response.decision, api.DECISION_INACTIVE_TOKEN)
    same("its failure", answers[1].error.code, grpc.StatusCode.INVALID_ARGUMENT.value[0])


def health_and_reflection_answer(channel):
    health = health_pb2_grpc.HealthStub(channel)
    for service in ["", "scopegate.v1.TokenService"]:
        answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT)
        same(f"health of {service!r}", answer.status, health_pb2.HealthCheckResponse.SERVING)

    reflection = ProtoReflectionDescriptorDatabase(channel)
    same("listed by reflection", "scopegate.v1.TokenService" in reflection.get_services(), True)
    described = DescriptorPool(reflection).FindServiceByName("scopegate.v1.TokenService")
    ours = api.DESCRIPTOR.services_by_name["TokenService"]
    same("methods in reflection", sorted(described.methods_by_name), sorted(ours.methods_by_name))


# Another client library, with its other way to authenticate.


def authlib_does_it_too(metadata, tokens):
    session = AuthlibSession(
        CLIENT["client_id"],
        CLIENT["client_secret"],
        token_endpoint_auth_method="client_secret_post",
        revocation_endpoint_auth_method="client_secret_post",
        scope=" ".join(CLIENT["scopes"]),
        redirect_uri=CLIENT["redirect_uri"],
        code_challenge_method="S256",
    )
    verifier = generate_token(48)
    url, state = session.create_authorization_url(metadata["authorization_endpoint"], code_verifier=verifier)
    answered = be_the_user(url, "approve")
    answer_for_app(answered, state, metadata)
    token = session.fetch_token(metadata["token_endpoint"], authorization_response=answered, code_verifier=verifier)
    same("scopes that authlib got", sorted(token["scope"].split()), sorted(KEPT))

    def introspected():
        answer = session.introspect_token(metadata["introspection_endpoint"], token=token["access_token"])
        same("status of the introspection endpoint", answer.status_code, 200)
        return answer.json()

    over_http, over_grpc = introspected(), introspect(tokens, token["access_token"])
    for name in ["active", "scope", "client_id", "username", "token_type", "exp", "iat", "nbf", "sub", "iss", "jti"]:
        same(f"{name} over HTTP and gRPC", over_http[name], getattr(over_grpc, name))

    answer = session.revoke_token(metadata["revocation_endpoint"], token=token["access_token"])
    same("status of the revocation endpoint", answer.status_code, 200)
    same("introspection after revoking", introspected(), {"active": False})
    decision = check(tokens, token["access_token"], "orders:read").decision
    same("decision after revoking", decision, api.DECISION_INACTIVE_TOKEN)


if __name__ == "__main__":
    main()
