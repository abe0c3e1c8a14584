package account

import (
	"fmt"
	"strconv"
	"strings"

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
