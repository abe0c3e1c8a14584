package active

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/gowebpki/jcs"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// Instance is what makes a deployment, with all nodes that share its storage, known
// to the vendor of its license: an Ed25519 key (RFC 8032) of its own. Who copies the
// storage copies the instance. It never changes, and printed it shows its fingerprint
// and nothing else.
type Instance struct {
	key         ed25519.PrivateKey
	fingerprint string
	public      []byte // SubjectPublicKeyInfo in DER
}

// Fingerprint names the instance: the [license.KeyID] of its public key.
func (i *Instance) Fingerprint() string { return i.fingerprint }

// Public is its public key as a SubjectPublicKeyInfo in DER (RFC 5280, section 4.1).
func (i *Instance) Public() []byte { return i.public }

// Format keeps the key out of whatever an instance is printed to.
func (i *Instance) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "active.Instance(%s)", i.fingerprint)
}

// Sign signs a prefix, which says what it is for, and the canonical form (RFC 8785) of
// a JSON document.
func (i *Instance) Sign(prefix string, document []byte) ([]byte, error) {
	canonical, err := jcs.Transform(document)
	if err != nil {
		return nil, fmt.Errorf("bringing a document into its canonical form: %w", err)
	}
	return ed25519.Sign(i.key, append([]byte(prefix), canonical...)), nil
}

// SignOffline makes the file of a request that is carried to the vendor, signed by the
// instance.
func (i *Instance) SignOffline(r license.OfflineRequest) ([]byte, error) {
	return license.SignOfflineRequest(i.key, r)
}

// Secret derives a secret of 32 bytes from the instance's key, another one for each
// purpose. All nodes have the same.
func (i *Instance) Secret(purpose string) []byte {
	mac := hmac.New(sha256.New, i.key.Seed())
	mac.Write([]byte(purpose))
	return mac.Sum(nil)
}

// encodeInstance gives an instance as storage keeps it: the seed of RFC 8032, section
// 5.1.5.
func encodeInstance(key ed25519.PrivateKey) []byte {
	data, _ := json.Marshal(map[string][]byte{"ed25519_seed": key.Seed()}) // never fails
	return data
}

func parseInstance(data []byte) (*Instance, error) {
	var rec struct {
		Seed []byte `json:"ed25519_seed"`
	}
	if len(data) > 1<<10 || json.Unmarshal(data, &rec, json.RejectUnknownMembers(true)) != nil || len(rec.Seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("%s is damaged; want the key of this instance, or remove it if no license is bound to it", instanceKey)
	}
	key := ed25519.NewKeyFromSeed(rec.Seed)
	fingerprint, err := license.KeyID(key.Public())
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	return &Instance{key, fingerprint, public}, err
}

// Instance is the instance if it is known, else nil.
func (k *Keeper) Instance() *Instance { return k.facts.instance.Load() }

// MakeInstance gives the instance, and makes it if storage has none yet. Errors:
// [ErrBusy] when storage could not be read or written within 15 seconds, [ErrClosed],
// or the context's.
func (k *Keeper) MakeInstance(ctx context.Context) (*Instance, error) {
	if known := k.Instance(); known != nil {
		return known, nil
	}
	err := k.write(ctx, func(ctx context.Context, h *storage.Lease[Host]) error {
		data, err := h.Find(ctx, instanceKey)
		if err == nil {
			return k.takeInstance(data) // another node made it
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			return err
		}
		data = encodeInstance(key)
		if err := h.StoreChecked(ctx, instanceKey, data); err != nil {
			return err
		}
		defer ring(k.notifierBell)
		return k.takeInstance(data)
	})
	return k.Instance(), err
}

// Facts are what a license's validity depends on, beside the license and the clock.
// They are given to a verifier ([Facts.Extend]) and to the keeper that learns them.
// The zero value knows nothing yet. Asking takes no lock and no memory.
type Facts struct {
	revocations license.Revocations
	instance    atomic.Pointer[Instance]
}

// Extend has a verifier ask the facts.
func (f *Facts) Extend(c license.Config) license.Config {
	c.Revocations = &f.revocations
	c.Instance = func() string {
		if i := f.instance.Load(); i != nil {
			return i.Fingerprint()
		}
		return ""
	}
	return c
}

// Informed reports whether storage was first looked into for the facts: before, a
// license that is bound to an instance seems to be another's, and one that is revoked
// does not seem so.
func (k *Keeper) Informed() bool { return k.informed.Load() }

// AwaitFacts waits until [Keeper.Informed]. Its error is the context's, or
// [ErrClosed].
func (k *Keeper) AwaitFacts(ctx context.Context) error {
	if k.Informed() {
		return nil
	}
	select {
	case <-k.firstFacts:
		return nil
	case <-k.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

const (
	factsTopic = "facts"
	factsEvery = 10 * time.Minute // between two looks at the instance in storage
)

// keepInstance reads the instance from storage, and puts it there again if it is gone.
func (k *Keeper) keepInstance() time.Duration {
	h := k.leases.Newest()
	switch {
	case h == nil:
		return idle
	case !h.HasStorage():
		k.endFirstFacts()
		return idle
	}
	err := k.syncInstance(h)
	if h.Context().Err() != nil {
		return 0 // it detached meanwhile; perhaps another one is there
	}
	k.outage(factsTopic, err)
	k.endFirstFacts()
	if err != nil {
		return spread(h.Host.Refresh)
	}
	return spread(factsEvery)
}

// endFirstFacts counts one of the first looks as ended.
func (k *Keeper) endFirstFacts() {
	if k.revocations == nil || k.revocationsRead.Load() {
		if k.facts.instance.Load() != nil || k.instanceRead.Load() {
			if k.informed.CompareAndSwap(false, true) {
				close(k.firstFacts)
			}
		}
	}
	ring(k.notifierBell)
}

func (k *Keeper) syncInstance(h *storage.Lease[Host]) error {
	defer k.instanceRead.Store(true)
	data, err := h.Find(h.Context(), instanceKey)
	known := k.facts.instance.Load()
	switch {
	case err == nil:
		return k.takeInstance(data)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case known != nil:
		return h.StoreChecked(h.Context(), instanceKey, encodeInstance(known.key))
	}
	return nil
}

// takeInstance takes what storage has, which all nodes share.
func (k *Keeper) takeInstance(data []byte) error {
	found, err := parseInstance(data)
	if err != nil {
		return err
	}
	if known := k.facts.instance.Load(); known == nil || known.Fingerprint() != found.Fingerprint() {
		k.facts.instance.Store(found)
	}
	return nil
}
