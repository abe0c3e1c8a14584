package caddymodule

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// The list of known handlers has all of this build, and no other: of what is missing, a
// misplaced matcher in front of it would be taken for well placed.
func TestKnownHandlersAreThoseOfCaddyAndGatehouse(t *testing.T) {
	var registered []string
	for _, module := range caddy.GetModules("http.handlers") {
		if !strings.Contains(fmt.Sprintf("%T", module.New()), "_test.") {
			registered = append(registered, module.ID.Name())
		}
	}
	slices.Sort(registered)
	if known := slices.Sorted(slices.Values(knownHandlers)); !slices.Equal(known, registered) {
		t.Errorf("the list has %v, Caddy has %v", known, registered)
	}
}
