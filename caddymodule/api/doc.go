// Package api is Gatehouse's HTTP API: one implementation, served in two
// places, on Caddy's admin endpoint and wherever the directive gatehouse_api
// stands. It speaks JSON, asks for a bearer token, and answers every error with
// {"message": "…"}.
//
// It knows HTTP, auth and license, and nothing of Caddy: what it works on is
// handed to it by [Services], made anew from each configuration.
package api
