// An event-stream push server on net/http, to measure beside.
//
//	GET  /events?token=T   the stream of device T
//	POST /3/device/T       sends the body to T as an event
//	POST /broadcast        sends the body to every device
//
// Without -hijack a handler blocks for as long as its stream lives, as the plainest such server
// does. With it the handler takes the connection over and returns, so that net/http lets go of
// its buffers and of the goroutine that watches for the client's leaving.
package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	keepalive    = 30 * time.Second
	writeTimeout = 10 * time.Second
	// events that may wait for one device; what comes on top is lost
	mailbox = 8
)

type registry struct {
	mu      sync.RWMutex
	devices map[string]chan string
}

func (r *registry) add(token string) chan string {
	ch := make(chan string, mailbox)
	r.mu.Lock()
	r.devices[token] = ch
	r.mu.Unlock()
	return ch
}

// remove forgets ch; a newer stream of the same token stays.
func (r *registry) remove(token string, ch chan string) {
	r.mu.Lock()
	if r.devices[token] == ch {
		delete(r.devices, token)
	}
	r.mu.Unlock()
}

func (r *registry) send(token, event string) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if ch, ok := r.devices[token]; ok {
		offer(ch, event)
	}
}

func (r *registry) broadcast(event string) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, ch := range r.devices {
		offer(ch, event)
	}
}

func offer(ch chan string, event string) {
	select {
	case ch <- event:
	default:
	}
}

// blocking is the plain handler: it owns the goroutine and buffers of net/http until the end.
func (r *registry) blocking(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("Connection", "keep-alive")
	token := req.URL.Query().Get("token")
	ch := r.add(token)
	defer r.remove(token, ch)
	flusher := w.(http.Flusher)
	flusher.Flush()
	for {
		select {
		case event := <-ch:
			io.WriteString(w, event)
			flusher.Flush()
		case <-req.Context().Done():
			return
		}
	}
}

const head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" +
	"Cache-Control: no-cache\r\nConnection: close\r\n\r\n"

// hijacking keeps the socket and one goroutine; a device that left is noticed by a failing write.
func (r *registry) hijacking(w http.ResponseWriter, req *http.Request) {
	token := strings.Clone(req.URL.Query().Get("token"))
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	go r.stream(conn, token)
}

func (r *registry) stream(conn net.Conn, token string) {
	defer conn.Close()
	ch := r.add(token)
	defer r.remove(token, ch)
	ticker := time.NewTicker(keepalive)
	defer ticker.Stop()
	for frame := head; ; {
		conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := io.WriteString(conn, frame); err != nil {
			return
		}
		select {
		case frame = <-ch:
		case <-ticker.C:
			frame = ": keepalive\n\n"
		}
	}
}

func (r *registry) push(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(io.LimitReader(req.Body, 4097))
	if err != nil || len(body) == 0 || len(body) > 4096 {
		http.Error(w, `{"reason":"PayloadEmpty"}`, http.StatusBadRequest)
		return
	}
	token := strings.TrimPrefix(req.URL.Path, "/3/device/")
	r.send(token, "event: ping\ndata: "+string(body)+"\n\n")
}

func (r *registry) pushAll(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.broadcast("data: " + string(body) + "\n\n")
}

// leaveWithParent ends the program when its standard input ends.
func leaveWithParent() {
	io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func main() {
	hijack := flag.Bool("hijack", false, "take the connections of devices over from net/http")
	flag.Parse()

	devices := &registry{devices: make(map[string]chan string)}
	mux := http.NewServeMux()
	if *hijack {
		mux.HandleFunc("/events", devices.hijacking)
	} else {
		mux.HandleFunc("/events", devices.blocking)
	}
	mux.HandleFunc("/3/device/", devices.push)
	mux.HandleFunc("/broadcast", devices.pushAll)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf(`{"event":"listening","listener":"wire","url":"http://%s"}`+"\n", listener.Addr())
	go leaveWithParent()
	fmt.Fprintln(os.Stderr, http.Serve(listener, mux))
}
