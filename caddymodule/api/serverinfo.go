package api

import (
	"net/http"

	"github.com/gatehouse-proxy/gatehouse/license"
)

// serverInfo describes the server.
type serverInfo struct {
	Version     string      `json:"version"`
	LicenseInfo licenseInfo `json:"license_info"`
}

// licenseInfo describes the license in force, in fewer states than there are.
type licenseInfo struct {
	Status       string       `json:"status"` // valid, expired or invalid
	IsValid      bool         `json:"is_valid"`
	VerifyError  string       `json:"verify_error"`
	VerifiedHost string       `json:"verified_host"`
	KeyID        string       `json:"key_id"`
	AllowedHosts []string     `json:"allowed_hosts"`
	Type         license.Type `json:"type"`
	IssuedAt     int64        `json:"issued_at"`
	ExpireAt     int64        `json:"expire_at"`
	Features     []string     `json:"features"`
}

// serverinfo answers with the version and the license.
func (a *API) serverinfo(c *call) error {
	s := a.standing().Status(a.hostAsked(c.r.URL.Query()))
	writeJSON(c.w, http.StatusOK, serverInfo{
		Version: a.services.Operation.Version,
		LicenseInfo: licenseInfo{
			Status: shortState(s), IsValid: s.IsValid, VerifyError: s.VerifyError, VerifiedHost: s.VerifiedHost,
			KeyID: s.KeyID, AllowedHosts: s.AllowedHosts, Type: s.Type,
			IssuedAt: s.IssuedAt, ExpireAt: s.ExpireAt, Features: s.Features,
		},
	})
	return nil
}

// shortState is valid also while a license is expiring and in its grace.
func shortState(s license.Status) string {
	switch {
	case s.IsValid:
		return "valid"
	case s.State == license.StateExpired:
		return "expired"
	}
	return "invalid"
}
