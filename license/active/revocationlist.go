package active

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// RevocationSource is where lists of revoked licenses come from: a file or an address.
type RevocationSource struct {
	// File is a path. A change is seen within ten seconds.
	File string
	// URL is asked once an hour, and when the next list is due.
	URL string
	// Client asks the URL. Redirects are not followed, and no answer is waited for
	// longer than 15 seconds.
	Client *http.Client
}

const (
	listFileLook = 5 * time.Second
	listEvery    = time.Hour
	listRetry    = 5 * time.Minute
	// listSoon is the shortest time between two requests for a list that is due.
	listSoon   = time.Minute
	fetchLimit = 15 * time.Second
)

// RevocationStatus describes the list of revoked licenses.
type RevocationStatus struct {
	// Version, IssuedAt and NextUpdate are those of the newest list; 0 without one.
	// Times are Unix seconds.
	Version    int64 `json:"version"`
	IssuedAt   int64 `json:"issued_at"`
	NextUpdate int64 `json:"next_update"`
	// Revoked is the number of licenses on it.
	Revoked int `json:"revoked"`
	// Late: the next one should have come, or none ever came.
	Late bool `json:"late"`
	// Error says what is wrong with the source; empty: nothing.
	Error string `json:"error"`
}

// Revocations describes the list of revoked licenses; false: there is no source of
// any.
func (k *Keeper) Revocations() (s RevocationStatus, configured bool) {
	if k.revocations == nil {
		return s, false
	}
	k.mu.Lock()
	s.Error = k.list.fault
	k.mu.Unlock()
	list, _ := k.facts.revocations.List()
	s.Late = true
	if list != nil {
		p := &list.Payload
		s.Version, s.IssuedAt, s.NextUpdate, s.Revoked = p.Version, p.IssuedAt, p.NextUpdate, len(p.Revoked)
		s.Late = k.now().Unix() >= p.NextUpdate
	}
	return s, true
}

// keepRevocations looks for a newer list: what storage has first, because it was seen
// before, and then what the source has.
func (k *Keeper) keepRevocations() time.Duration {
	h := k.leases.Newest()
	if h == nil {
		return idle
	}
	var stored []byte
	if h.HasStorage() {
		var err error
		stored, err = k.readStoredList(h)
		if h.Context().Err() != nil {
			return 0 // it detached meanwhile; perhaps another one is there
		}
		k.outage("revocations", err)
	}
	endFirst := func() {
		k.revocationsRead.Store(true)
		k.endFirstFacts()
	}
	fromFile := k.revocations.File != ""
	if !fromFile {
		endFirst()
	}
	var data []byte
	var err error
	if fromFile {
		data, err = storage.Do(h.Context(), k.files, func(context.Context) ([]byte, error) {
			return readBounded(k.revocations.File, license.MaxRevocationsSize)
		})
	} else {
		data, err = fetch(h.Context(), k.revocations.Client, k.revocations.URL, license.MaxRevocationsSize)
	}
	if h.Context().Err() != nil {
		return 0
	}
	changed := false
	if err == nil {
		changed, err = k.verifier.TakeRevocations(data)
	}
	k.reportList(changed, err)
	endFirst()
	if h.HasStorage() {
		k.outage("revocations", k.storeList(h, stored))
	}
	switch {
	case fromFile:
		return spread(listFileLook)
	case err != nil:
		return spread(listRetry)
	}
	wait := listEvery
	if list, _ := k.facts.revocations.List(); list != nil {
		due := time.Unix(list.Payload.NextUpdate, 0).Sub(k.now())
		wait = min(wait, max(due, listSoon))
	}
	return spread(wait)
}

// readStoredList takes the newest list that any node has seen.
func (k *Keeper) readStoredList(h *storage.Lease[Host]) (stored []byte, err error) {
	data, err := h.Find(h.Context(), revokedKey)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	damaged := ""
	_, err = k.verifier.TakeRevocations(data)
	if err != nil && !errors.Is(err, license.ErrOlder) {
		damaged = err.Error()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if damaged != "" && damaged != k.list.damaged {
		k.note(Event{Kind: Damaged, Err: fmt.Errorf("%s: %w", revokedKey, err)})
	}
	k.list.damaged = damaged
	return data, nil
}

// storeList remembers the newest list for the time after a restart, and for other
// nodes.
func (k *Keeper) storeList(h *storage.Lease[Host], stored []byte) error {
	_, newest := k.facts.revocations.List()
	if newest == nil || bytes.Equal(newest, stored) {
		return nil
	}
	err := h.StoreChecked(h.Context(), revokedKey, newest)
	if errors.Is(err, storage.ErrReadBack) {
		return nil // another node's; the next look tells which is newer
	}
	return err
}

// fetch gets one document of status 200. Its errors hold nothing that the other side
// sent but the status.
func fetch(ctx context.Context, client *http.Client, address string, most int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, errors.New("not an address that can be asked")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "gatehouse")
	own := *client
	own.Jar = nil
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := own.Do(req)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("no answer within %s", fetchLimit)
	case err != nil:
		return nil, errors.New("it cannot be reached, or does not speak HTTP")
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answered with status %d, not 200", resp.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	switch {
	case err != nil:
		return nil, errors.New("the answer broke off")
	case int64(len(data)) > most:
		return nil, fmt.Errorf("the answer has more than %d bytes", most)
	}
	return data, nil
}

// reportList notes what became of a look at the source, each thing once.
func (k *Keeper) reportList(changed bool, err error) {
	defer ring(k.notifierBell)
	k.mu.Lock()
	defer k.mu.Unlock()
	fault := ""
	if err != nil {
		fault = err.Error()
	}
	if changed {
		list, _ := k.facts.revocations.List()
		k.note(Event{Kind: RevocationsChanged, Words: fmt.Sprintf("version %d with %d licenses", list.Payload.Version, len(list.Payload.Revoked))})
	}
	switch {
	case fault != "" && fault != k.list.fault:
		k.note(Event{Kind: RevocationsRejected, Err: err})
	case fault == "" && k.list.fault != "":
		k.note(Event{Kind: RevocationsMended})
	}
	k.list.fault = fault
}

// notifyList notes that the list is late, or is not any more; k.mu is held.
func (k *Keeper) notifyList() {
	if k.revocations == nil || !k.revocationsRead.Load() {
		return
	}
	list, _ := k.facts.revocations.List()
	late := list != nil && k.now().Unix() >= list.Payload.NextUpdate
	if late == k.list.late {
		return
	}
	k.list.late = late
	if late {
		k.note(Event{Kind: RevocationsLate, Words: fmt.Sprintf("version %d should have been followed by %s", list.Payload.Version, time.Unix(list.Payload.NextUpdate, 0).UTC().Format(time.RFC3339))})
	}
}
