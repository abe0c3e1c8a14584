package account

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unique"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The body of a shard's record is a line about the shard and then a line for
// each account, by subject, so that a person can read it. What follows from the
// subject is left out.

// encodeShard makes the record. The same content always makes the same bytes.
func encodeShard(i int, seq uint64, revision string, accounts []*Account) (record []byte, digest string) {
	b := make([]byte, 0, 128+len(accounts)*192)
	b = fmt.Appendf(b, `{"shard":"%s","seq":%d,"revision":"%s","accounts":%d}`+"\n", shardName(i), seq, revision, len(accounts))
	for _, a := range accounts {
		b = appendLine(b, a)
	}
	return seal("shard", b)
}

func appendLine(b []byte, a *Account) []byte {
	b = appendText(append(b, `{"subject":`...), a.Subject())
	if name := a.Name(); name != "" {
		b = appendText(append(b, `,"name":`...), name)
	}
	t := a.traits.Value()
	b = appendText(append(b, `,"issuer":`...), t.issuer)
	if t.identifier != "" {
		b = appendText(append(b, `,"identifier":`...), t.identifier)
	}
	if t.by != ByEither {
		b = appendText(append(b, `,"by":`...), string(t.by))
	}
	if groups := t.groups; groups != "" {
		b = append(b, `,"groups":`...)
		separator := byte('[')
		for g := range strings.SplitSeq(groups, "\n") {
			b = appendText(append(b, separator), g)
			separator = ','
		}
		b = append(b, ']')
	}
	if t.qualified {
		b = append(b, `,"qualified":true`...)
	}
	if t.inactive {
		b = append(b, `,"inactive":true`...)
	}
	for _, n := range []struct {
		member  string
		seconds int64
	}{{`,"expires":`, a.expires}, {`,"created":`, a.created}, {`,"updated":`, a.updated}} {
		if n.seconds != 0 {
			b = strconv.AppendInt(append(b, n.member...), n.seconds, 10)
		}
	}
	return append(b, '}', '\n')
}

func appendText(b []byte, s string) []byte {
	b, err := jsontext.AppendQuote(b, s)
	if err != nil {
		panic(err) // accounts hold valid UTF-8 only
	}
	return b
}

// parseShard reads the record of the shard with that number. Its errors go on
// from the name of the record, and quote nothing of it. Nothing of the record
// stays in memory.
func parseShard(i int, record []byte) ([]*Account, origin, error) {
	body, digest, err := unseal("shard", record, maxShard)
	if err != nil {
		return nil, origin{}, err
	}
	first, rest, _ := bytes.Cut(body, []byte("\n"))
	var head struct {
		Shard    string `json:"shard"`
		Seq      uint64 `json:"seq"`
		Revision string `json:"revision"`
		Accounts int    `json:"accounts"`
	}
	if err := json.Unmarshal(first, &head, json.RejectUnknownMembers(true)); err != nil {
		return nil, origin{}, errors.New("its second line is not that of a shard")
	}
	lines := bytes.Count(rest, []byte("\n"))
	if head.Shard != shardName(i) || head.Accounts != lines || !idForm.MatchString(head.Revision) {
		return nil, origin{}, errors.New("its second line is that of another shard")
	}
	accounts := make([]*Account, 0, lines)
	plain := "\n" // the last subject with an account of the plain id
	reader := lineReader{shard: i, known: map[string]unique.Handle[traits]{}}
	for n := range lines {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		a, err := reader.read(line)
		if err == nil && n > 0 && byKey(accounts[n-1], a) >= 0 {
			err = errors.New("it is not in order")
		}
		if err == nil && !a.traits.Value().qualified {
			if a.is(plain) {
				err = errors.New("it has the id of another")
			}
			plain = a.Subject()
		}
		if err != nil {
			return nil, origin{}, fmt.Errorf("the account in line %d: %w", n+3, err)
		}
		accounts = append(accounts, a)
	}
	if len(rest) > 0 {
		return nil, origin{}, errors.New("something follows the last account")
	}
	return accounts, origin{Seq: head.Seq, Revision: head.Revision, Digest: digest}, nil
}

// shardLine is the line of an account. The texts stay as they are written, so
// that reading the next line can use their memory again.
type shardLine struct {
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

// lineReader reads the lines of one shard. All that it needs for one serves for
// the next, so that reading a million leaves no garbage worth naming behind.
type lineReader struct {
	shard int
	line  shardLine
	text  []byte
	key   []byte
	known map[string]unique.Handle[traits] // by how they are written
}

var errLineForm = errors.New("it has another form")

func (r *lineReader) read(line []byte) (*Account, error) {
	l := &r.line
	*l = shardLine{
		Subject: l.Subject[:0], Name: l.Name[:0], Issuer: l.Issuer[:0], Identifier: l.Identifier[:0],
		By: l.By[:0], Groups: l.Groups[:0],
	}
	if err := json.Unmarshal(line, l, json.RejectUnknownMembers(true)); err != nil {
		return nil, errLineForm
	}
	a := &Account{expires: l.Expires, created: l.Created, updated: l.Updated}
	text, err := appendUnquoted(r.text[:0], l.Subject)
	if err != nil {
		return nil, err
	}
	if text, err = appendUnquoted(append(text, '\n'), l.Name); err != nil {
		return nil, err
	}
	r.text, a.text = text, string(text)
	if a.traits, err = r.readTraits(); err != nil {
		return nil, err
	}
	if err := checkSubject(a.Subject()); err != nil {
		return nil, err
	}
	if shardOf(a.Subject()) != r.shard {
		return nil, errors.New("it belongs to another shard")
	}
	return a, checkText("name", a.Name()) // a line feed of the subject's would be here
}

func appendUnquoted(b []byte, v jsontext.Value) ([]byte, error) {
	if len(v) == 0 {
		return b, nil // it was left out
	}
	b, err := jsontext.AppendUnquote(b, v)
	if err != nil {
		return b, errLineForm
	}
	return b, nil
}

// readTraits looks the line's traits up as they are written, and makes them only
// if they are new.
func (r *lineReader) readTraits() (made unique.Handle[traits], err error) {
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
	made = unique.Make(traits{
		issuer: issuer, identifier: identifier, by: cmp.Or(By(by), ByEither), groups: strings.Join(groups, "\n"),
		qualified: l.Qualified, inactive: l.Inactive,
	})
	r.known[string(r.key)] = made
	return made, nil
}
