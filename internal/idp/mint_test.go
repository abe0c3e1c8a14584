package idp_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// parts decodes the three parts of a token.
func parts(t *testing.T, token string) (header, payload, signature string) {
	t.Helper()
	split := strings.Split(token, ".")
	if len(split) != 3 {
		t.Fatalf("%d parts, want 3", len(split))
	}
	out := make([]string, 3)
	for i, s := range split {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatalf("part %d: %v", i, err)
		}
		out[i] = string(b)
	}
	return out[0], out[1], out[2]
}

func TestMintLeavesOutWhatIsAbsent(t *testing.T) {
	iss, _ := start(t)
	token := iss.Mint(
		map[string]any{"exp": idp.Absent, "aud": []string{}},
		idp.WithHeader("kid", idp.Absent), idp.WithHeader("crit", []string{"b64"}),
	)
	header, payload, _ := parts(t, token)
	h, p := object(t, header), object(t, payload)
	if _, has := h["kid"]; has || h["crit"] == nil {
		t.Errorf("header = %v", h)
	}
	if _, has := p["exp"]; has || p["sub"] != "subject" {
		t.Errorf("payload = %v", p)
	}
	if aud, ok := p["aud"].([]any); !ok || len(aud) != 0 {
		t.Errorf("aud = %v, want an empty array", p["aud"])
	}
}

func TestMintWithoutDefaults(t *testing.T) {
	iss, _ := start(t)
	_, payload, _ := parts(t, iss.Mint(map[string]any{"a": 1}, idp.WithoutDefaults()))
	if payload != `{"a":1}` {
		t.Errorf("payload = %s", payload)
	}
}

func TestMintRaw(t *testing.T) {
	iss, _ := start(t)
	header, payload, sig := parts(t, iss.Mint(nil,
		idp.WithRawHeader([]byte(`{"alg":"ES256","alg":"none"}`)),
		idp.WithRawPayload([]byte("not json")),
		idp.WithSigner(idp.NoSignature)))
	if header != `{"alg":"ES256","alg":"none"}` || payload != "not json" || sig != "" {
		t.Errorf("header %q, payload %q, signature of %d bytes", header, payload, len(sig))
	}
}

// The classic forgery has to be a real HS256 token, or the test that refuses it
// shows nothing.
func TestMintHS256WithThePublicKey(t *testing.T) {
	iss, _ := start(t, idp.WithAlgorithms("RS256"))
	secret := iss.PublicPEM(iss.KeyID())
	token := iss.Mint(nil, idp.WithAlg("HS256"), idp.WithSigner(idp.HMACSHA256(secret)))
	if _, err := jws.Verify([]byte(token), jws.WithKey(jwa.HS256, secret)); err != nil {
		t.Errorf("jwx refuses it under the public key as secret: %v", err)
	}
	header, _, _ := parts(t, token)
	if h := object(t, header); h["alg"] != "HS256" || h["kid"] != iss.KeyID() {
		t.Errorf("header = %v", h)
	}
}

func TestMintWithAnotherAlgorithmOfTheSameKey(t *testing.T) {
	iss, _ := start(t, idp.WithAlgorithms("RS256"))
	token := iss.Mint(nil, idp.WithKey(iss.KeyID()), idp.WithAlg("PS384"))
	if _, err := jws.Verify([]byte(token), jws.WithKey(jwa.PS384, iss.PublicKey(iss.KeyID()))); err != nil {
		t.Errorf("not a PS384 token of that key: %v", err)
	}
}

func TestMintPanicsOnWhatCannotBe(t *testing.T) {
	iss, _ := start(t)
	tests := map[string]func(){
		"unknown key":      func() { iss.Mint(nil, idp.WithKey("nobody")) },
		"no such key type": func() { iss.Mint(nil, idp.WithAlg("RS256")) },
		"wrong key type":   func() { iss.Mint(nil, idp.WithKey(iss.KeyID()), idp.WithAlg("RS256")) },
		"wrong curve":      func() { iss.Mint(nil, idp.WithKey(iss.KeyID()), idp.WithAlg("ES384")) },
		"not JSON":         func() { iss.Mint(map[string]any{"f": func() {}}) },
	}
	for name, f := range tests {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("minted")
				}
			}()
			f()
		})
	}
}

func TestRotation(t *testing.T) {
	iss, c := start(t, idp.WithAlgorithms("ES256"))
	oldID, oldToken := iss.KeyID(), iss.Mint(nil)

	newID := iss.Rotate("EdDSA", idp.KeepOld)
	newToken := iss.Mint(nil)
	set := served(t, iss, c)
	if set.Len() != 2 || iss.KeyID() != newID {
		t.Fatalf("%d keys, default %q, want 2 and %q", set.Len(), iss.KeyID(), newID)
	}
	for name, token := range map[string]string{"old": oldToken, "new": newToken} {
		if _, err := verify(t, set, token); err != nil {
			t.Errorf("%s token: %v", name, err)
		}
	}

	iss.Withdraw(oldID)
	set = served(t, iss, c)
	if _, err := verify(t, set, oldToken); err == nil {
		t.Error("a withdrawn key still verifies")
	}
	if _, err := verify(t, set, iss.Mint(nil, idp.WithKey(oldID))); err == nil {
		t.Error("a new token of a withdrawn key verifies")
	}

	iss.Rotate("ES256", idp.WithdrawOld)
	if set = served(t, iss, c); set.Len() != 1 {
		t.Errorf("%d keys after a rotation that withdraws, want 1", set.Len())
	}
}

func TestPrepareAndPublish(t *testing.T) {
	iss, c := start(t)
	was := iss.KeyID()
	kid := iss.Prepare("ES256")
	token := iss.Mint(nil, idp.WithKey(kid))
	if _, err := verify(t, served(t, iss, c), token); err == nil {
		t.Error("a prepared key is published already")
	}
	iss.Publish(kid)
	if _, err := verify(t, served(t, iss, c), token); err != nil {
		t.Errorf("after Publish: %v", err)
	}
	if iss.KeyID() != was {
		t.Error("publishing changed the default key")
	}
}

func TestReplaceKeyUnderSameID(t *testing.T) {
	for _, alg := range []string{"ES256", "RS256"} {
		iss, c := start(t, idp.WithAlgorithms(alg))
		was, before := iss.KeyID(), iss.Mint(nil)
		if kid := iss.ReplaceKeyUnderSameID(); kid != was {
			t.Errorf("%s: id %q, was %q", alg, kid, was)
		}
		set := served(t, iss, c)
		if _, err := verify(t, set, before); err == nil {
			t.Errorf("%s: the old material still verifies", alg)
		}
		if _, err := verify(t, set, iss.Mint(nil)); err != nil {
			t.Errorf("%s: the new material: %v", alg, err)
		}
	}
}

func TestLiveIssuersShareNoRSAKey(t *testing.T) {
	a, _ := start(t, idp.WithAlgorithms("RS256"))
	b, c := start(t, idp.WithAlgorithms("RS256"))
	if _, err := verify(t, served(t, b, c), a.Mint(nil)); err == nil {
		t.Error("a token of one issuer verifies under the keys of another")
	}
}

func TestRawAndEditedKeys(t *testing.T) {
	iss, c := start(t)
	iss.AddRawKey(map[string]any{"kty": "oct", "k": "c2VjcmV0", "kid": "shared"})
	iss.EditKeys(func(jwk map[string]any) {
		delete(jwk, "alg")
		jwk["use"] = "enc"
	})
	_, _, body := get(t, c, iss.JWKSURL())
	keys := object(t, body)["keys"].([]any)
	if len(keys) != 2 {
		t.Fatalf("%d keys, want 2", len(keys))
	}
	first, second := keys[0].(map[string]any), keys[1].(map[string]any)
	if first["use"] != "enc" || first["alg"] != nil || second["kty"] != "oct" || second["use"] != nil {
		t.Errorf("keys = %v", keys)
	}
	iss.EditKeys(nil)
	if !strings.Contains(string(iss.JWKS()), `"alg":"ES256"`) {
		t.Error("the edit outlived its end")
	}
}

func TestPersonTokens(t *testing.T) {
	iss, c := start(t)
	set := served(t, iss, c)
	who := idp.Person{Subject: "u-1", Name: "Ada", Email: "ada@example.com", Groups: []string{"ops"}}
	login := idp.Login{ClientID: "web", Nonce: "n-1"}

	access, err := verify(t, set, iss.PersonToken(who, login))
	if err != nil {
		t.Fatal(err)
	}
	if access["sub"] != "u-1" || access["azp"] != "web" || access["aud"] != idp.DefaultAudience ||
		access["scope"] != "openid email profile" || access["email"] != "ada@example.com" {
		t.Errorf("access token claims = %v", access)
	}
	id, err := verify(t, set, iss.IDToken(who, login))
	if err != nil {
		t.Fatal(err)
	}
	if id["aud"] != "web" || id["nonce"] != "n-1" || id["at_hash"] == nil {
		t.Errorf("ID token claims = %v", id)
	}
}
