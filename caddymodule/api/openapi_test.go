package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// document is docs/openapi.yaml.
type document struct {
	Paths      map[string]map[string]any
	Components struct {
		Schemas map[string]struct {
			Properties map[string]any
			AllOf      []any `yaml:"allOf"`
		}
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
		concrete := strings.NewReplacer("{key}", "ci", "{name}", "acme").Replace(path)
		answer := httptest.NewRecorder()
		if !a.ServeHTTP(answer, httptest.NewRequest(http.MethodTrace, concrete, nil), Place{}) || answer.Code != http.StatusMethodNotAllowed {
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

// members are the names of a value's members in JSON.
func members(typ reflect.Type) (names []string) {
	for field := range typ.Fields() {
		if field.Anonymous {
			names = append(names, members(field.Type)...)
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name != "" && name != "-" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Bodies have the members that the document gives them.
func TestTheOpenAPIDocumentHasTheMembers(t *testing.T) {
	d := readDocument(t)
	for name, value := range map[string]any{
		"Error": failure{}, "Userinfo": userInfo{}, "Serverinfo": serverInfo{}, "LicenseStatus": license.Status{},
		"License": license.License{}, "LicensePayload": license.Payload{}, "SignRequest": signBody{}, "SignedList": signedList{},
		"ImportResult": importResult{}, "Comparison": comparison{}, "Side": side{}, "Status": status{},
		"OperatorLicense": LicenseStatus{}, "Issuer": issuerState{}, "Explanation": explanation{},
	} {
		var described []string
		for member := range d.Components.Schemas[name].Properties {
			described = append(described, member)
		}
		slices.Sort(described)
		if want := members(reflect.TypeOf(value)); !slices.Equal(described, want) {
			t.Errorf("%s is described with %v, and has %v", name, described, want)
		}
	}
	for name, value := range map[string]any{
		"license_info": licenseInfo{}, "accounts": accountState{}, "licenses": signedEntry{}, "keys": keyState{},
		"differences": difference{}, "rules": auth.Rule{},
	} {
		for _, schema := range d.Components.Schemas {
			inner, ok := schema.Properties[name].(map[string]any)
			if !ok {
				continue
			}
			if items, list := inner["items"].(map[string]any); list {
				inner = items
			}
			properties, _ := inner["properties"].(map[string]any)
			var described []string
			for member := range properties {
				described = append(described, member)
			}
			slices.Sort(described)
			if want := members(reflect.TypeOf(value)); !slices.Equal(described, want) {
				t.Errorf("%s is described with %v, and has %v", name, described, want)
			}
		}
	}
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
