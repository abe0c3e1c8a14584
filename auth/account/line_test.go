package account

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
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
	return d.account(nil, key.Issuer != "acme", 1_700_000_000+int64(i))
}

func shardOf(subject string) int { return int(hash(subject) >> 56) }

// sealed is a record of a body that may be no good.
func sealed(body string) []byte {
	return fmt.Appendf(nil, "gatehouse shard 1 %x\n%s", sha256.Sum256([]byte(body)), body)
}

// inShard makes subjects that belong to one shard.
func inShard(shard, count int) []*Account {
	var accounts []*Account
	for i := 0; len(accounts) < count; i++ {
		if s := fmt.Sprintf("sa/%d@ü", i); shardOf(s) == shard {
			accounts = append(accounts, anAccount(s, i))
		}
	}
	slices.SortFunc(accounts, kind.Compare)
	return accounts
}

func TestHashIsFixed(t *testing.T) {
	// It is part of the stored form: these must never change.
	for subject, want := range map[string]string{"ci-deploy": "29", "": "ef", "Müller@example/x|y": "f2"} {
		if got := fmt.Sprintf("%02x", shardOf(subject)); got != want {
			t.Errorf("%q is in shard %s; want %s", subject, got, want)
		}
	}
}

func TestShardRecordRoundTrip(t *testing.T) {
	accounts := inShard(7, 100)
	record := kind.EncodeShard(7, accounts)
	got, err := kind.ParseShard(7, record)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.EqualFunc(got, accounts, func(a, b *Account) bool { return *a == *b && a.ID() == b.ID() }) {
		t.Error("the accounts are others")
	}
	if !bytes.Equal(kind.EncodeShard(7, got), record) {
		t.Error("the same content makes other bytes")
	}
	if _, err := kind.ParseShard(8, record); err == nil {
		t.Error("taken for another shard")
	}
}

// TestShardRecordIsFixed: records that were stored before must stay what they
// are, to the byte.
func TestShardRecordIsFixed(t *testing.T) {
	body := `{"shard":"29","seq":3,"revision":"0123456789abcdef","accounts":1}` + "\n" +
		`{"subject":"ci-deploy","name":"CI \"<ü>\"","issuer":"acme","groups":["b","a"],"inactive":true,` +
		`"expires":1800000000,"created":1700000000,"updated":1700000001}` + "\n"
	want := sealed(body)
	accounts, err := kind.ParseShard(0x29, want)
	if err != nil {
		t.Fatal(err)
	}
	if got := kind.EncodeShard(0x29, accounts); !bytes.Equal(got, want) {
		t.Errorf("the record became\n%s\nwant\n%s", got, want)
	}
	a := accounts[0]
	if a.Subject() != "ci-deploy" || a.Name() != `CI "<ü>"` || a.Traits().Issuer != "acme" || !slices.Equal(a.Groups(), []string{"b", "a"}) ||
		!a.Traits().Inactive || a.Expires != 1_800_000_000 || a.ID() != ID("ci-deploy") {
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
	record := kind.EncodeShard(7, accounts)
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
		if _, err := kind.ParseShard(7, sealed(changed)); err == nil && changed != string(body) {
			t.Errorf("%s: taken", name)
		} else if changed == string(body) {
			t.Errorf("%s: changes nothing", name)
		}
	}
}

func FuzzShard(f *testing.F) {
	record := kind.EncodeShard(7, inShard(7, 3))
	f.Add(record, false)
	_, body, _ := bytes.Cut(record, []byte("\n"))
	f.Add(body, true)
	f.Add([]byte("gatehouse shard 1 \n"), false)
	f.Fuzz(func(t *testing.T, data []byte, seal bool) {
		if seal { // so that more than the checksum is tried
			data = sealed(string(data))
		}
		accounts, err := kind.ParseShard(7, data)
		if err != nil {
			return
		}
		again := kind.EncodeShard(7, accounts)
		same, err := kind.ParseShard(7, again)
		if err != nil || !slices.EqualFunc(accounts, same, func(a, b *Account) bool { return *a == *b }) {
			t.Fatalf("%s\nbecame\n%s\n%v", data, again, err)
		}
	})
}

// TestOlderBlankEnds: an account that would not be registered any more can still
// be read, switched off and deleted.
func TestOlderBlankEnds(t *testing.T) {
	old := anAccount(" a ", 1)
	r := New(registry.Options{})
	defer r.Close()
	r.Attach(registry.Host[Account]{Storage: faultstorage.New(faultstorage.Faults{}).Node(), Refresh: registry.MinRefresh})
	put := func(w *registry.Work[Key, Account]) error { return w.Put(old) }
	if err, busy := registry.Change(t.Context(), r.Registry, 1, put, nil); err != nil || busy != nil {
		t.Fatal(err, busy)
	}
	off := &Draft{Subject: " a ", Issuer: "acme", Status: StatusInactive}
	for _, op := range []Op{Replace, Upsert, Delete} {
		results, err := r.Apply(t.Context(), []Change{{Op: op, Key: " a ", Draft: off}}, nil)
		if err != nil || results[0].Err != nil {
			t.Errorf("operation %d: %v, %v", op, results, err)
		}
	}
}
