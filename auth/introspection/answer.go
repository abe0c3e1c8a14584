package introspection

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

// Answer is what an issuer says of a token. It is shared by all who asked.
type Answer struct {
	// Active: the token is good as far as the issuer is concerned (RFC 7662, section
	// 2.2). All else is for the caller to check.
	Active bool
	// Claims is the JSON object of what the issuer says of an active token, without
	// active itself, strictly read: no member stands twice. It must not be changed.
	Claims []byte
	// AskedAt is when the question was sent, so that a revocation after it may have
	// gone unseen; Took is how long the answer took.
	AskedAt time.Time
	Took    time.Duration
	// Endpoint is who was asked: the address without its query.
	Endpoint string
}

// ParseAnswer reads an answer (RFC 7662, section 2.2): one JSON object in UTF-8 in
// which no member stands twice at any depth, with active as a boolean. Errors go on
// from "the answer", and quote nothing.
func ParseAnswer(body []byte) (*Answer, error) {
	if len(body) > maxAnswerBytes {
		return nil, errors.New("is too long")
	}
	var r jose.Reader
	members, err := r.Read(body, nil)
	switch {
	case errors.Is(err, jose.ErrRepeated):
		return nil, errors.New("has a member twice")
	case err != nil:
		return nil, errors.New("is not one JSON object in UTF-8")
	}
	active, _ := members.Get("active")
	switch active.Kind() {
	case 't':
	case 'f':
		return &Answer{}, nil
	default:
		return nil, errors.New("does not have `active` as true or false")
	}
	claims := []byte{'{'}
	for _, member := range members {
		if string(member.Name) == "active" {
			continue
		}
		if len(claims) > 1 {
			claims = append(claims, ',')
		}
		if claims, err = jsontext.AppendQuote(claims, member.Name); err != nil {
			return nil, errors.New("is not one JSON object in UTF-8")
		}
		claims = append(append(claims, ':'), member.Value...)
	}
	return &Answer{Active: true, Claims: append(claims, '}')}, nil
}

// signedAge is how old a signed answer may be when it comes, and signedSkew how far
// the issuer's clock may be ahead: it must be an answer to this question.
const (
	signedAge  = time.Minute
	signedSkew = time.Minute
)

// parseSigned reads the payload of an answer that its issuer signed (RFC 9701,
// section 5): it must be meant for this client, and new.
func (c *Client) parseSigned(payload []byte) (*Answer, error) {
	var r jose.Reader
	members, err := r.Read(payload, nil)
	if err != nil {
		return nil, errors.New("is not signed JSON, or has a member twice")
	}
	if iss, ok := members.Text("iss"); !ok || string(iss) != c.source.Issuer {
		return nil, errors.New("is signed for another issuer (iss)")
	}
	if !isFor(members, c.cfg.ClientID) {
		return nil, errors.New("is signed for somebody else: its aud is not this client_id")
	}
	issued, ok := seconds(members, "iat")
	now := c.opts.Now()
	if !ok || issued.Before(now.Add(-signedAge-askLimit)) || issued.After(now.Add(signedSkew)) {
		return nil, errors.New("is not signed now, by its iat: are the clocks right?")
	}
	inner, _ := members.Get("token_introspection")
	return ParseAnswer(inner)
}

// isFor tells whether aud, a text or a list of them, names somebody.
func isFor(members jose.Object, name string) bool {
	list, ok := members.List("aud")
	return ok && slices.Contains(list, name)
}

// seconds reads a NumericDate in whole seconds.
func seconds(members jose.Object, name string) (time.Time, bool) {
	value, _ := members.Get(name)
	if value.Kind() != '0' {
		return time.Time{}, false
	}
	number, err := strconv.ParseFloat(string(value), 64)
	return time.Unix(int64(number), 0), err == nil
}
