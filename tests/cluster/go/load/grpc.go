package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	prefix    = 5
	frameHead = 9
	goAway    = 7
)

// message is a gRPC message: a flag, its length, its bytes.
func message(content []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(content))), content...)
}

// receive reads one message, with its prefix; io.EOF where no more begins.
func receive(from io.Reader) ([]byte, error) {
	head := make([]byte, prefix)
	if _, err := io.ReadFull(from, head); err != nil {
		return nil, err
	}
	whole := append(head, make([]byte, binary.BigEndian.Uint32(head[1:]))...)
	if _, err := io.ReadFull(from, whole[prefix:]); err != nil {
		return nil, fmt.Errorf("in a message: %w", io.ErrUnexpectedEOF)
	}
	return whole, nil
}

// watched is a connection that notices when the other side says GOAWAY, which Go's client keeps to itself.
type watched struct {
	net.Conn
	head   []byte
	skip   int
	began  time.Time
	leaves atomic.Bool
	closed func(*watched)
	once   sync.Once
}

func (w *watched) Read(buffer []byte) (int, error) {
	count, err := w.Conn.Read(buffer)
	w.look(buffer[:count])
	return count, err
}

func (w *watched) Close() error {
	if w.closed != nil {
		w.once.Do(func() { w.closed(w) })
	}
	return w.Conn.Close()
}

func (w *watched) look(data []byte) {
	for len(data) > 0 {
		if w.skip > 0 {
			count := min(w.skip, len(data))
			w.skip, data = w.skip-count, data[count:]
			continue
		}
		count := min(frameHead-len(w.head), len(data))
		w.head, data = append(w.head, data[:count]...), data[count:]
		if len(w.head) == frameHead {
			if w.head[3] == goAway {
				w.leaves.Store(true)
			}
			w.skip = int(w.head[0])<<16 | int(w.head[1])<<8 | int(w.head[2])
			w.head = w.head[:0]
		}
	}
}

// channel makes calls on connections of its own; each is told to `closed` when it ends.
func (l *load) channel(opened, closed func(*watched)) *http.Transport {
	dial := func(context.Context, string, string) (net.Conn, error) {
		plain, err := l.dial(l.rpc)
		if err != nil {
			return nil, err
		}
		made := &watched{Conn: plain, closed: closed}
		opened(made)
		return made, nil
	}
	return &http.Transport{Protocols: http2(false), DialContext: dial}
}

// request is a gRPC call of this body.
func (l *load) request(ctx context.Context, body io.Reader) *http.Request {
	made, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+l.rpc.name+"/load.Load/Echo", body)
	if err != nil {
		panic(err)
	}
	made.Header.Set("Content-Type", "application/grpc")
	made.Header.Set("Te", "trailers")
	return made
}

// finish reads a call's answer to its end.
func finish(response *http.Response) error {
	if rest, err := io.Copy(io.Discard, response.Body); err != nil || rest > 0 {
		return fmt.Errorf("%d bytes more, %w", rest, err)
	}
	status := response.Trailer.Get("Grpc-Status")
	if status == "" {
		status = response.Header.Get("Grpc-Status")
	}
	if status != "0" {
		return fmt.Errorf("HTTP %d, gRPC status %q", response.StatusCode, status)
	}
	return nil
}
