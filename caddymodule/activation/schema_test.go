package activation

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/auth/sso"
)

// schema is what the files in testdata use of JSON Schema.
type schema struct {
	Type                 string             `json:"type"`
	Properties           map[string]*schema `json:"properties"`
	Required             []string           `json:"required"`
	AdditionalProperties *bool              `json:"additionalProperties"`
	Items                *schema            `json:"items"`
	Enum                 []string           `json:"enum"`
	Pattern              string             `json:"pattern"`

	Version     string `json:"$schema"`
	Description string `json:"description"`
}

func readSchema(t testing.TB, name string) *schema {
	t.Helper()
	file, err := os.Open(filepath.Join("testdata", name+".schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	s, decoder := new(schema), json.NewDecoder(file)
	decoder.DisallowUnknownFields() // a word that is not known here would check nothing
	if err := decoder.Decode(s); err != nil {
		t.Fatal(err)
	}
	return s
}

// faults says what of a value is not as the schema wants it.
func (s *schema) faults(path string, value any) (found []string) {
	fail := func(format string, args ...any) { found = append(found, path+": "+fmt.Sprintf(format, args...)) }
	switch v := value.(type) {
	case map[string]any:
		if s.Type != "object" {
			fail("found an object, want %s", s.Type)
			return found
		}
		for _, name := range s.Required {
			if _, ok := v[name]; !ok {
				fail("%s is missing", name)
			}
		}
		for name, member := range v {
			if known := s.Properties[name]; known != nil {
				found = append(found, known.faults(path+"."+name, member)...)
			} else if s.AdditionalProperties != nil && !*s.AdditionalProperties {
				fail("%s is unknown", name)
			}
		}
	case []any:
		if s.Type != "array" || s.Items == nil {
			fail("found an array, want %s", s.Type)
			return found
		}
		for i, element := range v {
			found = append(found, s.Items.faults(fmt.Sprintf("%s[%d]", path, i), element)...)
		}
	case string:
		if s.Type != "string" || len(s.Enum) > 0 && !slices.Contains(s.Enum, v) || !regexp.MustCompile(s.Pattern).MatchString(v) {
			fail("found %q, want %s %v %s", v, s.Type, s.Enum, s.Pattern)
		}
	case bool:
		if s.Type != "boolean" {
			fail("found %t, want %s", v, s.Type)
		}
	case float64:
		if s.Type != "integer" || v != float64(int64(v)) {
			fail("found %v, want %s", v, s.Type)
		}
	default:
		fail("found %v", v)
	}
	return found
}

// holdTo holds an answer against the schema of its kind.
func holdTo(t testing.TB, name string, body []byte) {
	t.Helper()
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		t.Fatal(err)
	}
	for _, fault := range readSchema(t, name).faults(name, value) {
		t.Error(fault)
	}
}

// Answers have the members, and their types, that clients of the API know.
func TestContract(t *testing.T) {
	s := newSite(t)
	terms := s.terms["acme"]
	terms.Until = s.clock.now().AddDate(1, 0, 0)
	s.terms["acme"] = terms
	trial := terms
	trial.Trial = DefaultValid
	s.terms["trial"] = trial
	n := s.start()
	answer := n.post(Activate, n.wish("one"))
	holdTo(t, "activation", answer.Body)
	id := granted(t, answer).ID
	holdTo(t, "activation", n.check(id, "one").Body)
	wish := n.wish("two")
	wish["customer_account_code"], wish["id_token"] = "trial", n.token("app", "trial")
	holdTo(t, "activation", n.post(Activate, wish).Body)
	refusal := n.check(id, "two")
	refused(t, refusal, sso.CodeDeviceNotFound)
	holdTo(t, "error", refusal.Body)
	holdTo(t, "deactivation", n.deactivate(id, "one").Body)
	if len(answer.Header.Get("LicenseSignature")) == 0 {
		t.Error("the answer is not signed")
	}
	if faults := readSchema(t, "activation").faults("", map[string]any{"id": 1.5, "more": true}); len(faults) < 10 {
		t.Errorf("the schema lets nearly all pass: %q", faults)
	}
}
