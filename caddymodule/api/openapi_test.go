package api

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// document is docs/openapi.yaml.
type document struct {
	Paths      map[string]map[string]any
	Components struct {
		Schemas    map[string]map[string]any
		Parameters map[string]map[string]any
	}
}

func readDocument(t *testing.T) (d document) {
	t.Helper()
	text, err := os.ReadFile("../../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// methods are those of a path of the document, in upper case.
func methods(path map[string]any) (found []string) {
	for _, method := range []string{"delete", "get", "head", "patch", "post", "put"} {
		if _, ok := path[method]; ok {
			found = append(found, strings.ToUpper(method))
		}
	}
	return found
}

// The document has every route of the router, and no other.
func TestTheOpenAPIDocumentHasTheRoutes(t *testing.T) {
	d, a := readDocument(t), New(Services{})
	for path, described := range d.Paths {
		concrete := strings.NewReplacer("{key}", "ci", "{name}", "acme", "{id}", "x").Replace(path)
		answer := httptest.NewRecorder()
		if !a.ServeHTTP(answer, httptest.NewRequest(http.MethodTrace, concrete, nil), false) || answer.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s is described, and no route", path)
			continue
		}
		var allowed []string
		for method := range strings.SplitSeq(answer.Header().Get("Allow"), ", ") {
			if method != http.MethodHead {
				allowed = append(allowed, method)
			}
		}
		if found := methods(described); !slices.Equal(found, allowed) {
			t.Errorf("%s is described with %v, and has %v", path, found, allowed)
		}
	}
	for _, route := range a.routes {
		if len(route.methods) == 0 {
			continue // nothing is there
		}
		found := false
		for path := range d.Paths {
			rest, under := strings.CutPrefix(path, route.path)
			found = found || under && (rest == "" && !route.prefix || route.prefix && strings.HasPrefix(rest, "{"))
		}
		if !found {
			t.Errorf("the route %s is not described", route.path)
		}
	}
}

// parameters are those in the query of an operation of the document, sorted.
func (d document) parameters(path string, method string) []string {
	var found []string
	operation, _ := d.Paths[path][strings.ToLower(method)].(map[string]any)
	for _, list := range []any{d.Paths[path]["parameters"], operation["parameters"]} {
		entries, _ := list.([]any)
		for _, entry := range entries {
			one, _ := entry.(map[string]any)
			if target, ok := one["$ref"].(string); ok {
				one = d.Components.Parameters[target[strings.LastIndex(target, "/")+1:]]
			}
			if one["in"] == "query" {
				found = append(found, one["name"].(string))
			}
		}
	}
	slices.Sort(found)
	return found
}

// Every route takes the parameters that the document gives it, each once, and refuses
// others by name.
func TestTheOpenAPIDocumentHasTheParameters(t *testing.T) {
	d, a := readDocument(t), New(Services{})
	refuses := func(method, target, want string) {
		t.Helper()
		answer := httptest.NewRecorder()
		a.ServeHTTP(answer, httptest.NewRequest(method, target, nil), true)
		var got struct{ Message string }
		if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil || answer.Code != http.StatusBadRequest || got.Message != want {
			t.Errorf("%s %s is answered %d %q, want %q", method, target, answer.Code, answer.Body, want)
		}
	}
	for path := range d.Paths {
		concrete := strings.NewReplacer("{key}", "ci", "{name}", "acme", "{id}", "x").Replace(path)
		route, _ := a.find(concrete)
		if route == nil {
			t.Errorf("%s is no route", path)
			continue
		}
		for method, endpoint := range route.methods {
			if slices.Equal(endpoint.params, anyParams) {
				continue
			}
			described := d.parameters(path, method)
			if !slices.Equal(described, endpoint.params) {
				t.Errorf("%s %s is described with %v, and takes %v", method, path, described, endpoint.params)
			}
			known := "none"
			if len(described) > 0 {
				known = strings.Join(described, ", ")
			}
			refuses(method, concrete+"?serch=x", `query: found the parameter "serch", expected `+known)
			refuses(method, concrete+"?a;b", "the query is not encoded well: expected name=value, joined by & and percent-encoded")
			for _, name := range described {
				refuses(method, concrete+"?"+name+"=1&"+name+"=2", name+": found 2 values, expected one")
				refuses(method, concrete+"?"+strings.ToUpper(name)+"=1", `query: found the parameter "`+strings.ToUpper(name)+`", expected `+known)
			}
		}
	}
}

// Answers have the members that the document gives them, and so has what is in them.
func TestTheOpenAPIDocumentHasTheMembers(t *testing.T) {
	d := readDocument(t)
	for name, value := range map[string]any{
		"Userinfo": userInfo{}, "Serverinfo": serverInfo{}, "LicenseStatus": license.Status{}, "License": license.License{},
		"LicensePayload": license.Payload{}, "SignedEntry": signedEntry{}, "Comparison": Comparison[account.Account]{}, "Status": Status{},
		"OperatorLicense": LicenseStatus{}, "Issuer": IssuerStatus{}, "Explanation": Explanation{}, "Revocation": Revocation{},
	} {
		d.compare(t, name, d.Components.Schemas[name], reflect.TypeOf(value))
	}
}

// compare holds a schema against a type.
func (d document) compare(t *testing.T, name string, schema map[string]any, typ reflect.Type) {
	t.Helper()
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if all, ok := schema["allOf"].([]any); ok {
		schema, _ = all[0].(map[string]any)
	}
	if target, ok := schema["$ref"].(string); ok {
		schema = d.Components.Schemas[target[strings.LastIndex(target, "/")+1:]]
	}
	if items, ok := schema["items"].(map[string]any); ok && typ.Kind() == reflect.Slice {
		d.compare(t, name+"[]", items, typ.Elem())
		return
	}
	if typ.Kind() != reflect.Struct || reflect.PointerTo(typ).Implements(reflect.TypeFor[json.Marshaler]()) {
		return
	}
	described, _ := schema["properties"].(map[string]any)
	fields := members(typ)
	if got, want := slices.Sorted(maps.Keys(described)), slices.Sorted(maps.Keys(fields)); !slices.Equal(got, want) {
		t.Errorf("%s is described with %v, and has %v", name, got, want)
		return
	}
	for member, field := range fields {
		inner, _ := described[member].(map[string]any)
		d.compare(t, name+"."+member, inner, field)
	}
}

// members are the types of a type's members in JSON.
func members(typ reflect.Type) map[string]reflect.Type {
	found := make(map[string]reflect.Type)
	for field := range typ.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case field.Anonymous:
			maps.Copy(found, members(field.Type))
		case name != "" && name != "-":
			found[name] = field.Type
		}
	}
	return found
}

// Every reference of the document leads to something in it.
func TestTheOpenAPIDocumentIsWhole(t *testing.T) {
	text, err := os.ReadFile("../../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var whole any
	if err := yaml.Unmarshal(text, &whole); err != nil {
		t.Fatal(err)
	}
	if _, err := json.Marshal(whole); err != nil {
		t.Errorf("it has no equivalent in JSON: %v", err)
	}
	ids := map[string]bool{}
	var walk func(any)
	walk = func(node any) {
		switch node := node.(type) {
		case map[string]any:
			if target, ok := node["$ref"].(string); ok && resolve(whole, target) == nil {
				t.Errorf("%s leads nowhere", target)
			}
			if id, ok := node["operationId"].(string); ok {
				if ids[id] {
					t.Errorf("two operations are called %s", id)
				}
				ids[id] = true
			}
			for _, one := range node {
				walk(one)
			}
		case []any:
			for _, one := range node {
				walk(one)
			}
		}
	}
	walk(whole)
}

// resolve follows a reference such as #/components/schemas/Error.
func resolve(node any, target string) any {
	for name := range strings.SplitSeq(strings.TrimPrefix(target, "#/"), "/") {
		object, ok := node.(map[string]any)
		if !ok {
			return nil
		}
		node = object[name]
	}
	return node
}
