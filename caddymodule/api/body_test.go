package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
)

func TestBadBodies(t *testing.T) {
	s := newSite(t)
	s.send("POST", "/api/serviceaccounts", `{"subject":"there","status":"active"}`)
	before := s.send("GET", "/api/serviceaccounts", "").body
	for name, c := range map[string]struct {
		body   string
		status int
		text   string
	}{
		"nothing":          {"", 400, "JSON"},
		"no JSON":          {"hello", 400, "JSON"},
		"an array":         {`[{"subject":"a","status":"active"}]`, 400, "object"},
		"two objects":      {`{"subject":"a","status":"active"}{}`, 400, "follows"},
		"unknown member":   {`{"subject":"a","status":"active","admin":true}`, 400, "admin"},
		"repeated member":  {`{"subject":"a","subject":"b","status":"active"}`, 400, "subject"},
		"another spelling": {`{"Subject":"a","status":"active"}`, 400, "Subject"},
		"invalid UTF-8":    {"{\"subject\":\"\xff\",\"status\":\"active\"}", 400, "JSON"},
		"a byte order mark": {
			"\ufeff" + `{"subject":"a","status":"active"}`, 400, "JSON",
		},
		"deep":           {strings.Repeat("[", 60000), 400, ""},
		"no subject":     {`{"status":"active"}`, 422, "subject"},
		"empty subject":  {`{"subject":"","status":"active"}`, 422, "subject"},
		"long subject":   {`{"subject":"` + strings.Repeat("x", 256) + `","status":"active"}`, 422, "subject"},
		"dots":           {`{"subject":"..","status":"active"}`, 422, "subject"},
		"a line break":   {`{"subject":"a\r\nX: y","status":"active"}`, 422, "subject"},
		"no status":      {`{"subject":"a"}`, 422, "status"},
		"bad status":     {`{"subject":"a","status":"enabled"}`, 422, "status"},
		"unknown issuer": {`{"subject":"a","status":"active","issuer":"other"}`, 422, "issuer"},
		"groups a text":  {`{"subject":"a","status":"active","groups":"x"}`, 422, "groups"},
		"bad expiry":     {`{"subject":"a","status":"active","expires_at":"soon"}`, 422, "expires_at"},
		"too large":      {`{"subject":"a","status":"active","name":"` + strings.Repeat("x", 64<<10) + `"}`, 413, "64 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			s.send("POST", "/api/serviceaccounts", c.body).fails(t, c.status, c.text)
			if !strings.Contains(c.text, "subject") { // in the path
				s.send("PUT", "/api/serviceaccounts/there", strings.Replace(c.body, `"subject":"a",`, "", 1)).fails(t, c.status, c.text)
			}
		})
	}
	if after := s.send("GET", "/api/serviceaccounts", "").body; after != before {
		t.Errorf("something was stored: %s", after)
	}
}

func TestContentTypes(t *testing.T) {
	s := newSite(t)
	for i, c := range []struct {
		types  []string
		status int
	}{
		{nil, 400},
		{[]string{"application/json"}, 201},
		{[]string{"Application/JSON; charset=UTF-8"}, 201},
		{[]string{"application/json; charset=utf-16"}, 400},
		{[]string{"text/plain"}, 400},
		{[]string{"application/x-www-form-urlencoded"}, 400},
		{[]string{"application/jsonp"}, 400},
		{[]string{""}, 400},
		{[]string{"application/json", "text/plain"}, 400},
	} {
		body := fmt.Sprintf(`{"subject":"s%d","status":"active"}`, i)
		got := s.send("POST", "/api/serviceaccounts", body, func(r *http.Request) {
			r.Header["Content-Type"] = c.types
		})
		if got.status != c.status {
			t.Errorf("%q: got %d %s, want %d", c.types, got.status, got.body, c.status)
		}
	}
}

// deadlines tells which times a request was given to arrive in.
type deadlines struct {
	http.ResponseWriter
	given *[]time.Duration
}

func (d deadlines) SetReadDeadline(end time.Time) error {
	within := time.Duration(0)
	if !end.IsZero() {
		within = time.Until(end).Round(time.Second)
	}
	*d.given = append(*d.given, within)
	return http.NewResponseController(d.ResponseWriter).SetReadDeadline(end)
}

// A body has its time to arrive in whoever sends it: without a token too, to a
// route that reads none, and by a method that there is not.
func TestBodiesHaveTheirTime(t *testing.T) {
	s := newSite(t)
	var given []time.Duration
	inner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.relay(deadlines{w, &given}, r)
	}))
	defer inner.Close()
	s.url = inner.URL
	nobody := func(r *http.Request) { r.Header.Del("Authorization") }
	for _, c := range []struct {
		name, method, path, body string
		edits                    []edit
		want                     []time.Duration
	}{
		{"no token", "POST", "/api/serviceaccounts", "{}", []edit{nobody}, []time.Duration{30 * time.Second}},
		{"no token to import", "POST", "/api/serviceaccounts:import", "{}", []edit{nobody}, []time.Duration{30 * time.Second}},
		{"no token needed", "GET", "/gatehouse/", "{}", []edit{nobody}, []time.Duration{30 * time.Second}},
		{"no such method", "PATCH", "/api/serviceaccounts", "{}", []edit{nobody}, []time.Duration{30 * time.Second}},
		{"read", "POST", "/api/serviceaccounts", "{}", nil, []time.Duration{30 * time.Second, 0}},
		{"import", "POST", "/api/serviceaccounts:import", "\n", nil, []time.Duration{30 * time.Second, 10 * time.Minute, 0}},
		{"no body", "GET", "/api/serviceaccounts", "", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			given = nil
			s.send(c.method, c.path, c.body, c.edits...)
			if !slices.Equal(given, c.want) {
				t.Errorf("the body was given %v, want %v", given, c.want)
			}
		})
	}
}

// Moments are written in one form, and read in any that a server may have used.
func TestMoments(t *testing.T) {
	noon := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		`"2026-06-01T14:00:00+02:00"`: noon, `1780315200`: noon, `null`: {}, `""`: {}, `"soon"`: {}, `0`: {}, `{}`: {}, `1.5`: {}, `"0001-01-01T00:00:00Z"`: {},
	} {
		m := api.Moment{Time: noon.Add(time.Hour)}
		if err := json.Unmarshal([]byte(text), &m); err != nil || !m.Equal(want) {
			t.Errorf("%s is %v, %v; want %v", text, m, err, want)
		}
	}
	for want, at := range map[string]time.Time{
		`"2026-06-01T12:00:00Z"`: noon.Add(time.Second / 2).In(time.FixedZone("", 7200)), `null`: {},
	} {
		if text, err := json.Marshal(api.Moment{Time: at}); err != nil || string(text) != want {
			t.Errorf("%s is written as %s, %v; want %s", at, text, err, want)
		}
	}
}
