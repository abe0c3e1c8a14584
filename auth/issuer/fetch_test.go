package issuer

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/freeport"
)

// failure fetches once and returns the error that must come of it.
func failure(t *testing.T, cfg Config, opts Options) string {
	t.Helper()
	_, err := start(t, cfg, opts).Await(t.Context(), anything)
	down, ok := errors.AsType[*UnavailableError](err)
	if !ok {
		t.Fatalf("got %v, want an UnavailableError", err)
	}
	if strings.Contains(down.Error(), "SECRET") {
		t.Fatalf("the error tells what the other side sent: %v", down)
	}
	return down.Error()
}

func tlsSite(t *testing.T) (srv *httptest.Server, ca string) {
	t.Helper()
	s := newSite("", edKey("a"))
	srv = httptest.NewUnstartedServer(s)
	srv.Config.ErrorLog = stdlog.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	s.do(func() { s.meta = map[string]any{"issuer": srv.URL, "jwks_uri": srv.URL + "/jwks"} })
	ca = tempFile(t, "ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	return srv, ca
}

func TestCA(t *testing.T) {
	srv, ca := tlsSite(t)
	e := start(t, Config{Issuer: srv.URL, CA: ca}, Options{})
	if _, err := e.Await(t.Context(), holds("a")); err != nil {
		t.Fatal(err)
	}
	if got := failure(t, Config{Issuer: srv.URL}, Options{}); !strings.Contains(got, "certificate") {
		t.Errorf("without ca: %s", got)
	}
}

func TestCAFile(t *testing.T) {
	dir := t.TempDir()
	for name, path := range map[string]string{
		"absent": dir + "/absent.pem", "a folder": dir, "no PEM": tempFile(t, "no.pem", []byte("hello")),
		"too large": tempFile(t, "large.pem", make([]byte, maxCABytes+1)),
	} {
		_, err := New(Config{Issuer: "https://a", CA: path}, Options{})
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "ca") {
			t.Errorf("%s: %v does not name the file", name, err)
		}
	}
	if _, err := New(Config{Issuer: "https://a", JWKSFile: "/f", CA: dir}, Options{}); err != nil {
		t.Errorf("a ca that is not needed: %v", err)
	}
}

func TestFetchToken(t *testing.T) {
	got := make(chan string, 10)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header.Get("Authorization")
		_, _ = w.Write(setOf(edKey("a")))
	}))
	t.Cleanup(srv.Close)
	path := tempFile(t, "token", []byte("  first.token\n"))
	cfg := Config{Issuer: "https://a", JWKSURI: srv.URL, FetchTokenFile: path}
	e := start(t, cfg, Options{})
	if err := e.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	equal(t, "first", <-got, "Bearer first.token")
	writeFile(t, path, []byte("second.token"))
	if err := e.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	equal(t, "second", <-got, "Bearer second.token")
	for name, content := range map[string]string{
		"empty": " \n", "two": "SECRET SECRET", "lines": "SECRET\r\nX-Evil: 1", "not ASCII": "SECRETé",
		"large": strings.Repeat("S", maxTokenBytes+1),
	} {
		writeFile(t, path, []byte(content))
		if text := failure(t, cfg, Options{}); !strings.Contains(text, "fetch_token_file") {
			t.Errorf("%s: %s", name, text)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if text := failure(t, cfg, Options{}); !strings.Contains(text, path) {
		t.Errorf("absent: %s", text)
	}
	equal(t, "requests without a good token", len(got), 0)
}

func TestAnswers(t *testing.T) {
	good := setOf(edKey("a"))
	for _, c := range []struct {
		name   string
		answer func(w http.ResponseWriter)
		want   string
	}{
		{"another content type", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write(good)
		}, ""},
		{"201", func(w http.ResponseWriter) { w.WriteHeader(201); _, _ = w.Write(good) }, "status 201"},
		{"204", func(w http.ResponseWriter) { w.WriteHeader(204) }, "status 204"},
		{"404 with a body", func(w http.ResponseWriter) { http.Error(w, "SECRET", 404) }, "status 404"},
		{"too much", func(w http.ResponseWriter) {
			_, _ = w.Write(append(good, []byte(strings.Repeat(" ", maxBodyBytes))...))
		}, "/jwks has more than 1048576 bytes"},
		{"not JSON", func(w http.ResponseWriter) { fmt.Fprint(w, "SECRET") }, "not a JSON object"},
		{"no keys", func(w http.ResponseWriter) { _, _ = w.Write(setOf()) }, "no key for signatures"},
		{"no usable key", func(w http.ResponseWriter) { _, _ = w.Write(setOf(edKey("p").with("d", "SECRET"))) }, "no usable key"},
		{"cut off", func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "500")
			_, _ = w.Write(good)
		}, "closed before the end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { c.answer(w) }))
			defer srv.Close()
			cfg := Config{Issuer: "https://a", JWKSURI: srv.URL + "/jwks?apikey=SECRET"}
			if c.want == "" {
				if _, err := start(t, cfg, Options{}).Await(t.Context(), holds("a")); err != nil {
					t.Fatal(err)
				}
				return
			}
			if text := failure(t, cfg, Options{}); !strings.Contains(text, c.want) {
				t.Fatalf("got %s, want %q", text, c.want)
			}
		})
	}
}

func TestNotHTTP(t *testing.T) {
	for name, say := range map[string]string{
		"greeting":   "SSH-2.0-SECRET\r\n",
		"bad header": "HTTP/1.1 200 OK\r\nSECRET\r\n\r\n",
		"bad status": "HTTP/1.1 SECRET\r\n\r\n",
		"nothing":    "",
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					_, _ = c.Read(make([]byte, 4096))
					_, _ = io.WriteString(c, say)
					_ = c.Close()
				}
			}()
			failure(t, Config{Issuer: "https://a", JWKSURI: "http://" + l.Addr().String()}, Options{})
		})
	}
}

func TestNobodyListens(t *testing.T) {
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	text := failure(t, Config{Issuer: "http://" + address}, Options{})
	if !strings.Contains(text, "refused") || !strings.Contains(text, address) {
		t.Errorf("got %s", text)
	}
}

func TestTimeoutIsNamed(t *testing.T) {
	s := serve(t, edKey("a"))
	s.do(func() { s.gate = make(chan struct{}) })
	client := &http.Client{Timeout: 50 * time.Millisecond}
	text := failure(t, Config{Issuer: "https://a", JWKSURI: s.base}, Options{Client: client})
	if !strings.Contains(text, "no answer within") {
		t.Errorf("got %s", text)
	}
}

func TestRedirects(t *testing.T) {
	tlsSrv, ca := tlsSite(t)
	secure := Config{Issuer: "https://a", JWKSURI: tlsSrv.URL + "/go", CA: ca}
	for _, c := range []struct {
		name string
		to   func(self string) string
		tls  bool
		want string
	}{
		{"https to https, same host", func(self string) string { return self + "/jwks" }, true, ""},
		{"http to http, same port", func(self string) string { return self + "/jwks" }, false, ""},
		{"relative", func(string) string { return "/jwks" }, false, ""},
		{"http to https, same host", func(string) string { return tlsSrv.URL + "/jwks" }, false, ""},
		{"https to http", func(self string) string { return strings.Replace(self, "https:", "http:", 1) }, true, "from https to something else"},
		{"another host", func(string) string { return "https://SECRET.example.com/" }, true, "another host"},
		{"another name of the host", func(self string) string { return strings.Replace(self, "127.0.0.1", "localhost", 1) }, false, "another host"},
		{"http to http, another port", func(string) string { return "http://127.0.0.1:1/" }, false, "same port"},
		{"another scheme", func(string) string { return "ftp://127.0.0.1/" }, false, "redirect refused"},
		{"user information", func(self string) string { return strings.Replace(self, "://", "://SECRET:x@", 1) }, false, "user information"},
		{"for ever", func(self string) string { return self + "/go" }, false, "more than 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var self string
			var hits atomic.Int64
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				hits.Add(1)
				if r.URL.Path == "/go" {
					w.Header().Set("Location", c.to(self))
					w.WriteHeader(http.StatusFound)
					return
				}
				_, _ = w.Write(setOf(edKey("a")))
			})
			cfg := secure
			if c.tls {
				srv := httptest.NewUnstartedServer(h)
				srv.StartTLS()
				defer srv.Close()
				self = srv.URL
			} else {
				srv := httptest.NewServer(h)
				defer srv.Close()
				self = srv.URL
			}
			cfg.JWKSURI = self + "/go"
			if c.want == "" {
				if _, err := start(t, cfg, Options{}).Await(t.Context(), holds("a")); err != nil {
					t.Fatal(err)
				}
				return
			}
			if text := failure(t, cfg, Options{}); !strings.Contains(text, c.want) {
				t.Fatalf("got %s, want %q", text, c.want)
			}
			if n := hits.Load(); n > 1+maxRedirects || n > 1 && !strings.Contains(c.want, "more than") {
				t.Errorf("%d requests", n)
			}
		})
	}
}

func TestRedirectToAnotherPortLosesTheToken(t *testing.T) {
	got := make(chan string, 2)
	other := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header.Get("Authorization")
		_, _ = w.Write(setOf(edKey("a")))
	}))
	other.StartTLS()
	defer other.Close()
	first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header.Get("Authorization")
		http.Redirect(w, r, other.URL, http.StatusFound)
	}))
	defer first.Close()
	ca := tempFile(t, "ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other.Certificate().Raw}))
	cfg := Config{Issuer: "https://a", JWKSURI: first.URL, CA: ca, FetchTokenFile: tempFile(t, "token", []byte("t"))}
	if _, err := start(t, cfg, Options{}).Await(t.Context(), holds("a")); err != nil {
		t.Fatal(err)
	}
	equal(t, "first", <-got, "Bearer t")
	equal(t, "second", <-got, "")
}

func TestNoCookies(t *testing.T) {
	got := make(chan int, 4)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- len(r.Cookies())
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		_, _ = w.Write(setOf(edKey("a")))
	}))
	defer srv.Close()
	e := start(t, Config{Issuer: "https://a", JWKSURI: srv.URL}, Options{Client: &http.Client{Jar: greedyJar{}}})
	for range 2 {
		if err := e.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		equal(t, "cookies", <-got, 0)
	}
}

func TestMaxAge(t *testing.T) {
	for _, c := range []struct {
		control, age string
		want         time.Duration
	}{
		{"", "", -1},
		{"max-age=60", "", time.Minute},
		{"public, Max-Age=\"60\", must-revalidate", "", time.Minute},
		{"max-age=60", "20", 40 * time.Second},
		{"max-age=60", "90", 0},
		{"max-age=0", "", 0},
		{"max-age=-1", "", -1},
		{"max-age=99999999999999999999", "", -1},
		{"max-age", "", -1},
		{"s-maxage=5", "", -1},
		{"no-cache, no-store, max-age=0, must-revalidate", "", -1},
		{"max-age=60", "soon", time.Minute},
	} {
		h := http.Header{}
		h.Set("Cache-Control", c.control)
		h.Set("Age", c.age)
		equal(t, c.control+" age "+c.age, cacheControlAge(h), c.want)
	}
}
