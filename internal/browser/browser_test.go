package browser

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer plays the browser at the other end of the pipes: it answers by method.
func peer(t *testing.T, answers map[string]string) (*Browser, chan command) {
	t.Helper()
	theirIn, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan command, 100)
	go func() {
		defer theirOut.Close()
		in := bufio.NewReader(theirIn)
		for {
			message, err := in.ReadBytes(0)
			if err != nil {
				theirIn.Close()
				return
			}
			var c command
			if err := json.Unmarshal(bytes.TrimSuffix(message, []byte{0}), &c); err != nil {
				t.Errorf("asked %q: %v", message, err)
			}
			asked <- c
			answer, ok := answers[c.Method]
			if !ok {
				answer = `"result":{}`
			}
			id, _ := json.Marshal(c.ID)
			events := `{"method":"Page.loadEventFired","params":{}}` + "\x00" + "no JSON\x00" +
				`{"method":"Network.requestWillBeSent","sessionId":"s","params":{"request":{"url":"http://` + c.Method + `/"}}}` + "\x00"
			_, _ = theirOut.WriteString(events + `{"id":` + string(id) + "," + answer + "}\x00")
		}
	}()
	b := newBrowser(to, from)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b, asked
}

func TestProtocol(t *testing.T) {
	b, asked := peer(t, map[string]string{
		"Target.createTarget":    `"result":{"targetId":"t"}`,
		"Target.attachToTarget":  `"result":{"sessionId":"s"}`,
		"Page.navigate":          `"result":{"errorText":"net::ERR_CONNECTION_REFUSED"}`,
		"Runtime.evaluate":       `"result":{"result":{"value":[1,2]}}`,
		"Page.captureScreenshot": `"result":{"data":"UE5H"}`,
		"Input.insertText":       `"error":{"message":"no focus"}`,
	})
	p, err := b.NewPage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Open(t.Context(), "http://127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "REFUSED") {
		t.Errorf("opened: %v", err)
	}
	if err := p.Click(t.Context(), `input[name="x"]`); err != nil {
		t.Error(err)
	}
	if err := p.Type(t.Context(), "input", "x"); err == nil || !strings.Contains(err.Error(), "no focus") {
		t.Errorf("typed: %v", err)
	}
	if shot, err := p.Screenshot(t.Context()); string(shot) != "PNG" || err != nil {
		t.Errorf("screenshot %q, %v", shot, err)
	}
	<-asked // the target has no session yet
	<-asked
	if c := <-asked; c.Session != "s" || c.Method != "Page.navigate" {
		t.Errorf("sent %+v", c)
	}
}

func TestScriptErrors(t *testing.T) {
	b, _ := peer(t, map[string]string{"Runtime.evaluate": `"result":{"result":{},"exceptionDetails":{"text":"Uncaught"}}`})
	p := &Page{browser: b}
	var into string
	if err := p.Eval(t.Context(), "x", &into); err == nil || !strings.Contains(err.Error(), "Uncaught") {
		t.Errorf("ran: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.WaitFor(ctx, "never()"); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "never()") {
		t.Errorf("waited: %v", err)
	}
}

func TestScreen(t *testing.T) {
	b, asked := peer(t, nil)
	p := &Page{browser: b, session: "s"}
	if err := p.Show(t.Context(), Screen{Width: 360, Height: 700, Phone: true, Dark: true}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`Emulation.setDeviceMetricsOverride {"deviceScaleFactor":1,"height":700,"mobile":true,"width":360}`,
		`Emulation.setEmulatedMedia {"features":[{"name":"prefers-color-scheme","value":"dark"}]}`,
	} {
		c := <-asked
		if params, err := json.Marshal(c.Params); err != nil || c.Method+" "+string(params) != want {
			t.Errorf("sent %s %s, want %s", c.Method, params, want)
		}
	}
}

func TestRequestsAndCookies(t *testing.T) {
	b, _ := peer(t, map[string]string{"Network.getCookies": `"result":{"cookies":[{"name":"a"},{"name":"b"}]}`})
	p := &Page{browser: b, session: "s"}
	if err := p.Watch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if names, err := p.Cookies(t.Context()); !slices.Equal(names, []string{"a", "b"}) || err != nil {
		t.Errorf("got the cookies %q, %v", names, err)
	}
	if got := p.Requests(); !slices.Equal(got, []string{"http://Network.enable/", "http://Network.getCookies/"}) {
		t.Errorf("got the requests %q", got)
	}
	if got := (&Page{browser: b, session: "other"}).Requests(); len(got) > 0 {
		t.Errorf("another page made the requests %q", got)
	}
}

func TestWaitFor(t *testing.T) {
	b, _ := peer(t, map[string]string{"Runtime.evaluate": `"result":{"result":{"value":true}}`})
	if err := (&Page{browser: b}).WaitFor(t.Context(), "true"); err != nil {
		t.Error(err)
	}
}

func TestBrowserThatEnds(t *testing.T) {
	program := filepath.Join(t.TempDir(), "browser")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	b, err := Start(program, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.NewPage(t.Context()); err == nil {
		t.Error("it made a page")
	}
	_ = b.Close()
}

func TestFindSaysWhatToInstall(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if _, err := Find(); err == nil || !strings.Contains(err.Error(), "install the package chromium") {
		t.Errorf("found: %v", err)
	}
	program := filepath.Join(dir, "chromium-browser")
	if err := os.WriteFile(program, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	if found, err := Find(); err != nil || found != program {
		t.Errorf("found %s, %v", found, err)
	}
}
