package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

var hello = []byte("hello")

// long makes exchanges on a connection that we end, when it is old enough: it dials again at the next.
type long struct {
	*load
	kind string
	// open makes another connection.
	open func() (conversation, error)
	now  conversation
	was  life
}

// conversation is one long-lived exchange; close ends it in good order, and fails when something is missing.
type conversation interface {
	exchange() error
	close() (http.Header, error)
	drop() (leaves bool)
}

func (l *long) name() string { return l.kind }

func (l *long) next() error {
	if l.now == nil {
		made, err := l.open()
		if err != nil {
			return err
		}
		l.now, l.was = made, life{Kind: l.kind, began: time.Now()}
	}
	if err := l.now.exchange(); err != nil {
		l.leave(cut)
		return err
	}
	l.was.Exchanges++
	if time.Since(l.was.began) < l.span {
		return nil
	}
	return l.finish()
}

func (l *long) finish() error {
	header, err := l.now.close()
	if err != nil {
		l.leave(cut)
		return err
	}
	l.was.By = header.Get("X-Peer")
	l.count(l.kind, l.was.By)
	l.leave(ours)
	return nil
}

func (l *long) last() {
	if l.now != nil {
		if err := l.finish(); err != nil {
			l.fail(l, err)
		}
	}
}

func (l *long) leave(end string) {
	l.was.Goaway = l.now.drop()
	l.now = nil
	l.note(l.was, end)
}

// upload is a body that takes as long as a stream lives, on a connection of its own.
type upload struct {
	*load
	connection net.Conn
	sent       int
}

func (l *load) upload() (conversation, error) {
	connection, err := l.dial(l.web)
	if err != nil {
		return nil, err
	}
	head := "POST / HTTP/1.1\r\nHost: " + l.web.name + "\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
	_, err = io.WriteString(connection, head)
	return &upload{load: l, connection: connection}, err
}

func (u *upload) exchange() error {
	u.sent += len(hello)
	_, err := fmt.Fprintf(u.connection, "%x\r\n%s\r\n", len(hello), hello)
	return err
}

func (u *upload) close() (http.Header, error) {
	_ = u.connection.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(u.connection, "0\r\n\r\n"); err != nil {
		return nil, err
	}
	response, err := u.answered(bufio.NewReader(u.connection), u.sent)
	if err != nil {
		return nil, err
	}
	return response.Header, nil
}

func (u *upload) drop() bool { u.connection.Close(); return false }

// websocket is an upgraded connection that sends back what it gets.
type websocket struct {
	connection net.Conn
	reader     *bufio.Reader
	header     http.Header
}

func (l *load) websocket() (conversation, error) {
	connection, err := l.dial(l.web)
	if err != nil {
		return nil, err
	}
	_ = connection.SetDeadline(time.Now().Add(patience))
	head := "GET / HTTP/1.1\r\nHost: " + l.web.name + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	if _, err := io.WriteString(connection, head); err != nil {
		return nil, err
	}
	reader := bufio.NewReader(connection)
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("%s instead of a WebSocket", response.Status)
	}
	return &websocket{connection, reader, response.Header}, nil
}

func (w *websocket) exchange() error {
	_ = w.connection.SetDeadline(time.Now().Add(patience))
	if _, err := w.connection.Write(hello); err != nil {
		return err
	}
	return same(w.reader, hello)
}

func (w *websocket) close() (http.Header, error) { return w.header, nil }
func (w *websocket) drop() bool                  { w.connection.Close(); return false }

func same(from io.Reader, wanted []byte) error {
	found := make([]byte, len(wanted))
	if _, err := io.ReadFull(from, found); err != nil {
		return err
	}
	if !bytes.Equal(found, wanted) {
		return fmt.Errorf("%q came back as %q", wanted, found)
	}
	return nil
}

// stream is a gRPC call both of whose sides send, on a connection of its own.
type stream struct {
	transport  *http.Transport
	connection *watched
	writer     *io.PipeWriter
	response   *http.Response
	cancel     context.CancelFunc
	number     int
}

func (l *load) stream() (conversation, error) {
	made := &stream{}
	made.transport = l.channel(func(found *watched) { made.connection = found }, nil)
	ctx, cancel := context.WithCancel(context.Background())
	made.cancel = cancel
	reader, writer := io.Pipe()
	made.writer = writer
	response, err := made.transport.RoundTrip(l.request(ctx, reader))
	made.response = response
	return made, err
}

func (s *stream) exchange() error {
	late := time.AfterFunc(patience, s.cancel)
	defer late.Stop()
	s.number++
	sent := message(fmt.Appendf(nil, "message %d", s.number))
	if _, err := s.writer.Write(sent); err != nil {
		return err
	}
	return same(s.response.Body, sent)
}

func (s *stream) close() (http.Header, error) {
	late := time.AfterFunc(patience, s.cancel)
	defer late.Stop()
	s.writer.Close()
	return s.response.Header, finish(s.response)
}

func (s *stream) drop() bool {
	s.cancel()
	s.connection.Close()
	return s.connection.leaves.Load()
}

// calls makes single gRPC calls on one connection for as long as it lasts; Go's client finds the next by itself.
type calls struct {
	*load
	client *http.Client
}

func newCalls(l *load) *calls {
	opened := func(found *watched) { found.began = time.Now() }
	closed := func(found *watched) {
		end := idle
		if found.leaves.Load() {
			end = told
		} else if l.over.Err() != nil {
			end = there
		}
		l.note(life{Kind: "gRPC calls", Goaway: found.leaves.Load(), began: found.began}, end)
	}
	return &calls{l, &http.Client{Transport: l.channel(opened, closed), Timeout: patience}}
}

func (c *calls) name() string { return "gRPC" }

func (c *calls) next() error {
	sent := message(hello)
	response, err := c.client.Do(c.request(context.Background(), bytes.NewReader(sent)))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := same(response.Body, sent); err != nil {
		return err
	}
	if err := finish(response); err != nil {
		return err
	}
	c.count("gRPC", response.Header.Get("X-Peer"))
	return nil
}

func (c *calls) last() { c.client.CloseIdleConnections() }
