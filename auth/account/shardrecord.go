package account

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The body of a shard's record is a line about the shard and then a line for
// each account, by subject, so that a person can read it. What follows from the
// subject is left out.

type shardHead struct {
	Shard    string `json:"shard"`
	Seq      uint64 `json:"seq"`
	Revision string `json:"revision"`
	Accounts int    `json:"accounts"`
}

type shardLine struct {
	Subject  string   `json:"subject"`
	Name     string   `json:"name"`
	Issuer   string   `json:"issuer"`
	Groups   []string `json:"groups"`
	Inactive bool     `json:"inactive"`
	Expires  int64    `json:"expires"`
	Created  int64    `json:"created"`
	Updated  int64    `json:"updated"`
}

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
	b = appendText(append(b, `{"subject":`...), a.subject)
	if a.name != "" {
		b = appendText(append(b, `,"name":`...), a.name)
	}
	b = appendText(append(b, `,"issuer":`...), a.issuer)
	for i, g := range a.groups {
		if i == 0 {
			b = append(b, `,"groups":[`...)
		} else {
			b = append(b, ',')
		}
		b = appendText(b, g)
	}
	if len(a.groups) > 0 {
		b = append(b, ']')
	}
	if a.inactive {
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
// from the name of the record, and quote nothing of it.
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
	shared := sharing{}
	for n := range lines {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		a, err := parseLine(i, line, shared)
		if err == nil && n > 0 && accounts[n-1].subject >= a.subject {
			err = errors.New("it is not in order")
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

func parseLine(shard int, line []byte, shared sharing) (*Account, error) {
	var l shardLine
	if err := json.Unmarshal(line, &l, json.RejectUnknownMembers(true)); err != nil {
		return nil, errors.New("it has another form")
	}
	d := Draft{Subject: l.Subject, Name: l.Name, Issuer: l.Issuer, Status: StatusActive, Groups: l.Groups}
	if err := d.Validate(); err != nil {
		return nil, err
	}
	if shardOf(l.Subject) != shard {
		return nil, errors.New("it belongs to another shard")
	}
	return &Account{
		id: newID(l.Subject), subject: l.Subject, name: l.Name,
		issuer: shared.text(l.Issuer), groups: shared.texts(l.Groups),
		inactive: l.Inactive, expires: l.Expires, created: l.Created, updated: l.Updated,
	}, nil
}

// sharing makes accounts share what most of them have in common.
type sharing map[string][]string

func (s sharing) text(v string) string { return s.texts([]string{v})[0] }

func (s sharing) texts(v []string) []string {
	if len(v) == 0 {
		return nil
	}
	key := strings.Join(v, "\n") // never part of a text
	if known, ok := s[key]; ok {
		return known
	}
	v = slices.Clip(v)
	s[key] = v
	return v
}
