package idp_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

const openIDPath = "/.well-known/openid-configuration"

func TestDownAndUp(t *testing.T) {
	iss, c := start(t)
	iss.SetDown(true)
	for _, url := range []string{iss.JWKSURL(), iss.URL + openIDPath, iss.TokenURL()} {
		if status, _, body := get(t, c, url); status != http.StatusServiceUnavailable || body != "" {
			t.Errorf("%s: status %d, body %q", url, status, body)
		}
	}
	iss.SetDown(false)
	if status, _, _ := get(t, c, iss.JWKSURL()); status != http.StatusOK {
		t.Errorf("after: status %d", status)
	}
	if n := iss.JWKSFetches(); n != 2 {
		t.Errorf("JWKSFetches = %d, want 2: failed ones count", n)
	}
}

func TestHangAndRelease(t *testing.T) {
	iss, c := start(t)
	hold := iss.Hang(idp.JWKS)
	done := make(chan int, 1)
	go func() {
		res, err := c.Get(iss.JWKSURL())
		if err != nil {
			done <- 0
			return
		}
		res.Body.Close()
		done <- res.StatusCode
	}()
	<-hold.Arrived()
	if status, _, _ := get(t, c, iss.URL+openIDPath); status != http.StatusOK {
		t.Errorf("another endpoint answers %d meanwhile", status)
	}
	select {
	case status := <-done:
		t.Fatalf("answered %d before the release", status)
	default:
	}
	hold.Release()
	hold.Release()
	if status := <-done; status != http.StatusOK {
		t.Errorf("status %d after the release", status)
	}
	if status, _, _ := get(t, c, iss.JWKSURL()); status != http.StatusOK {
		t.Errorf("a later request: status %d", status)
	}
}

func TestDelay(t *testing.T) {
	iss, c := start(t)
	const delay = 30 * time.Millisecond
	iss.SetDelay(delay)
	began := time.Now()
	get(t, c, iss.JWKSURL())
	if took := time.Since(began); took < delay {
		t.Errorf("answered after %s, want at least %s", took, delay)
	}
	// Whoever gives up earlier must not wait for the delay on Close.
	iss.SetDelay(time.Hour)
	c.Timeout = 20 * time.Millisecond
	if res, err := c.Get(iss.JWKSURL()); err == nil {
		res.Body.Close()
		t.Error("answered within an hour's delay")
	}
}

func TestAnswers(t *testing.T) {
	iss, c := start(t)
	iss.SetBody(idp.JWKS, []byte(`{"keys":`))
	if status, _, body := get(t, c, iss.JWKSURL()); status != 200 || body != `{"keys":` {
		t.Errorf("status %d, body %q", status, body)
	}
	iss.SetBody(idp.JWKS, []byte{})
	if _, _, body := get(t, c, iss.JWKSURL()); body != "" {
		t.Errorf("an empty body is %q", body)
	}
	iss.SetBody(idp.JWKS, nil)
	if set := served(t, iss, c); set.Len() != 1 {
		t.Errorf("%d keys after the end of the fault", set.Len())
	}

	iss.SetAnswer(idp.JWKS, idp.Answer{ContentType: "application/jwk-set+json"})
	_, header, body := get(t, c, iss.JWKSURL())
	if header.Get("Content-Type") != "application/jwk-set+json" || object(t, body)["keys"] == nil {
		t.Errorf("Content-Type %q, body %q", header.Get("Content-Type"), body)
	}

	iss.SetAnswer(idp.Metadata, idp.Answer{
		Status: http.StatusFound, Header: http.Header{"Location": {"/elsewhere"}}, Body: []byte{},
	})
	if status, _, _ := get(t, c, iss.URL+openIDPath); status != http.StatusNotFound {
		t.Errorf("the redirect ends at %d, want the 404 of /elsewhere", status)
	}
}

func TestMetadataFaults(t *testing.T) {
	iss, c := start(t)
	issuer := func() any {
		_, _, body := get(t, c, iss.URL+openIDPath)
		return object(t, body)["issuer"]
	}
	iss.SetMetadataIssuer("https://evil.example")
	if got := issuer(); got != "https://evil.example" {
		t.Errorf("issuer = %v", got)
	}
	iss.SetMetadataIssuer("")
	if got := issuer(); got != iss.URL {
		t.Errorf("issuer = %v after the end of the fault", got)
	}
	iss.EditMetadata(func(m map[string]any) { m["issuer"] = 7 })
	if got := issuer(); got != float64(7) {
		t.Errorf("issuer = %v", got)
	}
	iss.EditMetadata(nil)
	if got := issuer(); got != iss.URL {
		t.Errorf("issuer = %v after the end of the edit", got)
	}
}

func TestWellKnownCanBeMissing(t *testing.T) {
	iss, c := start(t)
	const oauthPath = "/.well-known/oauth-authorization-server"
	statuses := func() [2]int {
		first, _, _ := get(t, c, iss.URL+openIDPath)
		second, _, _ := get(t, c, iss.URL+oauthPath)
		return [2]int{first, second}
	}
	for _, tt := range []struct {
		openID, oauth bool
		want          [2]int
	}{
		{false, true, [2]int{404, 200}},
		{true, false, [2]int{200, 404}},
		{false, false, [2]int{404, 404}},
		{true, true, [2]int{200, 200}},
	} {
		iss.SetWellKnown(tt.openID, tt.oauth)
		if got := statuses(); got != tt.want {
			t.Errorf("SetWellKnown(%t, %t): %v, want %v", tt.openID, tt.oauth, got, tt.want)
		}
	}
}

func TestCacheControl(t *testing.T) {
	iss, c := start(t)
	for _, want := range []string{"", "max-age=60", ""} {
		iss.SetCacheControl(want)
		if _, header, _ := get(t, c, iss.JWKSURL()); header.Get("Cache-Control") != want {
			t.Errorf("Cache-Control = %q, want %q", header.Get("Cache-Control"), want)
		}
	}
}

func TestRequireBearer(t *testing.T) {
	iss, c := start(t)
	iss.RequireBearer("cluster-token")
	for _, tt := range []struct {
		header string
		want   int
	}{{"", 401}, {"Bearer other", 401}, {"cluster-token", 401}, {"Bearer cluster-token", 200}} {
		req, err := http.NewRequest(http.MethodGet, iss.JWKSURL(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if tt.header != "" {
			req.Header.Set("Authorization", tt.header)
		}
		if status, _, _ := do(t, c, req); status != tt.want {
			t.Errorf("%q: status %d, want %d", tt.header, status, tt.want)
		}
	}
}

func TestUnknownPathAndMethod(t *testing.T) {
	iss, c := start(t, idp.WithPath("/realm"))
	for _, path := range []string{"/", "/jwks", "/realm", "/realm/", "/realm/jwks/"} {
		if status, _, _ := get(t, c, "http://"+iss.Host()+path); status != http.StatusNotFound {
			t.Errorf("%s: status %d", path, status)
		}
	}
	req, err := http.NewRequest(http.MethodDelete, iss.JWKSURL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if status, header, _ := do(t, c, req); status != 405 || header.Get("Allow") != "GET, HEAD" {
		t.Errorf("DELETE: status %d, Allow %q", status, header.Get("Allow"))
	}
}
