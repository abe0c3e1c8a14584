package account_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

func TestAccountTellsWhatWasSet(t *testing.T) {
	at := time.Date(2027, 3, 4, 5, 6, 7, 0, time.UTC)
	n := start(t, engine(t, faultstorage.Faults{}).Node(), registry.Options{Now: func() time.Time { return at }}).loaded(t)
	d := draft("ci")
	d.ExpiresAt, d.CreatedAt, d.UpdatedAt = at.Add(time.Hour), at.Add(-time.Hour), at.Add(time.Hour)
	a, err := n.Create(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	if a.Name() != "A machine" || a.Traits().Issuer != "acme" || !slices.Equal(a.Groups(), []string{"deployers"}) {
		t.Errorf("name %q, issuer %q, groups %q", a.Name(), a.Traits().Issuer, a.Groups())
	}
	if now := at.Unix(); a.Expires != now+3600 || a.Created != now-3600 || a.Updated != now {
		t.Errorf("expires %d, created %d, updated %d", a.Expires, a.Created, a.Updated)
	}
	shown, err := a.MarshalJSON()
	if err != nil || !strings.HasSuffix(string(shown), `"expires_at":"2027-03-04T06:06:07Z","created_at":"2027-03-04T04:06:07Z","updated_at":"2027-03-04T05:06:07Z"}`) {
		t.Errorf("JSON is %s, %v", shown, err)
	}
}

func TestDecodedReplacement(t *testing.T) {
	n := start(t, engine(t, faultstorage.Faults{}).Node(), registry.Options{}).loaded(t)
	create(t, n, "ci")
	for body, want := range map[string]string{
		`{"status":"inactive","issuer":"acme"}`:                                                "",
		`{"status":"inactive","issuer":"acme","subject":"ci","id":"` + account.ID("ci") + `"}`: "",
		`{"status":"inactive","issuer":"acme","id":"` + account.ID("x") + `"}`:                 "id is " + account.ID("x"),
		`{"status":"inactive","issuer":"acme","subject":"x"}`:                                  `subject is "x"; want "ci"`,
		`{"status":"inactive"}`: "",
		`{"status":"active","subject":"ci","id":"` + account.ID("x") + `"}`: "id is " + account.ID("x"),
		`{"status":"inactive","issuer":"other"}`:                            `issuer is "other"; want "acme", which never changes`,
	} {
		d, err := account.DecodeReplacement([]byte(body))
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		_, err = n.Replace(t.Context(), "ci", d)
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%s: %v; want %q", body, err, want)
		}
	}
	for _, body := range []string{`{}`, `{"status":"active","subject":".."}`, `{"status":"active","issuer":"acme","subject":"ci","id":"` + account.ID("x") + `"}`, `[`} {
		if _, err := account.DecodeReplacement([]byte(body)); err == nil {
			t.Errorf("%s: no error", body)
		}
	}
}

// TestCallerGivesUp: what its caller gave up does not happen later.
func TestCallerGivesUp(t *testing.T) {
	e := engine(t, faultstorage.Faults{})
	n := start(t, e.Node(), registry.Options{}).loaded(t)
	holder := e.Node()
	if err := holder.Lock(t.Context(), "gatehouse-accounts"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := n.Create(ctx, draft("given-up"))
		failed <- err
	}()
	eventually(t, "it waits for the lock", func() bool { return e.Calls("Lock") == 2 })
	cancel()
	wantError(t, <-failed, context.Canceled)
	if err := holder.Unlock(t.Context(), "gatehouse-accounts"); err != nil {
		t.Fatal(err)
	}
	create(t, n, "kept")
	holds(t, n, []string{"kept"})
	if err := account.New(registry.Options{}).Await(ctx); err == nil {
		t.Error("waited for nothing, and it came")
	}
}

// TestNoObserver: nobody needs to listen.
func TestNoObserver(t *testing.T) {
	e := engine(t, faultstorage.Faults{})
	writer := start(t, e.Node(), registry.Options{}).loaded(t)
	quiet := account.New(registry.Options{})
	t.Cleanup(func() { _ = quiet.Close() })
	quiet.Attach(registry.Host[account.Account]{Storage: e.Node(), Refresh: refresh})
	create(t, writer, "sa")
	eventually(t, "it is seen", func() bool { _, err := quiet.Find("", "sa"); return err == nil })
}
