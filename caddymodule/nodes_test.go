package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestTwoNodes(t *testing.T) {
	dir, issuer := t.TempDir(), newIssuer(t)
	first, second := startNode(t, dir, issuer), startNode(t, dir, issuer)
	var want []string
	var creating sync.WaitGroup
	for i := range 30 {
		for name, n := range map[string]*node{"first": first, "second": second} {
			subject := fmt.Sprintf("%s-%02d", name, i)
			want = append(want, subject)
			creating.Go(func() {
				if err := n.create(subject); err != nil {
					t.Error(err)
				}
			})
		}
	}
	creating.Wait()
	slices.Sort(want)
	for name, n := range map[string]*node{"first": first, "second": second} {
		eventually(t, name+" knows all", func() bool { return slices.Equal(n.subjects(t), want) })
	}

	if status := second.status(t, "first-00"); status != http.StatusOK {
		t.Fatalf("got %d, want the account known on the other node", status)
	}
	first.mustDisable(t, "first-00")
	disabled := time.Now()
	if status := first.status(t, "first-00"); status != http.StatusUnauthorized {
		t.Errorf("got %d with the very next request, want 401", status)
	}
	for second.status(t, "first-00") != http.StatusUnauthorized {
		if time.Since(disabled) > nodeRefresh+time.Second {
			t.Fatalf("let in by the other node %s later", time.Since(disabled))
		}
	}
	t.Logf("refused by the other node %s later", time.Since(disabled))
}

// A proof that somebody intercepts is no use at another node, whose nonce it has not.
func TestProofAtAnotherNode(t *testing.T) {
	dir, issuer, me := t.TempDir(), newIssuer(t), newHolder(t)
	config := strings.NewReplacer("service_accounts {", "dpop {\nnonce node\n}\nservice_accounts {", "\tbearer_auth\n",
		"\tbearer_auth {\npublic_url https://gateway.example.com\n}\n").Replace(nodeConfig)
	first, second := startNodeOf(t, dir, issuer, config), startNodeOf(t, dir, issuer, config)
	token := me.token(issuer)
	proof := func(nonce string) string {
		return me.proof(token, "GET", "https://gateway.example.com/a", claims{"nonce": nonce})
	}
	ask := func(n *node, proof string) answer {
		t.Helper()
		got, err := try(n.client, "GET", n.url+"/a", with(token, proof))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	sent := proof(ask(first, proof("none")).header.Get("DPoP-Nonce"))
	if got := ask(first, sent); got.status != http.StatusOK {
		t.Fatalf("where its nonce is from: %d %s", got.status, reasonIn(got))
	}
	got := ask(second, sent)
	nonce := got.header.Get("DPoP-Nonce")
	if got.status != http.StatusUnauthorized || !strings.HasPrefix(reasonIn(got), `DPoP realm="gatehouse", error="use_dpop_nonce"`) || nonce == "" {
		t.Errorf("at the other node: %d %s, nonce %q", got.status, reasonIn(got), nonce)
	}
	if got := ask(second, proof(nonce)); got.status != http.StatusOK {
		t.Errorf("a new one, with that node's nonce: %d %s", got.status, reasonIn(got))
	}
	if got := ask(first, sent); got.status != http.StatusUnauthorized || !strings.Contains(reasonIn(got), "was used before") {
		t.Errorf("where it was taken: %d %s", got.status, reasonIn(got))
	}
}

// Five nodes, each killed in the midst of writes: what was acknowledged is there
// when the next one starts.
func TestKilledInTheMidstOfWrites(t *testing.T) {
	issuer := newIssuer(t)
	for round := range 5 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			victim := startNode(t, dir, issuer)
			acknowledged := killWhileWriting(victim, 8+7*round)
			known := startNode(t, dir, issuer).subjects(t)
			for _, subject := range acknowledged {
				if !slices.Contains(known, subject) {
					t.Errorf("%s was acknowledged and is not there", subject)
				}
			}
			if len(acknowledged) < 8+7*round || len(known) > len(acknowledged)+writers {
				t.Errorf("%d were acknowledged and %d are known", len(acknowledged), len(known))
			}
		})
	}
}

const writers = 4

// killWhileWriting creates accounts from several sides and kills the node once so
// many are acknowledged. It gives the acknowledged ones.
func killWhileWriting(n *node, after int) (acknowledged []string) {
	created := make(chan string)
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := 0; ; i++ {
				subject := fmt.Sprintf("writer-%d-%d", w, i)
				if n.create(subject) != nil {
					return // it is dead
				}
				created <- subject
			}
		})
	}
	go func() { writing.Wait(); close(created) }()
	for subject := range created {
		if acknowledged = append(acknowledged, subject); len(acknowledged) == after {
			n.kill()
		}
	}
	return acknowledged
}

// A node that loses its storage goes on with what it knows and says so once; a
// change that waits meanwhile is made when the storage is back.
func TestStorageLost(t *testing.T) {
	issuer := newIssuer(t)
	for name, occupy := range map[string]func(storage string) error{
		"removed":  func(string) error { return nil },
		"unusable": func(storage string) error { return os.WriteFile(storage, nil, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			n, storage := startNode(t, dir, issuer), filepath.Join(dir, "storage")
			n.mustCreate(t, "good")
			n.mustCreate(t, "off")
			n.mustDisable(t, "off")
			if err := os.Rename(storage, storage+".away"); err != nil {
				t.Fatal(err)
			}
			if err := occupy(storage); err != nil {
				t.Fatal(err)
			}
			waiting := make(chan error, 1)
			go func() { waiting <- n.create("late") }()
			said := map[string]string{"removed": "the storage of the service accounts is not what it was", "unusable": "the storage of the service accounts cannot be used"}[name]
			eventually(t, "the node says so", func() bool { return n.logged(t, said) == 1 })
			if good, off := n.status(t, "good"), n.status(t, "off"); good != 200 || off != 401 {
				t.Errorf("got %d and %d, want what was known", good, off)
			}
			if known := n.subjects(t); !slices.Equal(known, []string{"good", "off"}) {
				t.Errorf("got %q, want what was known", known)
			}
			// Without a lock that was held when it went: nobody would give it back.
			if err := os.RemoveAll(filepath.Join(storage+".away", "locks")); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the storage is back", func() bool {
				return os.RemoveAll(storage) == nil && os.Rename(storage+".away", storage) == nil
			})
			if err := <-waiting; err != nil {
				t.Errorf("the change that waited: %v", err)
			}
			if known := n.subjects(t); !slices.Equal(known, []string{"good", "late", "off"}) {
				t.Errorf("got %q, want all", known)
			}
			if times := n.logged(t, said); times != 1 {
				t.Errorf("it was said %d times, want once", times)
			}
		})
	}
}

// Storage is emptied under two nodes, and one of them is restarted and begins anew:
// the other one gives up nothing until an operator decides.
func TestStorageEmptiedAndBegunAnew(t *testing.T) {
	issuer := newIssuer(t)
	for _, keep := range []string{"node", "storage"} {
		t.Run(keep, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			stays, goes := startNode(t, dir, issuer), startNode(t, dir, issuer)
			stays.mustCreate(t, "good")
			stays.mustCreate(t, "off")
			stays.mustDisable(t, "off")
			eventually(t, "both know", func() bool {
				return goes.status(t, "good") == http.StatusOK && goes.status(t, "off") == http.StatusUnauthorized
			})
			goes.kill()
			if err := os.RemoveAll(filepath.Join(dir, "storage")); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it is called emptied", func() bool { return stays.storage(t) == "emptied" })
			anew := startNode(t, dir, issuer)
			anew.mustCreate(t, "new")
			eventually(t, "it is called another", func() bool { return stays.storage(t) == "diverged" })
			if good, off := stays.status(t, "good"), stays.status(t, "off"); good != 200 || off != 401 {
				t.Errorf("got %d and %d, want what was known", good, off)
			}
			if err := stays.create("late"); err == nil || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), "service-account repair") {
				t.Errorf("a change: %v, want 503 and the way out", err)
			}
			if n := stays.logged(t, "the storage of the service accounts is not what it was"); n != 2 {
				t.Errorf("it was said %d times, want once for each", n)
			}
			got, err := stays.send("GET", "/api/serviceaccounts:repair")
			for _, want := range []string{`"storage_state":"diverged"`, `"only_node":2`, `"only_storage":1`} {
				if err != nil || !strings.Contains(got.body, want) {
					t.Errorf("got %s, %v, want %s", got.body, err, want)
				}
			}

			got, err = stays.send("POST", "/api/serviceaccounts:repair", content(`{"keep":"`+keep+`"}`))
			if err != nil || got.status != http.StatusOK {
				t.Fatalf("repairing: got %d %s, %v", got.status, got.body, err)
			}
			want := map[string][]string{"node": {"good", "off"}, "storage": {"new"}}[keep]
			for _, n := range []*node{stays, anew} {
				eventually(t, "all know what was kept", func() bool { return slices.Equal(n.subjects(t), want) && n.storage(t) == "ready" })
			}
			anew.mustCreate(t, "after")
			eventually(t, "changes are seen again", func() bool { return stays.status(t, "after") == http.StatusOK })
		})
	}
}

// storage is how the node found it.
func (n *node) storage(t *testing.T) string {
	t.Helper()
	got, err := n.send("GET", "/api/status")
	if err != nil {
		t.Fatal(err)
	}
	var status struct{ Accounts struct{ Storage string } }
	if err := json.Unmarshal([]byte(got.body), &status); err != nil {
		t.Fatal(err)
	}
	return status.Accounts.Storage
}

// logged tells how many lines of the node's log hold a text.
func (n *node) logged(t *testing.T, text string) int {
	t.Helper()
	log, err := os.ReadFile(n.log)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(log), text)
}
