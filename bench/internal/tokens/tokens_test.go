package tokens

import (
	"bufio"
	"bytes"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

func newIssuer(t *testing.T, algorithms ...string) *idp.Issuer {
	t.Helper()
	issuer, err := idp.New(idp.WithAlgorithms(algorithms...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = issuer.Close() })
	return issuer
}

func TestGoodTokensAreDistinctAndOfTheirSize(t *testing.T) {
	issuer := newIssuer(t, "RS256", "ES256", "EdDSA")
	for _, algorithm := range []string{"RS256", "ES256", "EdDSA"} {
		list := Good(issuer, algorithm, 7, nil)
		for _, token := range list {
			if off := len(token) - Size(algorithm); off < -8 || off > 8 {
				t.Errorf("%s: a token has %d bytes, want about %d", algorithm, len(token), Size(algorithm))
			}
		}
		slices.Sort(list)
		if got := len(slices.Compact(list)); got != 7 {
			t.Errorf("%s: %d of 7 tokens are distinct", algorithm, got)
		}
	}
}

func TestGoodReportsItsProgress(t *testing.T) {
	var mu sync.Mutex
	var reported []int
	Good(newIssuer(t, "EdDSA"), "EdDSA", 250, func(done int) {
		mu.Lock()
		defer mu.Unlock()
		reported = append(reported, done)
	})
	slices.Sort(reported)
	if !slices.Equal(reported, []int{100, 200}) {
		t.Errorf("reported %v, want 100 and 200", reported)
	}
}

func TestBadOnes(t *testing.T) {
	issuer := newIssuer(t, "ES256")
	kinds := BadOnes(issuer, "ES256", 3)
	for _, kind := range kinds {
		if len(kind.Tokens) != 3 && len(kind.Tokens) != 1 {
			t.Errorf("%s: got %d tokens, want 1 or 3", kind.Name, len(kind.Tokens))
		}
		for _, token := range kind.Tokens {
			if parts := strings.Count(token, "."); parts != 2 && kind.Name != "no token" && kind.Name != "garbage" {
				t.Errorf("%s: a token has %d dots, want 2", kind.Name, parts)
			}
		}
	}
	if len(kinds) != 6 {
		t.Errorf("got %d kinds, want 6", len(kinds))
	}
}

func TestSpoilChangesOneByteOfTheSignature(t *testing.T) {
	for _, signature := range []string{strings.Repeat("A", 30), strings.Repeat("z", 30)} {
		token := "head.body." + signature
		spoiled := spoil(token)
		if len(spoiled) != len(token) || spoiled == token || !strings.HasPrefix(spoiled, "head.body.") {
			t.Errorf("%q became %q", token, spoiled)
		}
	}
}

func TestRequestsCanBeRead(t *testing.T) {
	for _, token := range []string{"", "a.b.c"} {
		raw := Requests("gateway.example.com", []string{token})[0]
		request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			t.Fatal(err)
		}
		if request.Host != "gateway.example.com" {
			t.Errorf("got the host %q", request.Host)
		}
		want := ""
		if token != "" {
			want = "Bearer " + token
		}
		if got := request.Header.Get("Authorization"); got != want {
			t.Errorf("got Authorization %q, want %q", got, want)
		}
	}
}
