// Command provider pushes as NanoMDM does, and Fleet with it: net/http with its default
// transport, five workers, a client certificate over TLS. It prints what came of each push.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"sync"
	"time"
)

const workers = 5

type result struct {
	Token     string `json:"token"`
	Proto     string `json:"proto"`
	Status    int    `json:"status"`
	ID        string `json:"id"`
	Reason    string `json:"reason"`
	Timestamp int64  `json:"timestamp"`
	Error     string `json:"error"`
}

func push(client *http.Client, base, token string) result {
	r := result{Token: token}
	body := []byte(`{"mdm":"magic-` + token + `"}`)
	req, err := http.NewRequest("POST", base+"/3/device/"+token, bytes.NewReader(body))
	if err != nil {
		log.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("apns-push-type", "mdm")
	req.Header.Set("apns-topic", "com.apple.mgmt.External.0c5bd1ee")
	req.Header.Set("apns-expiration", fmt.Sprint(time.Now().Add(7*24*time.Hour).Unix()))
	resp, err := client.Do(req)
	if err != nil {
		r.Error = err.Error()
		return r
	}
	defer resp.Body.Close()
	r.Proto, r.Status, r.ID = resp.Proto, resp.StatusCode, resp.Header.Get("apns-id")
	if r.Status != http.StatusOK {
		if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
			r.Error = err.Error()
		}
	}
	// An answer read to its end leaves the connection to the next push.
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		r.Error = err.Error()
	}
	return r
}

func newClient(ca, certificate string) *http.Client {
	pool := x509.NewCertPool()
	pem, err := os.ReadFile(ca)
	if err != nil || !pool.AppendCertsFromPEM(pem) {
		log.Fatal("no CA: ", err)
	}
	pair, err := tls.LoadX509KeyPair(certificate, certificate)
	if err != nil {
		log.Fatal(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	transport.TLSClientConfig = &tls.Config{
		RootCAs:      pool,
		Certificates: []tls.Certificate{pair},
	}
	return &http.Client{Transport: transport}
}

func main() {
	base := flag.String("url", "", "base URL, without a trailing slash")
	ca := flag.String("ca", "", "CA to trust")
	certificate := flag.String("cert", "", "push certificate and its key")
	flag.Parse()
	tokens := flag.Args()

	client := newClient(*ca, *certificate)
	jobs := make(chan int)
	results := make([]result, len(tokens))
	var wait sync.WaitGroup
	for i := 0; i < workers; i++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for n := range jobs {
				results[n] = push(client, *base, tokens[n])
			}
		}()
	}
	for n := range tokens {
		jobs <- n
	}
	close(jobs)
	wait.Wait()
	if err := json.NewEncoder(os.Stdout).Encode(results); err != nil {
		log.Fatal(err)
	}
}
