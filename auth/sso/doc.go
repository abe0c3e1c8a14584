// Package sso answers one question of a licensed application: where do the
// people of this customer account log in?
//
// A [Service] takes a request for a product and a customer account, decides
// whether the caller may ask (an HMAC over the Date header, or a bearer token
// that its user judges), and answers with the address of the identity
// provider's login page: an authorization request of OAuth 2.0 (RFC 6749,
// sections 4.1.1 and 4.2.1) and OpenID Connect. Requests, answers and errors
// follow LicenseSpring's License API v4, so that clients written for it work
// unchanged.
//
// # What an answer costs
//
// Memory only: accounts and credentials are compiled once, and the provider's
// metadata comes from an engine that keeps it (package issuer). Only where no
// metadata was ever had does a request wait, 5 seconds at most.
//
// # What never lives here
//
// HTTP routing, paths and methods (405 is the caller's), tokens and their
// verification, configuration files, logs and metrics. Nothing of a request is
// quoted in a refusal, and no shared key leaves the package.
package sso
