"""What the test gives: a server, its clients and its user; and what flows are made of.

`SCOPEGATE_DEV` has it in JSON; tests/it/foreign_clients.rs says what is in it.
"""

import json
import os
import sys
from types import SimpleNamespace

# oauthlib takes fewer scopes than asked for as a failure, and all clients insist on https, unless told otherwise.
os.environ["OAUTHLIB_RELAX_TOKEN_SCOPE"] = "1"
if json.loads(os.environ["SCOPEGATE_DEV"])["http"].startswith("http://"):
    os.environ.update(OAUTHLIB_INSECURE_TRANSPORT="1", AUTHLIB_INSECURE_TRANSPORT="1")

import requests

from browser import Browser

GIVEN = json.loads(os.environ["SCOPEGATE_DEV"], object_hook=lambda members: SimpleNamespace(**members))
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
TIMEOUT = 5


def discover():
    answer = requests.get(f"{GIVEN.http}/.well-known/openid-configuration", timeout=TIMEOUT)
    metadata = answer.json()
    same("issuer of the metadata", metadata["issuer"], GIVEN.http)
    return metadata


def be_the_user(url, decision="approve"):
    """Signs in and decides; the page that this leads to."""
    browser = Browser(stop_at=GIVEN.redirect_uri)
    form = browser.open(url).form("/login")
    form.fill("username", GIVEN.account.username)
    form.fill("password", GIVEN.account.password)
    page = browser.submit(form)
    form = page.form("/consent" if page.has_form("/consent") else "/device")
    return browser.submit(form, ("decision", decision))


def same(what, seen, expected):
    assert seen == expected, f"{what}: expected {expected!r}, saw {seen!r}"
    print(f"{what}: {seen}", flush=True)


def raised(kind, call, *arguments, **named):
    try:
        answer = call(*arguments, **named)
    except kind as error:
        return error
    raise AssertionError(f"expected {kind.__name__}, but the call returned {answer!r}")


def run(*flows):
    """Runs the flow that the command line names."""
    name = sys.argv[1]
    {flow.__name__: flow for flow in flows}[name]()
    print(f"{name} is done")
