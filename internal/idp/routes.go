package idp

import (
	"crypto/subtle"
	"net/http"
	"time"
)

// Well-known paths: the first is appended to the issuer (OpenID Connect Discovery
// 1.0 §4.1), the second goes between host and path (RFC 8414 §3.1).
const (
	wellKnownOpenID = "/.well-known/openid-configuration"
	wellKnownOAuth  = "/.well-known/oauth-authorization-server"
)

// handler routes by the exact path. http.ServeMux would redirect the double
// slashes that some issuers have in theirs.
func (i *Issuer) handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case i.path + wellKnownOpenID:
			i.guard(w, r, Metadata, i.metadata(false))
		case wellKnownOAuth + i.path:
			i.guard(w, r, Metadata, i.metadata(true))
		case i.opts.jwksPath:
			i.guard(w, r, JWKS, i.serveJWKS)
		case i.path + "/token":
			i.guard(w, r, Token, i.serveToken)
		case i.path + "/introspect":
			i.guard(w, r, Introspection, i.serveIntrospection)
		case i.path + "/authorize":
			i.guard(w, r, LoginPage, i.serveLogin)
		default:
			http.NotFound(w, r)
		}
	})
}

// guard counts a request and lets the faults have their say before next.
func (i *Issuer) guard(w http.ResponseWriter, r *http.Request, e Endpoint, next http.HandlerFunc) {
	i.counts.count(e)
	f := i.faults.snapshot(e)
	if (f.hold != nil && !f.hold.wait(r)) || !pause(r, f.delay) {
		// Returning would send an empty 200 on a connection about to close.
		panic(http.ErrAbortHandler)
	}
	if f.down {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if !methodAllowed(w, r, e) {
		return
	}
	if (e == Metadata || e == JWKS) && !bearerHeld(r, f.bearer) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	answer(w, r, f.answer, next)
}

// verdict is what the faults say of one request, read under one lock.
type verdict struct {
	down   bool
	delay  time.Duration
	bearer string
	hold   *Hold
	answer Answer
}

func (f *faults) snapshot(e Endpoint) verdict {
	f.mu.Lock()
	defer f.mu.Unlock()
	return verdict{f.down, f.delay, f.bearer, f.holds[e], f.answers[e]}
}

func pause(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

func methodAllowed(w http.ResponseWriter, r *http.Request, e Endpoint) bool {
	allow := "GET, HEAD"
	ok := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch e {
	case Token, Introspection:
		allow, ok = http.MethodPost, r.Method == http.MethodPost
	case LoginPage:
		allow, ok = "GET, HEAD, POST", ok || r.Method == http.MethodPost
	}
	if !ok {
		w.Header().Set("Allow", allow)
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
	return ok
}

func bearerHeld(r *http.Request, want string) bool {
	if want == "" {
		return true
	}
	got := r.Header.Get("Authorization")
	return subtle.ConstantTimeCompare([]byte(got), []byte("Bearer "+want)) == 1
}

// answer lays a over what next writes.
func answer(w http.ResponseWriter, r *http.Request, a Answer, next http.HandlerFunc) {
	if a.Status == 0 && a.Body == nil && a.Header == nil && a.ContentType == "" {
		next(w, r)
		return
	}
	next(&overlay{ResponseWriter: w, answer: a}, r)
}

// overlay is a ResponseWriter that says what a fault wants said.
type overlay struct {
	http.ResponseWriter
	answer Answer
	wrote  bool
}

func (o *overlay) WriteHeader(status int) {
	h := o.Header()
	for name, values := range o.answer.Header {
		h[http.CanonicalHeaderKey(name)] = values
	}
	if o.answer.ContentType != "" {
		h.Set("Content-Type", o.answer.ContentType)
	}
	if o.answer.Status != 0 {
		status = o.answer.Status
	}
	o.ResponseWriter.WriteHeader(status)
	o.wrote = true
	if o.answer.Body != nil {
		// A caller that stops reading is part of the tests.
		_, _ = o.ResponseWriter.Write(o.answer.Body)
	}
}

func (o *overlay) Write(b []byte) (int, error) {
	if !o.wrote {
		o.WriteHeader(http.StatusOK)
	}
	if o.answer.Body != nil {
		return len(b), nil
	}
	return o.ResponseWriter.Write(b)
}
