"""A third-party app: asks a user of scopegate for access, with nothing but Python's standard library.

    scopegate dev                         # in another terminal
    python examples/third_party_app.py    # [scopegate-data/demo.json [http://127.0.0.1:8080]]
"""

import base64
import hashlib
import html
import json
import secrets
import shlex
import sys
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlencode, urlsplit
from urllib.request import Request, urlopen

try:
    DEMO = json.load(open(sys.argv[1] if len(sys.argv) > 1 else "scopegate-data/demo.json", encoding="utf-8"))
except FileNotFoundError as missing:
    raise SystemExit(f"{missing.filename} is not there: start `scopegate dev` first")
ISSUER = sys.argv[2] if len(sys.argv) > 2 else "http://127.0.0.1:8080"
VERIFIERS = {}  # state → PKCE verifier, of the requests that are under way


def metadata():
    found = json.load(urlopen(f"{ISSUER}/.well-known/oauth-authorization-server", timeout=5))
    if found["issuer"] != ISSUER:  # RFC 8414 section 3.3
        raise ValueError(f"the server at {ISSUER} says that it is {found['issuer']}")
    return found


def authorization_url(state):
    VERIFIERS[state] = verifier = secrets.token_urlsafe(32)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = {"response_type": "code", "client_id": DEMO["client_id"], "redirect_uri": DEMO["redirect_uri"],
             "scope": " ".join(DEMO["scopes"]), "state": state,
             "code_challenge": challenge, "code_challenge_method": "S256"}
    return f"{metadata()['authorization_endpoint']}?{urlencode(query)}"


def tokens_for(answer, cookie_state):
    """Redeems the code in the parameters of the callback, if they answer this browser's own request."""
    ours = secrets.compare_digest(answer.get("state", "").encode(), cookie_state.encode())
    if not ours or not (verifier := VERIFIERS.pop(cookie_state, None)):
        raise ValueError("this is no answer to a request of yours; connect again")
    if answer.get("iss") != ISSUER:  # RFC 9207: another server could have sent it
        raise ValueError("this answer came from another server")
    if "code" not in answer:
        raise ValueError(f"access was not given: {answer.get('error')}")
    form = {"code": answer["code"], "code_verifier": verifier, "redirect_uri": DEMO["redirect_uri"],
            "grant_type": "authorization_code"}
    credentials = base64.b64encode(f"{DEMO['client_id']}:{DEMO['client_secret']}".encode()).decode()
    request = Request(metadata()["token_endpoint"], urlencode(form).encode(), {"Authorization": f"Basic {credentials}"})
    return json.load(urlopen(request, timeout=5))


class App(BaseHTTPRequestHandler):
    def do_GET(self):
        url = urlsplit(self.path)
        try:
            if url.path == "/":
                self.page("<p>This app would like to see your orders. <a href='/connect'>Connect</a></p>")
            elif url.path == "/connect":
                state = secrets.token_urlsafe(16)  # the cookie ties the answer to this browser
                self.reply(303, {"Location": authorization_url(state),
                                 "Set-Cookie": f"demo_app_state={state}; HttpOnly; SameSite=Lax; Path=/"})
            elif url.path == urlsplit(DEMO["redirect_uri"]).path:
                cookie = SimpleCookie(self.headers["Cookie"]).get("demo_app_state")
                self.connected(tokens_for(dict(parse_qsl(url.query)), cookie.value if cookie else ""))
            else:
                self.page("<p>There is nothing here.</p>", 404)
        except (OSError, ValueError) as error:  # urllib's errors are OSErrors
            self.page(f"<p>{html.escape(str(error))}</p><p><a href='/'>Start again</a></p>", 400)

    def connected(self, tokens):
        token = shlex.quote(tokens["access_token"])
        verbs = [f"check {token} --scope {scope}" for scope in DEMO["scopes"]]
        tries = "\n".join(f"scopegate token {verb}" for verb in [*verbs, f"introspect {token}", f"revoke {token}"])
        self.page(f"<p>Connected, with these scopes: <b>{html.escape(tokens['scope'])}</b></p><p>The access token:</p>"
                  f"<pre>{html.escape(tokens['access_token'])}</pre><p>Try:</p><pre>{html.escape(tries)}</pre>")

    def page(self, body, status=200):
        headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": "default-src 'none'"}
        self.reply(status, headers, f"<!doctype html><title>Demo shop</title><h1>Demo shop</h1>{body}")

    def reply(self, status, headers, body=""):
        self.send_response(status)
        for name, value in {**headers, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        """Nothing: requests carry codes."""


address = urlsplit(DEMO["redirect_uri"])
print(f"Open http://{address.netloc}/ in a browser. Ctrl-C ends it.", flush=True)
ThreadingHTTPServer((address.hostname, address.port), App).serve_forever()
