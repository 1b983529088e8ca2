// Package scopegate lets a request pass if its access token may do what the handler does. Copy it into your service.
package scopegate

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	api "example.com/orders/stubs/scopegate/v1"
)

// For all attempts together.
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
