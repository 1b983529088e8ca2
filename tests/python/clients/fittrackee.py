"""Programs that were written for FitTrackee, one function per flow. `GIVEN.http` is where clients think that FitTrackee is."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

sys.path.insert(0, str(Path(__file__).parent.parent))

from given import GIVEN, TIMEOUT, raised, run, same

# These are told no less than they asked for.
del os.environ["OAUTHLIB_RELAX_TOKEN_SCOPE"]

import requests
import yaml
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from browser import Browser
from oauthlib.oauth2.rfc6749.errors import InvalidClientError, InvalidGrantError
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

AUTHORIZE = f"{GIVEN.http}/profile/apps/authorize"
TOKEN = f"{GIVEN.http}/api/oauth/token"
REVOKE = f"{GIVEN.http}/api/oauth/revoke"
SCOPES = ["profile:read", "workouts:read", "workouts:write"]
CLIENT = GIVEN.client


def at_our_page(url):
    """Signs in at the pages of the sidecar and allows everything; the redirect."""
    browser = Browser(stop_at=CLIENT.redirect_uri)
    form = browser.open(url).form("/login")
    form.fill("username", GIVEN.account.username)
    form.fill("password", GIVEN.account.password)
    return browser.submit(browser.submit(form).form("/consent"), ("decision", "approve")).url


def at_its_page(url):
    """What FitTrackee's page sends when its user allows everything: it has the user's token, and knows no `redirect_uri`."""
    asked = dict(parse_qsl(urlsplit(url).query))
    headers = {"Authorization": "Bearer of.the.app", "Sec-Fetch-Site": "same-origin"}
    app = requests.get(f"{GIVEN.http}/api/oauth/apps/{asked['client_id']}", headers=headers, timeout=TIMEOUT).json()
    same("the app that the page shows", app["data"]["client"]["client_id"], CLIENT.client_id)
    names = ["client_id", "response_type", "scope", "state", "code_challenge", "code_challenge_method"]
    fields = {name: (None, asked[name]) for name in names if name in asked} | {"confirm": (None, "true")}
    headers["Origin"] = GIVEN.http
    answer = requests.post(f"{GIVEN.http}/api/oauth/authorize", files=fields, headers=headers, timeout=TIMEOUT)
    assert answer.headers["content-type"] == "application/json" and answer.status_code == 200, answer.text
    return answer.json()["redirect_url"]


def garmin_to_fittrackee():
    """The program as it is: `setup fittrackee`, then what `sync` does with FitTrackee, which refreshes by itself."""
    directory = tempfile.TemporaryDirectory()
    home = Path(directory.name)
    os.environ.update(HOME=str(home), CONFIG_PATH=str(home), COLUMNS="100000", PYTHONUNBUFFERED="1")
    command = [str(Path(sys.executable).with_name("garmin2fittrackee")), "setup", "fittrackee"]
    command += ["--client-id", CLIENT.client_id, "--client-secret", CLIENT.client_secret]
    command += ["--fittrackee-domain", urlsplit(GIVEN.http).netloc]
    setup = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = ""
    while "authorize access" not in said:
        line = setup.stdout.readline()
        assert line, f"it ended: {said}"
        said += line
    [url] = [word for word in said.split() if word.startswith("https://")]
    same("where it sends its user", url.partition("?")[0], AUTHORIZE)
    rest, _ = setup.communicate(at_its_page(url) + "\n", timeout=30)
    same(f"exit status of setup ({rest})", setup.returncode, 0)

    from garmin_to_fittrackee.fittrackee import Fittrackee

    tool = Fittrackee(str(home))
    same("sports", tool.get_sports()["data"]["sports"][0]["label"], "Cycling")
    workout = home / "1.gpx"
    workout.write_text("<gpx/>")
    same("upload", tool.upload_workout(workout, 1).id, "x")

    # As if its token had expired. What it asks next goes into the form of the refresh: `params={'per_page': 1, …}&allow_redirects=True`.
    file = home / "fittrackee.yml"
    saved = yaml.load(file.read_text(), Loader=yaml.Loader)
    before = dict(saved["tokens"])
    saved["tokens"]["expires_at"] = 1
    file.write_text(yaml.dump(saved))
    same("workouts after a refresh", Fittrackee(str(home)).is_workout_present(), False)
    after = yaml.load(file.read_text(), Loader=yaml.Loader)["tokens"]
    same("another token", after["access_token"] != before["access_token"], True)
    same("scopes", sorted(after["scope"]), SCOPES)
    old = {"Authorization": f"Bearer {before['access_token']}"}
    same("the token before", requests.get(f"{GIVEN.http}/api/workouts", headers=old, timeout=TIMEOUT).status_code, 401)


def requests_oauthlib():
    """As the document says: PKCE, and the client's credentials in the body."""
    saved = []
    credentials = {"client_id": CLIENT.client_id, "client_secret": CLIENT.client_secret}
    session = OAuth2Session(
        CLIENT.client_id,
        redirect_uri=CLIENT.redirect_uri,
        scope=SCOPES,
        pkce="S256",
        auto_refresh_url=TOKEN,
        auto_refresh_kwargs=credentials,
        token_updater=saved.append,
    )
    url, _ = session.authorization_url(AUTHORIZE)
    redirect = at_our_page(url)
    said = {"authorization_response": redirect, "include_client_id": True}
    wrong = raised(InvalidClientError, session.fetch_token, TOKEN, client_secret="wrong", **said)
    same("a wrong secret", wrong.description, "The client cannot authenticate with methods: ['client_secret_post']")
    basic = HTTPBasicAuth(CLIENT.client_id, CLIENT.client_secret)
    raised(InvalidClientError, session.fetch_token, TOKEN, authorization_response=redirect, auth=basic)
    token = dict(session.fetch_token(TOKEN, client_secret=CLIENT.client_secret, **said))
    same("scope", token["scope"], SCOPES)
    same("lifetime", token["expires_in"], 864_000)
    again = raised(InvalidGrantError, OAuth2Session(CLIENT.client_id).fetch_token, TOKEN, client_secret=CLIENT.client_secret, **said)
    same("the same code again", again.description, "Invalid 'code' in request.")

    redirect = at_our_page(session.authorization_url(AUTHORIZE)[0])
    said["authorization_response"] = redirect
    token = dict(session.fetch_token(TOKEN, client_secret=CLIENT.client_secret, **said))
    profile = f"{GIVEN.app}/api/auth/profile"
    same("user", session.get(profile).json()["data"]["username"], GIVEN.account.username)
    session.token = {**token, "expires_at": 1}
    same("user after a refresh", session.get(profile).json()["data"]["username"], GIVEN.account.username)
    same("refreshed", [renewed["access_token"] != token["access_token"] for renewed in saved], [True])
    revoked = session.post(REVOKE, data={"token": saved[0]["access_token"], **credentials}, withhold_token=True)
    same("revoked", (revoked.status_code, revoked.json()), (200, {}))
    same("after that", session.get(profile).json()["error"], "invalid_token")


def authlib():
    session = AuthlibSession(
        CLIENT.client_id,
        CLIENT.client_secret,
        token_endpoint_auth_method="client_secret_post",
        revocation_endpoint_auth_method="client_secret_post",
        scope=" ".join(SCOPES),
        code_challenge_method="S256",
        token_endpoint=TOKEN,
    )
    verifier = "0123456789012345678901234567890123456789012"
    url, state = session.create_authorization_url(AUTHORIZE, code_verifier=verifier)
    token = session.fetch_token(TOKEN, authorization_response=at_our_page(url), code_verifier=verifier, state=state)
    same("scope", token["scope"], " ".join(SCOPES))
    same("workouts", session.get(f"{GIVEN.app}/api/workouts").json()["data"]["workouts"], [])
    renewed = session.refresh_token(TOKEN, refresh_token=token["refresh_token"])
    same("another token", renewed["access_token"] != token["access_token"], True)
    same("revoked", session.revoke_token(REVOKE, token=renewed["refresh_token"]).json(), {})
    same("after that", session.get(f"{GIVEN.app}/api/workouts").status_code, 401)


def strava_to_fittrackee():
    """strava-to-fittrackee is in no registry, and it signs in at Strava first; these are its calls. It says `https://self.host/callback`
    literally, whatever was registered, and works because that is never read.
    """
    session = OAuth2Session(
        CLIENT.client_id, redirect_uri="https://self.host/callback", scope="workouts:read workouts:write profile:read"
    )
    url, _ = session.authorization_url(AUTHORIZE)
    token = session.fetch_token(
        TOKEN,
        authorization_response=at_our_page(url),
        client_secret=CLIENT.client_secret,
        include_client_id=True,
        verify=True,
    )
    same("scopes", sorted(token["scope"]), SCOPES)
    same("user", session.get(f"{GIVEN.app}/api/auth/profile").json()["data"]["username"], GIVEN.account.username)
    same("sports", session.get(f"{GIVEN.app}/api/sports").json()["data"]["sports"][0]["id"], 1)


run(garmin_to_fittrackee, requests_oauthlib, authlib, strava_to_fittrackee)
