package account

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func anAccount(subject string, i int) *Account { return accountOf(Key{"acme", subject}, i) }

func accountOf(key Key, i int) *Account {
	d := Draft{Subject: key.Subject, Name: fmt.Sprint("Name ", i%3), Status: StatusActive, Issuer: key.Issuer}
	if i%2 == 0 {
		d.Groups = []string{"a", "b"}
	}
	if i%5 == 0 {
		d.Status = StatusInactive
	}
	if i%3 == 0 {
		d.ExpiresAt = time.Unix(1_800_000_000+int64(i), 0)
	}
	if i%7 == 0 {
		d.By, d.Identifier = ByClient, "https://"+key.Issuer+".example"
	}
	return d.create(1_700_000_000+int64(i), key.Issuer != "acme")
}

// inShard makes subjects that belong to one shard.
func inShard(shard, count int) []*Account {
	var accounts []*Account
	for i := 0; len(accounts) < count; i++ {
		if s := fmt.Sprintf("sa/%d@ü", i); shardOf(s) == shard {
			accounts = append(accounts, anAccount(s, i))
		}
	}
	slices.SortFunc(accounts, byKey)
	return accounts
}

func TestHashIsFixed(t *testing.T) {
	// It is part of the stored form: these must never change.
	for subject, want := range map[string]string{"ci-deploy": "29", "": "ef", "Müller@example/x|y": "f2"} {
		if got := shardName(shardOf(subject)); got != want {
			t.Errorf("%q is in shard %s; want %s", subject, got, want)
		}
	}
}

func TestShardRecordRoundTrip(t *testing.T) {
	accounts := inShard(7, 100)
	record, digest := encodeShard(7, 3, "0123456789abcdef", accounts)
	got, from, err := parseShard(7, record)
	if err != nil {
		t.Fatal(err)
	}
	if from != (origin{3, "0123456789abcdef", digest}) {
		t.Errorf("it comes from %+v", from)
	}
	if !slices.EqualFunc(got, accounts, func(a, b *Account) bool { return a.equal(b) && a.ID() == b.ID() }) {
		t.Error("the accounts are others")
	}
	again, _ := encodeShard(7, 3, "0123456789abcdef", got)
	if !bytes.Equal(again, record) {
		t.Error("the same content makes other bytes")
	}
	if _, _, err := parseShard(8, record); err == nil {
		t.Error("taken for another shard")
	}
}

// TestShardRecordIsFixed: records that were stored before must stay what they
// are, to the byte.
func TestShardRecordIsFixed(t *testing.T) {
	body := `{"shard":"29","seq":3,"revision":"0123456789abcdef","accounts":1}` + "\n" +
		`{"subject":"ci-deploy","name":"CI \"<ü>\"","issuer":"acme","groups":["b","a"],"inactive":true,` +
		`"expires":1800000000,"created":1700000000,"updated":1700000001}` + "\n"
	want, _ := seal("shard", []byte(body))
	accounts, from, err := parseShard(0x29, want)
	if err != nil {
		t.Fatal(err)
	}
	if got, digest := encodeShard(0x29, 3, "0123456789abcdef", accounts); !bytes.Equal(got, want) || digest != from.Digest {
		t.Errorf("the record became\n%s\nwant\n%s", got, want)
	}
	a := accounts[0]
	if a.Subject() != "ci-deploy" || a.Name() != `CI "<ü>"` || a.Issuer() != "acme" || !slices.Equal(a.Groups(), []string{"b", "a"}) ||
		a.Status() != StatusInactive || a.ExpiresAt().Unix() != 1_800_000_000 || a.ID() != ID("ci-deploy") {
		t.Errorf("the account is %+v", a)
	}
}

// TestAccountIsOfItsSubjectOnly: where the subject ends in memory is nothing
// that a token's subject can play with.
func TestAccountIsOfItsSubjectOnly(t *testing.T) {
	a := anAccount("ci", 1)
	for subject, want := range map[string]bool{
		"ci": true, "": false, "c": false, "ci\n": false, "ci\nName 1": false, "ci\nName": false, "ci\nName 1\n": false, "cj": false,
	} {
		if a.is(subject) != want {
			t.Errorf("%q: %v", subject, !want)
		}
	}
	if b := anAccount("d", 1); a.traits != b.traits || a.Groups() != nil {
		t.Error("what is alike is in memory twice, or there are groups of nothing")
	}
}

// TestShardRecordRefuses damages what the checksum covers, with a checksum that
// fits.
func TestShardRecordRefuses(t *testing.T) {
	accounts := inShard(7, 3)
	record, _ := encodeShard(7, 3, "0123456789abcdef", accounts)
	_, body, _ := bytes.Cut(record, []byte("\n"))
	for name, change := range map[string]func(string) string{
		"nothing":            func(string) string { return "" },
		"count":              func(s string) string { return strings.Replace(s, `"accounts":3`, `"accounts":2`, 1) },
		"revision":           func(s string) string { return strings.Replace(s, "0123456789abcdef", "../../etc/passwd", 1) },
		"unknown member":     func(s string) string { return strings.Replace(s, `"issuer"`, `"admin":true,"issuer"`, 1) },
		"repeated member":    func(s string) string { return strings.Replace(s, `"issuer"`, `"subject":"x","issuer"`, 1) },
		"no issuer":          func(s string) string { return strings.Replace(s, `"issuer":"acme"`, `"issuer":""`, 1) },
		"another shard":      func(s string) string { return strings.Replace(s, "sa/", "sb/", 1) },
		"order":              func(s string) string { l := strings.SplitAfter(s, "\n"); return l[0] + l[2] + l[1] + l[3] },
		"repeated":           func(s string) string { l := strings.SplitAfter(s, "\n"); return l[0] + l[1] + l[1] + l[3] },
		"no line end":        func(s string) string { return s + "x" },
		"not JSON":           func(s string) string { l := strings.SplitAfter(s, "\n"); return l[0] + "\n" + l[2] + l[3] },
		"line feed":          func(s string) string { return strings.Replace(s, `","name":"Name`, `\nx","name":"Name`, 1) },
		"line feed in name":  func(s string) string { return strings.Replace(s, "Name ", `Name\n`, 1) },
		"line feed in group": func(s string) string { return strings.Replace(s, `"a","b"`, `"a\nb"`, 1) },
		"group of nothing":   func(s string) string { return strings.Replace(s, `"a","b"`, `"a",""`, 1) },
	} {
		changed := change(string(body))
		sealed, _ := seal("shard", []byte(changed))
		if _, _, err := parseShard(7, sealed); err == nil && changed != string(body) {
			t.Errorf("%s: taken", name)
		} else if changed == string(body) {
			t.Errorf("%s: changes nothing", name)
		}
	}
}

// TestShardFinds holds a shard against a map, while accounts come and go.
func TestShardFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.Custom(func(t *rapid.T) Key {
			return Key{rapid.SampledFrom([]string{"acme", "b", "other"}).Draw(t, "issuer"), rapid.StringMatching(`[a-d]{1,3}`).Draw(t, "subject")}
		})
		var s *shard
		model := map[Key]*Account{}
		for range rapid.IntRange(1, 4).Draw(t, "rounds") {
			changes := map[Key]*Account{}
			for _, k := range rapid.SliceOf(key).Draw(t, "keys") {
				if rapid.Bool().Draw(t, "delete") {
					changes[k] = nil
				} else {
					changes[k] = accountOf(k, rapid.IntRange(0, 30).Draw(t, "kind"))
				}
			}
			s = newShard(s.with(changes), origin{})
			maps.Copy(model, changes)
			maps.DeleteFunc(model, func(_ Key, a *Account) bool { return a == nil })
			check(t, s, model)
		}
	})
}

func check(t *rapid.T, s *shard, model map[Key]*Account) {
	if len(s.accounts) != len(model) || !slices.IsSortedFunc(s.accounts, byKey) {
		t.Fatalf("%d accounts; want %d", len(s.accounts), len(model))
	}
	active := 0
	for key, a := range model {
		if s.find(hash(key.Subject), key) != a || s.findID(a.uuid()) != a || !slices.Contains(s.named(hash(key.Subject), key.Subject), a) {
			t.Fatalf("%q is not found", key)
		}
		if !a.inactive() {
			active++
		}
	}
	if s.find(hash("nobody"), Key{"acme", "nobody"}) != nil || s.findID(plainID("nobody")) != nil {
		t.Fatal("found what is not there")
	}
	at := time.Unix(1_800_000_015, 0)
	expired := 0
	for _, a := range model {
		if a.State(at) == Expired {
			expired++
		}
	}
	if s.active != active || s.expiredAt(at) != expired {
		t.Fatalf("%d active and %d expired; want %d and %d", s.active, s.expiredAt(at), active, expired)
	}
}

// TestSubjectsOfOneHash: accounts whose hashes are alike are told apart by the
// subject.
func TestSubjectsOfOneHash(t *testing.T) {
	for _, h := range []uint64{0, 42, 1<<64 - 1} {
		accounts := inShard(0, 50)
		s := newShard(accounts, origin{})
		s.subjects = newTable(accounts, func(*Account) uint64 { return h })
		for _, a := range accounts {
			if s.find(h, a.Key()) != a {
				t.Errorf("hash %x: %q is not found", h, a.Subject())
			}
		}
		if s.find(h, Key{"acme", "nobody"}) != nil {
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
	if new(loader).preferCopy(&found, kept); found.rev != kept || !found.mend {
		t.Error("the copy, which has accounts, did not count")
	}
	other := newRevision().next()
	found = reading{rev: other}
	if new(loader).preferCopy(&found, kept); found.rev != other || found.mend {
		t.Error("a registry that was written to gave way to a copy that does not follow it")
	}
}

func FuzzShard(f *testing.F) {
	record, _ := encodeShard(7, 3, "0123456789abcdef", inShard(7, 3))
	f.Add(record, false)
	_, body, _ := bytes.Cut(record, []byte("\n"))
	f.Add(body, true)
	f.Add([]byte("gatehouse shard 1 \n"), false)
	f.Fuzz(func(t *testing.T, data []byte, sealed bool) {
		if sealed { // so that more than the checksum is tried
			data, _ = seal("shard", data)
		}
		accounts, from, err := parseShard(7, data)
		if err != nil {
			return
		}
		again, digest := encodeShard(7, from.Seq, from.Revision, accounts)
		same, _, err := parseShard(7, again)
		if err != nil || !slices.EqualFunc(accounts, same, func(a, b *Account) bool { return a.equal(b) }) {
			t.Fatalf("%s\nbecame\n%s\n%v", data, again, err)
		}
		if bytes.Equal(data, again) != (digest == from.Digest) {
			t.Fatal("the digest does not tell content apart")
		}
		s := newShard(accounts, from)
		for _, a := range accounts {
			if s.find(hash(a.Subject()), a.Key()) != a {
				t.Fatalf("%q is not found", a.Subject())
			}
		}
	})
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
			if d != "" && !shardKeyForm.MatchString(shardKey(i, d)) {
				t.Fatalf("names the record %q", shardKey(i, d))
			}
		}
		if again, err := parseRevision(v.encode()); err != nil || again.digests != v.digests || again.ID != v.ID {
			t.Fatalf("%s came back as %+v, %v", body, again, err)
		}
	})
}

// TestOlderBlankEnds: an account that would not be registered any more can still
// be read, switched off and deleted.
func TestOlderBlankEnds(t *testing.T) {
	old := anAccount(" a ", 1)
	i := shardOf(old.Subject())
	record, _ := encodeShard(i, 3, "0123456789abcdef", []*Account{old})
	accounts, from, err := parseShard(i, record)
	if err != nil {
		t.Fatal(err)
	}
	base := &snapshot{}
	base.shards[i] = newShard(accounts, from)
	w := newWork(base, nil)
	off := &Draft{Subject: " a ", Issuer: "acme", Status: StatusInactive}
	for _, op := range []Op{Replace, Upsert, Delete} {
		if r := w.apply(Change{Op: op, Key: " a ", Draft: off}, 1); r.Err != nil {
			t.Errorf("operation %d: %v", op, r.Err)
		}
	}
}
