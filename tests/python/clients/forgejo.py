"""Clients of Forgejo, unmodified, one function per client; `GIVEN.flow` names one. tests/it/forgejo.rs says what else is given.

What they talk to is one origin, as a forge is: the sidecar and the application behind one proxy.
"""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

# Behind the packages: one of them is called openid, as a program there is.
sys.path.append(str(Path(__file__).resolve().parent.parent))

import requests

from browser import Browser
from given import GIVEN, TIMEOUT, raised, same

AUTHORIZE = f"{GIVEN.http}/login/oauth/authorize"
TOKEN = f"{GIVEN.http}/login/oauth/access_token"
APP = GIVEN.app


def allow(url, stop_at):
    """Signs in and allows; where the browser arrives. Without `stop_at`, that is a page of the client."""
    browser = Browser(stop_at)
    form = browser.open(url).form("/login")
    form.fill("username", GIVEN.account.username)
    form.fill("password", GIVEN.account.password)
    page = browser.submit(form)
    same("it is everything, and the user is told", "Full access to your account" in page.text, True)
    return browser.submit(page.form("/login/oauth/grant"), ("granted", "true"))


def login_of(token, scheme="token"):
    headers = {"Authorization": f"{scheme} {token}"}
    return requests.get(f"{GIVEN.http}/api/v1/user", headers=headers, timeout=TIMEOUT).json()["login"]


def git_credential_oauth():
    """The helper of Debian. It asks git how to reach a host, and opens a browser: ours does nothing, as the URL is printed, too."""
    with tempfile.TemporaryDirectory() as home:
        browser = Path(home, "open")
        browser.write_text("#!/bin/sh\nexit 0\n")
        browser.chmod(stat.S_IRWXU)
        environment = {"PATH": f"{home}:{os.environ['PATH']}", "HOME": home, "GIT_CONFIG_NOSYSTEM": "1"}
        for name, value in [
            ("oauthClientId", "a4792ccc-144e-407e-86c9-5e7d8d9c3269"),
            ("oauthAuthURL", "/login/oauth/authorize"),
            ("oauthTokenURL", "/login/oauth/access_token"),
        ]:
            key = f"credential.{GIVEN.http}.{name}"
            subprocess.run(["git", "config", "--global", key, value], env=environment, check=True)
        helper = subprocess.Popen(
            ["git-credential-oauth", "get"], env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        try:
            helper.stdin.write(f"protocol=http\nhost={urlsplit(GIVEN.http).netloc}\n\n")
            helper.stdin.close()
            said = []
            for line in helper.stderr:
                said.append(line)
                if line.startswith(f"{AUTHORIZE}?"):
                    break
            else:
                raise AssertionError(f"it shows no URL: {said}")
            same("scope", parse_qs(urlsplit(line).query).get("scope"), None)
            same("status of its own page", allow(line.strip(), stop_at=None).status, 200)
            credential = dict(line.rstrip("\n").split("=", 1) for line in helper.stdout)
            same("exit code", helper.wait(TIMEOUT), 0)
        finally:
            helper.kill()
        same("whose token it is", login_of(credential["password"]), GIVEN.account.username)


def social_auth():
    """The strategy and the storage are those parts of python-social-auth that each framework brings."""
    from social_core.backends.gitea import GiteaOAuth2
    from social_core.storage import BaseStorage, NonceMixin
    from social_core.strategy import BaseStrategy

    class Nonce(NonceMixin):
        known = set()

        @classmethod
        def use(cls, server_url, timestamp, salt):
            cls.known.add((server_url, timestamp, salt))
            return True

        @classmethod
        def consume(cls, server_url, timestamp, salt):
            cls.known.remove((server_url, timestamp, salt))
            return True

    class Storage(BaseStorage):
        nonce = Nonce

    class Strategy(BaseStrategy):
        session, data = {}, {}
        settings = {
            "SOCIAL_AUTH_GITEA_KEY": APP.client_id,
            "SOCIAL_AUTH_GITEA_SECRET": APP.client_secret,
            "SOCIAL_AUTH_GITEA_API_URL": GIVEN.http,
        }

        def get_setting(self, name):
            return self.settings[name]

        def request_data(self, merge=True):
            return self.data

        def build_absolute_uri(self, path=None):
            return path

        def session_get(self, name, default=None):
            return self.session.get(name, default)

        def session_set(self, name, value):
            self.session[name] = value

        def session_pop(self, name):
            return self.session.pop(name, None)

        def authenticate(self, backend, *args, **kwargs):
            return kwargs["response"]

    strategy = Strategy(Storage)
    backend = GiteaOAuth2(strategy, GIVEN.redirect_uri)
    url = backend.auth_url()
    same("scope", parse_qs(urlsplit(url).query).get("scope"), None)
    answered = urlsplit(allow(url, GIVEN.redirect_uri).url)
    backend.data = {name: values[0] for name, values in parse_qs(answered.query).items()}
    response = backend.auth_complete()
    same("username", backend.get_user_details(response)["username"], GIVEN.account.username)
    same("token_type", response["token_type"], "bearer")
    renewed = backend.refresh_token(response["refresh_token"])
    same("another access token", renewed["access_token"] != response["access_token"], True)
    same("whose it is", login_of(renewed["access_token"], "Bearer"), GIVEN.account.username)


def allauth():
    """One site, one page after the other, in memory."""
    import django
    from django.conf import settings
    from django.core.management import call_command
    from django.urls import include, path

    global urlpatterns
    settings.configure(
        ALLOWED_HOSTS=["*"],
        AUTHENTICATION_BACKENDS=["allauth.account.auth_backends.AuthenticationBackend"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=[
            "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "django.contrib.messages",
            "allauth", "allauth.account", "allauth.socialaccount", "allauth.socialaccount.providers.gitea",
        ],
        LOGIN_REDIRECT_URL="/welcome",
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            "allauth.account.middleware.AccountMiddleware",
        ],
        ROOT_URLCONF=__name__,
        SECRET_KEY="of this test",
        ACCOUNT_EMAIL_VERIFICATION="none",
        SOCIALACCOUNT_STORE_TOKENS=True,
        SOCIALACCOUNT_PROVIDERS={
            "gitea": {
                "GITEA_URL": GIVEN.http,
                "APPS": [{"client_id": APP.client_id, "secret": APP.client_secret}],
            }
        },
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    )
    django.setup()
    urlpatterns = [path("accounts/", include("allauth.urls"))]
    call_command("migrate", verbosity=0)

    from allauth.socialaccount.models import SocialAccount, SocialToken
    from django.test import Client

    callback = urlsplit(GIVEN.django_uri)
    site = Client(HTTP_HOST=callback.netloc)
    to_forge = site.post("/accounts/gitea/login/")
    same("status", to_forge.status_code, 302)
    answered = urlsplit(allow(to_forge.headers["Location"], GIVEN.django_uri).url)
    welcome = site.get(f"{answered.path}?{answered.query}")
    same("signed in", (welcome.status_code, welcome.headers["Location"]), (302, "/welcome"))
    same("account", SocialAccount.objects.get().extra_data["login"], GIVEN.account.username)
    same("whose token it is", login_of(SocialToken.objects.get().token), GIVEN.account.username)


def requests_oauthlib():
    from oauthlib.oauth2.rfc6749.errors import UnauthorizedClientError
    from requests_oauthlib import OAuth2Session

    session = OAuth2Session(APP.client_id, redirect_uri=GIVEN.redirect_uri, scope=["openid", "profile"])
    url, _ = session.authorization_url(AUTHORIZE)
    answered = allow(url, GIVEN.redirect_uri).url
    first = dict(session.fetch_token(TOKEN, authorization_response=answered, client_secret=APP.client_secret))
    same("token_type", first["token_type"], "bearer")
    user = session.get(f"{GIVEN.http}/login/oauth/userinfo").json()
    same("preferred_username", user["preferred_username"], GIVEN.account.username)
    same("login", session.get(f"{GIVEN.http}/api/v1/user").json()["login"], GIVEN.account.username)
    credentials = {"client_id": APP.client_id, "client_secret": APP.client_secret}
    second = session.refresh_token(TOKEN, refresh_token=first["refresh_token"], **credentials)
    same("another access token", second["access_token"] != first["access_token"], True)
    used = raised(UnauthorizedClientError, session.refresh_token, TOKEN, refresh_token=first["refresh_token"], **credentials)
    same("a used refresh token", used.description, "token was already used")


{flow.__name__: flow for flow in [git_credential_oauth, social_auth, allauth, requests_oauthlib]}[GIVEN.flow]()
