package caddymodule_test

import (
	"net/http"
	"testing"
)

func TestEventsAreHeard(t *testing.T) {
	name := unique("heard")
	g, issuer, admin := observe(t, name)
	eventually(t, "the issuer that is down is heard of", func() bool {
		return len(hears("jwks_unavailable", "issuer", name+"-down")) == 1
	})
	down := hears("jwks_unavailable", "issuer", name+"-down")[0]
	if down["error"] == "" || down["identifier"] == "" {
		t.Errorf("heard %v, want the identifier and an error", down)
	}
	eventually(t, "the license's state is heard of", func() bool { return len(hears("license_state_changed", "to", "missing")) > 0 })

	accounts := "http://" + admin + "/api/serviceaccounts"
	subject := unique("robot")
	if got := post(g, accounts, `{"subject":"`+subject+`","status":"active","issuer":"`+name+`"}`); got.status != http.StatusCreated {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	g.do(g.client, http.MethodDelete, accounts+"/"+subject)
	eventually(t, "both changes are heard of", func() bool { return len(hears("service_account_changed", "subject", subject)) == 2 })
	changes := hears("service_account_changed", "subject", subject)
	if changes[0]["change"] != "created" || changes[0]["status"] != "active" || changes[0]["issuer"] != name || changes[1]["change"] != "deleted" {
		t.Errorf("heard %v, want created and deleted", changes)
	}

	refresh := "http://" + admin + "/api/issuers/" + name + "/refresh"
	issuer.SetDown(true)
	if got := g.do(g.client, http.MethodPost, refresh); got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
		t.Errorf("got %d %s, want 503 and when to try again", got.status, got.body)
	}
	issuer.SetDown(false)
	if got := g.do(g.client, http.MethodPost, refresh); got.status != http.StatusOK {
		t.Errorf("got %d %s", got.status, got.body)
	}
	eventually(t, "outage and recovery are heard of", func() bool {
		return len(hears("jwks_unavailable", "issuer", name)) == 1 && len(hears("jwks_recovered", "issuer", name)) == 1
	})
}
