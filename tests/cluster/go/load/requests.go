package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"
)

var body = bytes.Repeat([]byte("x"), 16384)

// fresh makes each request on a connection of its own.
type fresh struct {
	*load
	kind string
	body []byte
}

func (f *fresh) name() string { return f.kind }

func (f *fresh) next() error {
	connection, err := f.dial(f.web)
	if err != nil {
		return err
	}
	defer connection.Close()
	at := time.Now()
	if _, err = f.ask(f.kind, connection, bufio.NewReader(connection), f.body, "Connection: close\r\n"); err != nil {
		return fmt.Errorf("from %s after %s: %w", connection.LocalAddr(), time.Since(at), err)
	}
	return nil
}

func (f *fresh) last() {}

// ask makes one request; it fails for anything but a whole answer to a whole body.
func (l *load) ask(kind string, to net.Conn, from *bufio.Reader, body []byte, header string) (*http.Response, error) {
	method := http.MethodGet
	if body != nil {
		method, header = http.MethodPost, header+"Content-Length: "+strconv.Itoa(len(body))+"\r\n"
	}
	_ = to.SetDeadline(time.Now().Add(patience))
	head := method + " / HTTP/1.1\r\nHost: " + l.web.name + "\r\n" + header + "\r\n"
	if _, err := to.Write(append([]byte(head), body...)); err != nil {
		return nil, err
	}
	response, err := l.answered(from, len(body))
	if err == nil {
		l.count(kind, response.Header.Get("X-Peer"))
	}
	return response, err
}

// answered reads an answer that has to say that so many bytes were received.
func (l *load) answered(from *bufio.Reader, sent int) (*http.Response, error) {
	response, err := http.ReadResponse(from, nil)
	if err != nil {
		return nil, fmt.Errorf("instead of an answer: %w", err)
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return nil, fmt.Errorf("in an answer, %s: %w", response.Status, err)
	}
	received := response.Header.Get("X-Received")
	if response.StatusCode != http.StatusOK || received != strconv.Itoa(sent) {
		return nil, fmt.Errorf("%s, %q of %d bytes received", response.Status, received, sent)
	}
	return response, nil
}

// kept makes requests on one connection for as long as it lasts.
type kept struct {
	*load
	kind       string
	body       []byte
	connection net.Conn
	reader     *bufio.Reader
	was        life
}

func (k *kept) name() string { return k.kind }

func (k *kept) next() error {
	if k.connection != nil && isClosed(k.connection) {
		k.leave(idle)
	}
	if k.connection == nil {
		connection, err := k.dial(k.web)
		if err != nil {
			return err
		}
		k.connection, k.reader = connection, bufio.NewReader(connection)
		k.was = life{Kind: k.kind, began: time.Now()}
	}
	response, err := k.ask(k.kind, k.connection, k.reader, k.body, "")
	if err != nil {
		k.leave(cut)
		return err
	}
	k.was.By, k.was.Exchanges = response.Header.Get("X-Peer"), k.was.Exchanges+1
	if response.Close {
		k.leave(told)
	}
	return nil
}

func (k *kept) last() {
	if k.connection != nil {
		k.leave(there)
	}
}

func (k *kept) leave(end string) {
	k.connection.Close()
	k.connection = nil
	k.note(k.was, end)
}

// isClosed says whether the other side has hung up.
func isClosed(connection net.Conn) bool {
	raw, err := connection.(*net.TCPConn).SyscallConn()
	if err != nil {
		return true
	}
	closed := false
	_ = raw.Read(func(descriptor uintptr) bool {
		count, _, err := syscall.Recvfrom(int(descriptor), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		closed = err != syscall.EAGAIN && count <= 0
		return true
	})
	return closed
}
