"""An app with users of its own that scopegate asks who is signed in (login.method = "session_probe"). Standard library only.

    python examples/session_probe_app.py 8000 http://127.0.0.1:8080    # its own port, and where scopegate is
    SCOPEGATE_LOGIN__METHOD=session_probe SCOPEGATE_LOGIN__URL=http://127.0.0.1:8000/login \
    SCOPEGATE_LOGIN__PROBE_URL=http://127.0.0.1:8000/whoami SCOPEGATE_LOGIN__PROBE_COOKIES='["session"]' scopegate serve
"""

import hmac
import html
import json
import secrets
import sys
import time
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PORT, SCOPEGATE = int(sys.argv[1]), sys.argv[2]
USERS = {"ann": ("42", "correct horse", "ann@example.com")}  # a real app has a database and hashes
SESSIONS = {}  # cookie → (user name, when it signed in)


class App(BaseHTTPRequestHandler):
    def do_GET(self):
        if urlsplit(self.path).path == "/whoami":  # scopegate comes here with the cookie of its visitor
            name, since = self.session()
            if name is None:
                return self.answer(401, "application/json", "{}")
            user = {"sub": USERS[name][0], "name": name, "email": USERS[name][2], "auth_time": since}
            return self.answer(200, "application/json", json.dumps(user))
        return_to = html.escape(parse_qs(urlsplit(self.path).query).get("return_to", [""])[0])
        self.answer(200, "text/html", '<form method="post"><input name="user"><input name="password" type="password">'
                    f'<input type="hidden" name="return_to" value="{return_to}"><button>Sign in</button></form>')

    def do_POST(self):
        form = parse_qs(self.rfile.read(min(int(self.headers["content-length"] or 0), 65536)).decode())
        name, password, return_to = (form.get(key, [""])[0] for key in ("user", "password", "return_to"))
        if name not in USERS or not hmac.compare_digest(password.encode(), USERS[name][1].encode()):
            return self.answer(403, "text/plain", "That is not right.")
        session = secrets.token_urlsafe(32)
        SESSIONS[session] = (name, int(time.time()))
        if not (return_to.startswith(f"{SCOPEGATE}/") and return_to.isprintable()):  # nobody is sent anywhere else
            return_to = "/"
        cookie = f"session={session}; Path=/; HttpOnly; SameSite=Lax"
        self.answer(303, "text/plain", "", ("Location", return_to), ("Set-Cookie", cookie))

    def session(self):
        cookie = SimpleCookie(self.headers["cookie"]).get("session")
        return SESSIONS.get(cookie.value, (None, 0)) if cookie else (None, 0)

    def answer(self, status, kind, body, *headers):
        self.send_response(status)
        for header in (("Content-Type", kind), ("Cache-Control", "no-store"), *headers):
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(body.encode())


ThreadingHTTPServer(("127.0.0.1", PORT), App).serve_forever()
