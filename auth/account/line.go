package account

import (
	"cmp"
	"errors"
	"strconv"
	"strings"
	"unique"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-proxy/gatehouse/internal/registry"
	"github.com/gatehouse-proxy/gatehouse/internal/strictjson"
)

// appendLine writes an account as a line of JSON, so that a person can read it. What
// follows from the subject is left out. The same account always makes the same bytes.
func appendLine(b []byte, a *Account) []byte {
	b = registry.AppendText(append(b, `{"subject":`...), a.Subject())
	if name := a.Name(); name != "" {
		b = registry.AppendText(append(b, `,"name":`...), name)
	}
	t := a.Traits()
	b = registry.AppendText(append(b, `,"issuer":`...), t.Issuer)
	if t.Identifier != "" {
		b = registry.AppendText(append(b, `,"identifier":`...), t.Identifier)
	}
	if t.By != ByEither {
		b = registry.AppendText(append(b, `,"by":`...), string(t.By))
	}
	if groups := t.groups; groups != "" {
		b = append(b, `,"groups":`...)
		separator := byte('[')
		for g := range strings.SplitSeq(groups, "\n") {
			b = registry.AppendText(append(b, separator), g)
			separator = ','
		}
		b = append(b, ']')
	}
	if t.qualified {
		b = append(b, `,"qualified":true`...)
	}
	if t.Inactive {
		b = append(b, `,"inactive":true`...)
	}
	for _, n := range []struct {
		member  string
		seconds int64
	}{{`,"expires":`, a.Expires}, {`,"created":`, a.Created}, {`,"updated":`, a.Updated}} {
		if n.seconds != 0 {
			b = strconv.AppendInt(append(b, n.member...), n.seconds, 10)
		}
	}
	return append(b, '}')
}

// lineReader reads the lines of one shard. All that it needs for one serves for
// the next, so that reading a million leaves no garbage worth naming behind.
type lineReader struct {
	// line is one line. The texts stay as they are written, so that reading the next
	// line can use their memory again.
	line struct {
		Subject    jsontext.Value `json:"subject"`
		Name       jsontext.Value `json:"name"`
		Issuer     jsontext.Value `json:"issuer"`
		Identifier jsontext.Value `json:"identifier"`
		By         jsontext.Value `json:"by"`
		Groups     jsontext.Value `json:"groups"`
		Qualified  bool           `json:"qualified"`
		Inactive   bool           `json:"inactive"`
		Expires    int64          `json:"expires"`
		Created    int64          `json:"created"`
		Updated    int64          `json:"updated"`
	}
	text  []byte
	key   []byte
	plain string                           // the last subject with an account of the plain id
	known map[string]unique.Handle[Traits] // by how they are written
}

var errLineForm = errors.New("it has another form")

func (r *lineReader) read(line []byte) (*Account, error) {
	l := &r.line
	for _, text := range [...]*jsontext.Value{&l.Subject, &l.Name, &l.Issuer, &l.Identifier, &l.By, &l.Groups} {
		*text = (*text)[:0]
	}
	l.Qualified, l.Inactive, l.Expires, l.Created, l.Updated = false, false, 0, 0, 0
	if err := json.Unmarshal(line, l, json.RejectUnknownMembers(true)); err != nil {
		return nil, errLineForm
	}
	a := &Account{Expires: l.Expires, Created: l.Created, Updated: l.Updated}
	text, err := registry.AppendUnquoted(r.text[:0], l.Subject)
	if err == nil {
		text, err = registry.AppendUnquoted(append(text, '\n'), l.Name)
	}
	if err != nil {
		return nil, errLineForm
	}
	r.text, a.text = text, string(text)
	if a.traits, err = r.readTraits(); err != nil {
		return nil, err
	}
	if err := checkSubject(a.Subject()); err != nil {
		return nil, err
	}
	if err := strictjson.CheckText("name", a.Name(), 0, MaxText); err != nil { // a line feed of the subject's would be here
		return nil, err
	}
	if !a.Traits().qualified {
		if a.is(r.plain) {
			return nil, errors.New("it has the id of another")
		}
		r.plain = a.Subject()
	}
	return a, nil
}

// readTraits looks the line's traits up as they are written, and makes them only
// if they are new.
func (r *lineReader) readTraits() (made unique.Handle[Traits], err error) {
	l := &r.line
	r.key = strconv.AppendBool(strconv.AppendBool(r.key[:0], l.Inactive), l.Qualified)
	for _, written := range [...]jsontext.Value{l.Issuer, l.Identifier, l.By, l.Groups} {
		r.key = append(append(r.key, written...), '\n') // which no JSON text holds
	}
	if known, ok := r.known[string(r.key)]; ok {
		return known, nil
	}
	var issuer, identifier, by string
	var groups []string
	for _, m := range []struct {
		written jsontext.Value
		to      any
	}{{l.Issuer, &issuer}, {l.Identifier, &identifier}, {l.By, &by}, {l.Groups, &groups}} {
		if len(m.written) > 0 && json.Unmarshal(m.written, m.to) != nil {
			return made, errLineForm
		}
	}
	if err := checkTraits(groups, issuer, identifier, By(by)); err != nil {
		return made, err
	}
	made = unique.Make(Traits{
		Issuer: issuer, Identifier: identifier, By: cmp.Or(By(by), ByEither), Inactive: l.Inactive,
		qualified: l.Qualified, groups: strings.Join(groups, "\n"),
	})
	r.known[string(r.key)] = made
	return made, nil
}
