"""The resources of oauthlib's document: each view has scopes under which it is bound. In place of `server.verify_request`, it asks.

The document answers 403 to whatever is not valid; this answers what the sidecar says, as RFC 6750 has it.
"""

from stub_application import Application, api, serve

SCOPES = {"/userProfile": ("https://example.com/userProfile",), "/pictures": ("https://example.com/pictures",)}


class Provider(Application):
    def handle_request(self, method, path):
        required = SCOPES.get(path)
        if not required:
            return self.reply(404, "Not Found", "text/plain")
        # As oauthlib: whoever sends the header has the token there.
        if "Authorization" in self.headers:
            token = self.in_header("bearer")
        else:
            token = self.query("access_token") or self.body.get("access_token")
        if not token:
            return self.reply(401, "", "text/plain", WWW_Authenticate="Bearer")
        answer = self.check(token, *required)
        if answer is None:
            return self.reply(503, "Service Unavailable", "text/plain")
        if answer.decision == api.DECISION_ALLOWED:
            known = answer.introspection
            return self.reply(200, {"client": known.client_id, "user": known.username, "scopes": known.scope.split()})
        self.reply(answer.http_status, "", "text/plain", WWW_Authenticate=answer.www_authenticate)


if __name__ == "__main__":
    serve(Provider)
