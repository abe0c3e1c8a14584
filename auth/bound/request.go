package bound

import (
	"crypto/sha256"
	"net/http"
	"time"
)

// Request is what a [Checker] needs to know.
type Request struct {
	// Token is the token as it was sent, and Bound what its cnf claim says; its
	// zero value is a token without one.
	Token string
	Bound Confirmation

	// Require is what route and issuer ask of the token.
	Require Requirement

	// DPoP tells that the token came with the scheme DPoP.
	DPoP bool

	// Proofs are the values of the DPoP header.
	Proofs []string

	// Taken tells that the one proof was taken for this very request already, by an
	// earlier check of the same server. Everything else is checked again.
	Taken bool

	// Method and Target are the request line's, as they were sent (RFC 9112,
	// section 3). Nothing must have rewritten them.
	Method, Target string

	// Bases are what the request's URI may begin with: see [Base] and [ParseBase].
	Bases []string

	// Leeway is how far the client's clock may be ahead.
	Leeway time.Duration

	// Certificate is the SHA-256 of the client's certificate in DER: that of the
	// TLS connection, or the one that a trusted proxy handed on; nil if there is
	// none. CertificateFault is why it could not be read.
	Certificate      []byte
	CertificateFault error
}

// Site tells what a [Checker] needs to know of the requests to a site.
type Site struct {
	// Bases are the addresses at which clients reach the site, from [ParseBase];
	// empty: what the connection says, or a trusted proxy. They are needed where
	// the site takes requests for any host, as the request's host is then whatever
	// its sender wants it to be.
	Bases []string

	// CertificateHeader is where a trusted proxy hands on the certificate of its
	// client, in a format of [CertificateFormats]; empty: clients show theirs in
	// the TLS handshake.
	CertificateHeader, CertificateFormat string
}

// Request gives what is to be checked of a request. Its method and its target, which
// is RequestURI, must be those that were sent, and not what a handler rewrote them to;
// so must host and headers, as far as the server still knows them. Trusted tells that
// it comes from a proxy whose headers can be believed.
func (s *Site) Request(r *http.Request, token string, dpop, trusted bool) *Request {
	q := &Request{
		Token: token, DPoP: dpop, Proofs: r.Header["Dpop"], Method: r.Method, Target: r.RequestURI, Bases: s.Bases,
	}
	if len(q.Bases) == 0 {
		q.Bases = basesOf(r, trusted)
	}
	switch {
	case s.CertificateHeader != "" && trusted:
		q.Certificate, q.CertificateFault = ParseCertificate(s.CertificateFormat, r.Header.Values(s.CertificateHeader))
	case r.TLS != nil && len(r.TLS.PeerCertificates) > 0:
		sum := sha256.Sum256(r.TLS.PeerCertificates[0].Raw)
		q.Certificate = sum[:]
	}
	return q
}

// basesOf gives the one base that a request may have; none if nothing says it
// clearly, so that no proof is good.
func basesOf(r *http.Request, trusted bool) []string {
	scheme, host := "http", r.Host
	if r.TLS != nil {
		scheme = "https"
	}
	if trusted {
		for name, of := range map[string]*string{"X-Forwarded-Proto": &scheme, "X-Forwarded-Host": &host} {
			switch values := r.Header[name]; len(values) {
			case 0:
			case 1:
				*of = values[0]
			default:
				return nil
			}
		}
	}
	base, err := Base(scheme, host)
	if err != nil {
		return nil
	}
	return []string{base}
}
