package caddymodule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"
	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/activation"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/events"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/metrics"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/pool"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// SSOLicense says which licenses the logins of an account bring, and how many. They are
// signed by the key of `signing`, which is required.
type SSOLicense struct {
	// The patterns of the hosts that the licenses are for. At least one is required.
	Hosts []string `json:"hosts,omitempty"`

	// Makes a license be for the hosts that are asked for; each must be within
	// `hosts`. Default: it is for all of `hosts`.
	Requested bool `json:"requested,omitempty"`

	// The product edition: `enterprise` or `oss`. Default: enterprise.
	Type string `json:"type,omitempty"`

	// The features that are granted. Default: every one.
	Features []string `json:"features,omitempty"`

	// Limits that the product gives a meaning to, by name. Default: none.
	Limits map[string]int64 `json:"limits,omitempty"`

	// What becomes of whoever is over a limit, by its name: `advisory` or `deny`.
	// Default: advisory.
	Enforcement map[string]license.Enforcement `json:"enforcement,omitempty"`

	// How many instances may be active at once, for each product. Default: any number.
	Seats int `json:"seats,omitempty"`

	// How many of those one person may have activated. Default: any number.
	SeatsPerUser int `json:"seats_per_user,omitempty"`

	// How long a license is good that is handed out. Instances renew theirs before it
	// ends. Default: 720h.
	Valid caddy.Duration `json:"valid,omitempty"`

	// How much longer it is honored. An instance that was not heard of for so long,
	// and `valid` before it, gives its seat back. Default: 168h, and 0 for version 1.
	Grace *caddy.Duration `json:"grace,omitempty"`

	// When the contract ends, beyond which nothing is handed out: the last day, such as
	// 2027-12-31 (in UTC), or a time in RFC 3339. Default: it does not end.
	Until string `json:"until,omitempty"`

	// Makes it a trial, which ends so long after the account first activated the
	// product. Default: none.
	Trial caddy.Duration `json:"trial,omitempty"`

	// The claim of the ID token that says who may activate, and the values of which it
	// must have one. Default: everybody who can log in.
	Claim       string   `json:"claim,omitempty"`
	ClaimValues []string `json:"claim_values,omitempty"`

	// `instance` makes licenses that only the instance takes which asked for it.
	// Default: a license is good on any.
	Bind string `json:"bind,omitempty"`

	// The version of the licenses' format. 1 needs an RSA key, and knows neither ids
	// nor grace, limits and instances. Default: 2.
	Version int `json:"version,omitempty"`

	// For whom the licenses are, in words. Default: the account's code and the product.
	Description string `json:"description,omitempty"`

	line caddyfile.Token
}

var (
	errNoSigning = errors.New("license: found it, but there is no key to sign licenses with: add `signing { key … }`")

	licenseTypesOf = parse.Choice{string(license.Enterprise), string(license.OSS)}
	bindings       = parse.Choice{bindInstance}
)

const bindInstance = "instance"

// terms are what the options say.
func (l *SSOLicense) terms() (activation.Terms, error) {
	t := activation.Terms{
		Hosts: l.Hosts, Requested: l.Requested, Type: license.Type(l.Type), Features: l.Features,
		Limits: l.Limits, Enforcement: l.Enforcement, Version: l.Version, Description: l.Description,
		Seats: l.Seats, SeatsPerUser: l.SeatsPerUser, Valid: time.Duration(l.Valid), Trial: time.Duration(l.Trial),
		Claim: l.Claim, ClaimValues: l.ClaimValues, BindInstance: l.Bind == bindInstance,
	}
	if err := bindings.Check("bind", l.Bind); err != nil {
		return t, err
	}
	if l.Grace != nil {
		if t.Grace = time.Duration(*l.Grace); t.Grace == 0 {
			t.Grace = -1
		}
	}
	var err error
	if t.Until, err = parseUntil(l.Until); err != nil {
		return t, err
	}
	return t, t.Validate()
}

// parseUntil reads the last day of a contract, or its end.
func parseUntil(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day.AddDate(0, 0, 1), nil
	}
	end, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return end, fmt.Errorf("until: found %q, expected a day such as 2027-12-31, or a time such as 2027-12-31T12:00:00Z", text)
	}
	return end, nil
}

// givesLicenses tells whether an account has licenses, and where that is said first.
func (s *SSO) givesLicenses() (line caddyfile.Token, found bool) {
	if s == nil {
		return line, false
	}
	for _, a := range s.Accounts {
		if a.License != nil {
			return a.License.line, true
		}
	}
	return line, false
}

// activations are the licenses that logins bring, of one configuration. The store
// outlives a reload.
type activations struct {
	service *activation.Service
	store   *activation.Store
	key     string         // of the store, to give it back
	seats   map[string]int // that there are, by the code of each account that has licenses
	events  *events.Emitter
	logger  *zap.Logger
	audit   func(api.AuditEntry)
}

var activationStores = pool.New((*activation.Store).Destruct)

// takeActivations gives the activations, nil if no account has licenses; they must be
// released exactly once.
func takeActivations(storage certmagic.Storage, s *SSO, signing *Signing, emitter *events.Emitter, logger *zap.Logger) (*activations, error) {
	if _, found := s.givesLicenses(); !found {
		return nil, nil
	}
	for _, op := range activation.Operations() {
		activationsTotal.WithLabelValues(string(op), metrics.OK)
	}
	a := &activations{key: pool.StorageID(storage), seats: map[string]int{}, events: emitter, logger: logger, audit: auditing(logger)}
	config := activation.Config{SSO: s.taken.Service, Terms: map[string]activation.Terms{}, Signer: signing.signer, Observe: a.observe}
	for _, account := range s.Accounts {
		if account.License == nil {
			continue
		}
		terms, err := account.License.terms()
		if err != nil {
			return nil, fmt.Errorf("account %q: license: %w", account.Code, err)
		}
		config.Terms[account.Code] = terms
		a.seats[account.Code] = terms.Seats
	}
	var err error
	if a.store, err = activationStores.Take(a.key, func() (*activation.Store, error) { return activation.NewStore(registry.Options{}), nil }); err != nil {
		return nil, err
	}
	config.Store = a.store
	if a.service, err = activation.New(config); err != nil {
		return nil, errors.Join(err, a.release())
	}
	return a, nil
}

// attach gives the store this configuration's storage and log.
func (a *activations) attach(storage certmagic.Storage, refresh time.Duration) []func() {
	if a == nil {
		return nil
	}
	return []func(){a.store.Attach(activation.Host{Storage: storage, Refresh: refresh, Observe: a.notice})}
}

// release gives the store back, if it was taken.
func (a *activations) release() error {
	if a == nil {
		return nil
	}
	return activationStores.Release(a.key)
}

// state is what operators see of the seats.
func (a *activations) state() api.SeatState {
	state := api.SeatState{Storage: a.store.State(), Taken: []api.SeatCount{}}
	for _, n := range a.store.Active() {
		state.Taken = append(state.Taken, api.SeatCount{Account: n.Account, Product: n.Product, Taken: n.Taken, Seats: a.seats[n.Account]})
	}
	return state
}

var (
	activationsTotal = metrics.Counter("activations_total",
		"Requests for a license in exchange for a login, or about one, by the operation and what became of it: ok or the code of the error.",
		"operation", "result")
	seatsTaken = metrics.Gauge("seats",
		"Instances that have a license in exchange for a login, by the customer account. Absent where no login brings one.", "account")
)

// show shows the seats of each account that has licenses.
func (a *activations) show(show metrics.Show) {
	if a == nil {
		return
	}
	counts := make(map[string]int, len(a.seats))
	for _, n := range a.store.Active() {
		counts[n.Account] += n.Taken
	}
	for code := range a.seats {
		show(seatsTaken, float64(counts[code]), code)
	}
}

// List is that of the store.
func (a *activations) List(ctx context.Context, q activation.Query) ([]*activation.Record, error) {
	return a.store.List(ctx, q)
}

// Free gives a seat back for an operator, and reports it.
func (a *activations) Free(ctx context.Context, id uuid.UUID) (*activation.Record, error) {
	seat, err := a.store.Free(ctx, id)
	if err == nil {
		a.emit(events.ActivationDeleted, seat)
	}
	return seat, err
}

// observe counts, logs and reports what became of a request.
func (a *activations) observe(o activation.Outcome) {
	activationsTotal.WithLabelValues(string(o.Operation), cmp.Or(string(o.Code), metrics.OK)).Inc()
	if o.Signed != "" {
		countSigned(o.Signed)
	}
	action, event := "activation.create", events.ActivationCreated
	switch o.Operation {
	case activation.Check:
		return
	case activation.Deactivate, activation.DeactivateOffline:
		action, event = "activation.delete", events.ActivationDeleted
	}
	entry := api.AuditEntry{Action: action, Actor: o.Subject, Outcome: "done"}
	if o.Code != "" {
		entry.Outcome = "refused"
		if o.Code.Status() >= 500 {
			entry.Outcome = "failed"
		}
	}
	switch {
	case o.Seat != nil:
		entry.Target = o.Seat.ID.String()
		entry.Actor = o.Seat.Account + "/" + o.Seat.Subject
	case o.Subject == "":
		return // nobody is known to have asked
	}
	a.audit(entry)
	if o.Code == "" && (o.New || event == events.ActivationDeleted) {
		a.emit(event, o.Seat)
	}
}

// emit emits what became of the seat of an instance.
func (a *activations) emit(event string, seat *activation.Record) {
	a.events.Emit(event, func() map[string]any {
		return map[string]any{
			"id": seat.ID.String(), "account": seat.Account, "product": seat.Product, "hardware_id": seat.Name,
			"subject": seat.Subject, "ends_at": seat.Ends,
		}
	})
}

// notice logs what happens to the activations and their storage.
func (a *activations) notice(e activation.Event) {
	switch e.Kind {
	case registry.Ended:
		for _, changed := range e.Changes {
			if seat := changed.Record(); seat.Seat() {
				a.audit(api.AuditEntry{Action: "activation.expire", Actor: seat.Account + "/" + seat.Subject, Target: seat.ID.String(), Outcome: "done"})
				a.emit(events.ActivationExpired, seat)
			}
		}
	case registry.Unavailable:
		a.logger.Error("the storage of the activations cannot be used; no license can be handed out", zap.String("storage", string(e.StorageState)), zap.Error(e.Err))
	case registry.Recovered:
		a.logger.Info("the storage of the activations can be used again")
	case registry.Damaged:
		a.logger.Error("a record of activations is damaged; its last good content stays in force", zap.String("record", e.Record), zap.Error(e.Err))
	case registry.Mended, registry.Overwritten, registry.Older, registry.Healed:
		a.logger.Warn("the storage of the activations was put right", zap.String("why", string(e.Kind)))
	}
}
