"""requests-oauthlib, one function per flow."""

import requests
from oauthlib.oauth2 import BackendApplicationClient, DeviceClient
from oauthlib.oauth2.rfc6749.errors import CustomOAuth2Error, InvalidClientError
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

from given import GIVEN, TIMEOUT, be_the_user, discover, raised, run, same

METADATA = discover()
TOKEN_ENDPOINT = METADATA["token_endpoint"]


def code_and_refresh():
    """A public client with PKCE, whose session refreshes by itself."""
    saved = []
    app = GIVEN.app.client_id
    session = OAuth2Session(
        app,
        redirect_uri=GIVEN.redirect_uri,
        scope=["openid", "profile", "a"],
        pkce="S256",
        auto_refresh_url=TOKEN_ENDPOINT,
        auto_refresh_kwargs={"client_id": app},
        token_updater=saved.append,
    )
    url, _ = session.authorization_url(METADATA["authorization_endpoint"])
    first = dict(
        session.fetch_token(TOKEN_ENDPOINT, authorization_response=be_the_user(url).url, include_client_id=True)
    )
    user = session.get(METADATA["userinfo_endpoint"]).json()
    same("preferred_username", user["preferred_username"], GIVEN.account.username)
    same("refreshed so far", saved, [])

    session.token = {**first, "expires_at": 1}
    same("the same user", session.get(METADATA["userinfo_endpoint"]).json(), user)
    [renewed] = saved
    same("another access token", renewed["access_token"] != first["access_token"], True)
    same("another refresh token", renewed["refresh_token"] != first["refresh_token"], True)


def client_credentials():
    machine = GIVEN.machine
    session = OAuth2Session(client=BackendApplicationClient(client_id=machine.client_id, scope=["a", "b"]))
    token = session.fetch_token(TOKEN_ENDPOINT, auth=HTTPBasicAuth(machine.client_id, machine.client_secret))
    same("scope", token["scope"], ["a", "b"])
    same("refresh token", token.get("refresh_token"), None)
    in_form = session.fetch_token(TOKEN_ENDPOINT, client_secret=machine.client_secret, include_client_id=True)
    same("scope with the secret in the form", in_form["scope"], ["a", "b"])
    wrong = HTTPBasicAuth(machine.client_id, "wrong")
    same("a wrong secret", raised(InvalidClientError, session.fetch_token, TOKEN_ENDPOINT, auth=wrong).error, "invalid_client")


def device():
    """requests-oauthlib has no call for the first step; oauthlib words it as a query."""
    client = DeviceClient(GIVEN.device.client_id)
    url = client.prepare_request_uri(METADATA["device_authorization_endpoint"], scope=["a"])
    endpoint, _, form = url.partition("?")
    headers = {"content-type": "application/x-www-form-urlencoded"}
    started = requests.post(endpoint, data=form, headers=headers, timeout=TIMEOUT).json()
    session = OAuth2Session(client=client)

    def poll():
        return session.fetch_token(TOKEN_ENDPOINT, device_code=started["device_code"], include_client_id=True)

    same("before its user decides", raised(CustomOAuth2Error, poll).error, "authorization_pending")
    same("too early", raised(CustomOAuth2Error, poll).error, "slow_down")
    same("status of the page", be_the_user(started["verification_uri_complete"]).status, 200)
    same("scope", poll()["scope"], ["a"])


run(code_and_refresh, client_credentials, device)
