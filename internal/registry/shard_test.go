package registry

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// item is a record of the least that there is to one: of a group, in which it is
// counted, with a name, and a number that says the rest.
type item struct {
	key    itemKey
	number int
}

type itemKey struct{ group, name string }

var items = Kind[itemKey, item]{
	Folder: "gatehouse/items", Lock: "gatehouse-items", Plural: "items", Repair: "repair",
	Hash: func(k itemKey) uint64 { return xxhash.Sum64String(k.group) },
	Key:  func(i *item) itemKey { return i.key },
	Compare: func(a, b *item) int {
		return cmp.Or(cmp.Compare(a.key.group, b.key.group), cmp.Compare(a.key.name, b.key.name))
	},
	Equal: func(a, b *item) bool { return *a == *b },
	ID:    (*item).id,
	Ends:  (*item).ends,
	Append: func(b []byte, i *item) []byte {
		return fmt.Appendf(b, "[%q,%q,%d]", i.key.group, i.key.name, i.number)
	},
	Reader: func() func([]byte) (*item, error) { return readItem },
}

func readItem(line []byte) (*item, error) {
	parts := strings.Split(strings.Trim(string(line), "[]"), ",")
	if len(parts) != 3 {
		return nil, errors.New("it is no item")
	}
	group, err := strconv.Unquote(parts[0])
	name, err2 := strconv.Unquote(parts[1])
	number, err3 := strconv.Atoi(parts[2])
	return &item{itemKey{group, name}, number}, errors.Join(err, err2, err3)
}

func (i *item) id() uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte(i.key.group+"\n"+i.key.name))
}

// ends: every third item does.
func (i *item) ends() int64 {
	if i.number%3 != 0 {
		return 0
	}
	return 1_800_000_000 + int64(i.number)
}

// TestShardFinds holds a shard against a map, while accounts come and go.
func TestShardFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.Custom(func(t *rapid.T) itemKey {
			return itemKey{rapid.StringMatching(`[a-d]{1,3}`).Draw(t, "group"), rapid.SampledFrom([]string{"acme", "b", "other"}).Draw(t, "name")}
		})
		k := items.complete()
		var s *shard[itemKey, item]
		model := map[itemKey]*item{}
		for range rapid.IntRange(1, 4).Draw(t, "rounds") {
			changes := map[itemKey]*item{}
			for _, key := range rapid.SliceOf(key).Draw(t, "keys") {
				if rapid.Bool().Draw(t, "delete") {
					changes[key] = nil
				} else {
					changes[key] = &item{key, rapid.IntRange(0, 30).Draw(t, "number")}
				}
			}
			s = newShard(k, k.with(s, changes), 0, "")
			maps.Copy(model, changes)
			maps.DeleteFunc(model, func(_ itemKey, i *item) bool { return i == nil })
			check(t, s, model)
		}
	})
}

func check(t *rapid.T, s *shard[itemKey, item], model map[itemKey]*item) {
	if len(s.records) != len(model) || !slices.IsSortedFunc(s.records, items.Compare) {
		t.Fatalf("%d items; want %d", len(s.records), len(model))
	}
	for key, i := range model {
		all := &Snapshot[itemKey, item]{kind: s.kind}
		all.shards[items.Hash(key)>>56] = s
		same := all.Like(items.Hash(key), func(other *item) bool { return other.key.group == key.group })
		if s.find(items.Hash(key), key) != i || all.ByID(i.id()) != i || !slices.Contains(same, i) || !slices.IsSortedFunc(same, items.Compare) {
			t.Fatalf("%q is not found", key)
		}
	}
	nobody := itemKey{"nobody", "acme"}
	all := &Snapshot[itemKey, item]{kind: s.kind, shards: [shardCount]*shard[itemKey, item]{s}}
	if s.find(items.Hash(nobody), nobody) != nil || all.ByID((&item{key: nobody}).id()) != nil {
		t.Fatal("found what is not there")
	}
	at := time.Unix(1_800_000_015, 0)
	ended := 0
	for _, i := range model {
		if i.ends() != 0 && i.ends() <= at.Unix() {
			ended++
		}
	}
	if n := len(s.ended(at)); n != ended {
		t.Fatalf("%d have ended; want %d", n, ended)
	}
}

// TestItemsOfOneHash: records whose hashes are alike are distinguished by the key.
func TestItemsOfOneHash(t *testing.T) {
	for _, h := range []uint64{0, 42, 1<<64 - 1} {
		of := items
		of.Hash = func(itemKey) uint64 { return h }
		var all []*item
		for i := range 50 {
			all = append(all, &item{itemKey{fmt.Sprintf("%02d", i), "x"}, i})
		}
		s := newShard(of.complete(), all, 0, "")
		for _, i := range all {
			if s.find(h, i.key) != i {
				t.Errorf("hash %x: %q is not found", h, i.key)
			}
		}
		if s.find(h, itemKey{"nobody", "x"}) != nil {
			t.Errorf("hash %x: found what is not there", h)
		}
	}
}

func TestRevisionRoundTrip(t *testing.T) {
	v := &revision{Seq: 9, ID: newRevisionID(), History: []string{newRevisionID()}}
	v.digests[0xa7] = strings.Repeat("0", 32)
	got, err := parseRevision(v.encode())
	if err != nil || got.Seq != 9 || got.digests != v.digests || !got.follows(v.History[0]) || got.follows("0") {
		t.Fatalf("%+v, %v", got, err)
	}
	for range 2 * historySize {
		v = v.next()
	}
	if len(v.History) != historySize || len(v.encode()) > maxRevision {
		t.Errorf("the history has %d ids", len(v.History))
	}
	for name, body := range map[string]string{
		"shard name":  `{"seq":1,"id":"0123456789abcdef","history":[],"shards":{"A7":"` + strings.Repeat("0", 32) + `"}}`,
		"shard path":  `{"seq":1,"id":"0123456789abcdef","history":[],"shards":{"a7":"../../../../../../../../etc/pass"}}`,
		"id":          `{"seq":1,"id":"","history":[],"shards":{}}`,
		"unknown":     `{"seq":1,"id":"0123456789abcdef","history":[],"shards":{},"x":1}`,
		"not JSON":    `x`,
		"long":        `{"seq":1,"id":"0123456789abcdef","history":[` + strings.Repeat(`"0123456789abcdef",`, 64) + `"0123456789abcdef"],"shards":{}}`,
		"very long":   strings.Repeat(" ", maxRevision),
		"too many 00": `{"seq":1,"id":"0123456789abcdef","history":[],"shards":{"0000":"` + strings.Repeat("0", 32) + `"}}`,
	} {
		record, _ := seal("revision", []byte(body))
		if _, err := parseRevision(record); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestRevisionContains: a revision holds those that it was made of, however far
// back, and no other, whatever the numbers.
func TestRevisionContains(t *testing.T) {
	after := func(v *revision, n int) *revision {
		for range n {
			v = v.next()
		}
		return v
	}
	for name, first := range map[string]*revision{
		"begun by this version":  newRevision(),
		"begun by one before it": {Seq: 700, ID: newRevisionID(), History: []string{newRevisionID()}},
	} {
		for _, age := range []int{0, 1, 63, 64, 65, 200, 5000} {
			old := after(first, age)
			for _, n := range []int{0, 1, 63, 64, 65, 127, 128, 129, 1000, 5000, 20000} {
				v := after(old, n)
				if !v.contains(old) || n > 0 && old.contains(v) {
					t.Errorf("%s: after %d, %d revisions later: %v, %v", name, age, n, v.contains(old), old.contains(v))
				}
				if anew := after(newRevision(), age+n); anew.contains(old) || old.contains(anew) {
					t.Errorf("%s: after %d: taken for one that was begun anew, of %d revisions", name, age, age+n)
				}
				if fork := after(old, 1+n); n > 0 && n <= 64 && (v.contains(fork) || fork.contains(v)) {
					t.Errorf("%s: after %d: taken for a branch of %d revisions", name, age, 1+n)
				}
			}
		}
	}
	for _, n := range []int{1, 5, 40, 70, 300} {
		a, b := after(newRevision(), n), after(newRevision(), 2*n)
		joined := a.join(b)
		for _, ahead := range []int{0, 10, 64, 300} {
			v := after(joined, ahead)
			if !v.contains(a) || !v.contains(b) || a.contains(v) || len(v.encode()) > maxRevision {
				t.Errorf("of %d and %d, and %d later: it holds them: %v, %v", n, 2*n, ahead, v.contains(a), v.contains(b))
			}
		}
	}
}

// TestRegistryThatBeganLate: the record of a registry that was begun and never
// written to may be a write that failed and happened later, over another node's.
func TestRegistryThatBeganLate(t *testing.T) {
	begun, kept := newRevision(), newRevision()
	kept.digests[7] = "0123456789abcdef"
	found := reading{rev: begun}
	if new(loader[itemKey, item]).preferCopy(&found, kept); found.rev != kept || !found.mend {
		t.Error("the copy, which has accounts, did not count")
	}
	other := newRevision().next()
	found = reading{rev: other}
	if new(loader[itemKey, item]).preferCopy(&found, kept); found.rev != other || found.mend {
		t.Error("a registry that was written to gave way to a copy that does not follow it")
	}
}

// FuzzRevision reads revision records.
func FuzzRevision(f *testing.F) {
	v := &revision{Seq: 9, ID: newRevisionID()}
	v.digests[1] = strings.Repeat("0", 32)
	_, body, _ := bytes.Cut(v.encode(), []byte("\n"))
	f.Add(body)
	f.Fuzz(func(t *testing.T, body []byte) {
		record, _ := seal("revision", body)
		v, err := parseRevision(record)
		if err != nil {
			return
		}
		for i, d := range v.digests {
			if d != "" && !items.isShardKey(items.shardKey(i, d)) {
				t.Fatalf("names the record %q", items.shardKey(i, d))
			}
		}
		if again, err := parseRevision(v.encode()); err != nil || again.digests != v.digests || again.ID != v.ID {
			t.Fatalf("%s came back as %+v, %v", body, again, err)
		}
	})
}

// newRevision is the first revision of a registry.
func newRevision() *revision {
	id := newRevisionID()
	return &revision{Seq: 1, ID: id, Root: id}
}
