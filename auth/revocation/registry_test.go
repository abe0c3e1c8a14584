package revocation_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/goleak"

	"github.com/gatehouse-proxy/gatehouse/auth/revocation"
	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

// writerFolder, in the environment, makes this program one that revokes until it is
// killed.
const writerFolder = "GATEHOUSE_TEST_REVOKER"

func TestMain(m *testing.M) {
	if folder := os.Getenv(writerFolder); folder != "" {
		revokeUntilKilled(folder)
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"))
}

const issuer = "https://acme.example"

func start(t testing.TB, s storage.Storage, opts registry.Options) *revocation.Registry {
	t.Helper()
	r := revocation.New(opts)
	r.Attach(registry.Host[revocation.Revocation]{Storage: s, Refresh: 20 * time.Millisecond})
	t.Cleanup(func() { _ = r.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := r.Await(ctx); err != nil {
		t.Fatal(err)
	}
	return r
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("it never came to this: %s", what)
}

func draft(name string) revocation.Draft {
	return revocation.Draft{Issuer: issuer, Target: revocation.Subject, Name: name, By: "acme/root", Reason: "left"}
}

func revoke(t testing.TB, r *revocation.Registry, drafts ...revocation.Draft) []*revocation.Revocation {
	t.Helper()
	made, err := r.Revoke(t.Context(), drafts)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func names(all []*revocation.Revocation) string {
	var list []string
	for _, r := range all {
		list = append(list, r.Name())
	}
	return strings.Join(list, " ")
}

// TestRevokeTwice: a name is revoked once, as of the latest moment and until the last
// end that anybody said.
func TestRevokeTwice(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	r := start(t, faultstorage.New(faultstorage.Faults{}).Node(), registry.Options{Now: func() time.Time { return at }})
	first := revoke(t, r, draft("alice"))[0]
	if now := at.Unix(); first.Expires != now+24*3600 || first.IssuedBefore != now || first.Created != now {
		t.Errorf("it is %v", first)
	}
	late := draft("alice")
	late.IssuedBefore = at.Add(-time.Hour)
	if again := revoke(t, r, late)[0]; again != first {
		t.Errorf("a late one made it %v", again)
	}
	late.Until = at.Add(48 * time.Hour)
	longer := revoke(t, r, late)[0]
	if longer.IssuedBefore != at.Unix() || longer.Expires != late.Until.Unix() || longer.ID() != first.ID() {
		t.Errorf("a longer one made it %v", longer)
	}
	dead := draft("bob")
	dead.IssuedBefore, dead.Lifetime = at.Add(-time.Hour), time.Hour
	if made := revoke(t, r, dead, draft("carol")); made[0] != nil || made[1] == nil {
		t.Errorf("of tokens that are dead: %v", made)
	}
	if r.Count() != 2 {
		t.Errorf("%d are there", r.Count())
	}
}

func TestRevokeRefuses(t *testing.T) {
	r := start(t, faultstorage.New(faultstorage.Faults{}).Node(), registry.Options{})
	for member, change := range map[string]func(*revocation.Draft){
		"issuer":        func(d *revocation.Draft) { d.Issuer = "" },
		"target":        func(d *revocation.Draft) { d.Target = "group" },
		"subject":       func(d *revocation.Draft) { d.Name = "" },
		"subject has":   func(d *revocation.Draft) { d.Name = strings.Repeat("x", revocation.MaxName+1) },
		"subject is":    func(d *revocation.Draft) { d.Name = "a\nb" },
		"by":            func(d *revocation.Draft) { d.By = "\xff" },
		"reason":        func(d *revocation.Draft) { d.Reason = strings.Repeat("x", 256) },
		"issued_before": func(d *revocation.Draft) { d.IssuedBefore = time.Now().Add(time.Hour) },
		"expires_at":    func(d *revocation.Draft) { d.Until = time.Now().AddDate(20, 0, 0) },
	} {
		d := draft("alice")
		change(&d)
		_, err := r.Revoke(t.Context(), []revocation.Draft{draft("good"), d})
		var input *revocation.InputError
		if !errors.As(err, &input) || !strings.HasPrefix(err.Error(), member) {
			t.Errorf("%s: %v", member, err)
		}
	}
	if r.Count() != 0 {
		t.Errorf("%d were made", r.Count())
	}
	for _, id := range []string{"", "x", "263f45dd-d047-5d22-abb9-516777dc63a2", strings.Repeat("0", 36)} {
		if _, err := r.Delete(t.Context(), id); !errors.Is(err, revocation.ErrNotFound) {
			t.Errorf("deleting %q: %v", id, err)
		}
	}
}

func TestPages(t *testing.T) {
	r := start(t, faultstorage.New(faultstorage.Faults{}).Node(), registry.Options{})
	var drafts []revocation.Draft
	for i := range 30 {
		d := draft(fmt.Sprintf("n%02d", i/3))
		d.Target = revocation.Targets[i%3]
		drafts = append(drafts, d)
	}
	revoke(t, r, drafts...)
	seen := map[string]bool{}
	last := ""
	for q := (revocation.Query{Limit: 4}); ; {
		page := r.Page(q)
		for _, one := range page {
			if seen[one.ID()] || one.Name() < last {
				t.Errorf("%s comes again, or late", one.Name())
			}
			seen[one.ID()], last = true, one.Name()
		}
		if len(page) < q.Limit {
			break
		}
		q.After, q.AfterID = last, page[len(page)-1].ID()
	}
	if len(seen) != 30 {
		t.Errorf("%d are on the pages", len(seen))
	}
	if got := names(r.Page(revocation.Query{After: "n08", Matches: func(r *revocation.Revocation) bool { return r.Key().Target == revocation.Client }})); got != "n09" {
		t.Errorf("after n08: %s", got)
	}
}

// TestNodes: what was revoked on one node holds on all, over an emptied storage and
// restarts.
func TestNodes(t *testing.T) {
	t.Parallel()
	e := faultstorage.New(faultstorage.Faults{})
	one, other := start(t, e.Node(), registry.Options{}), start(t, e.Node(), registry.Options{WriteLimit: 300 * time.Millisecond})
	key := revocation.Key{Issuer: issuer, Target: revocation.Subject, Name: "alice"}
	revoke(t, one, draft("alice"))
	eventually(t, "the other knows", func() bool { return other.Find(key) != nil })
	e.Wipe()
	eventually(t, "it is written again", func() bool { return len(e.Keys()) > 2 })
	if start(t, e.Clone().Node(), registry.Options{}).Find(key) == nil || one.Find(key) == nil || other.Find(key) == nil {
		t.Error("lost by an emptied storage")
	}
	e.SetDown(true)
	if _, err := other.Revoke(t.Context(), []revocation.Draft{draft("bob")}); !errors.Is(err, registry.ErrBusy) {
		t.Errorf("while storage is down: %v", err)
	}
	e.SetDown(false)
	if _, err := one.Delete(t.Context(), one.Page(revocation.Query{})[0].ID()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other lets in", func() bool { return other.Find(key) == nil })
}

// TestKilledRightAfter: what was acknowledged is there, whenever the process is killed.
// A storage goes back in time, another node writes on, and the record of a revocation
// that was made stricter is gone in that state: it stays as strict as it was.
func TestForkWithoutARecord(t *testing.T) {
	t.Parallel()
	e := faultstorage.New(faultstorage.Faults{})
	t.Cleanup(e.Release)
	knows := start(t, e.Node(), registry.Options{WriteLimit: time.Minute})
	earlier := draft("alice")
	earlier.IssuedBefore = time.Now().Add(-time.Hour)
	revoke(t, knows, earlier)
	old := e.Clone()
	var record string
	for _, key := range old.Keys() {
		if strings.Contains(string(old.Value(key)), "alice") {
			record = key
		}
	}
	strict := revoke(t, knows, draft("alice"))[0].IssuedBefore
	e.Restore(old)
	other := start(t, e.Node(), registry.Options{})
	e.Set(record, []byte("half of a rec"))
	revoke(t, other, draft("bob"))
	for name, r := range map[string]*revocation.Registry{"the one that knows": knows, "the other": other, "a new one": nil} {
		if r == nil {
			r = start(t, e.Node(), registry.Options{})
		}
		eventually(t, name+" knows both", func() bool {
			alice := r.Find(revocation.Key{Issuer: issuer, Target: revocation.Subject, Name: "alice"})
			bob := r.Find(revocation.Key{Issuer: issuer, Target: revocation.Subject, Name: "bob"})
			return alice != nil && alice.IssuedBefore == strict && bob != nil
		})
	}
}

func TestKilledRightAfter(t *testing.T) {
	t.Parallel()
	for range 5 {
		folder := t.TempDir()
		writer := exec.Command(os.Args[0])
		writer.Env = append(os.Environ(), writerFolder+"="+folder)
		output, err := writer.StdoutPipe()
		if err == nil {
			err = writer.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		acknowledged := make([]byte, 3) // a byte for each
		_, err = output.Read(acknowledged[:1])
		if err == nil {
			_, err = output.Read(acknowledged[:1])
		}
		_ = writer.Process.Kill()
		if _ = writer.Wait(); err != nil {
			t.Fatal(err)
		}
		r := start(t, &certmagic.FileStorage{Path: folder}, registry.Options{})
		if left := names(r.Page(revocation.Query{})); !strings.HasPrefix(left, "r-0 r-1") {
			t.Errorf("left are %q", left)
		}
	}
}

func revokeUntilKilled(folder string) {
	r := revocation.New(registry.Options{})
	r.Attach(registry.Host[revocation.Revocation]{Storage: &certmagic.FileStorage{Path: filepath.Clean(folder)}})
	for i := 0; ; i++ {
		if _, err := r.Revoke(context.Background(), []revocation.Draft{draft(fmt.Sprint("r-", i))}); err != nil {
			os.Exit(1)
		}
		if _, err := os.Stdout.WriteString("+"); err != nil {
			os.Exit(1)
		}
	}
}

// TestBurst: very many at once are written together, and none is lost.
func TestBurst(t *testing.T) {
	t.Parallel()
	e := faultstorage.New(faultstorage.Faults{Trip: time.Millisecond})
	r := start(t, e.Node(), registry.Options{WriteLimit: 5 * time.Minute, Linger: 10 * time.Minute}) // none is lost, however slow the machine
	var senders sync.WaitGroup
	var failed atomic.Int32
	for i := range 1000 {
		senders.Go(func() {
			if _, err := r.Revoke(t.Context(), []revocation.Draft{draft(fmt.Sprint("n", i))}); err != nil {
				failed.Add(1)
			}
		})
	}
	senders.Wait()
	if n := start(t, e.Node(), registry.Options{}).Count(); n != 1000 || failed.Load() != 0 {
		t.Errorf("%d are there, %d failed", n, failed.Load())
	}
}
