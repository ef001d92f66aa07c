package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// serve answers every kind of exchange, and says who asked.
func serve(address string) error {
	server := &http.Server{Addr: address, Handler: http.HandlerFunc(answer), Protocols: http2(true)}
	return server.ListenAndServe()
}

func answer(writer http.ResponseWriter, request *http.Request) {
	peer, _, _ := net.SplitHostPort(request.RemoteAddr)
	writer.Header().Set("X-Peer", peer)
	switch {
	case request.Header.Get("Upgrade") == "websocket":
		upgrade(writer, peer)
	case strings.HasPrefix(request.Header.Get("Content-Type"), "application/grpc"):
		call(writer, request)
	default:
		received, err := io.Copy(io.Discard, request.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		writer.Header().Set("X-Received", strconv.FormatInt(received, 10))
		_, _ = io.WriteString(writer, "ok\n")
	}
}

// upgrade sends back each byte, as the application behind a WebSocket would; nobody here looks into frames.
func upgrade(writer http.ResponseWriter, peer string) {
	connection, buffered, err := http.NewResponseController(writer).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer connection.Close()
	head := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Peer: " + peer + "\r\n\r\n"
	if _, err := io.WriteString(connection, head); err == nil {
		_, _ = io.Copy(connection, buffered)
	}
}

// call sends back each message of a gRPC call, of one or of many.
func call(writer http.ResponseWriter, request *http.Request) {
	flush := http.NewResponseController(writer).Flush
	writer.Header().Set("Content-Type", "application/grpc")
	writer.Header().Set("Trailer", "Grpc-Status")
	_ = flush()
	for {
		message, err := receive(request.Body)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			_, err = writer.Write(message)
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		_ = flush()
	}
	writer.Header().Set("Grpc-Status", "0")
}
