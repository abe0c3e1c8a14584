package idp

import (
	"html/template"
	"net/http"
)

// page is what the login page shows.
type page struct {
	Application string // empty: there is none to log in to
	Problem     string // empty: none
}

var pageTemplate = template.Must(template.New("login").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Log in</title>
<style>
:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; display: grid; place-items: center; min-height: 100vh; margin: 0; background: Canvas; color: CanvasText }
main { width: min(20rem, 90vw); padding: 2rem; border: 1px solid GrayText; border-radius: .5rem }
h1 { font-size: 1.25rem; margin: 0 0 1rem }
label { display: block; margin: .75rem 0 .25rem }
input, button { font: inherit; width: 100%; box-sizing: border-box; padding: .5rem; border: 1px solid GrayText; border-radius: .25rem }
button { margin-top: 1.25rem; cursor: pointer; background: #1d4ed8; border-color: #1d4ed8; color: #fff }
:focus-visible { outline: 3px solid #f59e0b; outline-offset: 2px }
[role=alert] { border-left: 4px solid #dc2626; padding-left: .75rem; margin: 0 0 1rem }
small { display: block; margin-top: 1rem }
</style>
</head>
<body>
<main>
<h1>{{if .Application}}Log in to {{.Application}}{{else}}This login cannot go on{{end}}</h1>
{{with .Problem}}<p role="alert">{{.}}</p>{{end}}
{{if .Application}}<form method="post">
<label for="username">Name</label>
<input id="username" name="username" autocomplete="username" autocapitalize="none" required autofocus>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<button type="submit">Log in</button>
</form>{{end}}
<small>A throw-away issuer, for trying things out.</small>
</main>
</body>
</html>
`))

// writePage answers with the page. There is no form-action in its policy:
// browsers hold it against the redirect that follows the form, too.
func writePage(w http.ResponseWriter, status int, p page) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// A caller that has gone away is no matter for the issuer.
	_ = pageTemplate.Execute(w, p)
}
