package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/demo"
	"github.com/gatehouse-proxy/gatehouse/internal/e2e/browser"
)

// The status page: an administrator's token in, everything at a glance out, on
// any screen; nothing kept, and nothing asked of others.
func TestBrowserShowsTheStatus(t *testing.T) {
	v := visit(t)
	token := v.stage.AdminToken()
	v.register(token, `{"subject":"retired","name":"Retired","status":"inactive"}`)
	v.passes(v.stage.Token()+"A", http.StatusUnauthorized)
	v.passes("opaque", http.StatusUnauthorized)
	v.passes("opaque", http.StatusUnauthorized)
	before := v.refusals(token)

	v.onScreens("-form", func() { v.must(v.page.Open(v.ctx, v.stage.Site+"/gatehouse/")) }, `!document.querySelector("#ask").hidden`)
	v.must(v.page.Type(v.ctx, "#token", v.stage.Token()))
	v.must(v.page.Click(v.ctx, "#ask button"))
	v.must(v.page.WaitFor(v.ctx, `!document.querySelector("#why").hidden`))
	if why := v.shown("#why"); !strings.Contains(why, "group") {
		t.Errorf("of a token that may not, the page says %q", why)
	}
	v.must(v.page.Type(v.ctx, "#token", token))
	v.must(v.page.Click(v.ctx, "#ask button"))
	v.must(v.page.WaitFor(v.ctx, `!document.querySelector("#board").hidden`))
	v.wantStatus()
	refusals := v.refusals(token)
	v.wantRefusals(refusals)
	if refusals["signature"] < 1 || refusals["not_jws"] < 2 || refusals["group"] != before["group"]+1 || refusals["no_token"] != before["no_token"] {
		t.Errorf("refused were %v, and %v before the page was opened: want one more for the group, and nothing for opening it", refusals, before)
	}
	v.onScreens("", func() {}, "true")
	v.keptNothing(token)
	v.must(v.page.Click(v.ctx, "#forget"))
	v.must(v.page.WaitFor(v.ctx, `document.querySelector("#board").hidden && !document.querySelector("#ask").hidden`))
}

func (v *visitor) register(token, account string) {
	v.Helper()
	request, err := http.NewRequestWithContext(v.ctx, http.MethodPost, v.stage.Site+"/api/serviceaccounts", strings.NewReader(account))
	v.must(err)
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	v.fetch(request, http.StatusCreated, nil)
}

// wantStatus holds what the page shows against what is so.
func (v *visitor) wantStatus() {
	v.Helper()
	for section, shows := range map[string][]string{
		"license":  {`^License valid`, `\b36[45] days left\b`, `\bHosts 127\.0\.0\.1\b`, `\bFor the demo\b`, `\bFeatures all\b`},
		"accounts": {`\bactive 2\b`, `\binactive 1\b`, `\bexpired 0\b`, `Storage confirmed them`},
		"issuers":  {`\bacme healthy\b`, regexp.QuoteMeta(v.env["GATEHOUSE_ISSUER"]), `\bFetched \S`, `\bNext refresh in \S`, `\b(ES|RS|PS)256\b|EdDSA`},
	} {
		text := v.section(section)
		for _, pattern := range shows {
			if !regexp.MustCompile(pattern).MatchString(text) {
				v.Errorf("%s: the page shows %q, and nothing like %s", section, text, pattern)
			}
		}
	}
}

// section is what a part of the page shows, with single spaces.
func (v *visitor) section(id string) string {
	v.Helper()
	var text string
	v.must(v.page.Eval(v.ctx, `document.querySelector("section:has(#`+id+`)").innerText`, &text))
	return strings.Join(strings.Fields(text), " ")
}

// refusals are those of the last hour as the API tells them: of this process, and
// so of other tests too.
func (v *visitor) refusals(token string) map[string]int {
	v.Helper()
	request, err := http.NewRequestWithContext(v.ctx, http.MethodGet, v.stage.Site+"/api/status", nil)
	v.must(err)
	request.Header.Set("Authorization", "Bearer "+token)
	var status struct {
		Refusals map[string]int `json:"refusals"`
	}
	v.fetch(request, http.StatusOK, &status)
	return status.Refusals
}

func (v *visitor) wantRefusals(refusals map[string]int) {
	v.Helper()
	text := v.section("refusals") + " "
	for reason, n := range refusals {
		if row := fmt.Sprintf(" %s %d ", reason, n); !strings.Contains(text, row) {
			v.Errorf("the page shows %q, without%s", text, row)
		}
	}
}

// Where callers of the admin endpoint are trusted, the page asks for no token. Caddy
// answers there only what was asked from a page of its own.
func TestBrowserShowsTheStatusWithoutAToken(t *testing.T) {
	example, err := demo.FindExample(".")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	const option = "trust_admin_endpoint"
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), "# "+option, option, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	v := visitStage(t, runningFrom(t, file))
	page := "http://" + v.stage.Admin + "/gatehouse/"
	v.must(v.page.OpenFrom(v.ctx, page, page))
	v.must(v.page.WaitFor(v.ctx, `!document.querySelector("#board").hidden && document.querySelector("#ask").hidden && document.querySelector("#forget").hidden`))
	if text := v.section("issuers"); !strings.Contains(text, "acme healthy") {
		t.Errorf("the page shows %q", text)
	}
}

// What is out of order is told as that, where the rest looks well.
func TestBrowserShowsFaults(t *testing.T) {
	v := visit(t)
	token := v.stage.AdminToken()
	v.must(v.page.Open(v.ctx, v.stage.Site+"/gatehouse/"))
	var done bool
	// The server's own answer, but for what is out of order.
	v.must(v.page.Eval(v.ctx, `(() => {
		const real = window.fetch;
		window.fetch = async (...asked) => {
			const body = await (await real(...asked)).json();
			body.license.clock_suspect = true;
			body.accounts.storage_away = true;
			return Response.json(body);
		};
		return true;
	})()`, &done))
	v.must(v.page.Type(v.ctx, "#token", token))
	v.must(v.page.Click(v.ctx, "#ask button"))
	v.must(v.page.WaitFor(v.ctx, `!document.querySelector("#board").hidden`))
	for section, want := range map[string]string{
		"license": "The clock is more than a day behind", "accounts": "Storage is out of reach",
	} {
		var faults, badge string
		v.must(v.page.Eval(v.ctx, `document.querySelector("#`+section+` .fault").innerText`, &faults))
		v.must(v.page.Eval(v.ctx, `document.querySelector("#`+section+`-state").className`, &badge))
		if !strings.Contains(faults, want) || strings.Contains(badge, "good") {
			t.Errorf("%s: the page shows the fault %q and a badge of %q", section, faults, badge)
		}
	}
}

// onScreens looks at the page on phones and a desktop, light and dark.
func (v *visitor) onScreens(suffix string, begin func(), ready string) {
	v.Helper()
	for name, screen := range map[string]browser.Screen{
		"-phone-light": {Width: 360, Height: 1500, Phone: true}, "-phone-dark": {Width: 360, Height: 1500, Phone: true, Dark: true},
		"-small-phone":   {Width: 320, Height: 568, Phone: true},
		"-desktop-light": {Width: 1280, Height: 900}, "-desktop-dark": {Width: 1280, Height: 900, Dark: true},
	} {
		v.must(v.page.Show(v.ctx, screen))
		begin()
		v.must(v.page.WaitFor(v.ctx, ready))
		v.fits(name+suffix, screen)
		if os.Getenv(screenshots) != "" {
			v.shoot(name + suffix)
		}
	}
}

// look measures the page: how wide the window is and what is in it, how bright
// the background (0 to 1), and which texts are hard to read, with less than 4.5
// to 1 between them and what is behind (WCAG 2.2, section 1.4.3).
const look = `(() => {
	const channels = color => color.match(/[\d.]+/g).map(Number);
	const light = ([r, g, b]) => [r, g, b].map(c => c / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
		.reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
	const behind = e => {
		for (; e; e = e.parentElement) {
			const color = channels(getComputedStyle(e).backgroundColor);
			if (color.length === 3 || color[3] === 1) return light(color);
		}
		return 1;
	};
	const texts = [...document.body.querySelectorAll("*")].filter(e => e.checkVisibility() && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()));
	const faint = texts.filter(e => {
		const [high, low] = [light(channels(getComputedStyle(e).color)), behind(e)].sort((a, b) => b - a);
		return (high + .05) / (low + .05) < 4.5;
	});
	return {
		window: innerWidth, content: document.documentElement.scrollWidth, texts: texts.length,
		background: behind(document.body), faint: faint.map(e => e.textContent.trim()),
	};
})()`

func (v *visitor) fits(name string, screen browser.Screen) {
	v.Helper()
	var seen struct {
		Window, Content, Texts int64
		Background             float64
		Faint                  []string
	}
	v.must(v.page.Eval(v.ctx, look, &seen))
	// A phone zooms out rather than scrolls, and its window grows.
	if seen.Window != screen.Width || seen.Content > seen.Window {
		v.Errorf("%s: the content is %d wide in a window of %d, on a screen of %d", name, seen.Content, seen.Window, screen.Width)
	}
	if dark := seen.Background < .2; dark != screen.Dark {
		v.Errorf("%s: the background has a brightness of %.2f", name, seen.Background)
	}
	if len(seen.Faint) > 0 || seen.Texts < 4 {
		v.Errorf("%s: of %d texts these are hard to read: %q", name, seen.Texts, seen.Faint)
	}
}

// keptNothing makes sure that the token is in the page's memory only, and that
// nobody but the site was asked for anything.
func (v *visitor) keptNothing(token string) {
	v.Helper()
	var kept []string
	v.must(v.page.Eval(v.ctx, `(async () => [
		...Object.keys(localStorage), ...Object.keys(sessionStorage), document.cookie,
		...(await indexedDB.databases()).map(d => d.name), ...await caches.keys(),
		...(await navigator.serviceWorker.getRegistrations()).map(r => r.scope), history.state, document.querySelector("#token").value,
	].filter(Boolean).map(String))()`, &kept))
	cookies, err := v.page.Cookies(v.ctx)
	v.must(err)
	if len(kept) > 0 || len(cookies) > 0 {
		v.Errorf("the page kept %q and the cookies %q", kept, cookies)
	}
	var source string
	v.must(v.page.Eval(v.ctx, `document.documentElement.outerHTML + location.href`, &source))
	if strings.Contains(source, token) {
		v.Error("the token is in the document")
	}
	status := 0
	for _, address := range v.page.Requests() {
		if !strings.HasPrefix(address, v.stage.Site+"/") && !strings.HasPrefix(address, "data:") {
			v.Errorf("the page asked %s", address)
		}
		if strings.HasPrefix(address, v.stage.Site+"/api/status") {
			status++
		}
	}
	if status < 2 {
		v.Errorf("the page asked for the status %d times, want 2 at least: the requests are not seen", status)
	}
}
