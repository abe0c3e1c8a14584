package license

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/gowebpki/jcs"
)

func addGoldens(f *testing.F) {
	f.Helper()
	for _, name := range []string{"v1-salt-32", "v1-salt-max", "v2-rsa", "v2-ed25519", "v2-ecdsa"} {
		f.Add(readFile(f, name+".json"))
	}
}

// FuzzDecode: what is decoded says the same as a lenient reader finds in it, and
// has one canonical form only; so there is no second form of a license but order,
// white space and escapes.
func FuzzDecode(f *testing.F) {
	addGoldens(f)
	f.Add([]byte(envelope(goodV1)))
	f.Add([]byte(envelope(goodV2 + `,"features":[],"limits":{"a":-0},"grace":1e2,"V":2`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := Decode(data)
		if err != nil {
			if l != nil {
				t.Error("a license beside the error")
			}
			return
		}
		encoded, err := l.Encode()
		if err != nil {
			// Indenting may make it longer than what was read.
			return
		}
		again, err := Decode(encoded)
		if err != nil || !reflect.DeepEqual(again, l) {
			t.Fatalf("written and read again: %v, %+v; want %+v", err, again, l)
		}
		read, err := jcs.Transform(data)
		if err != nil {
			t.Fatalf("no canonical form: %v", err)
		}
		understood, err := jcs.Transform(encoded)
		if err != nil || !bytes.Equal(read, understood) {
			t.Errorf("reads %s, understood %s, %v", read, understood, err)
		}
	})
}

// FuzzVerify: whatever is presented, only the payloads that were signed verify.
func FuzzVerify(f *testing.F) {
	addGoldens(f)
	signed := make(map[string]bool)
	v := newVerifier(f, at(expires-1), Config{})
	for _, name := range []string{"v1-salt-32", "v1-salt-max", "v2-rsa", "v2-ed25519", "v2-ecdsa"} {
		s := v.Open(readFile(f, name+".json"))
		if s.Err() != nil {
			f.Fatal(s.Err())
		}
		signed[payloadOf(f, s.License())] = true
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := v.Open(data)
		if state, words := s.Explain(); words == "" || state.Passes() != (s.Err() == nil) {
			t.Errorf("state %s, %q, %v", state, words, s.Err())
		}
		if s.Genuine() && !signed[payloadOf(t, s.License())] {
			t.Errorf("verifies: %+v", s.License())
		}
		if status := s.Status("a.johnwick.org"); status.IsValid != (status.VerifyError == "") {
			t.Errorf("status %+v", status)
		}
	})
}

func payloadOf(t testing.TB, l *License) string {
	t.Helper()
	data, err := json.Marshal(struct {
		KeyID   string
		Payload Payload
	}{l.KeyID, l.Payload})
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
