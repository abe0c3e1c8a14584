package sso

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The values of `response_type` in a request and in Account.ResponseType.
const (
	// ResponseTypeCode asks for the authorization code grant.
	ResponseTypeCode = "code"
	// ResponseTypeToken asks for the implicit grant.
	ResponseTypeToken = "token"
)

// What the implicit grant is called towards a provider.
const (
	idTokenAndToken = "id_token token" // OpenID Connect Core 1.0, section 3.2.2.1
	tokenAlone      = "token"          // RFC 6749, section 4.2.1
)

// presets say what each provider is sent for `token`. Cognito knows no
// `id_token token`: its `token` brings an ID token too.
var presets = map[string]string{
	"":         idTokenAndToken,
	"oidc":     idTokenAndToken,
	"auth0":    idTokenAndToken,
	"cognito":  tokenAlone,
	"entra":    idTokenAndToken,
	"google":   idTokenAndToken,
	"keycloak": idTokenAndToken,
	"okta":     idTokenAndToken,
}

// Presets lists the names of the presets, sorted. Without one, a provider is
// taken for plain OpenID Connect, which is also called `oidc`.
func Presets() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(presets)), func(name string) bool { return name == "" })
}

// implicitType is what a preset sends for `token`.
func implicitType(preset string) (string, error) {
	sent, known := presets[preset]
	if !known {
		return "", fmt.Errorf("preset %q is not known: use one of %s, or none", preset, strings.Join(Presets(), ", "))
	}
	return sent, nil
}
