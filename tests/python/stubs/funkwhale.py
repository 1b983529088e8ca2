"""As much of Funkwhale's API as shows what a token may do there. Its user is no moderator: the scopes of one are cut off here, by the
application, which alone knows its users."""

from stub_application import Application, api, serve

def empty(_):
    return {"count": 0, "next": None, "previous": None, "results": []}


ROUTES = {
    "/api/v1/users/me": ("profile", lambda user: {"username": user.username, "full_username": user.username}),
    "/api/v1/libraries": ("libraries", empty),
    "/api/v1/search": ("libraries", lambda user: {"artists": [], "albums": [], "tracks": [], "tags": []}),
    "/api/v1/listen/1": ("libraries", lambda user: {"mimetype": "audio/ogg"}),
    "/api/v1/favorites/tracks": ("favorites", empty),
    "/api/v1/history/listenings": ("listenings", empty),
    "/api/v1/federation/follows/library": ("follows", empty),
    "/api/v1/playlists": ("playlists", empty),
    "/api/v1/radios/radios": ("radios", empty),
    "/api/v1/moderation/content-filters": ("filters", empty),
    "/api/v1/federation/inbox": ("notifications", empty),
    "/api/v1/mutations": ("edits", empty),
    "/api/v1/oauth/grants": ("security", lambda user: []),
    "/api/v1/instance/admin/settings": ("instance:settings", lambda user: []),
}
REALM = 'Bearer realm="api"'
INVALID = ',error="invalid_token",error_description="The access token is invalid."'
NOBODY = {"detail": "Authentication credentials were not provided."}


class Funkwhale(Application):
    def handle_request(self, method, path):
        route = ROUTES.get(path.rstrip("/"))
        if not route:
            return self.reply(404, {"detail": "Not found."})
        token = self.in_header("bearer") or self.query("token")
        if not token and "Authorization" not in self.headers:
            token = self.query("access_token") or self.body.get("access_token")
        if not token:
            return self.reply(401, NOBODY, WWW_Authenticate=REALM)
        scope = f"{'read' if method == 'GET' else 'write'}:{route[0]}"
        answer = self.check(token, scope)
        if answer is None:
            return self.reply(503, {"detail": "Service temporarily unavailable."})
        if answer.decision == api.DECISION_ALLOWED and ":instance:" not in scope:
            return self.reply(201 if method == "POST" else 200, route[1](answer.introspection))
        if answer.decision in (api.DECISION_ALLOWED, api.DECISION_INSUFFICIENT_SCOPE):
            return self.reply(403, {"detail": "You do not have permission to perform this action."})
        return self.reply(401, NOBODY, WWW_Authenticate=REALM + INVALID)


if __name__ == "__main__":
    serve(Funkwhale)
