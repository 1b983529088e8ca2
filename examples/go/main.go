// A small service that is protected by scopegate.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"example.com/orders/scopegate"
)

func main() {
	listen := setting("LISTEN", "127.0.0.1:3000")
	gate, err := scopegate.Dial(setting("SCOPEGATE", "127.0.0.1:50051"), setting("PUBLIC_URL", "http://"+listen))
	if err != nil {
		log.Fatal(err)
	}
	routes := http.NewServeMux()
	routes.Handle("GET /orders", gate.Require(orders, "orders:read"))
	routes.Handle("POST /orders", gate.Require(orders, "orders:read", "orders:write"))

	listener, err := net.Listen("tcp", listen)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on %s\n", listener.Addr())
	server := &http.Server{Handler: routes, ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.Serve(listener))
}

func orders(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "orders of %s\n", scopegate.Identity(r).Sub)
}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
