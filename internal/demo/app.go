package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// callbackPath is where a login leads back to.
const callbackPath = "/callback"

// app is the application that people log in to. It has one page, which shows
// what came of a login.
type app struct {
	url    string
	server *http.Server
	served chan struct{}
}

// startApp serves on a listener, which it owns from then on.
func startApp(listener net.Listener, site string) *app {
	a := &app{
		url:    "http://" + listener.Addr().String(),
		server: &http.Server{Handler: landing(site), ReadHeaderTimeout: 10 * time.Second},
		served: make(chan struct{}),
	}
	go func() {
		defer close(a.served)
		_ = a.server.Serve(listener) // only ever ErrServerClosed, by close
	}()
	return a
}

func (a *app) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := a.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = a.server.Close()
	}
	<-a.served
	return err
}

// landing is the handler of the one page. Tokens are in the fragment, which no
// server sees, so a script shows them.
func landing(site string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+callbackPath, func(w http.ResponseWriter, r *http.Request) {
		nonce := rand.Text()
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-"+nonce+"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "no-referrer")
		// It does not matter to a demo if the caller has gone away.
		_ = landingPage.Execute(w, map[string]string{
			"Nonce": nonce, "Site": site, "Code": r.URL.Query().Get("code"), "Error": r.URL.Query().Get("error"),
		})
	})
	return mux
}

var landingPage = template.Must(template.New("landing").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Logged in</title>
<style>
:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 45rem; margin: 3rem auto; padding: 0 1rem; background: Canvas; color: CanvasText }
pre { white-space: pre-wrap; overflow-wrap: anywhere; padding: 1rem; border: 1px solid GrayText; border-radius: .5rem }
</style>
</head>
<body data-site="{{.Site}}">
<h1 id="title">{{if .Error}}The login failed{{else}}Logged in{{end}}</h1>
<p id="what">{{if .Error}}The provider says: {{.Error}}{{else if .Code}}The provider sent a code. Whoever has the verifier of its code challenge can have tokens for it:{{else}}The script on this page shows what came in the fragment of the address.{{end}}</p>
<pre id="line">{{.Code}}</pre>
<script nonce="{{.Nonce}}">
const came = new URLSearchParams(location.hash.slice(1));
const show = (id, text) => { document.getElementById(id).textContent = text };
if (came.has("error")) {
	show("title", "The login failed");
	show("what", "The provider says: " + came.get("error"));
} else if (came.has("access_token")) {
	show("what", "The access token opens the gate. Paste this into a terminal:");
	show("line", 'curl -si -H "Authorization: Bearer ' + came.get("access_token") + '" "' + document.body.dataset.site + '/hello"');
}
</script>
</body>
</html>
`))

// browser is a program that logs the guest in at the address that it is given, as a
// person would in a browser.
func (s *Stage) browser() string { return filepath.Join(s.Dir, "browser") }

// makeBrowser writes that program: a login is a form that leads back by redirects.
func (s *Stage) makeBrowser() error {
	script := fmt.Sprintf("#!/bin/sh\nexec curl -sL -o /dev/null -d username=%s -d password=%s \"$1\"\n", guest, s.secret)
	if err := os.WriteFile(s.browser(), []byte(script), 0o700); err != nil { //nolint:gosec // it is to be run
		return fmt.Errorf("writing the demo's browser: %w", err)
	}
	return nil
}
