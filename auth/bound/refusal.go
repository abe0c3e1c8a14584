package bound

import (
	"net/http"
	"slices"
)

// Refusal says why a request may not use its token. The set of refusals is closed:
// [Refusals] lists it. A Refusal never holds anything the caller sent.
type Refusal struct {
	// Reason is the refusal's stable name.
	Reason string

	// Status is the HTTP status to answer with: 401 or 503.
	Status int

	// Code is the error code of the challenge (RFC 6750, section 3.1; RFC 9449,
	// sections 7.1 and 9); empty where there is no challenge.
	Code string

	// Message is one sentence for the caller, in ASCII without quotes or
	// backslashes.
	Message string
}

// Error is the message for the caller.
func (r *Refusal) Error() string { return r.Message }

// The refusals.
var (
	ErrBearer       = define("bound", invalidToken, "the token is bound to a key and cannot be used as a bearer token")
	ErrNotBound     = define("not_bound", invalidToken, "the token is not bound to a key by DPoP and cannot be used with DPoP")
	ErrBoundOnly    = define("bound_only", invalidToken, "only tokens that are bound to a key are let in here")
	ErrDPoPOnly     = define("dpop_only", invalidToken, "only tokens that are bound to a key by DPoP are let in here")
	ErrMTLSOnly     = define("mtls_only", invalidToken, "only tokens that are bound to a client certificate are let in here")
	ErrConfirmation = define("confirmation", invalidToken, "the cnf claim of the token is malformed")
	ErrOtherBinding = define("confirmation_member", invalidToken, "the token is bound in a way that is not understood")

	ErrNoProof        = define("no_proof", invalidProof, "the request has no DPoP proof")
	ErrSeveralProofs  = define("several_proofs", invalidProof, "the request has several DPoP proofs")
	ErrProofTooLong   = define("proof_too_long", invalidProof, "the DPoP proof is longer than 8 KiB")
	ErrProofForm      = define("proof_form", invalidProof, "the DPoP proof is not a signed JWT in compact form")
	ErrProofRepeats   = define("proof_repeated_member", invalidProof, "a member of the DPoP proof stands twice")
	ErrProofMember    = define("proof_member", invalidProof, "a member of the DPoP proof is missing or has the wrong type")
	ErrProofType      = define("proof_type", invalidProof, "the type of the DPoP proof is not dpop+jwt")
	ErrProofCritical  = define("proof_critical", invalidProof, "the DPoP proof has a critical header that is not understood")
	ErrProofAlgorithm = define("proof_algorithm", invalidProof, "the signature algorithm of the DPoP proof is not accepted")
	ErrProofKey       = define("proof_key", invalidProof, "the key in the DPoP proof is malformed, too weak or not for its algorithm")
	ErrProofPrivate   = define("proof_private_key", invalidProof, "the DPoP proof holds a private or a symmetric key")
	ErrProofMethod    = define("proof_method", invalidProof, "the DPoP proof is for another method")
	ErrProofURI       = define("proof_uri", invalidProof, "the htu of the DPoP proof is not an http or https URI")
	ErrProofQuery     = define("proof_query", invalidProof, "the htu of the DPoP proof has a query or a fragment")
	ErrProofOrigin    = define("proof_origin", invalidProof, "the DPoP proof is for another scheme, host or port")
	ErrProofPath      = define("proof_path", invalidProof, "the DPoP proof is for another path")
	ErrProofOld       = define("proof_old", invalidProof, "the DPoP proof is too old")
	ErrProofEarly     = define("proof_early", invalidProof, "the DPoP proof is from the future")
	ErrProofID        = define("proof_id", invalidProof, "the jti of the DPoP proof is empty or too long")
	ErrProofToken     = define("proof_token", invalidProof, "the DPoP proof is for another token")
	ErrProofSignature = define("proof_signature", invalidProof, "the signature of the DPoP proof is not valid")
	ErrProofRepeated  = define("proof_repeated", invalidProof, "the DPoP proof was used before")
	ErrProofBinding   = define("proof_binding", invalidToken, "the DPoP proof is by another key than the token is bound to")
	ErrNoNonce        = define("no_nonce", useNonce, "the DPoP proof needs a nonce of this server")
	ErrNonce          = define("nonce", useNonce, "the nonce of the DPoP proof is old or of another server")
	ErrReplaysFull    = define("replay_memory_full", "", "no more DPoP proofs can be remembered at the moment")

	ErrNoCertificate     = define("no_certificate", invalidToken, "the token is bound to a client certificate, and the request came with none")
	ErrCertificate       = define("certificate", invalidToken, "the token is bound to another client certificate")
	ErrCertificateHeader = define("certificate_header", invalidToken, "the client certificate that a proxy handed on cannot be read")
)

// Error codes of challenges.
const (
	invalidToken = "invalid_token"
	invalidProof = "invalid_dpop_proof"
	useNonce     = "use_dpop_nonce"
)

// Refusals lists every refusal that this package can give, once.
func Refusals() []*Refusal { return slices.Clone(refusals) }

var refusals []*Refusal

// define makes a refusal. One without a code is for want of room, not of a proof.
func define(reason, code, message string) *Refusal {
	r := &Refusal{Reason: reason, Status: http.StatusUnauthorized, Code: code, Message: message}
	if code == "" {
		r.Status = http.StatusServiceUnavailable
	}
	refusals = append(refusals, r)
	return r
}
