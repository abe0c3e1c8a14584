package account

import (
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
)

var members map[string]func(d *Draft, name string, v jsontext.Value) error

func init() {
	members = map[string]func(d *Draft, name string, v jsontext.Value) error{
		"id":                (*Draft).readID,
		"org_id":            (*Draft).readOrg,
		"subject":           func(d *Draft, name string, v jsontext.Value) error { return readText(&d.Subject, name, v) },
		"name":              func(d *Draft, name string, v jsontext.Value) error { return readText(&d.Name, name, v) },
		"status":            func(d *Draft, name string, v jsontext.Value) error { return readText(&d.Status, name, v) },
		"issuer":            func(d *Draft, name string, v jsontext.Value) error { return readText(&d.Issuer, name, v) },
		"by":                func(d *Draft, name string, v jsontext.Value) error { return readText(&d.By, name, v) },
		"issuer_identifier": func(d *Draft, name string, v jsontext.Value) error { return readText(&d.Identifier, name, v) },
		"groups":            (*Draft).readGroups,
		"expires_at":        func(d *Draft, name string, v jsontext.Value) error { return readTime(&d.ExpiresAt, name, v) },
		"created_at":        func(d *Draft, name string, v jsontext.Value) error { return readTime(&d.CreatedAt, name, v) },
		"updated_at":        func(d *Draft, name string, v jsontext.Value) error { return readTime(&d.UpdatedAt, name, v) },
	}
}

func (d *Draft) readID(name string, v jsontext.Value) error {
	var s string
	if err := readText(&s, name, v); err != nil {
		return err
	}
	id, err := uuid.Parse(s)
	if err != nil || id.String() != strings.ToLower(s) || id == uuid.Nil {
		return invalid(name, "is %s; want a UUID, or leave it out", quote(s))
	}
	d.id = id
	return nil
}

func (d *Draft) readOrg(name string, v jsontext.Value) error {
	var s string
	if err := readText(&s, name, v); err != nil {
		return err
	}
	if !strings.EqualFold(s, OrgID) {
		return invalid(name, "is %s; want %s, or leave it out", quote(s), OrgID)
	}
	return nil
}

func (d *Draft) readGroups(name string, v jsontext.Value) error {
	if v.Kind() != '[' {
		return invalid(name, "is %s; want an array of strings", kindName(v.Kind()))
	}
	var elements []jsontext.Value
	if err := json.Unmarshal(v, &elements); err != nil {
		return err
	}
	d.Groups = nil
	for _, e := range elements {
		var s string
		if e.Kind() != '"' {
			return invalid(name, "holds %s; want strings only", kindName(e.Kind()))
		}
		if err := readText(&s, name, e); err != nil {
			return err
		}
		d.Groups = append(d.Groups, s)
	}
	return nil
}

func readText[T ~string](to *T, name string, v jsontext.Value) error {
	if v.Kind() != '"' {
		return invalid(name, "is %s; want a string", kindName(v.Kind()))
	}
	var s string
	if err := json.Unmarshal(v, &s); err != nil {
		return err
	}
	*to = T(s)
	return nil
}

func readTime(to *time.Time, name string, v jsontext.Value) error {
	var s string
	if err := readText(&s, name, v); err != nil {
		return err
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return invalid(name, "is %s; want a time of RFC 3339, like 2027-01-31T00:00:00Z", quote(s))
	}
	if t.IsZero() {
		return invalid(name, "is the year 1; want %d to %d", firstYear, lastYear)
	}
	*to = t.UTC().Truncate(time.Second)
	return nil
}

func unknownMember(name string) error {
	for known := range members {
		if strings.EqualFold(known, name) {
			return malformed("unknown member %s; want %s", quote(name), quote(known))
		}
	}
	return malformed("unknown member %s; want subject, name, status, groups, issuer, by and expires_at", quote(name))
}

func kindName(k jsontext.Kind) string {
	switch k {
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '[':
		return "an array"
	}
	return "an object"
}
