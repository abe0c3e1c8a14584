package caddymodule

import (
	"io"
	"net/http"
	"strings"
)

// clean removes what the client sent under the names of identity headers, in
// every spelling, in trailers too; and keeps the client from having the true
// ones removed later by naming them in Connection (RFC 9110, section 7.6.1).
func (h *identityHeaders) clean(r *http.Request) {
	h.drop(r.Header)
	h.dropTrailers(r)
	fields, ok := r.Header["Connection"]
	if !ok {
		return
	}
	for _, field := range fields {
		if h.namesIdentity(field) {
			h.cleanConnection(r, fields)
			return
		}
	}
}

// dropTrailers removes the trailers that were announced, and those that turn up
// without it at the end of the body.
func (h *identityHeaders) dropTrailers(r *http.Request) {
	if len(h.headers) == 0 || r.Trailer == nil {
		return
	}
	h.drop(r.Trailer)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &trailedBody{ReadCloser: r.Body, trailer: r.Trailer, headers: h}
	}
}

// trailedBody is a request's body that cleans the trailers, which the server
// fills in when it reaches the body's end.
type trailedBody struct {
	io.ReadCloser
	trailer http.Header
	headers *identityHeaders
}

// Read reads on; whoever sees the end of the body finds the trailers clean.
func (b *trailedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.headers.drop(b.trailer)
	}
	return n, err
}

func (h *identityHeaders) drop(headers http.Header) {
	if len(h.headers) == 0 {
		return
	}
	for name := range headers {
		if h.owns(name) {
			delete(headers, name)
		}
	}
}

// owns tells whether a name may be read as one of the identity headers.
func (h *identityHeaders) owns(name string) bool {
	if !h.marks[mark(name)] {
		return false
	}
	var buffer [64]byte
	_, ok := h.folded[string(appendFolded(buffer[:0], name))]
	return ok
}

// namesIdentity tells whether a Connection field names a header that is ours to
// set, the Authorization header included.
func (h *identityHeaders) namesIdentity(field string) bool {
	for option := range strings.SplitSeq(field, ",") {
		if option = strings.TrimSpace(option); h.owns(option) || strings.EqualFold(option, "Authorization") {
			return true
		}
	}
	return false
}

func (h *identityHeaders) cleanConnection(r *http.Request, fields []string) {
	var kept []string
	for _, field := range fields {
		for option := range strings.SplitSeq(field, ",") {
			if option = strings.TrimSpace(option); option != "" && !h.namesIdentity(option) {
				kept = append(kept, option)
			}
		}
	}
	if len(kept) == 0 {
		delete(r.Header, "Connection")
		return
	}
	r.Header["Connection"] = []string{strings.Join(kept, ", ")}
}

// fold writes a header name as the sloppiest backend may read it: without case,
// and every byte that is no letter or digit alike (CGI turns "-" into "_", PHP
// "." and " " too).
func fold(name string) string {
	return string(appendFolded(nil, name))
}

func appendFolded(dst []byte, name string) []byte {
	for i := range len(name) {
		dst = append(dst, foldByte(name[i]))
	}
	return dst
}

func foldByte(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	case ('a' > c || c > 'z') && ('0' > c || c > '9'):
		return '-'
	}
	return c
}

// mark is equal for names that fold to the same: made of the length, which
// folding keeps, and the first byte. It tells most names apart, so that they need
// not be folded with every request.
func mark(name string) int {
	if name == "" {
		return 0
	}
	return (len(name) + 8*int(foldByte(name[0]))) % 64
}
