package active

import (
	"context"
	"errors"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// recorded is a record of n signatures a second apart, the oldest first.
func recorded(t *testing.T, h *faultStorage, n int) (*Record, []Entry) {
	t.Helper()
	r := NewRecord(h, Options{})
	var entries []Entry
	for range n {
		time.Sleep(time.Second)
		e, err := r.Add(t.Context(), Entry{Actor: "ops", ActorIssuer: "acme", License: sign(t, "Acme")})
		must(t, err)
		entries = append(entries, e)
	}
	return r, entries
}

func ids(entries []Entry) (ids []string) {
	for _, e := range entries {
		ids = append(ids, e.ID)
	}
	return ids
}

func TestRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRecord(newFaultStorage(t), Options{})
		signed := sign(t, "Acme <&> Söhne", func(r *license.Request) {
			r.Features, r.Limits = []string{}, map[string]int64{"seats": 5}
			r.Description = "Acme <&> \u2028 Söhne"
		})
		for _, e := range []Entry{
			{Actor: "0oa1 \"quoted\" ü", ActorIssuer: "acme", License: signed},
			{Actor: strings.Repeat("x", maxActor), License: signed, KeyID: signed.KeyID, Time: time.Now().In(time.FixedZone("", 3600)).Add(time.Nanosecond)},
		} {
			added, err := r.Add(t.Context(), e)
			must(t, err)
			listed, err := r.List(t.Context(), "", 1)
			must(t, err)
			if len(listed) != 1 || !reflect.DeepEqual(listed[0], added) {
				t.Fatalf("listed %+v\nadded %+v", listed, added)
			}
			if e.KeyID = signed.KeyID; e.Time.IsZero() {
				e.Time = time.Now()
			}
			e.Time, e.ID = e.Time.UTC(), added.ID
			if !reflect.DeepEqual(e, added) || !idForm.MatchString(added.ID) {
				t.Errorf("added %+v\nwant %+v", added, e)
			}
			if s := verifier(t, nil).Verify(listed[0].License); !s.Genuine() {
				t.Errorf("the recorded license does not verify: %v", s.Err())
			}
		}
	})
}

func TestRecordPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, want := recorded(t, newFaultStorage(t), 25)
		slices.Reverse(want)
		var got []Entry
		for after := ""; ; after = got[len(got)-1].ID {
			page, err := r.List(t.Context(), after, 10)
			must(t, err)
			if len(page) == 0 {
				break
			}
			got = append(got, page...)
			if len(got) == 10 { // what comes meanwhile does not move the pages
				_, err := r.Add(t.Context(), Entry{Actor: "ops", License: sign(t, "New")})
				must(t, err)
			}
		}
		if !slices.Equal(ids(got), ids(want)) {
			t.Errorf("pages give\n%v, want\n%v", ids(got), ids(want))
		}
		for limit, n := range map[int]int{0: 26, -1: 26, 1: 1, 26: 26, 5000: 26} {
			if page, err := r.List(t.Context(), "", limit); err != nil || len(page) != n {
				t.Errorf("limit %d: %d entries, %v; want %d", limit, len(page), err, n)
			}
		}
		for _, after := range []string{"x", "../..", want[0].ID + "x", strings.ToUpper(want[0].ID)} {
			if _, err := r.List(t.Context(), after, 0); !errors.Is(err, ErrAfter) {
				t.Errorf("after %q: %v", after, err)
			}
		}
	})
}

// TestRecordDamaged: each damaged entry is named, in its place, and hides nothing.
func TestRecordDamaged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFaultStorage(t)
		r, want := recorded(t, h, 12)
		spoilt := map[int]func(value string) string{
			0: func(string) string { return "" },
			2: func(v string) string { return v[:len(v)/2] },
			3: func(v string) string { return strings.Replace(v, `"actor"`, `"Actor"`, 1) },
			4: func(v string) string { return strings.Replace(v, `"actor":"ops"`, `"actor":""`, 1) },
			5: func(v string) string { return strings.Replace(v, `"ops",`, `"ops","actor":"other",`, 1) },
			6: func(v string) string { return strings.Replace(v, `"key_id":"`, `"key_id":"0`, 1) },
			7: func(string) string { return string(h.get(keyOf(want[8].ID))) },
			9: func(string) string { return strings.Repeat(" ", maxRecord+1) },
		}
		for i, spoil := range spoilt {
			key := keyOf(want[i].ID)
			h.put(key, []byte(spoil(string(h.get(key)))))
		}
		h.do(func() { // one is listed and not found
			h.listing = func(keys []string) []string { return append(keys, keyOf(want[10].ID)) }
			delete(h.values, keyOf(want[10].ID))
		})
		got, err := r.List(t.Context(), "", 0)
		must(t, err)
		slices.Reverse(got)
		if !slices.Equal(ids(got), ids(want)) {
			t.Fatalf("listed %v", ids(got))
		}
		for i, e := range got {
			if !e.Time.Equal(want[i].Time) {
				t.Errorf("entry %d is of %s, want %s", i, e.Time, want[i].Time)
			}
			if spoilt[i] == nil && i != 10 {
				if e.Err != nil || e.License == nil {
					t.Errorf("entry %d: %v", i, e.Err)
				}
				continue
			}
			if e.Err == nil || !strings.Contains(e.Err.Error(), keyOf(e.ID)) || e.License != nil || e.Actor != "" {
				t.Errorf("damaged entry %d: %+v", i, e)
			}
		}
	})
}

// TestRecordListings: whatever storage shows beside the record.
func TestRecordListings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFaultStorage(t)
		r, want := recorded(t, h, 2)
		slices.Reverse(want)
		h.put(recordFolder+"/123456789", []byte("temporary"))
		h.put(recordFolder+"/"+want[0].ID+".json.tmp", []byte("temporary"))
		h.do(func() {
			h.listing = func(keys []string) []string {
				keys = append(keys, keys...)
				return append(keys, recordFolder, recordFolder+"/", "gatehouse/signed_old/"+want[0].ID+".json", want[0].ID+".json", "x/"+keyOf(want[0].ID))
			}
			h.listErrs = []error{tempGone, tempGone}
		})
		got, err := r.List(t.Context(), "", 0)
		must(t, err)
		if !slices.Equal(ids(got), ids(want)) {
			t.Errorf("listed %v, want %v", ids(got), ids(want))
		}
		for _, none := range []error{nil, fs.ErrNotExist} {
			empty := newFaultStorage(t)
			empty.noFolder = none
			if got, err := NewRecord(empty, Options{}).List(t.Context(), "", 0); err != nil || len(got) != 0 {
				t.Errorf("of an empty storage: %v, %v", got, err)
			}
		}
	})
}

// TestRecordOutOfReach: what storage cannot answer is never an empty record, and
// what could not be recorded is never acknowledged.
func TestRecordOutOfReach(t *testing.T) {
	for name, spoil := range map[string]func(h *faultStorage){
		"down":        func(h *faultStorage) { h.down = true },
		"failing":     func(h *faultStorage) { h.err = errDown },
		"not allowed": func(h *faultStorage) { h.err = fs.ErrPermission },
		"full":        func(h *faultStorage) { h.err = syscall.ENOSPC },
		"waiting":     func(h *faultStorage) { h.gate = make(chan struct{}) },
		"deaf":        func(h *faultStorage) { h.gate, h.deaf = make(chan struct{}), true },
		"forgets": func(h *faultStorage) {
			h.stored = func(key string) { h.do(func() { delete(h.values, key) }) }
			h.listErrs = []error{errDown}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newFaultStorage(t)
				r, _ := recorded(t, h, 3)
				h.do(func() { spoil(h) })
				began := time.Now()
				_, err := r.List(t.Context(), "", 0)
				wantErrors(t, err, ErrBusy)
				if took := time.Since(began); took > DefaultWriteLimit+installGrace {
					t.Errorf("listing took %s", took)
				}
				began = time.Now()
				var all sync.WaitGroup
				for range 2 * maxAdds {
					all.Go(func() {
						e, err := r.Add(t.Context(), Entry{Actor: "ops", License: sign(t, "Acme")})
						if !errors.Is(err, ErrBusy) || e.ID != "" {
							t.Errorf("added %q, %v", e.ID, err)
						}
					})
				}
				all.Wait()
				if took := time.Since(began); took > DefaultWriteLimit+installGrace {
					t.Errorf("adding took %s", took)
				}
				h.do(func() { h.down, h.err, h.stored = false, nil, nil })
				h.open()
				time.Sleep(time.Minute)
				_, err = r.Add(t.Context(), Entry{Actor: "ops", License: sign(t, "Acme")})
				must(t, err)
			})
		})
	}
}

// TestRecordDownBetween: storage goes away after it listed.
func TestRecordDownBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFaultStorage(t)
		r, want := recorded(t, h, 3)
		h.do(func() {
			keys := []string{}
			for _, e := range want {
				keys = append(keys, keyOf(e.ID))
			}
			h.values = map[string][]byte{}
			h.listing = func([]string) []string { return keys }
		})
		_, err := r.List(t.Context(), "", 0)
		wantErrors(t, err, ErrBusy, fs.ErrNotExist)
	})
}

func TestRecordAfterHiccups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFaultStorage(t)
		r, _ := recorded(t, h, 1)
		h.do(func() { h.err = errDown })
		time.AfterFunc(5*time.Second, func() { h.do(func() { h.err = nil }) })
		_, err := r.Add(t.Context(), Entry{Actor: "ops", License: sign(t, "Acme")})
		must(t, err)
		if got, err := r.List(t.Context(), "", 0); err != nil || len(got) != 2 {
			t.Errorf("%d entries, %v", len(got), err)
		}
	})
}

func TestRecordGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFaultStorage(t)
		r, _ := recorded(t, h, 1)
		h.do(func() { h.gate = make(chan struct{}) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := r.Add(ctx, Entry{Actor: "ops", License: sign(t, "Acme")})
		wantErrors(t, err, context.DeadlineExceeded)
		_, err = r.List(ctx, "", 0)
		wantErrors(t, err, context.DeadlineExceeded)
	})
}

func TestRecordRefuses(t *testing.T) {
	h := newFaultStorage(t)
	r, l := NewRecord(h, Options{}), sign(t, "Acme")
	other := *l
	other.Signature = "no base64"
	for want, e := range map[string]Entry{
		"no license":           {Actor: "ops"},
		"signature":            {Actor: "ops", License: &other},
		"actor of 0 bytes":     {License: l},
		"actor of 1025 bytes":  {Actor: strings.Repeat("x", 1025), License: l},
		"actor of 1 bytes":     {Actor: "\xff", License: l},
		"issuer of 1025 bytes": {Actor: "ops", ActorIssuer: strings.Repeat("x", 1025), License: l},
		"issuer of 1 bytes":    {Actor: "ops", ActorIssuer: "\xff", License: l},
		"the license's own":    {Actor: "ops", KeyID: "other", License: l},
	} {
		if _, err := r.Add(t.Context(), e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if h.stores > 0 {
		t.Error("a refused entry was written")
	}
	for _, f := range []func() error{
		func() error {
			_, err := NewRecord(nil, Options{}).Add(t.Context(), Entry{Actor: "ops", License: l})
			return err
		},
		func() error { _, err := NewRecord(nil, Options{}).List(t.Context(), "", 0); return err },
	} {
		wantErrors(t, f(), ErrBusy, storage.ErrNoStorage)
	}
}

func FuzzEntry(f *testing.F) {
	l := sign(f, "Acme")
	value, err := (&Entry{Time: time.Now(), Actor: "ops", KeyID: l.KeyID, License: l}).encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(value)
	f.Add([]byte(`{"time":"2026-01-01T00:00:00Z","actor":"ops","key_id":"","license":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := decodeEntry(data)
		if err != nil {
			return
		}
		again, err := e.encode()
		if err != nil {
			t.Fatalf("read, and cannot be written: %v", err)
		}
		if back, err := decodeEntry(again); err != nil || !reflect.DeepEqual(back, e) {
			t.Errorf("written and read: %+v, %v; want %+v", back, err, e)
		}
	})
}
