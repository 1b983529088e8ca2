"""As much of FitTrackee's API as shows what a token may do there."""

from stub_application import Application, api, serve

ROUTES = {
    ("GET", "/api/auth/profile"): ("profile:read", lambda user: {"data": {"username": user.username}}),
    ("GET", "/api/workouts"): ("workouts:read", lambda user: {"data": {"workouts": []}}),
    ("POST", "/api/workouts"): ("workouts:write", lambda user: {"data": {"workouts": [{"id": "x"}]}}),
    ("GET", "/api/sports"): ("workouts:read", lambda user: {"data": {"sports": [{"id": 1, "label": "Cycling"}]}}),
    ("PATCH", "/api/config"): ("application:write", lambda user: {"data": {}}),
}
INVALID = "The access token provided is expired, revoked, malformed, or invalid for other reasons."
LACKING = "The request requires higher privileges than provided by the access token."


class FitTrackee(Application):
    def handle_request(self, method, path):
        if (method, path) == ("GET", "/api/config"):  # everybody may know
            return self.reply(200, {"status": "success", "data": {"version": "0.7.31"}})
        route = ROUTES.get((method, path))
        if not route:
            return self.reply(404, {"status": "not found", "message": "resource not found"})
        token = self.in_header("bearer")
        if not token:
            return self.reply(401, {"status": "error", "message": "provide a valid auth token"})
        answer = self.check(token, route[0])
        if answer is None:
            return self.reply(503, {"status": "error", "message": "error, please try again or contact the administrator"})
        if answer.decision == api.DECISION_ALLOWED:
            return self.reply(200, {"status": "success", **route[1](answer.introspection)})
        if answer.decision == api.DECISION_INSUFFICIENT_SCOPE:
            return self.reply(403, {"error": "insufficient_scope", "error_description": LACKING})
        challenge = f'Bearer error="invalid_token", error_description="{INVALID}"'
        return self.reply(401, {"error": "invalid_token", "error_description": INVALID}, WWW_Authenticate=challenge)


if __name__ == "__main__":
    serve(FitTrackee)
