"""requests-oauthlib at the paths of Gancio: it registers, asks its user at either front door, and adds an event at the application."""

import sys
import time
from pathlib import Path
from urllib.parse import urljoin

sys.path.insert(0, str(Path(__file__).parents[1]))

import requests
from oauthlib.oauth2.rfc6749.errors import AccessDeniedError, InvalidGrantError
from requests_oauthlib import OAuth2Session

from browser import Browser
from given import GIVEN, TIMEOUT, raised, same

TOKEN = f"{GIVEN.http}/oauth/token"


def registered():
    fields = {"client_name": "Calendar", "redirect_uris": GIVEN.redirect_uri}
    answer = requests.post(f"{GIVEN.http}/api/client", data=fields, timeout=TIMEOUT)
    same("status of the registration", answer.status_code, 200)
    return answer.json()


def decided(url, button):
    """Signs in and decides; where that leads."""
    browser = Browser(stop_at=GIVEN.redirect_uri)
    form = browser.open(url).form("/login")
    form.fill("username", GIVEN.account.username)
    form.fill("password", GIVEN.account.password)
    form = browser.submit(form).form("/oauth/authorize")
    assert button in form.buttons, f"no {button} among {form.buttons}"
    answer = browser.session.post(form.action, data=[*form.fields, button], allow_redirects=False, timeout=TIMEOUT)
    same("status of the decision", answer.status_code, 302)
    return urljoin(form.action, answer.headers["Location"])


def event_by(session):
    """What the application says to a new event. It does not know at once on a loaded machine."""
    for _ in range(20):
        answer = session.post(f"{GIVEN.application}/api/event", data={"title": "An event"}, timeout=TIMEOUT)
        if answer.status_code != 503:
            return answer
        time.sleep(0.1)
    raise AssertionError("the application does not know")


# The secret in the form and in the header: both generations of Gancio have it in the form, the first also took the header.
for door, in_form in ("/authorize", True), ("/oauth/authorize", False):
    client = registered()
    name, secret = client["client_id"], client["client_secret"]
    session = OAuth2Session(name, redirect_uri=GIVEN.redirect_uri, scope=["event:write"])
    url, _ = session.authorization_url(GIVEN.http + door)
    back = decided(url, ("cancel", "Deny"))
    raised(AccessDeniedError, session.fetch_token, TOKEN, authorization_response=back, client_secret=secret)

    url, _ = session.authorization_url(GIVEN.http + door)
    back = decided(url, ("allow", "Allow"))
    proof = {"client_secret": secret, "include_client_id": in_form or None}
    token = session.fetch_token(TOKEN, authorization_response=back, **proof)
    same("scope", token["scope"], ["event:write"])
    same("type and user", (token["token_type"], token["username"]), ("Bearer", GIVEN.account.username))
    same("it expires", "expires_in" in token or "expires_at" in token, False)
    same("status of an event", event_by(session).status_code, 200)

    raised(InvalidGrantError, session.fetch_token, TOKEN, authorization_response=back, **proof)
    session.token = token  # it forgets that first
    same("status of an event after the same code again", event_by(session).status_code, 200)
    # Upstream never answers that.
    renewed = session.refresh_token(TOKEN, refresh_token=token["refresh_token"], client_id=name, client_secret=secret)
    same("another token", renewed["access_token"] != token["access_token"], True)
    same("status of an event with that", event_by(session).status_code, 200)
print("done")
