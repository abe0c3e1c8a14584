package account

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/gatehouse-proxy/gatehouse/internal/strictjson"
)

// MaxBody bounds the JSON of one account, in bytes.
const MaxBody = 64 << 10

// Decode reads the JSON of an account as the API takes it: subject and status
// are required; name, groups, issuer, by and expires_at may be left out, or null,
// which is the same. What the API shows may be sent back: id and org_id must
// then be right for the subject; the others are as in [Draft].
//
// Errors are of the type [*InputError]. Unknown (or differently cased) and
// repeated members, and anything but a single JSON object, are [Malformed]; a
// member that is missing, of the wrong type or out of range is [Invalid]. The
// issuer may still be missing: see [Draft.SetIssuer].
func Decode(data []byte) (*Draft, error) {
	d, err := decode(data)
	if err != nil {
		return nil, err
	}
	if err := checkSubject(d.Subject); err != nil {
		return nil, err
	}
	if err := d.checkEnds(); err != nil {
		return nil, err
	}
	return d, d.checkDecoded()
}

// DecodeReplacement is [Decode] for an account that a path names: the subject
// may be left out, and so may the id. A subject that is given must be the
// account's.
func DecodeReplacement(data []byte) (*Draft, error) {
	d, err := decode(data)
	if err != nil {
		return nil, err
	}
	return d, d.checkDecoded()
}

// checkDecoded checks what only a body can get wrong, beside the rest. The issuer
// may be missing: who knows the configured ones fills it in.
func (d *Draft) checkDecoded() error {
	if d.Subject != "" {
		if err := checkSubject(d.Subject); err != nil {
			return err
		}
		// Of another id than this a change will tell whether it is the account's.
		plain, qualified := plainID(d.Subject), Key{d.Issuer, d.Subject}.qualifiedID()
		if d.Issuer == "" && d.id != uuid.Nil && d.id.Version() != 5 ||
			d.Issuer != "" && d.id != uuid.Nil && d.id != plain && d.id != qualified {
			return wrongID(d.id, plain)
		}
	}
	filled := *d
	if filled.Issuer == "" {
		filled.Issuer = "-"
	}
	return filled.validateRest()
}

func decode(data []byte) (*Draft, error) {
	if len(data) > MaxBody {
		return nil, malformed("the body has %d bytes; want at most %d", len(data), MaxBody)
	}
	body, err := strictjson.Parse(data)
	if err != nil {
		return nil, asInput(err)
	}
	d := &Draft{}
	fields := strictjson.Fields{
		"id": d.readID, "org_id": readOrg, "subject": text(&d.Subject), "name": text(&d.Name), "status": text(&d.Status),
		"issuer": text(&d.Issuer), "by": text(&d.By), "issuer_identifier": text(&d.Identifier), "groups": d.readGroups,
		"expires_at": moment(&d.ExpiresAt), "created_at": moment(&d.CreatedAt), "updated_at": moment(&d.UpdatedAt),
	}
	// The form of the whole is judged before any of its values.
	var late error
	for name, read := range fields {
		fields[name] = func(v strictjson.Value) error {
			// Null is as if missing, which is found out later where it matters.
			if v.JSON.Kind() != 'n' && late == nil {
				late = read(v)
			}
			return nil
		}
	}
	if err := body.Read(fields); err != nil {
		return nil, asInput(err)
	}
	if late != nil {
		return nil, asInput(late)
	}
	return d, nil
}

func (d *Draft) readID(v strictjson.Value) error {
	s, err := v.Text()
	if err != nil {
		return err
	}
	id, err := uuid.Parse(s)
	if err != nil || id.String() != strings.ToLower(s) || id == uuid.Nil {
		return invalid(v.Path, "is %s; want a UUID, or leave it out", quote(s))
	}
	d.id = id
	return nil
}

func readOrg(v strictjson.Value) error {
	s, err := v.Text()
	if err == nil && !strings.EqualFold(s, OrgID) {
		return invalid(v.Path, "is %s; want %s, or leave it out", quote(s), OrgID)
	}
	return err
}

func (d *Draft) readGroups(v strictjson.Value) error {
	elements, err := v.Elements(MaxBody, "an array of strings") // how many there may be is checked later
	if err != nil {
		return err
	}
	d.Groups = nil
	for _, element := range elements {
		group, err := element.Text()
		if err != nil {
			return invalid(v.Path, "holds %s; want strings only", strictjson.KindName(element.JSON.Kind()))
		}
		d.Groups = append(d.Groups, group)
	}
	return nil
}

func text[T ~string](to *T) func(strictjson.Value) error {
	return func(v strictjson.Value) error {
		s, err := v.Text()
		*to = T(s)
		return err
	}
}

func moment(to *time.Time) func(strictjson.Value) error {
	return func(v strictjson.Value) error {
		s, err := v.Text()
		if err != nil {
			return err
		}
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return invalid(v.Path, "is %s; want a time of RFC 3339, like 2027-01-31T00:00:00Z", quote(s))
		}
		if t.IsZero() {
			return invalid(v.Path, "is the year 1; want %d to %d", firstYear, lastYear)
		}
		*to = t.UTC().Truncate(time.Second)
		return nil
	}
}

// asInput words what the reader found, without what it quotes of the input.
func asInput(err error) error {
	var e *strictjson.Error
	if !errors.As(err, &e) {
		return err
	}
	switch {
	case e.Problem == strictjson.Repeated:
		return malformed("member %s is repeated; want it once", quote(e.Found))
	case e.Problem == strictjson.Trailing:
		return malformed("something follows the JSON object; want one object only")
	case e.Problem == strictjson.Unknown && e.Spelling != "":
		return malformed("unknown member %s; want %s", quote(e.Found), quote(e.Spelling))
	case e.Problem == strictjson.Unknown:
		return malformed("unknown member %s; want subject, name, status, groups, issuer, by and expires_at", quote(e.Found))
	case e.Problem == strictjson.Mismatch && e.Path == "":
		return malformed("the body is not a JSON object")
	case e.Problem == strictjson.Mismatch:
		return invalid(e.Path, "is %s; want %s", e.Found, e.Want)
	}
	return malformed("the body is not valid JSON (RFC 8259, in UTF-8)")
}

// Class says what is wrong with an input.
type Class uint8

// The classes.
const (
	// Malformed: not a JSON object, or with unknown or repeated members.
	Malformed Class = iota + 1
	// Invalid: a member is missing, of the wrong type or out of range.
	Invalid
)

// InputError is the error of [Decode], and of a change with a [Draft] that does
// not hold.
type InputError struct {
	Class Class
	// Member is the name of the member at fault; empty if it is the whole.
	Member string
	text   string
}

// Error says what was found and what would be right. It quotes no more than a
// few characters of the input.
func (e *InputError) Error() string {
	if e.Member == "" {
		return e.text
	}
	return e.Member + " " + e.text
}

func malformed(format string, args ...any) error {
	return &InputError{Class: Malformed, text: fmt.Sprintf(format, args...)}
}

func invalid(member, format string, args ...any) error {
	return &InputError{Class: Invalid, Member: member, text: fmt.Sprintf(format, args...)}
}

// quote shows the beginning of s in an error.
func quote(s string) string { return strictjson.Quote(s, 48) }
