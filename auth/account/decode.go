package account

import (
	"cmp"
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
// Errors are of the type [*strictjson.InputError]. Unknown (or differently cased) and
// repeated members, and anything but a single JSON object, are malformed. The issuer
// may still be missing: see [Draft.SetIssuer].
func Decode(data []byte) (*Draft, error) { return decode(data, true) }

// DecodeReplacement is [Decode] for an account that a path names: the subject
// may be left out, and so may the id. A subject that is given must be the
// account's.
func DecodeReplacement(data []byte) (*Draft, error) { return decode(data, false) }

func decode(data []byte, isNew bool) (*Draft, error) {
	if len(data) > MaxBody {
		return nil, malformed("the body has %d bytes; want at most %d", len(data), MaxBody)
	}
	body, err := strictjson.Parse(data)
	if err != nil {
		return nil, asInput(err)
	}
	d := &Draft{}
	fields := d.fields()
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
	if err = body.Read(fields); err == nil {
		err = late
	}
	if err != nil {
		return nil, asInput(err)
	}
	if isNew || d.Subject != "" {
		if err := checkSubject(d.Subject); err != nil {
			return nil, err
		}
	}
	if isNew {
		if err := d.checkEnds(nil); err != nil {
			return nil, err
		}
	}
	if d.Subject != "" && d.id != uuid.Nil {
		// Of another id than this a change will tell whether it is the account's.
		key := Key{d.Issuer, d.Subject}
		plain := key.uuid(false)
		if d.Issuer == "" && d.id.Version() != 5 || d.Issuer != "" && d.id != plain && d.id != key.uuid(true) {
			return nil, wrongID(d.id, plain)
		}
	}
	// Who knows the account and the configured issuers fills in what is missing.
	filled := *d
	filled.Subject, filled.Issuer = cmp.Or(d.Subject, "-"), cmp.Or(d.Issuer, "-")
	return d, filled.validate()
}

// fields read the members of a body into the draft.
func (d *Draft) fields() strictjson.Fields {
	fields := strictjson.Fields{
		"groups": func(v strictjson.Value) error {
			elements, err := v.Elements(MaxBody, "an array of strings") // how many there may be is checked later
			for _, element := range elements {
				group, err := element.Text()
				if err != nil {
					return strictjson.Invalid(v.Path, "holds %s; want strings only", strictjson.KindName(element.JSON.Kind()))
				}
				d.Groups = append(d.Groups, group)
			}
			return err
		},
	}
	set := func(name string, take func(text string) error) {
		fields[name] = func(v strictjson.Value) error {
			text, err := v.Text()
			if err == nil {
				err = take(text)
			}
			return err
		}
	}
	set("id", func(text string) (err error) {
		if d.id, err = uuid.Parse(text); err != nil || d.id.String() != strings.ToLower(text) || d.id == uuid.Nil {
			return strictjson.Invalid("id", "is %s; want a UUID, or leave it out", quote(text))
		}
		return nil
	})
	set("org_id", func(text string) error {
		if !strings.EqualFold(text, OrgID) {
			return strictjson.Invalid("org_id", "is %s; want %s, or leave it out", quote(text), OrgID)
		}
		return nil
	})
	set("status", func(text string) error { d.Status = Status(text); return nil })
	set("by", func(text string) error { d.By = By(text); return nil })
	for name, to := range map[string]*string{"subject": &d.Subject, "name": &d.Name, "issuer": &d.Issuer, "issuer_identifier": &d.Identifier} {
		set(name, func(text string) error { *to = text; return nil })
	}
	for name, to := range map[string]*time.Time{"expires_at": &d.ExpiresAt, "created_at": &d.CreatedAt, "updated_at": &d.UpdatedAt} {
		set(name, func(text string) error {
			t, err := time.Parse(time.RFC3339, text)
			switch {
			case err != nil:
				return strictjson.Invalid(name, "is %s; want a time of RFC 3339, like 2027-01-31T00:00:00Z", quote(text))
			case t.IsZero():
				return strictjson.Invalid(name, "is the year 1; want %d to %d", firstYear, lastYear)
			}
			*to = t.UTC().Truncate(time.Second)
			return nil
		})
	}
	return fields
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
		return strictjson.Invalid(e.Path, "is %s; want %s", e.Found, e.Want)
	}
	return malformed("the body is not valid JSON (RFC 8259, in UTF-8)")
}

func malformed(format string, args ...any) error {
	return &strictjson.InputError{Malformed: true, Text: fmt.Sprintf(format, args...)}
}
