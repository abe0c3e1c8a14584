package caddymodule_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// senderCases make each refusal of senders happen, but for those that need other options
// of the app.
func senderCases(t *testing.T, g *gateway, issuer *idp.Issuer) map[string]refusalCase {
	me, other := newHolder(t), newHolder(t)
	token, plain := me.token(issuer), mint(issuer, nil)
	url, now := "http://"+g.site+"/all/", time.Now().Unix()
	bad := func(name string, value any) refusalCase {
		return refusalCase{token: token, proof: me.proof(token, "GET", url, claims{name: value})}
	}
	made := func(header claims, payload string) refusalCase {
		return refusalCase{token: token, proof: me.sign([]byte(payload), header)}
	}
	proof := me.proof(token, "GET", url, nil)
	good, _ := base64.RawURLEncoding.DecodeString(strings.Split(proof, ".")[1])
	private := map[string]any{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "d": "AA"}
	broken := map[string]any{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}
	used := me.proof(token, "GET", url, nil)
	if got := g.get("/all/", with(token, used)); got.status != http.StatusOK {
		t.Fatalf("a good proof: %d %s", got.status, reasonIn(got))
	}
	file, _ := selfSigned(t)
	certificate, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(certificate)
	theirs := header("Client-Cert", ":"+base64.StdEncoding.EncodeToString(block.Bytes)+":")
	sum := sha256.Sum256([]byte("another"))
	toCertificate := mint(issuer, claims{"cnf": claims{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}})
	return map[string]refusalCase{
		"bound":                 {token: token},
		"not_bound":             {token: plain, proof: me.proof(plain, "GET", url, nil)},
		"bound_only":            {path: "/bound/", token: plain, route: true},
		"dpop_only":             {path: "/dpop/", token: plain, route: true},
		"mtls_only":             {path: "/mtls/", token: plain, route: true},
		"confirmation":          {token: mint(issuer, claims{"cnf": claims{"jkt": "x"}})},
		"confirmation_member":   {token: mint(issuer, claims{"cnf": claims{"kid": "x"}})},
		"no_proof":              {edits: []edit{header("Authorization", "DPoP "+token)}, route: true},
		"several_proofs":        {token: token, edits: []edit{header("Authorization", "DPoP "+token), header("Dpop", "a", "b")}, route: true},
		"proof_too_long":        {token: token, proof: strings.Repeat("a", 9000)},
		"proof_form":            {token: token, proof: "a.b"},
		"proof_repeated_member": made(nil, `{"htm":"GET","htm":"GET"}`),
		"proof_member":          bad("jti", idp.Absent),
		"proof_type":            made(claims{"typ": "JWT"}, string(good)),
		"proof_critical":        made(claims{"crit": []string{"exp"}}, string(good)),
		"proof_algorithm":       made(claims{"alg": "HS256"}, string(good)),
		"proof_key":             made(claims{"jwk": broken}, string(good)),
		"proof_private_key":     made(claims{"jwk": private}, string(good)),
		"proof_method":          bad("htm", "POST"),
		"proof_uri":             bad("htu", "/all/"),
		"proof_query":           bad("htu", url+"?a"),
		"proof_origin":          bad("htu", strings.Replace(url, "http:", "https:", 1)),
		"proof_path":            bad("htu", url+"a"),
		"proof_old":             bad("iat", now-3600),
		"proof_early":           bad("iat", now+600),
		"proof_id":              bad("jti", ""),
		"proof_token":           bad("ath", base64.RawURLEncoding.EncodeToString(sum[:])),
		"proof_signature":       {token: token, proof: flip(proof)},
		"proof_repeated":        {token: token, proof: used},
		"proof_binding":         {token: token, proof: other.proof(token, "GET", url, nil)},
		"no_certificate":        {path: "/mtls/", token: toCertificate},
		"certificate":           {path: "/mtls/", token: toCertificate, edits: []edit{theirs}, certificate: string(certificate)},
		"certificate_header":    {path: "/mtls/", token: toCertificate, edits: []edit{header("Client-Cert", "x")}, route: true},
	}
}

// Refusals of senders are called the same in the metric, the log and the explanation.
func TestSenderRefusalsAgreeEverywhere(t *testing.T) {
	if apart(t) {
		return
	}
	name := unique("sender")
	g, issuer, admin := observable(t, name)
	site := strings.NewReplacer(
		"\tOBSERVED\n", "\tOBSERVED\n\tservers {\n\ttrusted_proxies static 127.0.0.1/32\n}\n",
		"\thandle {\n\t\trespond", `	bearer_auth /bound/* {
		bound required
	}
	bearer_auth /dpop/* {
		bound dpop
	}
	bearer_auth /mtls/* {
		bound mtls
		client_certificate header Client-Cert rfc9440
	}
	handle {
		respond`).Replace(observed)
	load := func(more string) {
		t.Helper()
		if err := g.load(strings.Replace(site, "\t\tMORE\n", more, 1)); err != nil {
			t.Fatal(err)
		}
	}
	load("")
	eventually(t, "the service accounts are loaded", func() bool { return strings.Contains(g.log(), "service accounts loaded") })
	cases := senderCases(t, g, issuer)
	seen := 0
	for _, refusal := range auth.SenderRefusals() {
		c, ok := cases[refusal.Reason]
		switch refusal.Reason {
		case "no_nonce", "nonce", "replay_memory_full":
			continue
		}
		seen++
		if !ok {
			t.Errorf("no case makes %s happen", refusal.Reason)
			continue
		}
		t.Run(refusal.Reason, func(t *testing.T) { g.agrees(t, c, refusal, name, admin) })
	}
	if seen != len(cases) {
		t.Errorf("%d cases for %d refusals", len(cases), seen)
	}
	me, url := newHolder(t), "http://"+g.site+"/all/"
	token := me.token(issuer)
	refusals := map[string]*auth.Refusal{}
	for _, refusal := range auth.SenderRefusals() {
		refusals[refusal.Reason] = refusal
	}
	load("dpop {\nnonce node\n}\n")
	g.agrees(t, refusalCase{token: token, proof: me.proof(token, "GET", url, nil)}, refusals["no_nonce"], name, admin)
	g.agrees(t, refusalCase{token: token, proof: me.proof(token, "GET", url, claims{"nonce": "x"})}, refusals["nonce"], name, admin)
	load("dpop {\nreplay_memory 1\n}\n")
	g.agrees(t, refusalCase{token: token, proof: me.proof(token, "GET", url, nil), route: true}, refusals["replay_memory_full"], name, admin)
}

// What is asked about a sender must be whole.
func TestExplainingASender(t *testing.T) {
	name := unique("explain")
	g, issuer, admin := observe(t, name)
	me, url := newHolder(t), "http://"+g.site+"/all/a?b=c"
	token := me.token(issuer)
	proof := me.proof(token, "PUT", url, nil)
	ask := func(question claims) answer {
		return post(g, "http://"+admin+"/api/tokens/explain", string(me.text(question)))
	}
	for range 2 { // no proof is used up
		got := ask(claims{"token": token, "proof": proof, "method": "PUT", "url": url}).object(t)
		if got["verdict"] != "let_in" {
			t.Errorf("a good proof: %v", got)
		}
	}
	if got := g.send("PUT", "/all/a?b=c", with(token, proof)); got.status != http.StatusOK {
		t.Errorf("a proof that was explained: %d %s", got.status, reasonIn(got))
	}
	for want, question := range map[string]claims{
		"proof, method and url: expected all of them": {"token": token, "proof": proof},
		"url: expected the URL of the request":        {"token": token, "proof": proof, "method": "GET", "url": "/a"},
		"certificate: expected one certificate":       {"token": token, "certificate": "x"},
		"token: expected the token":                   {"proof": proof, "method": "GET", "url": url},
		"and no other or repeated member":             {"token": token, "proofs": proof},
	} {
		if got := ask(question); got.status != http.StatusUnprocessableEntity && got.status != http.StatusBadRequest || !strings.Contains(got.body, want) || strings.Contains(got.body, proof) {
			t.Errorf("got %d %s, want %q", got.status, got.body, want)
		}
	}
}
