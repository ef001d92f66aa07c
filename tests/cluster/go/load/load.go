package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

const (
	patience = 30 * time.Second
	// Of failures the first ones.
	shown = 10
	// How a long-lived connection can end.
	told, idle, ours, there, cut = "told to leave", "closed while idle", "ended by the client", "still there", "cut"
)

type target struct{ name, address string }

// life is what became of one long-lived connection.
type life struct {
	Kind      string  `json:"kind"`
	End       string  `json:"end"`
	By        string  `json:"by"`
	Exchanges int     `json:"exchanges"`
	Seconds   float64 `json:"seconds"`
	Goaway    bool    `json:"goaway"`
	began     time.Time
}

// seen is what the program prints.
type seen struct {
	Counts   map[string]int `json:"counts"`
	Lives    []life         `json:"lives"`
	Failures []string       `json:"failures"`
}

type load struct {
	web, rpc target
	over     context.Context
	span     time.Duration
	lock     sync.Mutex
	seen     seen
}

func newLoad(over context.Context, web, rpc target, span time.Duration) *load {
	return &load{web: web, rpc: rpc, over: over, span: span, seen: seen{Counts: map[string]int{}}}
}

// worker makes one exchange at each call of next, and ends what it holds at last.
type worker interface {
	name() string
	next() error
	last()
}

// run makes exchanges until it is over, and says once that every worker has made its first. A worker waits for its answer
// before it goes on: where the machine is too slow for the rate there are fewer exchanges, and no time-outs.
func (l *load) run(rate float64, running func()) {
	long := func(kind string, open func() (conversation, error)) func() worker {
		return func() worker { return &long{load: l, kind: kind, open: open} }
	}
	kinds := []struct {
		share   float64
		workers int
		make    func() worker
	}{
		{0.25, 10, func() worker { return &fresh{l, "new", nil} }},
		{0.10, 4, func() worker { return &fresh{l, "new POST", body} }},
		{0.30, 6, func() worker { return &kept{load: l, kind: "kept"} }},
		{0.10, 2, func() worker { return &kept{load: l, kind: "kept POST", body: body} }},
		{0.05, 1, long("slow POST", l.upload)},
		{0.05, 1, long("WebSocket", l.websocket)},
		{0.05, 1, long("gRPC stream", l.stream)},
		{0.10, 2, func() worker { return newCalls(l) }},
	}
	var all, begun sync.WaitGroup
	for _, kind := range kinds {
		for range kind.workers {
			pause := time.Duration(float64(kind.workers) / (rate * kind.share) * float64(time.Second))
			begun.Add(1)
			all.Go(func() { l.work(kind.make(), pause, sync.OnceFunc(begun.Done)) })
		}
	}
	begun.Wait()
	running()
	all.Wait()
}

func (l *load) work(one worker, pause time.Duration, begun func()) {
	defer begun()
	at := time.Now().Add(rand.N(pause))
	for {
		select {
		case <-l.over.Done():
			one.last()
			return
		case <-time.After(time.Until(at)):
		}
		if err := one.next(); err != nil {
			l.fail(one, err)
		}
		begun()
		if at = at.Add(pause); at.Before(time.Now()) {
			at = time.Now()
		}
	}
}

func (l *load) dial(to target) (net.Conn, error) {
	return net.DialTimeout("tcp", to.address, patience)
}

func (l *load) count(kind, by string) {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.seen.Counts[kind+" by "+by]++
}

func (l *load) fail(one worker, err error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.seen.Counts["failed"]++
	if len(l.seen.Failures) == shown {
		return
	}
	l.seen.Failures = append(l.seen.Failures, fmt.Sprintf("%s %s: %v", time.Now().Format("15:04:05.00"), one.name(), err))
}

// note says how a long-lived connection ended.
func (l *load) note(found life, end string) {
	found.End, found.Seconds = end, time.Since(found.began).Seconds()
	l.lock.Lock()
	defer l.lock.Unlock()
	l.seen.Lives = append(l.seen.Lives, found)
}
