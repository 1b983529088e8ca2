"""As much of Forgejo's API as shows what a token may do there. Each user has a public and a private repository."""

import re

from stub_application import Application, api, serve

CATEGORIES = [(r"/api/v1/user", "user"), (r"/api/v1/user/repos", "repository"), (r"/api/v1/users/[^/]+/repos", "repository")]


class Forgejo(Application):
    def error(self, status, message):
        return self.reply(status, {"message": message, "url": "/api/swagger"}, "application/json;charset=utf-8")

    def handle_request(self, method, path):
        category = next((category for pattern, category in CATEGORIES if re.fullmatch(pattern, path)), None)
        if not category:
            return self.error(404, "The target couldn't be found.")
        token = self.query("token") or self.query("access_token") or self.body.get("token") or self.body.get("access_token")
        token = token or self.in_header("bearer", exact=("token",))
        scope = f"{'read' if method == 'GET' else 'write'}:{category}"
        answer = self.check(token, scope) if token else api.CheckScopesResponse()
        if answer is None:
            return self.error(503, "Service Unavailable")
        if answer.decision == api.DECISION_INSUFFICIENT_SCOPE:
            return self.error(403, f"token does not have at least one of required scope(s): [{scope}]")
        if answer.decision != api.DECISION_ALLOWED:
            return self.error(401, "token is required")
        user = answer.introspection.username
        if category == "user":
            return self.reply(200, {"id": 1, "login": user, "username": user, "email": f"{user}@example.com"})
        repositories = [{"name": "open", "private": False}]
        if "public-only" not in answer.introspection.scopes:  # or `answer.restrictions`
            repositories.append({"name": "hidden", "private": True})
        return self.reply(200, repositories)


if __name__ == "__main__":
    serve(Forgejo)
