package auth

import (
	"maps"
	"slices"

	"github.com/gatehouse-proxy/gatehouse/auth/bound"
)

// Binding says which tokens of an issuer are let in: those that are bound to a key
// (RFC 7800), whose senders have to show that they hold it, and others.
type Binding string

// The bindings.
const (
	BoundOff      Binding = "off"      // tokens that are not bound
	BoundOptional Binding = "optional" // both
	BoundRequired Binding = "required" // tokens that are bound, in one way or another
	BoundDPoP     Binding = "dpop"     // tokens that are bound by DPoP
	BoundMTLS     Binding = "mtls"     // tokens that are bound to a client certificate
)

var bindings = map[Binding]bound.Requirement{
	"": 0, BoundOff: 0, BoundOptional: 0, BoundRequired: bound.Required, BoundDPoP: bound.DPoP, BoundMTLS: bound.MTLS,
}

// Bindings lists what a policy can say of bound tokens, sorted.
var Bindings = []string{string(BoundDPoP), string(BoundMTLS), string(BoundOff), string(BoundOptional), string(BoundRequired)}

// takesBound tells whether tokens that are bound are let in at all.
func (b Binding) takesBound() bool { return b != "" && b != BoundOff }

// Takes tells in which ways a token may come in under the binding, where the route
// asks for what is required: as a bearer's, which a token is too that is bound to a
// certificate only, and with a DPoP proof.
func (b Binding) Takes(required bound.Requirement) (bearer, dpop bool) {
	asked := bindings[b] | required
	if !b.takesBound() {
		return asked == 0, false
	}
	return asked&bound.DPoP == 0, asked&bound.MTLS == 0 || asked&bound.DPoP != 0
}

// checkBinding holds what a token says of its binding against the policy. Whether
// its sender holds the key is for [Verdict.CheckSender].
func (a *authority) checkBinding(c claimSet) *Refusal {
	cnf, present := c.get("cnf")
	if !present {
		return senderRefusals[bindings[a.Bound].Check(bound.Confirmation{})]
	}
	if !a.Bound.takesBound() {
		return ErrBound
	}
	confirmation, refusal := bound.ParseConfirmation(cnf)
	if refusal == nil {
		refusal = bindings[a.Bound].Check(confirmation)
	}
	return senderRefusals[refusal]
}

// IsBound tells whether a token was refused for nothing but that it is bound to a
// key, so that [Verdict.CheckSender] may let it in.
func (v Verdict) IsBound() bool { return v.bound != nil }

// CheckSender decides whether who sent a token may use it: it is due where the token
// is bound to a key, where it came with the scheme DPoP, and where the route asks for
// bound tokens. The request must be filled in but for Bound and Leeway, which the
// token tells. A proof that is taken cannot be used again, so this comes last. Without
// a checker, only bearer tokens are let in.
func (v Verdict) CheckSender(senders *bound.Checker, q *bound.Request) Verdict {
	token := v.Token
	if token == nil {
		token = v.bound
	}
	if token == nil {
		return v
	}
	confirmation, refusal := token.confirmation()
	switch {
	case refusal != nil:
	case senders != nil:
		q.Bound, q.Leeway = confirmation, token.profile.authority.Leeway
		refusal, v.Nonce = senders.Check(q)
	case token.bound:
		refusal = bound.ErrBearer
	case q.DPoP || q.Require != 0:
		refusal = bound.ErrNotBound
	}
	v.bound, v.Token, v.Refusal = nil, nil, senderRefusals[refusal]
	if refusal == nil {
		v.Token = token
	}
	return v
}

// confirmation reads what a verified token is bound to.
func (t *Token) confirmation() (bound.Confirmation, *bound.Refusal) {
	if !t.bound {
		return bound.Confirmation{}, nil
	}
	for _, part := range []string{t.claims(), t.profile.claims} {
		claims, _ := parseClaims([]byte(part)) // it was made of what was read
		if cnf, ok := claims.get("cnf"); ok {
			return bound.ParseConfirmation(cnf)
		}
	}
	return bound.Confirmation{}, bound.ErrConfirmation
}

// explainSender adds the checks of the sender to what was found of a token. Of a
// bearer, for whom q is nil, nothing but whether the token is for bearers.
func (e *Explanation) explainSender(x *examination, senders *bound.Checker, q *bound.Request) {
	claims, ok := parseClaims(e.Claims)
	cnf, isBound := claims.get("cnf")
	switch {
	case !ok || x.authority == nil:
		return
	case q == nil && isBound && e.Refusal == nil:
		refusal, expected := askedOfSender(cnf, senders)
		e.add("sender", refusal, expected, string(cnf))
		return
	case q == nil || senders == nil:
		return
	}
	asked := *q
	asked.Token, asked.Bound, asked.Leeway = x.token, bound.Confirmation{}, x.authority.Leeway
	if isBound {
		var refusal *bound.Refusal
		if asked.Bound, refusal = bound.ParseConfirmation(cnf); refusal != nil {
			return // the rule binding says so
		}
	}
	rules, refusal := senders.Explain(&asked)
	e.Rules = append(e.Rules, rules...)
	if e.Refusal == nil {
		e.Refusal = senderRefusals[refusal]
	}
}

// askedOfSender is the refusal of a bound token that comes alone, as a request with it
// gets it, and what token explain has to be given besides.
func askedOfSender(cnf []byte, senders *bound.Checker) (*Refusal, string) {
	confirmation, refusal := bound.ParseConfirmation(cnf)
	switch {
	case refusal != nil:
		return senderRefusals[refusal], "a cnf that can be read"
	case confirmation.Certificate == "":
		return ErrBound, "a DPoP proof, which was not given (--proof)"
	case confirmation.Thumbprint != "":
		return ErrBound, "a DPoP proof and the client's certificate, which were not given (--proof, --certificate)"
	case senders != nil:
		refusal = bound.ErrNoCertificate
	default:
		refusal = bound.ErrBearer
	}
	return senderRefusals[refusal], "the client's certificate, which was not given (--certificate)"
}

// senderRefusals are those of package bound as refusals of this one; nil is none.
var senderRefusals = func() map[*bound.Refusal]*Refusal {
	all := make(map[*bound.Refusal]*Refusal)
	for _, r := range bound.Refusals() {
		all[r] = newRefusal(r.Reason, r.Status, r.Code, r.Message)
	}
	all[bound.ErrBearer] = ErrBound
	return all
}()

// SenderRefusals lists every refusal of [Verdict.CheckSender], once.
func SenderRefusals() []*Refusal { return slices.Collect(maps.Values(senderRefusals)) }
