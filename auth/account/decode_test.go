package account_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
	"github.com/gatehouse-proxy/gatehouse/internal/strictjson"
)

func TestDecode(t *testing.T) {
	d, err := account.Decode([]byte(`{"subject":"ci","name":"CI","status":"inactive","groups":["a","b"],"issuer":"acme","expires_at":"2027-01-31T01:00:00.5+01:00"}`))
	if err != nil {
		t.Fatal(err)
	}
	if d.Subject != "ci" || d.Name != "CI" || d.Status != account.StatusInactive || len(d.Groups) != 2 || d.Issuer != "acme" ||
		!d.ExpiresAt.Equal(time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("decoded %+v", d)
	}
	least, err := account.Decode([]byte(" {\"subject\":\"ci\",\"status\":\"active\",\"groups\":null,\"expires_at\":null,\"name\":null}\n"))
	if err != nil || least.Issuer != "" || least.Groups != nil {
		t.Errorf("decoded %+v, %v", least, err)
	}
	if _, err := account.DecodeReplacement([]byte(`{"status":"active"}`)); err != nil {
		t.Errorf("a replacement without a subject: %v", err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	long := strings.Repeat("x", 256)
	base := `"subject":"ci","status":"active"`
	for name, c := range map[string]struct {
		body      string
		malformed bool
		member    string
		text      string
	}{
		"nothing":            {``, true, "", "not valid JSON"},
		"text":               {`hello`, true, "", "not valid JSON"},
		"an array":           {`[]`, true, "", "not a JSON object"},
		"null":               {`null`, true, "", "not a JSON object"},
		"cut short":          {`{` + base, true, "", "not valid JSON"},
		"two objects":        {`{` + base + `}{}`, true, "", "something follows"},
		"garbage after":      {`{` + base + `} x`, true, "", "something follows"},
		"unknown":            {`{` + base + `,"admin":true}`, true, "", `unknown member "admin"`},
		"wrong case":         {`{` + base + `,"Name":"x"}`, true, "", `unknown member "Name"; want "name"`},
		"repeated":           {`{` + base + `,"status":"active"}`, true, "", `"status" is repeated`},
		"invalid UTF-8":      {"{" + base + ",\"name\":\"\xff\"}", true, "", "not valid JSON"},
		"lone surrogate":     {`{` + base + `,"name":"\ud800"}`, true, "", "not valid JSON"},
		"too large":          {`{` + base + `,"name":"` + strings.Repeat("x", 65<<10) + `"}`, true, "", "want at most 65536"},
		"bad form wins":      {`{"subject":1,"status":"active","x":1}`, true, "", "unknown member"},
		"no subject":         {`{"status":"active"}`, false, "subject", "is missing"},
		"null subject":       {`{"subject":null,"status":"active"}`, false, "subject", "is missing"},
		"empty subject":      {`{"subject":"","status":"active"}`, false, "subject", "empty"},
		"long subject":       {`{"subject":"` + long + `","status":"active"}`, false, "subject", "has 256 bytes; want at most 255"},
		"dot":                {`{"subject":".","status":"active"}`, false, "subject", `is "."`},
		"dots":               {`{"subject":"..","status":"active"}`, false, "subject", `is ".."`},
		"control":            {`{"subject":"a\u0000b","status":"active"}`, false, "subject", "control character"},
		"C1 control":         {`{"subject":"a\u0085b","status":"active"}`, false, "subject", "control character"},
		"subject a number":   {`{"subject":7,"status":"active"}`, false, "subject", "is a number; want a string"},
		"no status":          {`{"subject":"ci"}`, false, "status", "is missing"},
		"bad status":         {`{"subject":"ci","status":"Active"}`, false, "status", `is "Active"; want "active" or "inactive"`},
		"status a boolean":   {`{"subject":"ci","status":true}`, false, "status", "is a boolean"},
		"long name":          {`{` + base + `,"name":"` + long + `"}`, false, "name", "256 bytes"},
		"name an object":     {`{` + base + `,"name":{}}`, false, "name", "is an object"},
		"groups a string":    {`{` + base + `,"groups":"a"}`, false, "groups", "is a string; want an array"},
		"a group a number":   {`{` + base + `,"groups":[1]}`, false, "groups", "holds a number"},
		"a group empty":      {`{` + base + `,"groups":[""]}`, false, "groups", "empty"},
		"a group null":       {`{` + base + `,"groups":[null]}`, false, "groups", "holds null"},
		"a group twice":      {`{` + base + `,"groups":["a","a"]}`, false, "groups", "twice"},
		"a group long":       {`{` + base + `,"groups":["` + long + `"]}`, false, "groups", "256 bytes"},
		"many groups":        {`{` + base + `,"groups":[` + strings.Repeat(`"a",`, 100) + `"b"]}`, false, "groups", "101 elements"},
		"expiry a number":    {`{` + base + `,"expires_at":1}`, false, "expires_at", "is a number"},
		"expiry a date":      {`{` + base + `,"expires_at":"2027-01-31"}`, false, "expires_at", "RFC 3339"},
		"expiry in year 1":   {`{` + base + `,"expires_at":"0001-01-01T00:00:00Z"}`, false, "expires_at", "year 1"},
		"expiry long ago":    {`{` + base + `,"expires_at":"1970-01-01T00:00:00Z"}`, false, "expires_at", "year 1970"},
		"id of another":      {`{` + base + `,"id":"5b0e3c0e-8b0e-4a5e-9a52-0d7d3a0f9f11"}`, false, "id", "follows from the subject"},
		"id no UUID":         {`{` + base + `,"id":"{5b0e3c0e-8b0e-4a5e-9a52-0d7d3a0f9f11}"}`, false, "id", "want a UUID"},
		"org_id of another":  {`{` + base + `,"org_id":"x"}`, false, "org_id", "263f45dd"},
		"issuer with a tab":  {`{` + base + `,"issuer":"a\tb"}`, false, "issuer", "control character"},
		"created_at garbage": {`{` + base + `,"created_at":"now"}`, false, "created_at", "RFC 3339"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := account.Decode([]byte(c.body))
			var input *strictjson.InputError
			if !errors.As(err, &input) {
				t.Fatalf("error is %v", err)
			}
			if input.Malformed != c.malformed || input.Member != c.member || !strings.Contains(err.Error(), c.text) {
				t.Errorf("malformed %t, member %q: %v\nwant %t, member %q: …%s…", input.Malformed, input.Member, err, c.malformed, c.member, c.text)
			}
			if len(err.Error()) > 250 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestJSON(t *testing.T) {
	declared, err := account.New(registry.Options{}).WithDeclared([]account.Draft{{Subject: "<ü&>", Status: account.StatusActive, Issuer: "acme"}})
	if err != nil {
		t.Fatal(err)
	}
	a, _ := declared.Lookup("acme", "<ü&>")
	got, err := a.MarshalJSON()
	want := `{"id":"` + a.ID() + `","org_id":"` + account.OrgID + `","subject":"<ü&>","name":"","status":"active","groups":[],"issuer":"acme","by":"either"}`
	if err != nil || string(got) != want {
		t.Errorf("JSON is %s, %v\nwant %s", got, err, want)
	}
	if again, err := json.Marshal(a); err != nil || !json.Valid(again) {
		t.Errorf("encoding/json makes %s, %v", again, err)
	}
}

func TestID(t *testing.T) {
	// python3 -c 'import uuid; print(uuid.uuid5(uuid.NAMESPACE_URL, "serviceaccount/ci-deploy"))'
	if got := account.ID("ci-deploy"); got != "f13e516b-9137-54e6-9356-f79df03d98cd" {
		t.Errorf("the id is %s", got)
	}
}

func TestSetIssuer(t *testing.T) {
	for _, c := range []struct {
		given      string
		configured string
		want, err  string
	}{
		{"", "acme", "acme", ""},
		{"acme", "acme other", "acme", ""},
		{"", "acme other", "", "issuer is missing; want one of the configured: acme, other"},
		{"x", "acme", "x", `issuer is "x"; want one of the configured: acme`},
	} {
		var known account.Issuers
		for _, name := range strings.Fields(c.configured) {
			known = append(known, account.Issuer{Name: name})
		}
		d := account.Draft{Issuer: c.given}
		err := d.SetIssuer(known)
		if d.Issuer != c.want || c.err == "" && err != nil || c.err != "" && (err == nil || err.Error() != c.err) {
			t.Errorf("%q of %q: %q, %v", c.given, c.configured, d.Issuer, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"subject":"ci","name":"CI","status":"inactive","groups":["a","b"],"issuer":"acme","expires_at":"2027-01-31T00:00:00Z"}`))
	f.Add([]byte(`{"subject":"a/@:|ü","status":"active","id":"5b0e3c0e-8b0e-4a5e-9a52-0d7d3a0f9f11","created_at":"2027-01-31T00:00:00+14:00"}`))
	f.Add([]byte(`{"subject":"a","subject":"b"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := account.Decode(body)
		if err != nil {
			var input *strictjson.InputError
			if !errors.As(err, &input) {
				t.Fatalf("error is %v", err)
			}
			return
		}
		_ = d.SetIssuer(account.Issuers{{Name: "acme"}, {Name: d.Issuer}}[min(len(d.Issuer), 1):][:1])
		declared, err := account.New(registry.Options{}).WithDeclared([]account.Draft{*d})
		if err != nil {
			t.Fatalf("decoded, but does not hold: %v", err)
		}
		a, _ := declared.Find("", d.Subject)
		shown, err := a.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		again, err := account.Decode(shown)
		if err != nil || again.Subject != d.Subject || again.Name != d.Name || !again.ExpiresAt.Equal(d.ExpiresAt) || len(again.Groups) != len(d.Groups) {
			t.Fatalf("%s came back as %+v, %v", shown, again, err)
		}
	})
}
