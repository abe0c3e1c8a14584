// Package tokens makes the tokens that a measurement sends: good ones in sets,
// of the sizes that issuers' tokens have, and bad ones of each kind.
package tokens

import (
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// Audience is what the tokens are addressed to.
const Audience = "https://gateway.example.com"

// Accounts is how many service accounts the tokens of a set are of.
const Accounts = 100

// Lifetime outlives any measurement.
const Lifetime = 6 * time.Hour

// Size is how long tokens of an algorithm are, in bytes, give or take two.
func Size(algorithm string) int {
	if algorithm == "RS256" {
		return 865
	}
	return 610
}

// Subject is the subject of account i.
func Subject(i int) string { return fmt.Sprintf("service-account-%07d@project.example", i) }

// Claims are those of a service account's token, which the rules of a
// measurement let in. They are the caller's to change.
func Claims(account int) map[string]any {
	return map[string]any{
		"sub":    Subject(account),
		"azp":    Subject(account),
		"scope":  "gateway.read gateway.write",
		"groups": []string{"deployers", "operators"},
		"tenant": map[string]any{"plan": "pro"},
		"jti":    rand.Text(),
		"exp":    time.Now().Add(Lifetime).Unix(),
	}
}

// Good makes n distinct good tokens of an algorithm. It reports now and then how
// many are done; nil: nobody wants to know.
func Good(issuer *idp.Issuer, algorithm string, n int, report func(done int)) []string {
	list := make([]string, n)
	padding := padding(issuer, algorithm)
	var done atomic.Int64
	var wait sync.WaitGroup
	const workers = 4
	for worker := range workers {
		wait.Go(func() {
			for i := worker; i < n; i += workers {
				claims := Claims(i % Accounts)
				claims["sid"] = padding
				list[i] = issuer.Mint(claims, idp.WithAlg(algorithm))
				if made := done.Add(1); report != nil && made%reportEvery == 0 {
					report(int(made))
				}
			}
		})
	}
	wait.Wait()
	return list
}

// reportEvery is after how many tokens Good reports.
const reportEvery = 100

// padding is the claim that makes a token as long as it should be: three bytes
// of a claim are four of the token.
func padding(issuer *idp.Issuer, algorithm string) string {
	claims := Claims(0)
	claims["sid"] = ""
	missing := Size(algorithm) - len(issuer.Mint(claims, idp.WithAlg(algorithm)))
	return strings.Repeat("x", max(0, missing*3/4))
}

// A Bad is one kind of bad token.
type Bad struct {
	// Name says what is wrong.
	Name string

	// Tokens are some of the kind; an empty one means no token at all.
	Tokens []string
}

// BadOnes makes tokens of every kind of the algorithm, n of each kind where
// they can differ: of every kind that is refused at once. One with an unknown
// key id waits for the issuer.
func BadOnes(issuer *idp.Issuer, algorithm string, n int) []Bad {
	mint := func(change map[string]any, options ...idp.MintOption) string {
		claims := Claims(0)
		for name, value := range change {
			claims[name] = value
		}
		return issuer.Mint(claims, append([]idp.MintOption{idp.WithAlg(algorithm)}, options...)...)
	}
	past := map[string]any{"exp": time.Now().Add(-time.Hour).Unix(), "iat": time.Now().Add(-2 * time.Hour).Unix()}
	foreign := map[string]any{"iss": "https://issuer.invalid"}
	several := func(one func() string) (list []string) {
		for range n {
			list = append(list, one())
		}
		return list
	}
	return []Bad{
		{"no token", []string{""}},
		{"garbage", []string{"garbage"}},
		{"expired", several(func() string { return mint(past) })},
		{"`none`", several(func() string {
			return mint(nil, idp.WithHeader("alg", "none"), idp.WithSigner(idp.NoSignature))
		})},
		{"unknown issuer", several(func() string { return mint(foreign) })},
		{"bad signature", several(func() string { return spoil(mint(nil)) })},
	}
}

// UnknownKeys makes n tokens with an invented key id each.
func UnknownKeys(issuer *idp.Issuer, algorithm string, n int) (list []string) {
	for range n {
		list = append(list, issuer.Mint(Claims(0), idp.WithAlg(algorithm), idp.WithHeader("kid", rand.Text())))
	}
	return list
}

// spoil changes the signature, in the middle, so that it stays well-formed.
func spoil(token string) string {
	at := strings.LastIndexByte(token, '.') + 20
	other := byte('A')
	if token[at] == other {
		other = 'B'
	}
	return token[:at] + string(other) + token[at+1:]
}

// Requests makes a request to a host of each token, ready to be sent.
func Requests(host string, list []string) [][]byte {
	requests := make([][]byte, 0, len(list))
	for _, token := range list {
		authorization := ""
		if token != "" {
			authorization = "Authorization: Bearer " + token + "\r\n"
		}
		requests = append(requests, []byte("GET / HTTP/1.1\r\nHost: "+host+"\r\nUser-Agent: bench\r\n"+authorization+"\r\n"))
	}
	return requests
}
