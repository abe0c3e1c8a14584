// Package command is `caddy gatehouse …`: making and reading licenses offline,
// and asking a running server through its HTTP API.
//
// Results go to stdout, as a table for people or, with --json, as JSON for
// programs; errors, warnings, prompts and progress go to stderr. A command that
// did not do what it was asked for exits with a status other than 0 and leaves
// no file behind.
//
// What other people wrote (a license's description, a server's message) is
// shown without control characters, so that it cannot play with the terminal.
// Tokens, passphrases and private keys are read from files, the environment or
// stdin, never from arguments, and never shown.
//
// What never lives here: what decides about tokens and licenses, and the HTTP
// API itself. The package knows the server by its answers only, and passes over
// members that it does not know.
package command
