"""Authlib, one function per flow."""

import time

import requests
from authlib.common.security import generate_token
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from authlib.oidc.core import CodeIDToken, UserInfo
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from given import DEVICE_CODE, GIVEN, TIMEOUT, be_the_user, discover, raised, run, same

METADATA = discover()
TOKEN_ENDPOINT = METADATA["token_endpoint"]


def session_of(client, **more):
    return OAuth2Session(client.client_id, client.client_secret, **more)


def signed_in(session, **more):
    """The token response for a user who allows everything."""
    verifier = generate_token(48)
    url, state = session.create_authorization_url(
        METADATA["authorization_endpoint"], code_verifier=verifier, **more
    )
    page = be_the_user(url)
    return session.fetch_token(
        TOKEN_ENDPOINT, authorization_response=page.url, state=state, code_verifier=verifier
    )


def introspected(session, token):
    answer = session.introspect_token(METADATA["introspection_endpoint"], token=token)
    same("status of the introspection endpoint", answer.status_code, 200)
    return answer.json()


def id_token():
    """With PKCE, a nonce and the keys that the server publishes."""
    session = session_of(
        GIVEN.shop, scope="openid profile a", redirect_uri=GIVEN.redirect_uri, code_challenge_method="S256"
    )
    nonce = generate_token()
    token = signed_in(session, nonce=nonce)
    keys = KeySet.import_key_set(requests.get(METADATA["jwks_uri"], timeout=TIMEOUT).json())
    decoded = jwt.decode(token["id_token"], keys, algorithms=METADATA["id_token_signing_alg_values_supported"])
    claims = CodeIDToken(
        decoded.claims,
        decoded.header,
        options={
            "iss": {"essential": True, "value": METADATA["issuer"]},
            "aud": {"essential": True, "value": GIVEN.shop.client_id},
        },
        params={"nonce": nonce, "client_id": GIVEN.shop.client_id, "access_token": token["access_token"]},
    )
    claims.validate(leeway=60)
    user = UserInfo(session.get(METADATA["userinfo_endpoint"]).json())
    same("sub of userinfo", user.sub, claims["sub"])
    same("preferred_username", user.preferred_username, GIVEN.account.username)

    renewed = session.refresh_token(TOKEN_ENDPOINT)
    same("another refresh token", renewed["refresh_token"] != token["refresh_token"], True)
    same("scope after refreshing", renewed["scope"], token["scope"])
    answer = session.revoke_token(METADATA["revocation_endpoint"], token=renewed["refresh_token"])
    same("status of the revocation endpoint", answer.status_code, 200)
    same("introspection after revoking", introspected(session, renewed["access_token"]), {"active": False})
    error = raised(OAuthError, session.refresh_token, TOKEN_ENDPOINT, refresh_token=renewed["refresh_token"])
    same("error when refreshing", error.error, "invalid_grant")


def client_credentials():
    for method in ["client_secret_basic", "client_secret_post"]:
        session = session_of(
            GIVEN.machine,
            token_endpoint_auth_method=method,
            revocation_endpoint_auth_method=method,
        )
        token = session.fetch_token(TOKEN_ENDPOINT, grant_type="client_credentials", scope="a")
        same("scope", token["scope"], "a")
        same("refresh token", token.get("refresh_token"), None)
        same("sub", introspected(session, token["access_token"])["sub"], f"client:{GIVEN.machine.client_id}")


def private_key_jwt():
    """Its assertions are good for an hour by default, which is too long here (RFC 7523 section 3, 4)."""
    key = ECKey.import_key(GIVEN.signer.private_key)

    def session(key, claims):
        # Authlib keeps the `jti` in the claims, so they are good for one assertion.
        method = PrivateKeyJWT(TOKEN_ENDPOINT, claims=claims, alg="ES256")
        return OAuth2Session(GIVEN.signer.client_id, key, token_endpoint_auth_method=method)

    def for_a_minute():
        return {"exp": int(time.time()) + 60}

    def fetch(session):
        return session.fetch_token(TOKEN_ENDPOINT, grant_type="client_credentials", scope="a b")

    token = fetch(session(key, for_a_minute()))
    same("scope", token["scope"], "a b")
    same("active", introspected(session(key, for_a_minute()), token["access_token"])["active"], True)
    replaying = session(key, for_a_minute())
    fetch(replaying)
    same("the same assertion again", raised(OAuthError, fetch, replaying).error, "invalid_client")
    stranger = session(ECKey.generate_key("P-256"), for_a_minute())
    same("another key", raised(OAuthError, fetch, stranger).error, "invalid_client")
    too_long = raised(OAuthError, fetch, session(key, None))
    same("what is said of an hour", "exp is 300 seconds ahead at most" in too_long.description, True)


def device():
    """Authlib has no call for the first step."""
    session = OAuth2Session(GIVEN.device.client_id, token_endpoint_auth_method="none")
    form = {"client_id": GIVEN.device.client_id, "scope": "a"}
    started = requests.post(METADATA["device_authorization_endpoint"], data=form, timeout=TIMEOUT).json()

    def poll():
        return session.fetch_token(TOKEN_ENDPOINT, grant_type=DEVICE_CODE, device_code=started["device_code"])

    same("before its user decides", raised(OAuthError, poll).error, "authorization_pending")
    same("too early", raised(OAuthError, poll).error, "slow_down")
    same("status of the page", be_the_user(started["verification_uri_complete"]).status, 200)
    same("scope", poll()["scope"], "a")


run(id_token, client_credentials, private_key_jwt, device)
