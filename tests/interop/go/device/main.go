// Command device listens as Fleet's simulated hosts do: a scanner of lines that drops the
// connection at the first line it does not expect. It tells what it reads.
package main

import (
	"bufio"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"strings"
)

func say(kind, text string) {
	said := map[string]string{"kind": kind, "text": text}
	if err := json.NewEncoder(os.Stdout).Encode(said); err != nil {
		log.Fatal(err)
	}
}

func listen(url string) int {
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		log.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		say("refused", resp.Status)
		return 2
	}
	say("open", resp.Header.Get("Content-Type"))
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 512), 8192)
	data := ""
	for lines.Scan() {
		line := lines.Text()
		switch {
		case line == "":
			if data != "" {
				say("ping", data)
			}
			data = ""
		case strings.HasPrefix(line, ":"):
			say("comment", line)
		case strings.HasPrefix(line, "data:"):
			data += strings.TrimPrefix(strings.TrimPrefix(line, "data:"), " ")
		case strings.HasPrefix(line, "event:"), strings.HasPrefix(line, "id:"):
		case strings.HasPrefix(line, "retry:"):
			say("retry", line)
		default:
			say("unexpected", line)
			return 1
		}
	}
	if err := lines.Err(); err != nil {
		say("error", err.Error())
		return 1
	}
	say("end", "")
	return 0
}

func main() {
	os.Exit(listen(os.Args[1]))
}
