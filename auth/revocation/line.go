package revocation

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unique"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-proxy/gatehouse/internal/registry"
	"github.com/gatehouse-proxy/gatehouse/internal/strictjson"
)

// appendLine writes a revocation as a line of JSON. The same one always makes the
// same bytes.
func appendLine(b []byte, r *Revocation) []byte {
	t := r.traits.Value()
	b = registry.AppendText(append(append(append(b, `{"`...), t.target...), `":`...), r.Name())
	b = registry.AppendText(append(b, `,"issuer":`...), t.issuer)
	if t.by != "" {
		b = registry.AppendText(append(b, `,"by":`...), t.by)
	}
	if reason := r.Reason(); reason != "" {
		b = registry.AppendText(append(b, `,"reason":`...), reason)
	}
	b = strconv.AppendInt(append(b, `,"before":`...), r.IssuedBefore, 10)
	b = strconv.AppendInt(append(b, `,"created":`...), r.Created, 10)
	b = strconv.AppendInt(append(b, `,"expires":`...), r.Expires, 10)
	return append(b, '}')
}

// lineReader reads the lines of one shard. All that it needs for one serves for the
// next, so that reading a million leaves no garbage worth naming behind.
type lineReader struct {
	// line is one line. The texts stay as they are written, so that reading the next
	// line can use their memory again.
	line struct {
		Subject jsontext.Value `json:"subject"`
		Session jsontext.Value `json:"session"`
		Client  jsontext.Value `json:"client"`
		TokenID jsontext.Value `json:"token_id"`
		Issuer  jsontext.Value `json:"issuer"`
		By      jsontext.Value `json:"by"`
		Reason  jsontext.Value `json:"reason"`
		Before  int64          `json:"before"`
		Created int64          `json:"created"`
		Expires int64          `json:"expires"`
	}
	text  []byte
	key   []byte
	known map[string]unique.Handle[traits] // by how they are written
}

var errForm = errors.New("it has another form")

// maxKnown bounds the traits that a reader remembers.
const maxKnown = 4096

func (r *lineReader) read(written []byte) (*Revocation, error) {
	l := &r.line
	for _, text := range [...]*jsontext.Value{&l.Subject, &l.Session, &l.Client, &l.TokenID, &l.Issuer, &l.By, &l.Reason} {
		*text = (*text)[:0]
	}
	l.Before, l.Created, l.Expires = 0, 0, 0
	if err := json.Unmarshal(written, l, json.RejectUnknownMembers(true)); err != nil {
		return nil, errForm
	}
	target, name, err := r.target()
	if err != nil {
		return nil, err
	}
	made := &Revocation{IssuedBefore: l.Before, Created: l.Created, Expires: l.Expires}
	if made.traits, err = r.readTraits(target); err != nil {
		return nil, err
	}
	text, err := registry.AppendUnquoted(r.text[:0], name)
	if err == nil {
		text, err = registry.AppendUnquoted(append(text, '\n'), l.Reason)
	}
	if err != nil {
		return nil, errForm
	}
	r.text, made.text = text, string(text)
	if strings.Count(made.text, "\n") != 1 {
		return nil, errForm
	}
	if err := strictjson.CheckText(string(target), made.Name(), 1, MaxName); err != nil {
		return nil, err
	}
	return made, strictjson.CheckText("reason", made.Reason(), 0, MaxText)
}

// target is the one that the line names.
func (r *lineReader) target() (found Target, name jsontext.Value, err error) {
	l := &r.line
	for i, value := range []jsontext.Value{l.Subject, l.Session, l.Client, l.TokenID} {
		if len(value) == 0 {
			continue
		}
		if found != "" {
			return "", nil, fmt.Errorf("it is about a %s and about another", found)
		}
		found, name = Targets[i], value
	}
	if found == "" {
		return "", nil, errForm
	}
	return found, name, nil
}

// readTraits looks the line's traits up as they are written, and makes them only if
// they are new.
func (r *lineReader) readTraits(target Target) (made unique.Handle[traits], err error) {
	l := &r.line
	r.key = append(append(r.key[:0], target...), '\n')
	r.key = append(append(append(r.key, l.Issuer...), '\n'), l.By...) // no JSON text holds a line feed
	if known, ok := r.known[string(r.key)]; ok {
		return known, nil
	}
	issuer, err := registry.AppendUnquoted(nil, l.Issuer)
	by, wrong := registry.AppendUnquoted(nil, l.By)
	if err != nil || wrong != nil {
		return made, errForm
	}
	if err := strictjson.CheckText("issuer", string(issuer), 1, maxIssuer); err != nil {
		return made, err
	}
	if err := strictjson.CheckText("by", string(by), 0, MaxText); err != nil {
		return made, err
	}
	made = unique.Make(traits{string(issuer), Targets[slices.Index(Targets, target)], string(by)})
	if len(r.known) < maxKnown {
		r.known[string(r.key)] = made
	}
	return made, nil
}
