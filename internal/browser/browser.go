// Package browser drives a headless Chromium for tests, over the DevTools protocol.
//
// It speaks the protocol over two pipes (--remote-debugging-pipe), so that it needs
// no port, no WebSocket and no module besides the standard library. It knows
// nothing of what is tested, and is never in a build that serves anybody.
package browser

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"time"
)

// names are those of the program in the distributions.
var names = []string{"chromium", "chromium-browser", "google-chrome-stable", "google-chrome"}

// Find gives the browser's program. The error says what to install.
func Find() (string, error) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no browser on the PATH: install the package chromium (looked for %q)", names)
}

// Browser is a running one. Its methods are safe for concurrent use.
type Browser struct {
	process *exec.Cmd
	to      *os.File
	from    *os.File
	read    chan struct{} // closed when nothing more will come

	mu        sync.Mutex
	last      int64
	waiting   map[int64]chan reply
	requested map[string][]string // addresses, by the page's session
}

// command and reply are the protocol's messages.
type command struct {
	ID      int64  `json:"id"`
	Session string `json:"sessionId,omitempty"`
	Method  string `json:"method"`
	Params  any    `json:"params,omitempty"`
}

type reply struct {
	ID     int64           `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// event is what the browser tells unasked. Only requests are of interest.
type event struct {
	Session string `json:"sessionId"`
	Method  string `json:"method"`
	Params  struct {
		Request struct {
			URL string `json:"url"`
		} `json:"request"`
	} `json:"params"`
}

var errGone = errors.New("the browser has ended")

// arguments keep the browser to itself: no window, no sandbox (which root and
// containers cannot have), nothing asked of its maker.
func arguments(profile string) []string {
	return []string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--window-size=1000,700", "--user-data-dir=" + profile, "--remote-debugging-pipe",
	}
}

// Start runs the program with a fresh profile in that folder. The caller closes
// the Browser.
func Start(program, profile string) (*Browser, error) {
	theirIn, to, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	from, theirOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, theirIn.Close(), to.Close())
	}
	process := exec.Command(program, arguments(profile)...)
	process.ExtraFiles = []*os.File{theirIn, theirOut} // its files 3 and 4
	process.WaitDelay = 5 * time.Second
	err = process.Start()
	err = errors.Join(err, theirIn.Close(), theirOut.Close())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting %s: %w", program, err), to.Close(), from.Close())
	}
	b := newBrowser(to, from)
	b.process = process
	return b, nil
}

func newBrowser(to, from *os.File) *Browser {
	b := &Browser{
		to: to, from: from, read: make(chan struct{}),
		waiting: make(map[int64]chan reply), requested: make(map[string][]string),
	}
	go b.listen()
	return b
}

// listen hands replies to who waits for them. Messages end with a zero byte.
func (b *Browser) listen() {
	defer close(b.read)
	in := bufio.NewReader(b.from)
	for {
		message, err := in.ReadBytes(0)
		if err != nil {
			return
		}
		message = bytes.TrimSuffix(message, []byte{0})
		var r reply
		if json.Unmarshal(message, &r) != nil {
			continue
		}
		if r.ID == 0 {
			b.note(message)
			continue
		}
		b.mu.Lock()
		waiting := b.waiting[r.ID]
		delete(b.waiting, r.ID)
		b.mu.Unlock()
		if waiting != nil {
			waiting <- r
		}
	}
}

// note keeps the requests that a page makes and drops all other events.
func (b *Browser) note(message []byte) {
	var e event
	if json.Unmarshal(message, &e) != nil || e.Method != "Network.requestWillBeSent" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requested[e.Session] = append(b.requested[e.Session], e.Params.Request.URL)
}

// call sends a command and waits for what comes of it.
func (b *Browser) call(ctx context.Context, session, method string, params, result any) error {
	answer, err := b.send(session, method, params)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case r := <-answer:
		if r.Error != nil {
			return fmt.Errorf("%s: %s", method, r.Error.Message)
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(r.Result, result)
	case <-b.read:
		return fmt.Errorf("%s: %w", method, errGone)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", method, context.Cause(ctx))
	}
}

func (b *Browser) send(session, method string, params any) (<-chan reply, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	text, err := json.Marshal(command{b.last, session, method, params})
	if err != nil {
		return nil, err
	}
	answer := make(chan reply, 1)
	b.waiting[b.last] = answer
	if _, err := b.to.Write(append(text, 0)); err != nil {
		delete(b.waiting, b.last)
		return nil, err
	}
	return answer, nil
}

// closeWithin bounds how long the browser may take to end by itself.
const closeWithin = 5 * time.Second

// Close ends the browser and waits for it.
func (b *Browser) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	if err := b.call(ctx, "", "Browser.close", nil, nil); err != nil && b.process != nil {
		_ = b.process.Process.Kill()
	}
	err := b.to.Close() // the end of its commands is the browser's end too
	select {
	case <-b.read:
	case <-ctx.Done():
	}
	err = errors.Join(err, b.from.Close())
	<-b.read
	if b.process != nil {
		_ = b.process.Wait() // how it ended is of no interest
	}
	return err
}
