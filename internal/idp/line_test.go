package idp_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

func TestTLS(t *testing.T) {
	iss, c := start(t, idp.WithTLS())
	if !strings.HasPrefix(iss.URL, "https://127.0.0.1:") {
		t.Errorf("URL = %q", iss.URL)
	}
	if set := served(t, iss, c); set.Len() != 1 {
		t.Errorf("%d keys, want 1", set.Len())
	}
	stranger := &http.Client{Transport: &http.Transport{}}
	if res, err := stranger.Get(iss.JWKSURL()); err == nil {
		res.Body.Close()
		t.Error("a client without the root was served")
	}
	if plain, _ := start(t); plain.CAPEM() != nil {
		t.Error("an issuer without TLS names a root")
	}
}

func TestStopAndStartOnTheSameAddress(t *testing.T) {
	iss, c := start(t, idp.WithStopped(), idp.WithAlgorithms("EdDSA"))
	token := iss.Mint(nil)
	url := iss.URL
	for round := range 3 {
		if res, err := c.Get(iss.JWKSURL()); err == nil {
			res.Body.Close()
			t.Fatalf("round %d: a stopped issuer answered", round)
		}
		if err := iss.Start(); err != nil {
			t.Fatalf("round %d: Start: %v", round, err)
		}
		if _, err := verify(t, served(t, iss, c), token); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := iss.Stop(); err != nil {
			t.Fatalf("round %d: Stop: %v", round, err)
		}
	}
	if iss.URL != url || iss.JWKSFetches() != 3 {
		t.Errorf("URL %q, was %q; %d fetches, want 3", iss.URL, url, iss.JWKSFetches())
	}
}

func TestCloseEndsHangingRequests(t *testing.T) {
	for _, e := range []idp.Endpoint{idp.JWKS, idp.Token} {
		iss, c := start(t)
		hold := iss.Hang(e)
		failed := make(chan error, 1)
		go func() {
			var res *http.Response
			var err error
			if e == idp.JWKS {
				res, err = c.Get(iss.JWKSURL())
			} else {
				res, err = c.Post(iss.TokenURL(), "text/plain", strings.NewReader("unread"))
			}
			if err == nil {
				res.Body.Close()
			}
			failed <- err
		}()
		<-hold.Arrived()
		if err := iss.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
		if err := <-failed; err == nil {
			t.Error("the request was answered by a closed issuer")
		}
	}
}

func TestAddressTaken(t *testing.T) {
	first, _ := start(t)
	second, err := idp.New(idp.WithAddress(first.Host()))
	if err == nil {
		second.Close()
		t.Fatal("two issuers on one address")
	}
}
