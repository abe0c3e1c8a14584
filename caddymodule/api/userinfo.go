package api

import (
	"net/http"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth"
)

// userInfo describes the caller.
type userInfo struct {
	ID        string   `json:"id"`
	Subject   string   `json:"subject"`
	Name      string   `json:"name"`
	Email     string   `json:"email"`
	Status    string   `json:"status"`
	Groups    []string `json:"groups"`
	IsAdmin   bool     `json:"is_admin"`
	Kind      string   `json:"kind"`
	Issuer    string   `json:"issuer"`
	ClientID  string   `json:"client_id"`
	Scopes    []string `json:"scopes"`
	ExpiresAt *string  `json:"expires_at"` // RFC 3339; null where nothing expires
}

// userinfo tells the caller who the gateway takes them for.
func (a *API) userinfo(c *call) error {
	writeJSON(c.w, http.StatusOK, a.describe(c.caller))
	return nil
}

func (a *API) describe(caller Caller) userInfo {
	p := caller.Principal
	if p == nil {
		return userInfo{
			ID: adminEndpoint, Subject: adminEndpoint, Name: adminEndpoint, Status: "active",
			Groups: []string{}, Scopes: []string{}, IsAdmin: caller.Admin, Kind: string(auth.KindServiceAccount),
		}
	}
	expires := p.ExpiresAt().Format(time.RFC3339)
	return userInfo{
		ID:        p.ID(),
		Subject:   p.Subject(),
		Name:      textOf(p, "name"),
		Email:     textOf(p, "email"),
		Status:    "active",
		Groups:    listOf(p.Groups()),
		IsAdmin:   caller.Admin,
		Kind:      string(p.Kind()),
		Issuer:    p.Issuer(),
		ClientID:  p.ClientID(),
		Scopes:    listOf(p.Scopes()),
		ExpiresAt: &expires,
	}
}

func textOf(p *auth.Principal, key string) string {
	text, _ := p.Text(key)
	return text.Value
}

// listOf makes an empty list of none: null would surprise.
func listOf(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
