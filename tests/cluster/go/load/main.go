// Command load makes traffic of every kind at given rates, and serves it.
//
//	load serve ADDRESS
//	load run WEB RPC RATE LIFE
//
// It makes RATE exchanges a second until SIGTERM, and ends a stream after LIFE seconds. It says that it runs, and at
// last prints one JSON object: how many exchanges of each kind there were through whom, what became of each long-lived
// connection, and what failed.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	if err := start(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func start(arguments []string) error {
	switch {
	case len(arguments) == 2 && arguments[0] == "serve":
		return serve(arguments[1])
	case len(arguments) == 5 && arguments[0] == "run":
		return run(arguments[1], arguments[2], arguments[3:])
	}
	return fmt.Errorf("usage: load serve ADDRESS | load run WEB RPC RATE LIFE")
}

func run(web, rpc string, numbers []string) error {
	var values [2]float64
	for i, text := range numbers {
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return err
		}
		values[i] = value
	}
	// Looked up once: what is tested is not the name server.
	targets := make([]target, 2)
	for i, name := range []string{web, rpc} {
		addresses, err := net.LookupHost(name)
		if err != nil {
			return err
		}
		targets[i] = target{name, net.JoinHostPort(addresses[0], "80")}
	}
	over, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	made := newLoad(over, targets[0], targets[1], time.Duration(values[1]*float64(time.Second)))
	made.run(values[0], func() { fmt.Println("running") })
	return json.NewEncoder(os.Stdout).Encode(made.seen)
}

// http2 is HTTP/2 without TLS, with prior knowledge; a server takes HTTP/1.1 too.
func http2(also1 bool) *http.Protocols {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(also1)
	protocols.SetUnencryptedHTTP2(true)
	return protocols
}
