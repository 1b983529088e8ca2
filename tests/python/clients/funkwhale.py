"""Clients of Funkwhale, one function each.

`funkwhale-api-client` and `requests-oauthlib` run as they are in the registry. The others cannot run here, so what they send is sent in their
place: `mopidy-funkwhale` imports mopidy, which needs GStreamer and its introspection; ListenBrainz is a whole web site; Funkwhale's app for
Android needs Android. What the first two call of `requests-oauthlib`, they call here with the same arguments.
"""

import base64
import hashlib
import html
import os
import re
import secrets
from urllib.parse import parse_qs, urlencode, urlsplit

import requests
from funkwhale_api_client import AuthenticatedClient
from funkwhale_api_client.api.oauth import (
    create_oauth_app,
    create_oauth_authorize,
    delete_oauth_app,
    delete_oauth_grant,
    get_oauth_app,
    get_oauth_apps,
    get_oauth_grant,
    get_oauth_grants,
    partial_update_oauth_app,
    refresh_oauth_token,
    update_oauth_app,
)
from funkwhale_api_client.models.application_request import ApplicationRequest
from funkwhale_api_client.models.create_application_request import CreateApplicationRequest
from funkwhale_api_client.models.patched_application_request import PatchedApplicationRequest
from oauthlib.oauth2.rfc6749.errors import InvalidGrantError
from requests_oauthlib import OAuth2Session

from browser import Browser
from given import GIVEN, TIMEOUT, run, same

# None of these clients sets it: what the server answers has to be what they asked for.
del os.environ["OAUTHLIB_RELAX_TOKEN_SCOPE"]

OUT_OF_BAND = "urn:ietf:wg:oauth:2.0:oob"
APPS = f"{GIVEN.http}/api/v1/oauth/apps/"
TOKEN = f"{GIVEN.http}/api/v1/oauth/token/"


def registered(**app):
    answer = requests.post(APPS, json=app, timeout=TIMEOUT)
    same("registration", answer.status_code, 201)
    return answer.json()


def allowed(url, redirect_uri, cookies=None):
    """The page where the user ends who allows everything, after signing in if that is asked."""
    browser = Browser(stop_at=redirect_uri)
    browser.session.cookies.update(cookies or {})
    page = browser.open(url)
    if page.has_form("/login"):
        form = page.form("/login")
        form.fill("username", GIVEN.account.username)
        form.fill("password", GIVEN.account.password)
        page = browser.submit(form)
    return browser.submit(page.form("/consent"), ("decision", "approve"))


def parameter(url, name):
    return parse_qs(urlsplit(url).query)[name][0]


def copied(page):
    """The code that the user copies from a page."""
    same("status of the page with the code", page.status, 200)
    return html.unescape(re.search(r'<textarea id="code"[^>]*>([^<]*)<', page.text).group(1))


def at_the_api(path, token):
    return requests.get(GIVEN.api + path, headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT).status_code


def api_client():
    """The user shows Funkwhale's own token, and has a session of its own in the browser."""
    client = AuthenticatedClient(base_url=GIVEN.http, token=GIVEN.own_token)

    def sent(model, **members):
        """Each call takes the same in three ways, and sends the form."""
        return {kind: model(**members) for kind in ("form_data", "multipart_data", "json_body")}

    made = create_oauth_app.sync(client=client, **sent(
        CreateApplicationRequest, name="Client", scopes="read write", redirect_uris=GIVEN.redirect_uri))
    same("what it may ask for", (made.name, made.scopes, made.redirect_uris), ("Client", "read write", GIVEN.redirect_uri))
    same("it has a secret", made.client_secret != "", True)
    shown = get_oauth_app.sync(made.client_id, client=client)
    same("the secret, later", shown["client_secret"], "")
    listed = get_oauth_apps.sync(client=client)
    same("its apps", [app.client_id for app in listed.results], [made.client_id])
    same("none granted", get_oauth_grants.sync(client=client), [])
    same("authorize without a form", create_oauth_authorize.sync_detailed(client=client).status_code, 400)

    session = OAuth2Session(made.client_id, redirect_uri=GIVEN.redirect_uri, scope=["read"])
    url, _ = session.authorization_url(f"{GIVEN.http}/authorize")
    page = allowed(url, GIVEN.redirect_uri, {"sessionid": "1"})
    token = session.fetch_token(TOKEN, authorization_response=page.url, client_secret=made.client_secret)
    same("profile", at_the_api("/api/v1/users/me/", token["access_token"]), 200)
    same("granted", [app.client_id for app in get_oauth_grants.sync(client=client)], [made.client_id])
    same("the grant", get_oauth_grant.sync(made.client_id, client=client).name, "Client")
    same("another grant", get_oauth_grant.sync("unknown", client=client), None)
    same("the grant ends", delete_oauth_grant.sync_detailed(made.client_id, client=client).status_code, 204)
    same("profile, then", at_the_api("/api/v1/users/me/", token["access_token"]), 401)

    changed = partial_update_oauth_app.sync(made.client_id, client=client, **sent(PatchedApplicationRequest, name="Other"))
    same("another name", changed.name, "Other")
    changed = update_oauth_app.sync(made.client_id, client=client, **sent(ApplicationRequest, name="Third", scopes="read"))
    same("another name and less", (changed.name, changed.scopes), ("Third", "read"))
    personal = refresh_oauth_token.sync_detailed(made.client_id, client=client, **sent(CreateApplicationRequest, name="Third"))
    same("personal tokens", personal.status_code, 404)
    same("deleted", delete_oauth_app.sync_detailed(made.client_id, client=client).status_code, 204)
    same("gone", get_oauth_app.sync(made.client_id, client=client), None)


def mopidy():
    """`mopidy_funkwhale` 1.1.0: `commands.py`, then `client.py` and `actor.py`."""
    scopes = ["read:libraries", "read:favorites", "read:playlists"]
    app = registered(name="Mopidy-Funkwhale", scopes=" ".join(scopes), redirect_uris=OUT_OF_BAND)
    client_id, client_secret = app["client_id"], app["client_secret"]

    oauth = OAuth2Session(client_id, redirect_uri=OUT_OF_BAND, scope=scopes)
    requested = []
    oauth.register_compliance_hook("access_token_response", lambda answer: requested.append(answer.request) or answer)
    url, _ = oauth.authorization_url(f"{GIVEN.http}/authorize")
    token = oauth.fetch_token(TOKEN, code=copied(allowed(url, OUT_OF_BAND)), client_id=client_id, client_secret=client_secret)
    [request] = requested
    same("who it is, in the header", request.headers["Authorization"].split()[0], "Basic")
    same("what is in the form", sorted(parse_qs(request.body)), ["code", "grant_type", "redirect_uri"])
    same("scope", set(token["scope"]), set(scopes))

    saved = []
    session = OAuth2Session(
        client_id=client_id,
        token={**token, "expires_at": 1, "expires_in": -1},
        auto_refresh_url=TOKEN,
        auto_refresh_kwargs={"client_id": client_id, "client_secret": client_secret},
        token_updater=saved.append,
    )
    session.register_compliance_hook("refresh_token_response", lambda answer: requested.append(answer.request) or answer)
    same("search", session.get(f"{GIVEN.api}/api/v1/search", params={"query": "x"}).status_code, 200)
    refreshed = sorted(parse_qs(requested[1].body))
    same("what is in the form to refresh, with what is meant for the API",
         refreshed, ["allow_redirects", "client_id", "client_secret", "grant_type", "params", "refresh_token"])
    [token] = saved
    same("listen", requests.get(f"{GIVEN.api}/api/v1/listen/1/?token={token['access_token']}", timeout=TIMEOUT).status_code, 200)
    same("profile", session.get(f"{GIVEN.api}/api/v1/users/me/").status_code, 403)


def listenbrainz():
    """`listenbrainz/domain/funkwhale.py`. The scopes are those of its front end."""
    scopes = ["read:profile", "read:libraries", "read:favorites", "read:listenings", "read:follows", "read:playlists", "read:radios"]
    app = registered(name="ListenBrainz", website=GIVEN.http, redirect_uris=GIVEN.redirect_uri, scopes=" ".join(scopes))
    oauth = OAuth2Session(client_id=app["client_id"], redirect_uri=GIVEN.redirect_uri, scope=scopes, state="of-the-session")
    url, _ = oauth.authorization_url(f"{GIVEN.http}/api/v1/oauth/authorize")
    answer = allowed(url, GIVEN.redirect_uri).url
    same("state", parameter(answer, "state"), "of-the-session")
    oauth = OAuth2Session(client_id=app["client_id"], redirect_uri=GIVEN.redirect_uri)
    token = oauth.fetch_token(TOKEN, client_secret=app["client_secret"], code=parameter(answer, "code"), include_client_id=True)
    same("scope", set(token["scope"]), set(scopes))
    same("history", at_the_api("/api/v1/history/listenings/", token["access_token"]), 200)

    oauth = OAuth2Session(redirect_uri=GIVEN.redirect_uri)
    token = oauth.refresh_token(TOKEN, client_id=app["client_id"], client_secret=app["client_secret"],
                                refresh_token=token["refresh_token"], include_client_id=True)
    same("seconds", token["expires_in"], 36000)
    same("history, then", at_the_api("/api/v1/history/listenings/", token["access_token"]), 200)


def android():
    """`OAuth.kt` of funkwhale-android, and what AppAuth makes of it: PKCE and a nonce by itself, `ClientSecretPost` for the token endpoint."""
    redirect_uri = "urn:/audio.funkwhale.funkwhale-android/oauth/callback"
    app = registered(name="Funkwhale for Android (Pixel 8)", redirect_uris=redirect_uri, scopes="read write")
    verifier, state = secrets.token_urlsafe(64), secrets.token_urlsafe(16)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "redirect_uri": redirect_uri,
        "client_id": app["client_id"],
        "response_type": "code",
        "state": state,
        "nonce": secrets.token_urlsafe(16),
        "scope": "read write",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    answer = allowed(f"{GIVEN.http}/authorize?{urlencode(query)}", redirect_uri).url
    same("where it goes", (answer.partition("?")[0], parameter(answer, "state")), (redirect_uri, state))
    secret = {"client_id": app["client_id"], "client_secret": app["client_secret"]}

    def sent(**form):
        headers = {"Accept": "application/json"}
        return requests.post(TOKEN, data={**form, **secret}, headers=headers, timeout=TIMEOUT)

    redemption = {"grant_type": "authorization_code", "redirect_uri": redirect_uri, "code": parameter(answer, "code")}
    same("without its verifier", sent(**redemption).status_code, 400)
    tokens = sent(**redemption, code_verifier=verifier).json()
    same("scope", tokens["scope"], "read write")
    for path in ("/api/v1/users/me/", "/api/v1/favorites/tracks/", "/api/v1/playlists/"):
        same(path, at_the_api(path, tokens["access_token"]), 200)
    renewed = sent(grant_type="refresh_token", refresh_token=tokens["refresh_token"]).json()
    same("another refresh token", renewed["refresh_token"] != tokens["refresh_token"], True)
    same("/api/v1/users/me/", at_the_api("/api/v1/users/me/", renewed["access_token"]), 200)
    same("/api/v1/users/me/ with the token of before", at_the_api("/api/v1/users/me/", tokens["access_token"]), 401)


def requests_oauthlib():
    """With PKCE, of which Funkwhale's own page forgets the challenge, and the secret in the header."""
    app = registered(name="Script", redirect_uris=GIVEN.redirect_uri, scopes="read write:favorites")
    saved = []
    session = OAuth2Session(
        app["client_id"],
        redirect_uri=GIVEN.redirect_uri,
        scope=["read", "write:favorites"],
        pkce="S256",
        auto_refresh_url=TOKEN,
        auto_refresh_kwargs={"client_id": app["client_id"], "client_secret": app["client_secret"]},
        token_updater=saved.append,
    )
    url, _ = session.authorization_url(f"{GIVEN.http}/authorize")
    page = allowed(url, GIVEN.redirect_uri)
    session.fetch_token(TOKEN, authorization_response=page.url, client_secret=app["client_secret"])
    same("username", session.get(f"{GIVEN.api}/api/v1/users/me/").json()["username"], GIVEN.account.username)
    same("a favorite", session.post(f"{GIVEN.api}/api/v1/favorites/tracks/").status_code, 201)
    same("a playlist", session.post(f"{GIVEN.api}/api/v1/playlists/").status_code, 403)
    token = session.token
    session.token = {**token, "expires_at": 1}
    same("favorites", session.get(f"{GIVEN.api}/api/v1/favorites/tracks/").json()["count"], 0)
    same("refreshed", len(saved), 1)
    try:
        session.refresh_token(TOKEN, refresh_token=token["refresh_token"])
    except InvalidGrantError as error:
        same("the refresh token of before", error.error, "invalid_grant")
    else:
        raise AssertionError("a refresh token was good twice")


run(api_client, mopidy, listenbrainz, android, requests_oauthlib)
