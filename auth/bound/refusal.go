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
	ErrBearer       = badToken("bound", "the token is bound to a key and cannot be used as a bearer token")
	ErrNotBound     = badToken("not_bound", "the token is not bound to a key by DPoP and cannot be used with DPoP")
	ErrBoundOnly    = badToken("bound_only", "only tokens that are bound to a key are let in here")
	ErrDPoPOnly     = badToken("dpop_only", "only tokens that are bound to a key by DPoP are let in here")
	ErrMTLSOnly     = badToken("mtls_only", "only tokens that are bound to a client certificate are let in here")
	ErrConfirmation = badToken("confirmation", "the cnf claim of the token is malformed")
	ErrOtherBinding = badToken("confirmation_member", "the token is bound in a way that is not understood")

	ErrNoProof        = badProof("no_proof", "the request has no DPoP proof")
	ErrSeveralProofs  = badProof("several_proofs", "the request has several DPoP proofs")
	ErrProofTooLong   = badProof("proof_too_long", "the DPoP proof is longer than 8 KiB")
	ErrProofForm      = badProof("proof_form", "the DPoP proof is not a signed JWT in compact form")
	ErrProofRepeats   = badProof("proof_repeated_member", "a member of the DPoP proof stands twice")
	ErrProofMember    = badProof("proof_member", "a member of the DPoP proof is missing or has the wrong type")
	ErrProofType      = badProof("proof_type", "the type of the DPoP proof is not dpop+jwt")
	ErrProofCritical  = badProof("proof_critical", "the DPoP proof has a critical header that is not understood")
	ErrProofAlgorithm = badProof("proof_algorithm", "the signature algorithm of the DPoP proof is not accepted")
	ErrProofKey       = badProof("proof_key", "the key in the DPoP proof is malformed, too weak or not for its algorithm")
	ErrProofPrivate   = badProof("proof_private_key", "the DPoP proof holds a private or a symmetric key")
	ErrProofMethod    = badProof("proof_method", "the DPoP proof is for another method")
	ErrProofURI       = badProof("proof_uri", "the htu of the DPoP proof is not an http or https URI")
	ErrProofQuery     = badProof("proof_query", "the htu of the DPoP proof has a query or a fragment")
	ErrProofOrigin    = badProof("proof_origin", "the DPoP proof is for another scheme, host or port")
	ErrProofPath      = badProof("proof_path", "the DPoP proof is for another path")
	ErrProofOld       = badProof("proof_old", "the DPoP proof is too old")
	ErrProofEarly     = badProof("proof_early", "the DPoP proof is from the future")
	ErrProofID        = badProof("proof_id", "the jti of the DPoP proof is empty or too long")
	ErrProofToken     = badProof("proof_token", "the DPoP proof is for another token")
	ErrProofSignature = badProof("proof_signature", "the signature of the DPoP proof is not valid")
	ErrProofRepeated  = badProof("proof_repeated", "the DPoP proof was used before")
	ErrProofBinding   = badToken("proof_binding", "the DPoP proof is by another key than the token is bound to")
	ErrNoNonce        = define("no_nonce", http.StatusUnauthorized, codeUseNonce, "the DPoP proof needs a nonce of this server")
	ErrNonce          = define("nonce", http.StatusUnauthorized, codeUseNonce, "the nonce of the DPoP proof is old or of another server")
	ErrReplaysFull    = define("replay_memory_full", http.StatusServiceUnavailable, "", "no more DPoP proofs can be remembered at the moment")

	ErrNoCertificate     = badToken("no_certificate", "the token is bound to a client certificate, and the request came with none")
	ErrCertificate       = badToken("certificate", "the token is bound to another client certificate")
	ErrCertificateHeader = badToken("certificate_header", "the client certificate that a proxy handed on cannot be read")
)

// Error codes of challenges.
const (
	codeInvalidToken = "invalid_token"
	codeInvalidProof = "invalid_dpop_proof"
	codeUseNonce     = "use_dpop_nonce"
)

// Refusals lists every refusal that this package can give, once.
func Refusals() []*Refusal { return slices.Clone(refusals) }

var refusals []*Refusal

func define(reason string, status int, code, message string) *Refusal {
	r := &Refusal{Reason: reason, Status: status, Code: code, Message: message}
	refusals = append(refusals, r)
	return r
}

func badToken(reason, message string) *Refusal {
	return define(reason, http.StatusUnauthorized, codeInvalidToken, message)
}

func badProof(reason, message string) *Refusal {
	return define(reason, http.StatusUnauthorized, codeInvalidProof, message)
}
