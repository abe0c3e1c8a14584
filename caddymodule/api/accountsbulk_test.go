package api_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
)

var storageDown = faultstorage.ErrDown

func TestImport(t *testing.T) {
	s := newSite(t)
	s.send("POST", "/api/serviceaccounts", `{"subject":"old","status":"active"}`)
	body := `{"subject":"new","status":"active"}` + "\r\n\n" + `{"subject":"old","status":"inactive"}` + "\n" + `{"subject":"new","status":"active"}`
	got := s.send("POST", "/api/serviceaccounts:import", body, header("Content-Type", "application/x-ndjson"))
	got.wants(t, 200, `{"line":1,"subject":"new","result":"created"}`+"\n"+
		`{"line":3,"subject":"old","result":"refused","message":"resource already exists"}`+"\n"+
		`{"line":4,"subject":"new","result":"refused","message":"resource already exists"}`+"\n")
	if kind := got.header.Get("Content-Type"); kind != "application/x-ndjson" {
		t.Errorf("got the type %q", kind)
	}
	s.send("POST", "/api/serviceaccounts:import?mode=upsert", body).wants(t, 200, `{"line":1,"subject":"new","result":"unchanged"}`+"\n"+
		`{"line":3,"subject":"old","result":"updated"}`+"\n"+`{"line":4,"subject":"new","result":"unchanged"}`+"\n")
	s.send("POST", "/api/serviceaccounts:import", "\n\n").wants(t, 200, "")
	if got, want := s.trail(), `acme/alice service_account.create old done
acme/alice service_account.import new done
acme/alice service_account.import old refused
acme/alice service_account.import new refused
acme/alice service_account.import old done
`; got != want {
		t.Errorf("the audit log has\n%swant\n%s", got, want)
	}
}

func TestImportRefusesAll(t *testing.T) {
	s := newSite(t)
	good := `{"subject":"good","status":"active"}` + "\n"
	for name, c := range map[string]struct{ path, body, text string }{
		"a bad line":     {"", good + "\n{}", "line 3: "},
		"a bad member":   {"", good + `{"subject":"x","status":"active","admin":true}`, "line 2: "},
		"a bad status":   {"", good + `{"subject":"x","status":"on"}`, "line 2: status"},
		"another issuer": {"", good + `{"subject":"x","status":"active","issuer":"z"}`, "line 2: issuer"},
		"an array":       {"", "[" + good + "]", "line 1: "},
		"a long line":    {"", good + `{"subject":"x","status":"active","name":"` + strings.Repeat("x", 65<<10) + `"}`, "line 2: "},
		"a mode":         {"?mode=replace", good, "mode"},
	} {
		t.Run(name, func(t *testing.T) {
			s.send("POST", "/api/serviceaccounts:import"+c.path, c.body).fails(t, 400, c.text)
		})
	}
	for _, kind := range []string{"multipart/form-data", "text/plain"} {
		s.send("POST", "/api/serviceaccounts:import", good, header("Content-Type", kind)).fails(t, 400, "content type")
	}
	s.send("POST", "/api/serviceaccounts:import", strings.Repeat("\n", 64<<20+1)).fails(t, 413, "64 MiB")
	if list := s.registry.Page(account.Query{}); len(list) != 0 || s.trail() != "" {
		t.Errorf("%d accounts were stored; the audit log has %q", len(list), s.trail())
	}
}

// A caller who goes away does not stop a change, so that the audit log tells what
// came of it.
func TestCallerWhoGoesAway(t *testing.T) {
	s := newSite(t)
	arrived := make(chan struct{})
	inner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		s.relay(w, r)
	}))
	defer inner.Close()
	s.takeStorageDown()
	conn, err := net.Dial("tcp", strings.TrimPrefix(inner.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	const body = `{"subject":"late","status":"active"}`
	fmt.Fprintf(conn, "POST /api/serviceaccounts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\nAuthorization: Bearer %s\r\n\r\n%s",
		len(body), s.issuer.Mint(map[string]any{"sub": "alice", "groups": []string{"admin"}}), body)
	<-arrived
	conn.Close()
	s.storage.SetDown(false)
	for end := time.Now().Add(10 * time.Second); s.trail() != "acme/alice service_account.create late done\n"; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the audit log has %q", s.trail())
		}
	}
	if _, err := s.registry.Find("", "late"); err != nil {
		t.Error("the account is not there")
	}
}

// A body that breaks off stores nothing.
func TestBodiesThatDoNotEnd(t *testing.T) {
	s := newSite(t)
	address := strings.TrimPrefix(s.url, "http://")
	for name, length := range map[string]int{"announced": 100, "cut short": 10} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "POST /api/serviceaccounts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\nAuthorization: Bearer %s\r\n\r\n{\"subject",
				length, s.issuer.Mint(map[string]any{"groups": []string{"admin"}}))
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			answer := make([]byte, 1<<10)
			n, _ := conn.Read(answer)
			if text := string(answer[:n]); n > 0 && !strings.HasPrefix(text, "HTTP/1.1 400 ") {
				t.Errorf("got %q", text)
			}
		})
	}
	if list := s.registry.Page(account.Query{}); len(list) != 0 {
		t.Errorf("%d accounts were stored", len(list))
	}
}

// Caddy's admin endpoint gives a request ten seconds to arrive in, and Go takes it
// for given up when that time comes during the work; a write may take longer.
func TestWorkMayTakeLongerThanArriving(t *testing.T) {
	s := newSite(t)
	inner := httptest.NewUnstartedServer(s.relay)
	inner.Config.ReadTimeout = 500 * time.Millisecond // a loaded machine, too, sends a small request in that
	inner.Start()
	defer inner.Close()
	s.takeStorageDown()
	s.url = inner.URL
	started := time.Now()
	s.send("POST", "/api/serviceaccounts", `{"subject":"a","status":"active"}`).fails(t, 503, "")
	s.send("DELETE", "/api/serviceaccounts/a", "").fails(t, 503, "")
	if took := time.Since(started); took < time.Second {
		t.Errorf("it took %s: nothing was waited for", took)
	}
}

// importing begins an import whose body is written to the pipe.
func (s *site) importing() (*io.PipeWriter, <-chan answer) {
	s.t.Helper()
	body, writer := io.Pipe()
	request, err := http.NewRequestWithContext(s.t.Context(), "POST", s.url+"/api/serviceaccounts:import", body)
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-ndjson")
	s.admin()(request)
	answers := make(chan answer, 1)
	go func() {
		defer close(answers)
		response, err := s.client.Do(request)
		if err != nil {
			s.t.Error(err)
			_ = body.Close()
			return
		}
		defer response.Body.Close()
		data, err := io.ReadAll(response.Body)
		if err != nil {
			s.t.Error(err)
		}
		answers <- answer{response.StatusCode, response.Header, string(data)}
	}()
	return writer, answers
}

// Imports take their memory one after another.
func TestOneImportAtATime(t *testing.T) {
	s := newSite(t)
	body, answers := s.importing()
	fmt.Fprintln(body, `{"subject":"first","status":"active"}`)
	const path, second = "/api/serviceaccounts:import", `{"subject":"second","status":"active"}`
	got := s.send("POST", path, "\n")
	for end := time.Now().Add(10 * time.Second); got.status == 200 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		got = s.send("POST", path, "\n") // the first has not come to its turn yet
	}
	got = s.send("POST", path, second)
	got.fails(t, 503, "another import is at work")
	if after := got.header.Get("Retry-After"); after != "5" {
		t.Errorf("got Retry-After %q", after)
	}
	if err := body.Close(); err != nil {
		t.Error(err)
	}
	if got := <-answers; got.status != 200 {
		t.Errorf("got %d %q", got.status, got.body)
	}
	s.send("POST", path, second).wants(t, 200, `{"line":1,"subject":"second","result":"created"}`+"\n")
}

// Of an import no more is in memory than its accounts.
func TestImportIsReadAsItComes(t *testing.T) {
	s := newSite(t)
	s.send("POST", "/api/serviceaccounts:import", "\n") // so that all is there that serves one
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	body, answers := s.importing()
	before, lines := heap(), bytes.Repeat([]byte("     \r\n"), 10<<10)
	for sent := 0; sent < 60<<20; sent += len(lines) {
		if _, err := body.Write(lines); err != nil {
			t.Fatal(err)
		}
	}
	if grown := int64(heap() - before); grown > 4<<20 {
		t.Errorf("60 MiB of a body took %d bytes", grown)
	}
	fmt.Fprintln(body, `{"subject":"last","status":"active"}`)
	if err := body.Close(); err != nil {
		t.Error(err)
	}
	if got := <-answers; got.status != 200 || !strings.Contains(got.body, `"last"`) {
		t.Errorf("got %d %q", got.status, got.body)
	}
}

// Short lines take more memory than they have bytes, so there is a bound of their
// own.
func TestImportOfTooManyLines(t *testing.T) {
	s := newSite(t)
	body := strings.Repeat(`{"subject":"a","status":"active"}`+"\n", 1_000_001)
	s.send("POST", "/api/serviceaccounts:import", body).fails(t, 413, "more than 1000000 accounts")
	if list := s.registry.Page(account.Query{}); len(list) != 0 {
		t.Errorf("%d accounts were stored", len(list))
	}
}
