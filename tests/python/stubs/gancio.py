"""As much of Gancio's API as shows what a token may do there: whoever has one is in, and to add an event needs its one scope."""

from stub_application import Application, api, serve

ROUTES = {
    ("GET", "/api/user"): ((), lambda user: {"id": 1, "email": user.username, "is_active": True}),
    ("POST", "/api/event"): (("event:write",), lambda user: {"id": 1, "title": "An event"}),
    ("PUT", "/api/event"): (("event:write",), lambda user: {"id": 1, "title": "An event"}),
}


class Gancio(Application):
    def handle_request(self, method, path):
        route = ROUTES.get((method, path))
        if not route:
            return self.reply(404, "Not Found", "text/plain; charset=utf-8")
        token = self.in_header("bearer") or self.query("access_token") or self.body.get("access_token")
        token = token or self.in_cookie("auth._token.local")
        answer = self.check(token, *route[0]) if token else api.CheckScopesResponse()
        if answer is None:
            return self.reply(503, "Service Unavailable", "text/plain; charset=utf-8")
        if answer.decision == api.DECISION_ALLOWED:
            return self.reply(200, route[1](answer.introspection))
        return self.reply(403, "Forbidden", "text/plain; charset=utf-8")


if __name__ == "__main__":
    serve(Gancio)
