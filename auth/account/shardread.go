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

// parseShard reads the record of the shard with that number. Its errors go on
// from the name of the record, and quote nothing of it. Nothing of the record
// stays in memory.
func parseShard(i int, record []byte) ([]*Account, origin, error) {
	body, digest, err := unseal("shard", record, maxShard)
	if err != nil {
		return nil, origin{}, err
	}
	first, rest, _ := bytes.Cut(body, []byte("\n"))
	var head shardHead
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
		if err == nil && !a.qualified() {
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
	var err error
	if a.text, err = r.readText(); err != nil {
		return nil, err
	}
	if a.traits, err = r.readTraits(); err != nil {
		return nil, err
	}
	return a, r.check(a)
}

// readText joins the line's subject and name.
func (r *lineReader) readText() (string, error) {
	text, err := appendUnquoted(r.text[:0], r.line.Subject)
	if err != nil {
		return "", err
	}
	text, err = appendUnquoted(append(text, '\n'), r.line.Name)
	r.text = text
	return string(text), err
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
func (r *lineReader) readTraits() (unique.Handle[traits], error) {
	l := &r.line
	r.key = strconv.AppendBool(strconv.AppendBool(r.key[:0], l.Inactive), l.Qualified)
	for _, written := range [...]jsontext.Value{l.Issuer, l.Identifier, l.By, l.Groups} {
		r.key = append(append(r.key, written...), '\n') // which no JSON text holds
	}
	if known, ok := r.known[string(r.key)]; ok {
		return known, nil
	}
	made, err := l.traits()
	if err == nil {
		r.known[string(r.key)] = made
	}
	return made, err
}

func (l *shardLine) traits() (none unique.Handle[traits], err error) {
	var issuer, identifier, by string
	var groups []string
	for _, m := range []struct {
		written jsontext.Value
		to      any
	}{{l.Issuer, &issuer}, {l.Identifier, &identifier}, {l.By, &by}, {l.Groups, &groups}} {
		if len(m.written) > 0 && json.Unmarshal(m.written, m.to) != nil {
			return none, errLineForm
		}
	}
	if err := checkGroups(groups); err != nil {
		return none, err
	}
	if err := checkIssuer(issuer); err != nil {
		return none, err
	}
	if err := checkIdentifier(identifier); err != nil {
		return none, err
	}
	if err := checkBy(By(by)); err != nil {
		return none, err
	}
	return unique.Make(traits{
		issuer: issuer, identifier: identifier, by: cmp.Or(By(by), ByEither), groups: strings.Join(groups, "\n"),
		qualified: l.Qualified, inactive: l.Inactive,
	}), nil
}

// check looks at what is the account's own.
func (r *lineReader) check(a *Account) error {
	if err := checkSubject(a.Subject()); err != nil {
		return err
	}
	if shardOf(a.Subject()) != r.shard {
		return errors.New("it belongs to another shard")
	}
	return checkText("name", a.Name()) // a line feed of the subject's would be here
}
