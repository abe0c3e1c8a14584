package bound

import (
	"encoding/base64"
	"fmt"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

// Rule is one check of an explanation.
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
		rule.Expected, rule.Found = one.shown(&x)
		rules = append(rules, rule)
	}
	if x.proof != nil {
		x.proof.release()
	}
	return rules, refusal
}

// inHeader shows a member of the proof's header, inClaims a claim.
func inHeader(expected, name string) func(*examination) (any, any) {
	return func(x *examination) (any, any) { return expected, raw(x.proof.header, name) }
}

func inClaims(expected, name string) func(*examination) (any, any) {
	return func(x *examination) (any, any) { return expected, raw(x.proof.claims, name) }
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

func (x *examination) showScheme() (any, any) {
	name := map[bool]string{false: "Bearer", true: "DPoP"}
	return name[x.Bound.Thumbprint != ""], name[x.DPoP]
}

func (x *examination) showCertificate() (any, any) {
	switch {
	case x.CertificateFault != nil:
		return x.Bound.Certificate, x.CertificateFault.Error()
	case x.Certificate == nil:
		return x.Bound.Certificate, "no certificate"
	}
	return x.Bound.Certificate, base64.RawURLEncoding.EncodeToString(x.Certificate)
}

func (x *examination) showProof() (any, any) {
	expected := fmt.Sprintf("one proof of at most %d bytes, a signed JWT in compact form", MaxProofBytes)
	if len(x.Proofs) != 1 {
		return expected, fmt.Sprintf("%d proofs", len(x.Proofs))
	}
	return expected, fmt.Sprintf("one proof of %d bytes", len(x.Proofs[0]))
}

func (x *examination) showAlgorithm() (any, any) {
	return x.config.Algorithms, raw(x.proof.header, "alg")
}

func (x *examination) showMethod() (any, any) { return x.Method, raw(x.proof.claims, "htm") }

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
		if seconds, present, refusal := x.proof.date(name); present && refusal == nil {
			found = append(found, name+" "+stamp(time.Unix(int64(seconds), 0)))
		} else if present {
			found = append(found, fmt.Sprint(name, " ", raw(x.proof.claims, name)))
		}
	}
	return expected, found
}

// showKey shows no more than the kind: the key may be a private one.
func (x *examination) showKey() (any, any) {
	return "a public key for the algorithm in jwk", x.proof.key.Kind
}

func (x *examination) showBinding() (any, any) {
	return x.Bound.Thumbprint, base64.RawURLEncoding.EncodeToString(x.proof.key.Thumbprint[:])
}

func (x *examination) showNonce() (any, any) {
	if x.config.Nonces == nil {
		return "no nonce is asked for", raw(x.proof.claims, "nonce")
	}
	return "a nonce that this node gave out lately", raw(x.proof.claims, "nonce")
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
