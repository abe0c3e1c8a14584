package account_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

// faults are those of real engines, alone and together.
var faults = map[string]faultstorage.Faults{
	"good":                      {},
	"temporary and other names": {TemporaryNames: true},
	"missing folder is empty":   {ListMissing: faultstorage.ListEmpty},
	"missing folder fails":      {ListMissing: faultstorage.ListFails},
	"folders listed":            {ListFolders: true},
	"siblings listed":           {ListSiblings: true},
	"all listed":                {ListAll: true},
	"listings break":            {ListBreaks: true},
	"delete leaves children":    {DeleteLeavesChildren: true},
	"raw errors":                {RawMissing: true},
	"raw errors, empty listing": {RawMissing: true, ListMissing: faultstorage.ListEmpty},
	"lock fails at once":        {LockFailsAtOnce: true},
	"lock never returns":        {LockNeverReturns: true},
	"lock polls":                {LockPolls: true},
	"lock expires":              {LockExpires: true},
	"not atomic":                {NotAtomic: true},
	"late writes":               {LateWrites: true},
	"flaky":                     {Flaky: true},
	"clock runs back":           {ClockRunsBack: true},
	"slow":                      {Slow: 3 * time.Millisecond},
	"like Redis":                {MissingWhileDown: true, ListMissing: faultstorage.ListEmpty, ClockRunsBack: true},
	"like S3": {
		NotAtomic: true, LockNeverReturns: true, RawMissing: true, ListMissing: faultstorage.ListEmpty,
		ClockRunsBack: true, DeleteLeavesChildren: true, Slow: 2 * time.Millisecond,
	},
	"together": {
		MissingWhileDown: true, TemporaryNames: true, ListMissing: faultstorage.ListFails, ListFolders: true, ListSiblings: true,
		ListAll: true, ListBreaks: true, DeleteLeavesChildren: true, RawMissing: true, LockNeverReturns: true, LockExpires: true,
		NotAtomic: true, Flaky: true, LateWrites: true, ClockRunsBack: true, Slow: time.Millisecond,
	},
}

// TestFaultStorage lets two nodes write at once, with an outage in the midst of
// it, and looks for accounts lost or invented.
func TestFaultStorage(t *testing.T) {
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := engine(t, f)
			// Where locks expire, each giving back of one that is gone already takes 9 s,
			// and may take away the other node's: some may follow each other.
			opts := registry.Options{WriteLimit: 3 * time.Minute}
			nodes := []*node{start(t, e.Node(), opts), start(t, e.Node(), opts)}
			for _, n := range nodes {
				n.loaded(t)
			}
			want := writeAll(t, nodes, 24, func() {
				e.SetDown(true)
				time.Sleep(50 * time.Millisecond) // longer than a refresh
				e.SetDown(false)
			})
			for _, n := range append(nodes, start(t, e.Node(), opts).loaded(t)) {
				settles(t, n, want)
			}
			for _, n := range nodes {
				for _, ev := range n.kinds(registry.Updated) {
					for _, c := range ev.Changes {
						if !strings.HasPrefix(c.Record().Subject(), "n") {
							t.Errorf("an account nobody made: %q", c.Record().Subject())
						}
					}
				}
			}
		})
	}
}

// writeAll creates accounts on all nodes, disables every third and deletes every
// fourth, with an outage in the midst of it, and returns what must be there then:
// subject to status.
func writeAll(t *testing.T, nodes []*node, each int, outage func()) map[string]account.Status {
	t.Helper()
	want := map[string]account.Status{}
	begin := make(chan struct{}, len(nodes)*each)
	var mu sync.Mutex
	var all sync.WaitGroup
	all.Go(func() {
		<-begin
		outage()
	})
	for i, n := range nodes {
		for j := range each {
			subject := fmt.Sprintf("n%d-%d", i, j)
			all.Go(func() {
				if j%2 == 1 {
					time.Sleep(time.Duration(j) * time.Millisecond) // so that not all is one batch
				}
				s, err := writeOne(t, n, subject, j)
				if err != nil {
					t.Errorf("writing %s: %v", subject, err)
				}
				mu.Lock()
				defer mu.Unlock()
				if want[subject] = s; s == "" {
					delete(want, subject)
				}
				begin <- struct{}{}
			})
		}
	}
	all.Wait()
	return want
}

func writeOne(t *testing.T, n *node, subject string, j int) (account.Status, error) {
	if _, err := n.Create(t.Context(), draft(subject)); err != nil {
		return "", err
	}
	switch {
	case j%3 == 0:
		_, err := n.Replace(t.Context(), subject, disabled(subject))
		if errors.Is(err, account.ErrNotFound) { // overwritten just now, and not yet made again
			return account.StatusActive, nil
		}
		return account.StatusInactive, err
	case j%4 == 0:
		_, err := n.Delete(t.Context(), subject)
		if errors.Is(err, account.ErrNotFound) {
			return account.StatusActive, nil
		}
		return "", err
	}
	return account.StatusActive, nil
}

// settles waits until the node holds exactly what is wanted.
func settles(t *testing.T, n *node, want map[string]account.Status) {
	t.Helper()
	var now map[string]account.Status
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		now = map[string]account.Status{}
		for _, a := range n.List("", 0) {
			now[a.Subject()] = a.Status(time.Now())
		}
		if fmt.Sprint(now) == fmt.Sprint(want) {
			return
		}
	}
	t.Fatalf("accounts are\n%v\nwant\n%v", now, want)
}

// TestDiesAtEveryCall lets a writer die in each of its calls of storage in turn.
// What it was doing happened wholly or not at all, and nothing else is touched.
func TestDiesAtEveryCall(t *testing.T) {
	t.Parallel()
	for _, f := range []faultstorage.Faults{{}, {NotAtomic: true}} {
		calls := 0
		for alive := false; !alive; {
			calls++
			alive = dies(t, f, calls)
			if calls > 400 {
				t.Fatal("the writer never survives")
			}
		}
		if calls < 12 { // it would have died of nothing
			t.Errorf("only %d calls until all was written", calls)
		}
	}
}

// dies reports whether the writer survived.
func dies(t *testing.T, f faultstorage.Faults, call int) bool {
	t.Helper()
	e := engine(t, f)
	opts := registry.Options{WriteLimit: 10 * time.Second, Linger: 100 * time.Millisecond}
	first := start(t, e.Node(), opts).loaded(t)
	create(t, first, "before")
	_ = first.Close()

	mortal := e.Node()
	writer := start(t, mortal, registry.Options{WriteLimit: 60 * time.Millisecond, Linger: time.Minute}).loaded(t)
	mortal.DieAt(call)
	changes := []account.Change{{Op: account.Replace, Key: "before", Draft: disabled("before")}}
	for _, s := range numbered("batch", 5) {
		changes = append(changes, account.Change{Op: account.Create, Draft: draft(s)})
	}
	_, err := writer.Apply(t.Context(), changes, nil)
	survived := !mortal.Dead()
	_ = writer.Close()

	e.Free("gatehouse-accounts")
	after := start(t, e.Node(), opts).loaded(t)
	switch total := after.Counts(); {
	case total == account.Counts{Active: 1} && err != nil:
	case total == account.Counts{Active: 5, Inactive: 1}:
	default:
		t.Fatalf("died in call %d (%v): %+v", call, err, total)
	}
	create(t, after, "later") // and the registry goes on
	again := start(t, e.Clone().Node(), opts).loaded(t)
	if again.Counts() != after.Counts() || len(again.kinds(registry.Damaged)) > 0 {
		t.Fatalf("died in call %d: %+v, then %+v", call, after.Counts(), again.Counts())
	}
	return survived && err == nil
}

func TestDownAtStart(t *testing.T) {
	t.Parallel()
	for _, f := range []faultstorage.Faults{{}, {MissingWhileDown: true}, {MissingWhileDown: true, RawMissing: true, ListMissing: faultstorage.ListEmpty}} {
		e := engine(t, f)
		create(t, start(t, e.Node(), registry.Options{}).loaded(t), "known")
		keys := e.Keys()
		e.SetDown(true)
		n := start(t, e.Node(), registry.Options{WriteLimit: 100 * time.Millisecond})
		eventually(t, "it says that storage is away", func() bool { return len(n.kinds(registry.Unavailable)) > 0 })
		_, err := n.Create(t.Context(), draft("other"))
		wantError(t, err, registry.ErrBusy)
		if n.Loaded() {
			t.Error("loaded from a storage that is down")
		}
		if got := e.Keys(); len(got) != len(keys) {
			t.Errorf("keys are %q", got)
		}
		e.SetDown(false)
		holds(t, n.loaded(t), []string{"known"})
		if len(n.kinds(registry.Recovered)) == 0 {
			eventually(t, "it says that storage is back", func() bool { return len(n.kinds(registry.Recovered)) == 1 })
		}
		if len(n.kinds(registry.Unavailable)) != 1 {
			t.Errorf("said %d times that storage is away", len(n.kinds(registry.Unavailable)))
		}
	}
}

func TestDownWhileRunning(t *testing.T) {
	t.Parallel()
	for _, missing := range []bool{false, true} {
		e := engine(t, faultstorage.Faults{MissingWhileDown: missing})
		other := start(t, e.Node(), registry.Options{}).loaded(t)
		n := start(t, e.Node(), registry.Options{WriteLimit: time.Second}).loaded(t)
		create(t, n, "known", "more")
		e.SetDown(true)
		eventually(t, "it says that storage is away", func() bool { return len(n.kinds(registry.Unavailable)) == 1 })
		locks := e.Calls("Lock")
		_, err := n.Create(t.Context(), draft("other"))
		wantError(t, err, registry.ErrBusy)
		if e.Calls("Lock") != locks {
			t.Error("asked a storage for its lock that is gone: on a folder that would make the folder anew")
		}
		holds(t, n, []string{"known", "more"})
		before := n.Synced()
		e.SetDown(false)
		eventually(t, "it says that storage is back", func() bool { return len(n.kinds(registry.Recovered)) >= 1 && n.Synced().After(before) })
		create(t, other, "late")
		eventually(t, "it catches up", func() bool { _, ok := n.Get("late"); return ok })
	}
}

func TestStoreFails(t *testing.T) {
	e := engine(t, faultstorage.Faults{})
	n := start(t, e.Node(), registry.Options{}).loaded(t)
	create(t, n, "known")
	before := e.Clone().Keys()
	for _, cause := range storeErrors {
		e.SetStoreError(cause)
		_, err := n.Create(t.Context(), draft("other"))
		wantError(t, err, registry.ErrBusy)
		wantError(t, err, cause)
		holds(t, n, []string{"known"})
	}
	eventually(t, "it is said once", func() bool { return len(n.kinds(registry.Unavailable)) == 1 })
	if got := e.Keys(); len(got) != len(before) {
		t.Errorf("keys are %q", got)
	}
	e.SetStoreError(nil)
	create(t, n, "other")
	holds(t, start(t, e.Node(), registry.Options{}).loaded(t), []string{"known", "other"})
	eventually(t, "and that it is over", func() bool { return len(n.kinds(registry.Recovered)) == 1 })
}

// watched is a context that tells when somebody first waits for its end.
type watched struct {
	context.Context
	once  sync.Once
	asked chan struct{}
}

func (w *watched) Done() <-chan struct{} {
	w.once.Do(func() { close(w.asked) })
	return w.Context.Done()
}

// A change that waited through an outage, and then not long enough for the lock, is
// no news of another outage.
func TestLateAfterAnOutage(t *testing.T) {
	t.Parallel()
	e := engine(t, faultstorage.Faults{})
	n := start(t, e.Node(), registry.Options{WriteLimit: 2 * time.Second}).loaded(t)
	holder := e.Node()
	if err := holder.Lock(t.Context(), "gatehouse-accounts"); err != nil {
		t.Fatal(err)
	}
	e.SetDown(true)
	eventually(t, "it says that storage is away", func() bool { return len(n.kinds(registry.Unavailable)) == 1 })
	ctx, failed := &watched{Context: t.Context(), asked: make(chan struct{})}, make(chan error, 1)
	go func() {
		_, err := n.Create(ctx, draft("late"))
		failed <- err
	}()
	<-ctx.asked
	e.SetDown(false)
	wantError(t, <-failed, registry.ErrBusy)
	if err := holder.Unlock(t.Context(), "gatehouse-accounts"); err != nil {
		t.Fatal(err)
	}
	create(t, n, "after")
	if away, back := len(n.kinds(registry.Unavailable)), len(n.kinds(registry.Recovered)); away != 1 || back != 1 {
		t.Errorf("said %d times that storage is away, %d times that it is back", away, back)
	}
}

func TestLockNeverHad(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]faultstorage.Faults{
		"waits": {}, "fails at once": {LockFailsAtOnce: true}, "never returns": {LockNeverReturns: true}, "polls": {LockPolls: true},
	} {
		t.Run(name, func(t *testing.T) {
			e := engine(t, f)
			holder := e.Node()
			if err := holder.Lock(t.Context(), "gatehouse-accounts"); err != nil {
				t.Fatal(err)
			}
			n := start(t, e.Node(), registry.Options{WriteLimit: 50 * time.Millisecond}).loaded(t)
			begun := time.Now()
			for i := range 10 {
				_, err := n.Create(t.Context(), draft(fmt.Sprint("try-", i)))
				wantError(t, err, registry.ErrBusy)
			}
			most := 1 + int(time.Since(begun)/time.Second)
			if asked := e.Calls("Lock") - 1; f != (faultstorage.Faults{LockFailsAtOnce: true}) && asked > most {
				t.Errorf("%d calls of Lock for 10 changes; want at most one a second", asked)
			}
			if err := holder.Unlock(t.Context(), "gatehouse-accounts"); err != nil {
				t.Fatal(err)
			}
			eventually(t, "writing works again", func() bool {
				_, err := n.Create(t.Context(), draft("after"))
				return err == nil || errors.Is(err, account.ErrExists)
			})
			holds(t, n, []string{"after"})
		})
	}
}

// TestOverwritten lets another node's revision replace one that was acknowledged,
// as when the lock was held by both.
func TestOverwritten(t *testing.T) {
	e := engine(t, faultstorage.Faults{})
	a := start(t, e.Node(), registry.Options{}).loaded(t)
	create(t, a, "base", "kept")

	fork := e.Clone() // what the other node saw
	b := start(t, fork.Node(), registry.Options{}).loaded(t)
	create(t, b, "theirs")
	create(t, a, "ours")
	if _, err := a.Replace(t.Context(), "base", disabled("base")); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Delete(t.Context(), "kept"); err != nil {
		t.Fatal(err)
	}
	for _, key := range fork.Keys() {
		e.Set(key, fork.Value(key))
	}
	eventually(t, "it is noticed", func() bool { return len(a.kinds(registry.Overwritten)) == 1 })
	eventually(t, "both are there", func() bool {
		_, ours := a.Get("ours")
		_, theirs := a.Get("theirs")
		return ours && theirs
	})
	fresh := start(t, e.Node(), registry.Options{}).loaded(t)
	holds(t, fresh, []string{"base", "ours", "theirs"})
	if base, _ := fresh.Get("base"); !base.Traits().Inactive {
		t.Error("a disabled account came back")
	}
}

// TestStaleAnswer: an old revision seen for a moment brings nothing back.
func TestStaleAnswer(t *testing.T) {
	e := engine(t, faultstorage.Faults{})
	a := start(t, e.Node(), registry.Options{}).loaded(t)
	reader := start(t, e.Node(), registry.Options{}).loaded(t)
	create(t, a, "sa")
	old := e.Clone()
	if _, err := a.Replace(t.Context(), "sa", disabled("sa")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the reader knows", func() bool { return reader.Counts().Inactive == 1 })
	_ = a.Close()
	now := e.Clone()
	e.Set("gatehouse/accounts/revision.json", old.Value("gatehouse/accounts/revision.json"))
	loads := e.Calls("Load")
	eventually(t, "the reader has looked", func() bool { return e.Calls("Load") > loads+3 })
	if got := reader.Counts(); got.Inactive != 1 {
		t.Errorf("counts are %+v after a stale answer", got)
	}
	e.Set("gatehouse/accounts/revision.json", now.Value("gatehouse/accounts/revision.json"))
	create(t, reader, "next")
}

func TestGarbageIsCollected(t *testing.T) {
	e := engine(t, faultstorage.Faults{ListFolders: true, ListSiblings: true, TemporaryNames: true})
	e.Set("gatehouse/accounts/shard-00-00000000000000000000000000000000.json", []byte("left by a writer that died"))
	e.Set("gatehouse/accounts/notes.txt", []byte("an operator's"))
	n := start(t, e.Node(), registry.Options{Linger: 30 * time.Millisecond})
	// Shards without a revision are no empty registry.
	eventually(t, "that is said", func() bool { return len(n.kinds(registry.Unavailable)) == 1 })
	e.Set("gatehouse/accounts/shard-00-00000000000000000000000000000000.json", nil)
	n.loaded(t)
	create(t, n, "sa")
	for range 5 {
		for _, d := range []*account.Draft{disabled("sa"), draft("sa")} {
			if _, err := n.Replace(t.Context(), "sa", d); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "one shard, two revisions and the notes are left", func() bool { return len(e.Keys()) == 4 })
	if e.Value("gatehouse/accounts/notes.txt") == nil {
		t.Error("deleted what is not ours")
	}
}
