package bound

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"slices"
	"time"
	"unsafe"

	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

// examination is a request on its way through the checks, with what they found so
// far.
type examination struct {
	*Request
	config     *Config
	now        time.Time
	explains   bool // and so uses up nothing
	proof      *proof
	nextNonce  string
	remembered bool
}

// check is one thing that a request must stand up to.
type check struct {
	name  string // [examination.show] knows it, too
	needs int    // what must be there for it to be due
	run   func(*examination) *Refusal
}

// What checks need.
const (
	nothing     = iota
	certificate // a token that is bound to one
	dpop        // a token that is bound by DPoP, under that scheme
	readable    // a proof that could be taken apart
	keyed       // and whose key could be read
	complete    // and whose URI could be
)

func (x *examination) has(need int) bool {
	switch need {
	case certificate:
		return x.Bound.Certificate != ""
	case dpop:
		return x.Bound.Thumbprint != "" && x.DPoP
	case readable:
		return x.proof != nil && x.proof.header != nil
	case keyed:
		return x.proof != nil && x.proof.key.Key != nil
	case complete:
		return x.has(keyed) && x.proof.uri != nil
	}
	return true
}

// checks are all of them, in the order in which they are made: what costs little
// comes first, then the signature, and last what remembers the proof, once nothing
// else speaks against it. The checker and its explanations go through this one list.
var checks = []check{
	{"bound", nothing, func(x *examination) *Refusal { return x.Require.Check(x.Bound) }},
	{"scheme", nothing, (*examination).checkScheme},
	{"certificate", certificate, (*examination).checkCertificate},
	{"proof", dpop, (*examination).takeProof},
	{"proof_type", readable, func(x *examination) *Refusal { return x.proof.checkType() }},
	{"proof_critical", readable, func(x *examination) *Refusal { return x.proof.checkCritical() }},
	{"proof_algorithm", readable, (*examination).checkAlgorithm},
	{"proof_method", readable, (*examination).checkMethod},
	{"proof_uri", readable, func(x *examination) *Refusal { return x.proof.checkURI(x.Bases, x.Target) }},
	{"proof_time", readable, (*examination).checkTime},
	{"proof_token", readable, (*examination).checkToken},
	{"proof_id", readable, func(x *examination) *Refusal {
		id, refusal := text(x.proof.claims, "jti")
		if refusal == nil && (len(id) == 0 || len(id) > MaxIDBytes) {
			refusal = ErrProofID
		}
		return refusal
	}},
	{"proof_key", readable, func(x *examination) *Refusal { return x.proof.readKey() }},
	{"proof_binding", keyed, func(x *examination) *Refusal {
		if !isHash(x.Bound.Thumbprint, x.proof.key.Thumbprint) {
			return ErrProofBinding
		}
		return nil
	}},
	{"proof_nonce", readable, (*examination).checkNonce},
	{"proof_signature", keyed, func(x *examination) *Refusal { // the only one that costs much
		algorithm, _ := x.proof.header.Text("alg")
		if !jose.Verify(string(algorithm), x.proof.key.Key, x.proof.parts.Signed, x.proof.parts.Signature) {
			return ErrProofSignature
		}
		return nil
	}},
	{"proof_repeated", complete, (*examination).remember},
}

// checkScheme refuses a token that is bound by DPoP under the scheme Bearer, and one
// that is not under the scheme DPoP (RFC 9449, section 7.1).
func (x *examination) checkScheme() *Refusal {
	switch bound := x.Bound.Thumbprint != ""; {
	case bound && !x.DPoP:
		return ErrBearer
	case !bound && x.DPoP:
		return ErrNotBound
	}
	return nil
}

func (x *examination) checkCertificate() *Refusal {
	switch {
	case x.CertificateFault != nil:
		return ErrCertificateHeader
	case x.Certificate == nil:
		return ErrNoCertificate
	case len(x.Certificate) != sha256.Size || !isHash(x.Bound.Certificate, [sha256.Size]byte(x.Certificate)):
		return ErrCertificate
	}
	return nil
}

// takeProof takes the request's one proof apart.
func (x *examination) takeProof() *Refusal {
	switch {
	case len(x.Proofs) == 0:
		return ErrNoProof
	case len(x.Proofs) > 1:
		return ErrSeveralProofs
	case len(x.Proofs[0]) > MaxProofBytes:
		return ErrProofTooLong
	}
	x.proof = proofs.Get().(*proof)
	return x.proof.takeApart(x.Proofs[0])
}

// checkType takes the media type as RFC 7515, section 4.1.9, reads it.
func (p *proof) checkType() *Refusal {
	typ, refusal := text(p.header, "typ")
	if refusal != nil {
		return refusal
	}
	const prefix = "application/"
	if len(typ) > len(prefix) && bytes.EqualFold(typ[:len(prefix)], []byte(prefix)) {
		typ = typ[len(prefix):]
	}
	if !bytes.EqualFold(typ, []byte("dpop+jwt")) {
		return ErrProofType
	}
	return nil
}

// checkCritical refuses any critical extension (RFC 7515, section 4.1.11) and
// payloads that are not encoded (RFC 7797). Other members that are not known are
// ignored (section 4).
func (p *proof) checkCritical() *Refusal {
	if _, present := p.header.Get("crit"); present {
		return ErrProofCritical
	}
	if encoded, present := p.header.Get("b64"); present && encoded.Kind() != 't' {
		return ErrProofCritical
	}
	return nil
}

func (x *examination) checkAlgorithm() *Refusal {
	algorithm, refusal := text(x.proof.header, "alg")
	if refusal != nil {
		return refusal
	}
	if !slices.Contains(x.config.Algorithms, string(algorithm)) {
		return ErrProofAlgorithm
	}
	return nil
}

func (x *examination) checkMethod() *Refusal {
	method, refusal := text(x.proof.claims, "htm")
	if refusal != nil {
		return refusal
	}
	if string(method) != x.Method {
		return ErrProofMethod
	}
	return nil
}

// checkURI holds htu against the addresses at which clients may reach the site.
func (p *proof) checkURI(bases []string, target string) *Refusal {
	htu, refusal := text(p.claims, "htu")
	if refusal != nil {
		return refusal
	}
	uri, origin, err := appendURI(p.uriRoom[:0], htu)
	switch {
	case errors.Is(err, errQuery):
		return ErrProofQuery
	case err != nil:
		return ErrProofURI
	}
	p.uri = uri
	path, ok := appendTargetPath(p.scratch[:0], target)
	refusal = ErrProofOrigin
	for _, base := range bases {
		if len(base) < origin || base[:origin] != string(uri[:origin]) {
			continue
		}
		prefix := base[origin:] // the base's own path
		if prefix != "" && prefix[0] != '/' {
			continue
		}
		refusal = ErrProofPath
		if within, found := bytes.CutPrefix(uri[origin:], []byte(prefix)); ok && found && bytes.Equal(within, path) {
			return nil
		}
	}
	return refusal
}

// checkTime holds iat against the clock, and exp and nbf where they are there.
func (x *examination) checkTime() *Refusal {
	at := float64(x.now.UnixNano()) / float64(time.Second)
	leeway := x.Leeway.Seconds()
	issued, present, ok1 := x.proof.claims.Date("iat")
	expiry, expires, ok2 := x.proof.claims.Date("exp")
	begin, begins, ok3 := x.proof.claims.Date("nbf")
	switch {
	case !present || !ok1 || !ok2 || !ok3:
		return ErrProofMember
	case issued < at-x.config.MaxAge.Seconds() || expires && expiry <= at-leeway:
		return ErrProofOld
	case issued > at+leeway || begins && begin > at+leeway:
		return ErrProofEarly
	}
	return nil
}

// checkToken compares ath with the token's hash. The hash gets the token as it is, and
// only reads it.
func (x *examination) checkToken() *Refusal {
	hash, refusal := text(x.proof.claims, "ath")
	if refusal != nil {
		return refusal
	}
	if !isHash(hash, sha256.Sum256(unsafe.Slice(unsafe.StringData(x.Token), len(x.Token)))) {
		return ErrProofToken
	}
	return nil
}

func (x *examination) checkNonce() *Refusal {
	if x.config.Nonces == nil {
		return nil
	}
	if _, present := x.proof.claims.Get("nonce"); !present {
		return ErrNoNonce
	}
	nonce, refusal := text(x.proof.claims, "nonce")
	if refusal != nil {
		return refusal
	}
	ok, next := x.config.Nonces.Check(string(nonce), x.now)
	if !ok {
		return ErrNonce
	}
	x.nextNonce = next
	return nil
}

// remember takes a proof that stood up to everything else. It is kept for a little
// longer than it would be good, should the clock be set back.
func (x *examination) remember() *Refusal {
	if x.Taken {
		x.remembered = true
		return nil
	}
	id, _ := x.proof.claims.Text("jti")
	sum := x.config.Replays.sum(x.proof.scratch[:0], &x.proof.key.Thumbprint, x.proof.uri, id)
	if x.explains {
		if x.config.Replays.seen(sum) {
			return ErrProofRepeated
		}
		return nil
	}
	issued, _, _ := x.proof.claims.Date("iat")
	expiry := int64(issued) + int64((x.config.MaxAge+x.Leeway)/time.Second) + 2
	refusal := x.config.Replays.take(sum, expiry, x.now.Unix())
	x.remembered = refusal == nil
	return refusal
}
