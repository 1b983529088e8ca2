// Where the schemas of tests/python/gateways.py come from. No Go is built: `go mod download` fetches these and compares their hashes with go.sum.
module example.com/schemas

go 1.26.7

require (
	github.com/envoyproxy/gateway v1.9.1
	github.com/projectcontour/contour v1.33.8
	istio.io/api v1.31.1
)
