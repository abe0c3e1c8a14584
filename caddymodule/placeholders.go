package caddymodule

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/auth"
)

// ourPlaceholder finds the placeholders that are Gatehouse's, or look like it.
var ourPlaceholder = regexp.MustCompile(`\{(http\.(?:auth|license)\.[^{}\s]*)\}`)

// licenseKeys are the placeholders of the license, without what begins them.
var licenseKeys = []string{"state", "code", "type", "description", "expire_at", "key_id", "features"}

// checkHeaderValue finds placeholders that are misspelt: they would be empty, and
// the upstream would take everybody for nobody.
func checkHeaderValue(value string) error {
	for _, found := range ourPlaceholder.FindAllStringSubmatch(value, -1) {
		if name, auths := strings.CutPrefix(found[1], "http.auth."); auths {
			if key, user := strings.CutPrefix(name, "user."); !user || !isPrincipalKey(key) {
				return fmt.Errorf("found %s, expected {%s…} with one of %s or claims.<path>", found[0], userPlaceholder, strings.Join(auth.PrincipalKeys, ", "))
			}
		}
	}
	return nil
}

// warnOfMisspelt warns of placeholders in other handlers that look like ours and
// stand for nothing: a rule or header there would be as good as empty. Those of the
// user may be another provider's where Caddy's own authentication is in use.
func warnOfMisspelt(ctx caddy.Context, logger *zap.Logger) error {
	others := false
	found := map[string]bool{}
	err := eachHandler(ctx, func(handler caddyhttp.MiddlewareHandler, _ []caddyhttp.Route) error {
		switch handler.(type) {
		case *caddyauth.Authentication:
			others = true
			return nil
		case *caddyhttp.Subroute, *BearerAuth, *IdentityHeaders:
			return nil // walked through, or checked by itself
		}
		text, err := json.Marshal(handler)
		if err != nil {
			return nil // nothing that a placeholder can be looked for in
		}
		for _, match := range ourPlaceholder.FindAllStringSubmatch(string(text), -1) {
			if !isOurs(match[1]) {
				found[match[1]] = true
			}
		}
		return nil
	})
	for name := range found {
		if !others || strings.HasPrefix(name, licensePlaceholder) {
			logger.Warn("a placeholder looks like one of Gatehouse's and stands for nothing: docs/matchers-and-placeholders.md lists them", zap.String("placeholder", "{"+name+"}"))
		}
	}
	return err
}

// isOurs tells whether a placeholder is one that Gatehouse, or Caddy's own
// authentication, fills in.
func isOurs(name string) bool {
	if key, ours := strings.CutPrefix(name, licensePlaceholder); ours {
		return slices.Contains(licenseKeys, key)
	}
	if key, ours := strings.CutPrefix(name, userPlaceholder); ours {
		return isPrincipalKey(key)
	}
	return name == reasonPlaceholder || strings.HasPrefix(name, "http.auth.candidate.")
}
