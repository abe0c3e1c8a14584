package bound

import (
	"encoding/base64"
	"fmt"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

// Rule is one check of an explanation, here and in package auth.
type Rule struct {
	// Rule is the check's name.
	Rule string `json:"rule"`

	// Held tells whether the request stands up to it; nil: it was not asked,
	// because it is not due or an earlier check had to hold first.
	Held *bool `json:"held"`

	// Expected and Found are texts or lists of texts; nil if not known.
	Expected any `json:"expected"`
	Found    any `json:"found"`
}

// Explain holds the checker's own checks against a request, and shows each that can
// be asked, whatever the others say. The first that does not hold is the refusal, as
// it is in [Checker.Check]. No proof is used up.
func (c *Checker) Explain(q *Request) (rules []Rule, refusal *Refusal) {
	x := examination{Request: q, config: &c.config, now: c.config.Now(), explains: true}
	for i := range checks {
		one := &checks[i]
		if !x.has(one.needs) {
			rules = append(rules, Rule{Rule: one.name})
			continue
		}
		failed := one.run(&x)
		if refusal == nil {
			refusal = failed
		}
		held := failed == nil
		rule := Rule{Rule: one.name, Held: &held}
		rule.Expected, rule.Found = x.show(one.name)
		rules = append(rules, rule)
	}
	if x.proof != nil {
		x.proof.release()
	}
	return rules, refusal
}

// show says for a check what is expected and what was found.
func (x *examination) show(check string) (expected, found any) {
	scheme := map[bool]string{false: "Bearer", true: "DPoP"}
	switch check {
	case "bound":
		return x.showBound()
	case "scheme":
		return scheme[x.Bound.Thumbprint != ""], scheme[x.DPoP]
	case "certificate":
		return x.Bound.Certificate, x.shownCertificate()
	case "proof":
		expected = fmt.Sprintf("one proof of at most %d bytes, a signed JWT in compact form", MaxProofBytes)
		if len(x.Proofs) != 1 {
			return expected, fmt.Sprintf("%d proofs", len(x.Proofs))
		}
		return expected, fmt.Sprintf("one proof of %d bytes", len(x.Proofs[0]))
	case "proof_type":
		return "typ dpop+jwt", raw(x.proof.header, "typ")
	case "proof_critical":
		return "no crit", raw(x.proof.header, "crit")
	case "proof_algorithm":
		return x.config.Algorithms, raw(x.proof.header, "alg")
	case "proof_method":
		return x.Method, raw(x.proof.claims, "htm")
	case "proof_uri":
		return x.showURI()
	case "proof_time":
		return x.showTime()
	case "proof_token":
		return "the SHA-256 of the token in ath", raw(x.proof.claims, "ath")
	case "proof_id":
		return "a jti that is not too long", raw(x.proof.claims, "jti")
	case "proof_key": // no more than the kind: the key may be a private one
		return "a public key for the algorithm in jwk", x.proof.key.Kind
	case "proof_binding":
		return x.Bound.Thumbprint, base64.RawURLEncoding.EncodeToString(x.proof.key.Thumbprint[:])
	case "proof_nonce":
		if x.config.Nonces == nil {
			return "no nonce is asked for", raw(x.proof.claims, "nonce")
		}
		return "a nonce that this node gave out lately", raw(x.proof.claims, "nonce")
	case "proof_signature":
		return "a signature by the key in jwk", raw(x.proof.header, "alg")
	case "proof_repeated":
		return "a jti that was not used before with this key and URI", raw(x.proof.claims, "jti")
	}
	return nil, nil
}

func (x *examination) showBound() (any, any) {
	var expected, found []string
	for i, what := range []string{"a token that is bound to a key", "a token with cnf.jkt", "a token with cnf.x5t#S256"} {
		if x.Require&(1<<i) != 0 {
			expected = append(expected, what)
		}
	}
	if expected == nil {
		expected = []string{"any token"}
	}
	if x.Bound.Thumbprint != "" {
		found = append(found, "jkt "+x.Bound.Thumbprint)
	}
	if x.Bound.Certificate != "" {
		found = append(found, "x5t#S256 "+x.Bound.Certificate)
	}
	if found == nil {
		return expected, "not bound"
	}
	return expected, found
}

func (x *examination) shownCertificate() string {
	switch {
	case x.CertificateFault != nil:
		return x.CertificateFault.Error()
	case x.Certificate == nil:
		return "no certificate"
	}
	return base64.RawURLEncoding.EncodeToString(x.Certificate)
}

// showURI shows what the request's URI may be in normal form, and htu as it is.
func (x *examination) showURI() (any, any) {
	path, ok := appendTargetPath(nil, x.Target)
	if !ok {
		path = []byte(" (the request target has no normal form)")
	}
	var expected []string
	for _, base := range x.Bases {
		expected = append(expected, base+string(path))
	}
	return expected, raw(x.proof.claims, "htu")
}

func (x *examination) showTime() (any, any) {
	expected := fmt.Sprintf("iat from %s to %s", stamp(x.now.Add(-x.config.MaxAge)), stamp(x.now.Add(x.Leeway)))
	var found []string
	for _, name := range []string{"iat", "nbf", "exp"} {
		if seconds, present, ok := x.proof.claims.Date(name); present && ok {
			found = append(found, name+" "+stamp(time.Unix(int64(seconds), 0)))
		} else if present {
			found = append(found, fmt.Sprint(name, " ", raw(x.proof.claims, name)))
		}
	}
	return expected, found
}

// raw shows a member: a text as it is, anything else as JSON, nil if it is absent.
func raw(of jose.Object, name string) any {
	value, present := of.Get(name)
	if !present {
		return nil
	}
	if text, ok := of.Text(name); ok {
		return string(text)
	}
	return string(value)
}

func stamp(at time.Time) string { return at.UTC().Format(time.RFC3339) }
