// Package scopegate lets a request pass if its access token may do what the handler does. Copy it into your service.
package scopegate

import (
	"context"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	api "example.com/orders/stubs/scopegate/v1"
)

const deadline = 250 * time.Millisecond

// UNAVAILABLE means that nobody knows, so it is asked again, within the deadline.
const serviceConfig = `{"methodConfig": [{
	"name": [{"service": "scopegate.v1.TokenService", "method": "CheckScopes"}],
	"retryPolicy": {"maxAttempts": 3, "initialBackoff": "0.02s", "maxBackoff": "0.1s", "backoffMultiplier": 2,
		"retryableStatusCodes": ["UNAVAILABLE"]}}]}`

// Gate asks one sidecar.
type Gate struct {
	tokens    api.TokenServiceClient
	publicURL string
}

// Dial takes the target of a sidecar ("unix:/run/scopegate/grpc.sock", "127.0.0.1:50051"), and the address under which clients
// reach this service, without a path: DPoP proofs name it. It connects when needed, and again within a second.
func Dial(target, publicURL string) (*Gate, error) {
	connection, err := grpc.NewClient(target,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(), // the tokens are not for the proxy that leads to the rest of the world
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: time.Second, PermitWithoutStream: true}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: time.Second,
		}))
	if err != nil {
		return nil, err
	}
	return &Gate{api.NewTokenServiceClient(connection), publicURL}, nil
}

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
