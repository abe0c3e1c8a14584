package command

import (
	"strings"
	"testing"
)

// TestRepair shows both sides, and keeps the one that is named.
func TestRepair(t *testing.T) {
	_, s, _ := atTwo(t)
	s.account("create", "good", "--issuer", "acme")
	s.account("create", "off", "--issuer", "acme")
	s.account("disable", "off")
	r := s.account("repair")
	for _, want := range []string{"Storage is        well\n", "1 active, 1 inactive, 0 expired", "Only the server   0 accounts\n", "Different         0 accounts\n"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("got %q, want %q", r.stdout, want)
		}
	}
	if r := s.account("repair", "--keep", "node"); r.stdout != "Kept           node\nWritten again  0 records\n" {
		t.Errorf("got %q", r.stdout)
	}
	if r := s.account("repair", "--json"); !strings.Contains(r.stdout, `"storage_state": "ready"`) {
		t.Errorf("got %q", r.stdout)
	}
	s.fails([]string{"want node or storage"}, "service-account", "repair", "--keep", "both")
}
