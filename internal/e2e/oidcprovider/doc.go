// Package oidcprovider runs an identity provider that is not ours: the OpenID
// certified oidc-provider from npm, as an issuer of client-credentials JWTs for
// tests; and clients that are not ours, dpop and oauth4webapi from npm, which make
// DPoP proofs.
//
// To install for it: Node.js 20 or newer with npm (nodejs.org, or the packages
// nodejs and npm of Debian). The first run fetches oidc-provider through npm, as
// testdata/package-lock.json pins it, into the user's cache folder; later ones need
// no network.
package oidcprovider
