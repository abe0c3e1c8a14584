package active

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-proxy/gatehouse/license"
)

const (
	// idTime is the beginning of an entry's id, in UTC: it sorts as time does.
	idTime = "20060102t150405.000000000z"

	maxActor  = 1 << 10
	maxRecord = license.MaxSize + 16<<10
)

var (
	idForm = regexp.MustCompile(`^[0-9]{8}t[0-9]{6}\.[0-9]{9}z-[0-9a-f]{16}$`)

	errOtherTime = errors.New("damaged: its time is not that of its name")
)

// record is an entry as storage keeps it.
type record struct {
	Time        time.Time      `json:"time"`
	Actor       string         `json:"actor"`
	ActorIssuer string         `json:"actor_issuer,omitzero"`
	KeyID       string         `json:"key_id"`
	License     jsontext.Value `json:"license"`
}

func (e *Entry) encode() ([]byte, error) {
	if e.License == nil {
		return nil, errors.New("no license; want the one that was signed")
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	text, err := e.License.Encode()
	if err != nil {
		return nil, err
	}
	if _, err := license.Decode(text); err != nil {
		return nil, err // it could not be read again
	}
	return json.Marshal(record{e.Time, e.Actor, e.ActorIssuer, e.KeyID, text})
}

func (e *Entry) check() error {
	switch {
	case e.Actor == "" || len(e.Actor) > maxActor || !utf8.ValidString(e.Actor):
		return fmt.Errorf("an actor of %d bytes; want 1 to %d of UTF-8", len(e.Actor), maxActor)
	case len(e.ActorIssuer) > maxActor || !utf8.ValidString(e.ActorIssuer):
		return fmt.Errorf("an actor's issuer of %d bytes; want at most %d of UTF-8", len(e.ActorIssuer), maxActor)
	case e.KeyID != e.License.KeyID:
		return fmt.Errorf("key %.80q; want the license's own, %s", e.KeyID, e.License.KeyID)
	}
	return nil
}

// decodeEntry reads what encode wrote, and nothing else.
func decodeEntry(data []byte) (Entry, error) {
	var rec record
	if len(data) > maxRecord {
		return Entry{}, fmt.Errorf("damaged: %d bytes; want at most %d", len(data), maxRecord)
	}
	if json.Unmarshal(data, &rec, json.RejectUnknownMembers(true)) != nil {
		return Entry{}, errors.New("damaged: not the JSON that was written")
	}
	signed, err := license.Decode(rec.License)
	if err != nil {
		return Entry{}, fmt.Errorf("damaged: its license: %w", err)
	}
	e := Entry{Time: rec.Time.UTC(), Actor: rec.Actor, ActorIssuer: rec.ActorIssuer, KeyID: rec.KeyID, License: signed}
	if err := e.check(); err != nil {
		return Entry{}, fmt.Errorf("damaged: %w", err)
	}
	return e, nil
}

func keyOf(id string) string { return recordFolder + "/" + id + ".json" }

func idOf(key string) (id string, ok bool) {
	id, inside := strings.CutPrefix(key, recordFolder+"/")
	id, ours := strings.CutSuffix(id, ".json")
	return id, inside && ours && idForm.MatchString(id)
}

// timeOf is the time in an id; zero if there is no such time.
func timeOf(id string) time.Time {
	t, err := time.Parse(idTime, id[:len(idTime)])
	if err != nil {
		return time.Time{}
	}
	return t
}
