package caddymodule

import (
	"testing"

	"go.uber.org/zap"
)

// Every spelling that a backend may read as an identity header is owned, whatever
// its first byte; others are not.
func TestOwns(t *testing.T) {
	h, err := newIdentityHeaders([]Header{{Name: "X-Auth-Subject"}, {Name: "_Hidden"}, {Name: "2nd"}}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"X-Auth-Subject", "x-auth-subject", "X_Auth_Subject", "x.auth~subject", "X-AUTH_SUBJECT",
		"_Hidden", "-hidden", ".HIDDEN", "2nd", "2ND",
	} {
		if !h.owns(name) {
			t.Errorf("%q is not owned", name)
		}
	}
	for _, name := range []string{"", "X-Auth-Subjects", "X-Auth-Subjecu", "Y-Auth-Subject", "XX-Auth-Subject", "Authorization", "hidden", "3nd"} {
		if h.owns(name) {
			t.Errorf("%q is owned", name)
		}
	}
}
