package scopegate

import (
	"context"
	"net/http"
	"strings"

	api "example.com/orders/stubs/scopegate/v1"
)

type identityKey struct{}

// Identity says whose token a request came with, behind Require.
func Identity(r *http.Request) *api.IntrospectResponse {
	return r.Context().Value(identityKey{}).(*api.IntrospectResponse)
}

// Require lets pass what has all of these scopes.
func (g *Gate) Require(next http.HandlerFunc, scopes ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		presented := r.Header.Values("Authorization")
		if len(presented) > 1 { // RFC 6750 section 2: one token, in one way
			refuse(w, http.StatusBadRequest, `Bearer error="invalid_request"`)
			return
		}
		scheme, token, _ := strings.Cut(strings.Join(presented, ""), " ")
		bound := strings.EqualFold(scheme, "DPoP")
		if token == "" || !bound && !strings.EqualFold(scheme, "Bearer") {
			refuse(w, http.StatusUnauthorized, `Bearer scope="`+strings.Join(scopes, " ")+`"`)
			return
		}
		question := &api.CheckScopesRequest{Token: token, RequiredScopes: scopes, IncludeIntrospection: true}
		if bound { // RFC 9449
			question.Proof = &api.Proof{
				Dpop: r.Header.Values("DPoP"), HttpMethod: r.Method, HttpUri: g.publicURL + r.URL.EscapedPath(),
			}
		}
		ctx, cancel := context.WithTimeout(r.Context(), deadline)
		defer cancel()
		answer, err := g.tokens.CheckScopes(ctx, question)
		switch {
		case err != nil: // not 401: the token may be good
			w.Header().Set("Retry-After", "1")
			refuse(w, http.StatusServiceUnavailable, "")
		case answer.Decision == api.Decision_DECISION_ALLOWED:
			next(w, r.WithContext(context.WithValue(r.Context(), identityKey{}, answer.Introspection)))
		default:
			refuse(w, int(answer.HttpStatus), answer.WwwAuthenticate)
		}
	})
}

func refuse(w http.ResponseWriter, status int, challenge string) {
	if challenge != "" {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
}
