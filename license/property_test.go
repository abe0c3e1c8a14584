package license

import (
	"flag"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// pairs is how many adversarial twins are tried; each random payload is compared
// with all others besides.
var pairs = flag.Int("pairs", 100_000, "number of adversarial payload pairs to try; millions take a minute")

// pieces are what adversarial fields are made of: the separators of version 1
// and what may stand around them.
var pieces = []string{"a", "b", "9", "-", ":", ",", ".", " ", "*", "*.", "\"", "é", "{", "1:", "oss:", ":a", ",b", "\\"}

func newRand(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}

func randomText(r *rand.Rand, least, most int) string {
	var b strings.Builder
	for range least + r.IntN(most-least+1) {
		b.WriteString(pieces[r.IntN(len(pieces))])
	}
	return b.String()
}

func randomList(r *rand.Rand, least, most int) []string {
	list := make([]string, least+r.IntN(most-least+1))
	for i := range list {
		list[i] = randomText(r, 1, 2)
	}
	return list
}

// randomPayload makes a payload of few short fields, so that many have the same
// parts in other places.
func randomPayload(r *rand.Rand, version int64) *Payload {
	p := &Payload{
		V:            version,
		Type:         []Type{OSS, Enterprise}[r.IntN(2)],
		IssuedAt:     int64(r.IntN(3)),
		ExpireAt:     int64(3 + r.IntN(2)),
		AllowedHosts: randomList(r, 1, 2),
		Description:  randomText(r, 2, 5),
	}
	if r.IntN(2) == 0 {
		p.Features = slices.Compact(slices.Sorted(slices.Values(randomFeatures(r))))
	}
	if version == 2 {
		addNewer(r, p)
	}
	return p
}

func randomFeatures(r *rand.Rand) []string {
	if r.IntN(4) == 0 {
		return randomList(r, 1, 2)
	}
	return [][]string{{"a"}, {"b"}, {"a", "b"}, {"9-"}}[r.IntN(4)]
}

func addNewer(r *rand.Rand, p *Payload) {
	some := func() bool { return r.IntN(3) == 0 }
	if some() {
		p.Issuer = randomText(r, 1, 2)
	}
	if some() {
		p.Environment = randomText(r, 1, 2)
	}
	if some() {
		p.Features = []string{}
	}
	if some() {
		p.Grace = new(int64(r.IntN(2)))
	}
	if some() {
		p.NotBefore = new(int64(r.IntN(2)))
	}
	if some() {
		p.Limits = map[string]int64{[]string{"a", "A", "a.b"}[r.IntN(3)]: int64(r.IntN(2))}
	}
	if some() {
		p.Crit = [][]string{{"a"}, {"b"}, {"b", "a"}}[r.IntN(3)]
	}
}

// twin makes another payload with the same text of version 1: the text's fields
// are parted anew at its own separators.
func twin(r *rand.Rand, p *Payload) *Payload {
	q := p.Clone()
	fields := strings.Split(strings.SplitN(p.text1(), ":", 4)[3], ":")
	first := 1 + r.IntN(len(fields)-1)
	last := len(fields)
	q.Features = nil
	if first < last-1 && r.IntN(2) == 0 {
		last = first + 1 + r.IntN(len(fields)-first-1)
		q.Features = parted(r, strings.Join(fields[last:], ":"))
	}
	q.AllowedHosts = parted(r, strings.Join(fields[:first], ":"))
	q.Description = strings.Join(fields[first:last], ":")
	return &q
}

// parted splits at some of the commas.
func parted(r *rand.Rand, s string) []string {
	list := []string{""}
	for part := range strings.SplitAfterSeq(s, ",") {
		list[len(list)-1] += part
		if strings.HasSuffix(part, ",") && r.IntN(2) == 0 {
			list[len(list)-1] = strings.TrimSuffix(list[len(list)-1], ",")
			list = append(list, "")
		}
	}
	return list
}

// Of all payloads that share a text of version 1, the guard lets one pass.
func TestTwinsNeverPass(t *testing.T) {
	r := newRand(t)
	differing, passing := 0, 0
	for range *pairs {
		p := randomPayload(r, 0)
		q := twin(r, p)
		if p.text1() != q.text1() {
			t.Fatalf("no twins: %q and %q", p.text1(), q.text1())
		}
		same := reflect.DeepEqual(p, q)
		first, second := p.check() == nil, q.check() == nil
		if first && second && !same {
			t.Fatalf("both pass:\n%+v\n%+v", p, q)
		}
		if !same {
			differing++
		}
		if first || second {
			passing++
		}
	}
	if differing < *pairs/4 || passing < *pairs/20 {
		t.Errorf("of %d pairs %d differ and of %d one passes; want more, or the test shows nothing", *pairs, differing, passing)
	}
}

// Many random payloads and their twins, each compared with all others through a
// map of the bytes that are signed: no two payloads of whatever version have the
// same.
func TestNoTwoPayloadsShareBytes(t *testing.T) {
	r := newRand(t)
	const keyID = "00"
	owner := make(map[string]*Payload)
	texts := make(map[string]*Payload)
	ambiguous := 0
	for i := range *pairs / 2 {
		p := randomPayload(r, int64(i%2*2))
		for _, p := range []*Payload{p, twin(r, p)} {
			if other, ok := texts[p.text1()]; ok && !reflect.DeepEqual(other, p) {
				ambiguous++
			}
			texts[p.text1()] = p
			data, err := signedBytes(keyID, p)
			if err != nil {
				continue
			}
			other, ok := owner[string(data)]
			if ok && !reflect.DeepEqual(other, p) {
				t.Fatalf("both give %q:\n%+v\n%+v", data, p, other)
			}
			owner[string(data)] = p
		}
	}
	if ambiguous < *pairs/8 || len(owner) < *pairs/8 {
		t.Errorf("%d ambiguous texts, %d payloads that may be signed; want more, or the test shows nothing", ambiguous, len(owner))
	}
}

// The same with real signatures: one payload is signed, and every other is
// presented with that signature.
func TestNothingElseVerifies(t *testing.T) {
	seed := rapid.Uint64()
	version := rapid.SampledFrom([]int64{0, 2})
	for _, key := range keyNames {
		s, v := newSigner(t, key, at(2)), newVerifier(t, at(2), Config{Understands: []string{"a", "b"}})
		t.Run(key, rapid.MakeCheck(func(t *rapid.T) {
			r := rand.New(rand.NewPCG(seed.Draw(t, "seed"), 0))
			p, data := signable(r, s.keyID, version.Draw(t, "version"))
			sig, err := sign(s.key, s.public, data)
			if err != nil {
				t.Fatal(err)
			}
			for range 50 {
				others := []*Payload{p, twin(r, p), randomPayload(r, p.V), randomPayload(r, 2-p.V), spoiled(r, p)}
				for _, q := range others {
					l := &License{KeyID: s.keyID, Payload: *q, Signature: sig}
					validity := v.Verify(l)
					if validity.Genuine() != reflect.DeepEqual(p, q) {
						t.Fatalf("signed %+v\npresented %+v\ngenuine %t, %v", p, q, validity.Genuine(), validity.Err())
					}
				}
			}
		}))
	}
}

// signable makes random payloads until one may be signed, and returns its bytes.
func signable(r *rand.Rand, keyID string, version int64) (*Payload, []byte) {
	for {
		p := randomPayload(r, version)
		p.AllowedHosts = append(p.AllowedHosts, "a")
		if data, err := signedBytes(keyID, p); err == nil {
			return p, data
		}
	}
}

// spoiled moves one piece of text from one field to another.
func spoiled(r *rand.Rand, p *Payload) *Payload {
	q := p.Clone()
	fields := []*string{&q.Description, &q.AllowedHosts[0], &q.AllowedHosts[len(q.AllowedHosts)-1]}
	if p.V == 2 {
		fields = append(fields, &q.Issuer, &q.Environment)
	}
	for i := range q.Features {
		fields = append(fields, &q.Features[i])
	}
	from, to := fields[r.IntN(len(fields))], fields[r.IntN(len(fields))]
	if *from == "" {
		return &q
	}
	n := 1 + r.IntN(len(*from))
	moved := (*from)[len(*from)-n:]
	*from = strings.TrimSuffix(*from, moved)
	*to = moved + *to
	return &q
}
