package docs_test

import (
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// modules are those of this repository, by their names.
func modules(t *testing.T) map[string]caddy.Module {
	t.Helper()
	found := map[string]caddy.Module{}
	for _, name := range caddy.Modules() {
		info, err := caddy.GetModule(name)
		if err != nil {
			t.Fatal(err)
		}
		module := info.New()
		if strings.Contains(reflect.Indirect(reflect.ValueOf(module)).Type().PkgPath(), "/gatehouse/caddymodule") {
			found[name] = module
		}
	}
	return found
}

func TestEveryModuleIsDocumented(t *testing.T) {
	var documented, known []string
	for _, cells := range rows(section(t, "docs/json.md", "## Modules")) {
		documented = append(documented, strings.Trim(cells[0], "`"))
	}
	for name := range modules(t) {
		known = append(known, name)
	}
	same(t, "modules", documented, known)
}

// A field has the name of an option, or is among the exceptions; and an
// exception is a field.
func TestEveryFieldIsDocumented(t *testing.T) {
	fields := map[string]bool{}
	for _, module := range modules(t) {
		collect(reflect.TypeOf(module), fields)
	}
	documented := map[string]bool{}
	for _, page := range []string{"docs/options.md", "docs/matchers-and-placeholders.md"} {
		for _, cells := range rows(prose(read(t, page))) {
			for _, span := range codes(cells[0]) {
				option, _, _ := strings.Cut(span, " ")
				documented[option] = true
			}
		}
	}
	for _, cells := range rows(section(t, "docs/json.md", "## Names")) {
		for _, name := range codes(cells[0]) {
			if name == "token_from" || strings.HasPrefix(name, "gatehouse_") {
				continue // where the field is
			}
			documented[name] = true
			if !fields[name] {
				t.Errorf("%s is documented, and is no field", name)
			}
		}
	}
	for name := range fields {
		if !documented[name] {
			t.Errorf("the field %s is neither an option nor an exception", name)
		}
	}
}

// collect collects the names of a type's fields in JSON, and of those inside.
func collect(typ reflect.Type, names map[string]bool) {
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
		typ = typ.Elem()
	}
	if typ.Kind() != reflect.Struct || !strings.Contains(typ.PkgPath(), "/gatehouse/caddymodule") {
		return
	}
	for field := range typ.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name != "" {
			names[name] = true
		}
		if name != "" || field.Anonymous {
			collect(field.Type, names)
		}
	}
}

// The JSON that the page shows is what its Caddyfile becomes.
func TestTheJSONIsThatOfTheCaddyfile(t *testing.T) {
	blocks := fence.FindAllStringSubmatch(read(t, "docs/json.md"), -1)
	config, err := adapt(blocks[0][2])
	if err != nil {
		t.Fatal(err)
	}
	var all any
	if err := json.Unmarshal(config, &all); err != nil {
		t.Fatal(err)
	}
	for _, block := range blocks[1:3] {
		var shown any
		if err := json.Unmarshal([]byte(block[2]), &shown); err != nil {
			t.Fatal(err)
		}
		if !holds(all, shown) {
			t.Errorf("the Caddyfile does not become\n%s", block[2])
		}
	}
	last := regexp.MustCompile(`(?s)^\{.*"authentication".*\}\n$`)
	if !last.MatchString(blocks[3][2]) || !json.Valid([]byte(blocks[3][2])) {
		t.Errorf("got %s, want the handler authentication", blocks[3][2])
	}
}

// holds reports whether a value is somewhere inside of another.
func holds(all, one any) bool {
	if reflect.DeepEqual(all, one) {
		return true
	}
	switch all := all.(type) {
	case map[string]any:
		for _, value := range all {
			if holds(value, one) {
				return true
			}
		}
	case []any:
		for _, value := range all {
			if holds(value, one) {
				return true
			}
		}
	}
	return false
}
