package revocation

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func aRevocation(name string, i int) *Revocation {
	d := Draft{
		Issuer: "https://acme.example", Target: Targets[i%len(Targets)], Name: name, IssuedBefore: time.Unix(1_700_000_000+int64(i), 0),
	}
	if i%2 == 0 {
		d.By, d.Reason = "acme/root", "left the <company> \"today\""
	}
	made, err := d.make(1_700_000_100 + int64(i))
	if err != nil {
		panic(err)
	}
	return made
}

// inShard makes revocations that belong to one shard.
func inShard(shard, count int) (all []*Revocation) {
	for i := 0; len(all) < count; i++ {
		if r := aRevocation(fmt.Sprintf("s/%d@ü", i), i); kind.Hash(r.Key())>>56 == uint64(shard) {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, compare)
	return all
}

func TestLinesRoundTrip(t *testing.T) {
	all := inShard(7, 50)
	record := kind.EncodeShard(7, all)
	got, err := kind.ParseShard(7, record)
	if err != nil || !slices.EqualFunc(got, all, kind.Equal) {
		t.Fatalf("they became others: %v", err)
	}
	if !bytes.Equal(kind.EncodeShard(7, got), record) {
		t.Error("the same content makes other bytes")
	}
}

// TestLineIsFixed: what was stored before must stay what it is, to the byte.
func TestLineIsFixed(t *testing.T) {
	const want = `{"session":"s-1","issuer":"https://acme.example","by":"acme/root","reason":"gone","before":1700000000,"created":1700000001,"expires":1700003600}`
	r, err := kind.Reader()([]byte(want))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(appendLine(nil, r)); got != want {
		t.Errorf("the line became %s", got)
	}
	if r.Key() != (Key{"https://acme.example", Session, "s-1"}) || r.By() != "acme/root" || r.Reason() != "gone" || r.ID() != "62ae998c-f4f4-5bc5-9660-68c68a1dd4bc" {
		t.Errorf("it is %+v, %s", r.Key(), r.ID())
	}
	if shard := kind.Hash(r.Key()) >> 56; shard != 0x0f {
		t.Errorf("it is in shard %02x", shard)
	}
}

func TestLinesRefuse(t *testing.T) {
	const good = `{"subject":"alice","issuer":"https://a.example","before":1,"created":2,"expires":3}`
	for name, line := range map[string]string{
		"nothing":         "",
		"no JSON":         "x",
		"unknown member":  strings.Replace(good, `"issuer"`, `"admin":true,"issuer"`, 1),
		"repeated member": strings.Replace(good, `"issuer"`, `"subject":"bob","issuer"`, 1),
		"two targets":     strings.Replace(good, `"issuer"`, `"session":"s","issuer"`, 1),
		"no target":       strings.Replace(good, `"subject":"alice",`, "", 1),
		"empty name":      strings.Replace(good, "alice", "", 1),
		"no issuer":       strings.Replace(good, `"issuer":"https://a.example",`, "", 1),
		"line feed":       strings.Replace(good, "alice", `al\nice`, 1),
		"control":         strings.Replace(good, "alice", `al\u0007ice`, 1),
		"number":          strings.Replace(good, `"alice"`, "1", 1),
		"long name":       strings.Replace(good, "alice", strings.Repeat("a", MaxName+1), 1),
		"reason's feed":   strings.Replace(good, `"issuer"`, `"reason":"a\nb","issuer"`, 1),
		"object":          strings.Replace(good, `"https://a.example"`, "{}", 1),
	} {
		if line == good {
			t.Errorf("%s: changes nothing", name)
		}
		if _, err := kind.Reader()([]byte(line)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := kind.Reader()([]byte(good)); err != nil {
		t.Error(err)
	}
}

func FuzzLine(f *testing.F) {
	for i := range 4 {
		f.Add(appendLine(nil, aRevocation("s", i)))
	}
	f.Add([]byte(`{"subject":"a","subject":"b"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := kind.Reader()(data)
		if err != nil {
			return
		}
		again, err := kind.Reader()(appendLine(nil, r))
		if err != nil || *again != *r || !r.is(r.Key()) || again.ID() != r.ID() {
			t.Fatalf("%s became %v, %v", data, again, err)
		}
	})
}
