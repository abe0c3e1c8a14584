package license

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gowebpki/jcs"
)

// prefix2 begins what version 2 signs. No text of version 1 begins with it, so
// neither version's bytes can be the other's.
const prefix2 = "gatehouse-license/v2\n"

// signedBytes gives the bytes that the signature of a license covers, after
// all checks of form: two different payloads never have the same bytes. Version 2
// signs the RFC 8785 form of key id and payload behind a prefix, made of the
// payload as it was understood, not as it was spelled.
func signedBytes(keyID string, p *Payload) ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if p.Version() == 1 {
		return []byte(p.text1()), nil
	}
	return signedForm(prefix2, keyID, p)
}

// signedForm is what a signature covers: the prefix, and the canonical form of key id
// and payload.
func signedForm(prefix, keyID string, payload any) ([]byte, error) {
	data, err := marshal(struct {
		KeyID   string `json:"key_id"`
		Payload any    `json:"payload"`
	}{keyID, payload}, "")
	if err != nil {
		return nil, fmt.Errorf("encoding the payload: %w", err)
	}
	data, err = jcs.Transform(data)
	if err != nil {
		return nil, fmt.Errorf("bringing the payload into its canonical form: %w", err)
	}
	return append([]byte(prefix), data...), nil
}

// featureList is what version 1's grammar takes for features behind the last
// colon of its text.
var featureList = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*(,[a-z0-9][a-z0-9-]*)*$`)

// text1 is what version 1 signs:
//
//	type:issued_at:expire_at:host,host:description[:feature,feature]
func (p *Payload) text1() string {
	fields := []string{
		string(p.Type),
		strconv.FormatInt(p.IssuedAt, 10),
		strconv.FormatInt(p.ExpireAt, 10),
		strings.Join(p.AllowedHosts, ","),
		p.Description,
	}
	if len(p.Features) > 0 {
		fields = append(fields, strings.Join(p.Features, ","))
	}
	return strings.Join(fields, ":")
}

// fields1 is a text of version 1 taken apart.
type fields1 struct {
	kind, issuedAt, expireAt string
	hosts                    []string
	description              string
	features                 []string
}

// parse1 reads a text of version 1 by its one grammar: split at the first four
// colons, and hosts at commas; the rest is the description, except that what
// follows its last colon is the features if it looks like them.
func parse1(text string) (f fields1, ok bool) {
	parts := strings.SplitN(text, ":", 5)
	if len(parts) != 5 {
		return fields1{}, false
	}
	f = fields1{
		kind:        parts[0],
		issuedAt:    parts[1],
		expireAt:    parts[2],
		hosts:       strings.Split(parts[3], ","),
		description: parts[4],
	}
	colon := strings.LastIndexByte(f.description, ':')
	if colon >= 0 && featureList.MatchString(f.description[colon+1:]) {
		f.features = strings.Split(f.description[colon+1:], ",")
		f.description = f.description[:colon]
	}
	return f, true
}

// checkText is the round-trip guard. A text of version 1 does not say by itself
// where a field ends, so one text may stand for several payloads. Only the
// payload that the grammar reads from the text may be signed and verified, which
// leaves one payload for each text.
func (p *Payload) checkText() error {
	f, ok := parse1(p.text1())
	switch {
	case !ok || f.kind != string(p.Type),
		f.issuedAt != strconv.FormatInt(p.IssuedAt, 10),
		f.expireAt != strconv.FormatInt(p.ExpireAt, 10),
		!slices.Equal(f.hosts, p.AllowedHosts):
		return badForm("payload.allowed_hosts", "holds ':' or ',', which version 1 cannot tell from its own; want hosts without, or version 2")
	case f.description != p.Description, !slices.Equal(f.features, p.Features):
		return badForm("payload.description", "holds ':' so that version 1 would read features in it; put a space after ':', or use version 2")
	}
	return nil
}
