package activation

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

// What a record is of. The texts are part of the stored format.
const (
	seats    = "seat"    // an instance that is active; its name is the hardware id
	logins   = "login"   // a login that was used; its name says which
	requests = "request" // an offline request that was answered; its name is its id
	trials   = "trial"   // since when an account has had a product; it has no name
)

// Key is what records are distinguished by.
type Key struct{ What, Account, Product, Name string }

// Record is one thing that is remembered. It never changes once made. Times are Unix
// seconds.
type Record struct {
	What    string `json:"what"`
	Account string `json:"account"`
	Product string `json:"product"`
	Name    string `json:"name,omitzero"`

	// ID is that of a seat, and of its licenses.
	ID uuid.UUID `json:"id,omitzero"`

	// Subject is who logged in for a seat, and Email that person's address.
	Subject string `json:"subject,omitzero"`
	Email   string `json:"email,omitzero"`

	// Hosts are those that were asked for; nil: the account's own.
	Hosts []string `json:"hosts,omitempty"`

	// Offline tells whether the instance of a seat has no network.
	Offline bool `json:"offline,omitzero"`

	// By is the seat that a login or a request was used for.
	By uuid.UUID `json:"by,omitzero"`

	// Created is when the seat was taken, Checked when its license was last renewed,
	// Expires when that ends, Ends when the seat is free again.
	Created int64 `json:"created,omitzero"`
	Checked int64 `json:"checked,omitzero"`
	Expires int64 `json:"expires,omitzero"`
	Ends    int64 `json:"ends,omitzero"`
}

// kind is what the records are to their registry.
var kind = registry.Kind[Key, Record]{
	Folder: "gatehouse/activations", Lock: "gatehouse-activations", Plural: "activations",
	Repair: "restore its folder gatehouse/activations from a copy, or restart the nodes to go on with what it holds",

	Hash: hash, Key: (*Record).key, Is: (*Record).is, Compare: compare, Equal: equal, ID: (*Record).uuid,
	Updated: func(r *Record) int64 { return max(r.Created, r.Checked) },
	Ends:    func(r *Record) int64 { return r.Ends },
	Leaves:  true,

	Append: appendLine, Reader: func() func([]byte) (*Record, error) { return readLine },
}

// hash is part of the stored format. All seats of an account and a product have one,
// so that they can be counted.
func hash(k Key) uint64 {
	text := k.What + "\x00" + k.Account + "\x00" + k.Product
	if k.What != seats {
		text += "\x00" + k.Name
	}
	return xxhash.Sum64String(text)
}

func (r *Record) key() Key { return Key{r.What, r.Account, r.Product, r.Name} }

func (r *Record) is(k Key) bool {
	return r.What == k.What && r.Account == k.Account && r.Product == k.Product && r.Name == k.Name
}

// space is that of the ids that nobody asks for.
var space = uuid.MustParse("5a3f6c0e-6f0b-4c4d-9a53-6f4e1f0e7a10")

// uuid is a seat's id. Other records have one of their own, too: ids are looked up in a
// table.
func (r *Record) uuid() uuid.UUID {
	if r.What == seats {
		return r.ID
	}
	return uuid.NewSHA1(space, []byte(r.What+"\x00"+r.Account+"\x00"+r.Product+"\x00"+r.Name))
}

func compare(a, b *Record) int {
	return cmp.Or(strings.Compare(a.What, b.What), strings.Compare(a.Account, b.Account),
		strings.Compare(a.Product, b.Product), strings.Compare(a.Name, b.Name))
}

func equal(a, b *Record) bool {
	return a.key() == b.key() && a.ID == b.ID && a.Subject == b.Subject && a.Email == b.Email &&
		slices.Equal(a.Hosts, b.Hosts) && a.Offline == b.Offline && a.By == b.By &&
		a.Created == b.Created && a.Checked == b.Checked && a.Expires == b.Expires && a.Ends == b.Ends
}

// appendLine writes a record as a line of JSON. All texts in it are valid UTF-8: what
// was asked for is checked, and a configuration is JSON.
func appendLine(b []byte, r *Record) []byte {
	line, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return append(b, line...)
}

var errLineForm = errors.New("it has another form")

func readLine(line []byte) (*Record, error) {
	r := new(Record)
	if json.Unmarshal(line, r, json.RejectUnknownMembers(true)) != nil {
		return nil, errLineForm
	}
	switch {
	case !slices.Contains([]string{seats, logins, requests, trials}, r.What), r.Account == "", r.Product == "",
		(r.What == seats) != (r.ID != uuid.Nil), (r.What == trials) != (r.Name == ""),
		(r.What == trials) != (r.Ends == 0), r.Ends < 0:
		return nil, errLineForm
	}
	return r, nil
}

// active tells whether a record is a seat that is taken at a time.
func (r *Record) active(now int64) bool { return r.What == seats && r.Ends > now }

// Seat tells whether the record is of an instance that is active, or was.
func (r *Record) Seat() bool { return r.What == seats }
