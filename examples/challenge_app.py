"""An app with users of its own to which scopegate sends browsers (login.method = "challenge"). Standard library only.

    export TOKEN=$(openssl rand -base64 32)
    SCOPEGATE_LOGIN__METHOD=challenge SCOPEGATE_LOGIN__URL=http://127.0.0.1:8000/login SCOPEGATE_GRPC__CALLER_TOKEN=$TOKEN scopegate serve
    python examples/challenge_app.py 8000 http://127.0.0.1:8080    # its own port, and where scopegate is
"""

import hmac
import html
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.parse import parse_qs, quote, urlsplit
from urllib.request import Request, urlopen

PORT, SCOPEGATE, TOKEN = int(sys.argv[1]), sys.argv[2], os.environ["TOKEN"]
USERS = {"ann": ("42", "correct horse")}  # a real app has a database and hashes


class App(BaseHTTPRequestHandler):
    def do_GET(self):
        challenge = parse_qs(urlsplit(self.path).query).get("login_challenge", [""])[0]
        if asked := self.ask("GET", "login", challenge):
            client, hint = (html.escape(text) for text in (asked["client"]["client_name"], asked["oidc_context"].get("login_hint", "")))
            self.answer(200, "text/html", f'<h1>Sign in to {client}</h1><form method="post"><input name="user" value="{hint}">'
                        '<input name="password" type="password"><input name="remember" type="checkbox">'
                        f'<input type="hidden" name="challenge" value="{html.escape(challenge)}"><button>Sign in</button></form>')

    def do_POST(self):
        form = parse_qs(self.rfile.read(min(int(self.headers["content-length"] or 0), 65536)).decode())
        name, password, challenge = (form.get(key, [""])[0] for key in ("user", "password", "challenge"))
        if name not in USERS or not hmac.compare_digest(password.encode(), USERS[name][1].encode()):
            return self.answer(403, "text/plain", "That is not right.")
        user = {"subject": USERS[name][0], "remember": "remember" in form, "amr": ["pwd"], "claims": {"name": name}}
        if accepted := self.ask("PUT", "login/accept", challenge, user):
            self.answer(303, "text/plain", "", ("Location", accepted["redirect_to"]))

    def ask(self, method, what, challenge, body=None):
        url = f"{SCOPEGATE}/admin/oauth2/auth/requests/{what}?login_challenge={quote(challenge, safe='')}"
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        try:
            with urlopen(Request(url, body and json.dumps(body).encode(), headers, method=method), timeout=5) as answer:
                return json.load(answer)
        except HTTPError as error:  # 410: it was used or has expired, and scopegate says where to start again
            if error.code != 410:
                return self.answer(502, "text/plain", "Go back and start again.")
            self.answer(303, "text/plain", "", ("Location", json.load(error)["redirect_to"]))

    def answer(self, status, kind, body, *headers):
        self.send_response(status)
        for header in (("Content-Type", kind), ("Cache-Control", "no-store"), *headers):
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(body.encode())


ThreadingHTTPServer(("127.0.0.1", PORT), App).serve_forever()
