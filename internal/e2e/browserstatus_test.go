package e2e

import (
	"flag"
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
		"verdict":  {`^All is well`, `1 issuer with keys, license valid, storage answers`},
		"license":  {`^License valid`, `\b36[45] days left\b`, `\bHosts 127\.0\.0\.1\b`, `\bFor the demo\b`, `\bFeatures all\b`},
		"accounts": {`\bactive 2\b`, `\binactive 1\b`, `\bexpired 0\b`},
		"storage":  {`storage answers`, `Storage confirmed them \S.* UTC`, regexp.QuoteMeta(v.node())},
		"issuers":  {`\bacme healthy\b`, regexp.QuoteMeta(v.env["GATEHOUSE_ISSUER"]), `\bFetched \S`, `\bNext refresh in \S.* UTC`, `\b(ES|RS|PS)256\b|EdDSA`},
	} {
		text := v.section(section)
		for _, pattern := range shows {
			if !regexp.MustCompile(pattern).MatchString(text) {
				v.Errorf("%s: the page shows %q, and nothing like %s", section, text, pattern)
			}
		}
	}
}

// node is the name of this machine.
func (v *visitor) node() string {
	v.Helper()
	name, err := os.Hostname()
	v.must(err)
	return name
}

// section is what a part of the page shows, with single spaces.
func (v *visitor) section(id string) string {
	v.Helper()
	var text string
	v.must(v.page.Eval(v.ctx, `document.querySelector("section:has(#`+id+`)").innerText`, &text))
	return strings.Join(strings.Fields(text), " ")
}

// refusals are those of the last hour as the API lists them: of this process, and
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

// What is out of order is shown as that, where the rest looks well.
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
			if (asked[0].endsWith("/refresh")) {
				window.wasFetched = true;
			} else {
				body.license.clock_suspect = true;
				body.accounts.storage_away = true;
				body.dpop = { nonce: "off", remembered: 12, replay_memory: 100000, other_nodes: 2 };
				if (!window.wasFetched) Object.assign(body.issuers[0], { last_error: "connection refused", last_error_at: "2026-01-02T03:04:05Z", healthy: false });
			}
			return Response.json(body);
		};
		return true;
	})()`, &done))
	v.logInToThePage(token)
	for section, want := range map[string]string{
		"license": "The clock is more than a day behind", "storage": "Storage is out of reach",
	} {
		var faults, badge string
		v.must(v.page.Eval(v.ctx, `document.querySelector("#`+section+` .fault").innerText`, &faults))
		v.must(v.page.Eval(v.ctx, `document.querySelector("#`+section+`-state").className`, &badge))
		if !strings.Contains(faults, want) || strings.Contains(badge, "good") {
			t.Errorf("%s: the page shows the fault %q and a badge of %q", section, faults, badge)
		}
	}
	if text := v.section("storage"); !strings.Contains(text, "12 of 100,000 remembered, nonce off") {
		t.Errorf("storage: %q", text)
	}
	// The way out is at hand; once it is taken, the focus is not lost.
	v.tabTo(`document.activeElement.closest("#verdict button")`)
	v.must(v.page.Press(v.ctx, "Enter"))
	v.must(v.page.WaitFor(v.ctx, `document.activeElement.id === "verdict-title" && document.querySelector("#fetched").textContent === "The keys of acme were fetched."`))
	// The worst comes first, with what follows from it and the way out.
	if text := v.section("verdict"); !regexp.MustCompile(`^1 thing to mend, 2 to look at mend The clock is wrong .*Set the clock.* look Storage is out of reach No account can be changed.* Make storage reachable.* look 2 other nodes share this storage, and DPoP proofs carry no nonce`).MatchString(text) {
		t.Errorf("the verdict is %q", text)
	}
}

// logInToThePage gives the page a token by the keyboard alone, which leaves the focus
// on the verdict.
func (v *visitor) logInToThePage(token string) {
	v.Helper()
	v.must(v.page.WaitFor(v.ctx, `document.activeElement.id === "token"`))
	v.must(v.page.Insert(v.ctx, token))
	v.must(v.page.Press(v.ctx, "Enter"))
	v.must(v.page.WaitFor(v.ctx, `!document.querySelector("#board").hidden && document.activeElement.id === "verdict-title"`))
}

// tabTo presses the tab key until what a script finds has the focus.
func (v *visitor) tabTo(script string) {
	v.Helper()
	for range 60 {
		v.must(v.page.Press(v.ctx, "Tab"))
		var there bool
		v.must(v.page.Eval(v.ctx, "Boolean("+script+")", &there))
		if there {
			return
		}
	}
	v.Fatalf("the tab key does not lead to %s", script)
}

// An account is found, switched off and on by the keyboard alone, and the page says
// who did so.
func TestBrowserSwitchesAnAccount(t *testing.T) {
	v := visit(t)
	token := v.stage.AdminToken()
	v.register(token, `{"subject":"ci:<b>builder</b>","name":"Nightly","status":"active","groups":["deploy"]}`)
	v.must(v.page.Open(v.ctx, v.stage.Site+"/gatehouse/"))
	v.logInToThePage(token)
	v.tabTo(`document.activeElement.id === "searched"`)
	v.must(v.page.Insert(v.ctx, "NIGHT"))
	v.must(v.page.Press(v.ctx, "Enter"))
	v.must(v.page.WaitFor(v.ctx, `document.querySelector("#found").textContent === "1 account found."`))
	for _, c := range []struct{ does, is string }{{"Switch off", "inactive"}, {"Switch on", "active"}} {
		v.tabTo(`document.activeElement.getAttribute("aria-label") === "` + c.does + ` ci:<b>builder</b>"`)
		v.must(v.page.Press(v.ctx, "Enter"))
		// Nothing is done by pressing the same key twice.
		v.must(v.page.WaitFor(v.ctx, `document.querySelector("#sure").open && document.activeElement.id === "sure-no"`))
		v.must(v.page.Press(v.ctx, "Escape"))
		v.must(v.page.WaitFor(v.ctx, `!document.querySelector("#sure").open && document.activeElement.textContent === "`+c.does+`"`))
		v.must(v.page.Press(v.ctx, "Enter"))
		v.must(v.page.WaitFor(v.ctx, `document.querySelector("#sure").open`))
		v.tabTo(`document.activeElement.id === "sure-yes"`)
		v.must(v.page.Press(v.ctx, "Enter"))
		v.must(v.page.WaitFor(v.ctx, `document.querySelector("#list .badge").textContent === "`+c.is+`" && document.activeElement.closest("#list")`))
		if text := v.section("list"); !regexp.MustCompile(`ci:<b>builder</b> ` + c.is + ` Name Nightly .*Groups deploy .*Changed .* UTC by acme/\S+`).MatchString(text) {
			t.Errorf("the page shows %q", text)
		}
		var account struct{ Status string }
		request, err := http.NewRequestWithContext(v.ctx, http.MethodGet, v.stage.Site+"/api/serviceaccounts/ci:%3Cb%3Ebuilder%3C%2Fb%3E", nil)
		v.must(err)
		request.Header.Set("Authorization", "Bearer "+token)
		v.fetch(request, http.StatusOK, &account)
		if account.Status != c.is {
			t.Errorf("the account is %s, want %s", account.Status, c.is)
		}
	}
	v.must(v.page.Show(v.ctx, browser.Screen{Width: 360, Height: 1200, Phone: true}))
	v.fits("an account", browser.Screen{Width: 360, Phone: true})
	if text := v.section("changes"); !strings.Contains(text, "service_account.update ci:<b>builder</b>") {
		t.Errorf("the last changes are %q", text)
	}
}

// A revocation is found, and taken back, with the keyboard alone; what it is called is
// shown as it is.
func TestBrowserTakesARevocationBack(t *testing.T) {
	v := visit(t)
	token := v.stage.AdminToken()
	request, err := http.NewRequestWithContext(v.ctx, http.MethodPost, v.stage.Site+"/api/revocations", strings.NewReader(`{"session":"<b>s-1</b>","reason":"a lost laptop"}`))
	v.must(err)
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	v.fetch(request, http.StatusCreated, nil)
	v.must(v.page.Open(v.ctx, v.stage.Site+"/gatehouse/"))
	v.logInToThePage(token)
	v.must(v.page.WaitFor(v.ctx, `document.querySelector("#revocations-count").textContent === "1 in force"`))
	v.tabTo(`document.activeElement.id === "revoked-searched"`)
	v.must(v.page.Insert(v.ctx, "LAPTOP"))
	v.must(v.page.Press(v.ctx, "Enter"))
	v.must(v.page.WaitFor(v.ctx, `document.querySelector("#revoked-found").textContent === "1 revocation found."`))
	if text := v.section("revoked"); !regexp.MustCompile(`<b>s-1</b> Revoked is Session Issuer acme Issued before .* UTC By acme/\S+ Reason a lost laptop Since .* Kept until (in|tomorrow).* UTC Take back`).MatchString(text) {
		t.Errorf("the page shows %q", text)
	}
	v.onScreens("-revoked", func() {}, "true")
	v.tabTo(`document.activeElement.textContent === "Take back"`)
	v.must(v.page.Press(v.ctx, "Enter"))
	v.must(v.page.WaitFor(v.ctx, `document.querySelector("#sure").open && document.activeElement.id === "sure-no"`))
	v.tabTo(`document.activeElement.id === "sure-yes"`)
	v.must(v.page.Press(v.ctx, "Enter"))
	v.must(v.page.WaitFor(v.ctx, `document.querySelector("#revocations-count").textContent === "0 in force" && !document.querySelector("#revoked li")`))
}

// A token is explained check by check and in the words of the documentation, and is
// nowhere in the page afterwards.
func TestBrowserExplainsAToken(t *testing.T) {
	v := visit(t)
	v.must(v.page.Open(v.ctx, v.stage.Site+"/gatehouse/"))
	v.logInToThePage(v.stage.AdminToken())
	for given, wants := range map[string][]string{
		v.stage.Token():         {`^It is let in let in`, `signature holds`, `Claims {`},
		v.stage.Token() + "A":   {`^It is refused: the signature of the token is not valid signature It means it was changed on its way`, `signature does not hold`, `account not checked`},
		"Bearer opaque":         {`What to do ask the issuer for a JWT access token`},
		v.stage.StrangerToken(): {`account_unknown It means no account has the issuer`, `What to do register it`},
	} {
		v.tabTo(`document.activeElement.id === "explained-token"`)
		v.must(v.page.Insert(v.ctx, given))
		v.must(v.page.Press(v.ctx, "Tab"))
		v.must(v.page.Press(v.ctx, "Enter"))
		v.must(v.page.WaitFor(v.ctx, `document.activeElement.closest("#explained")`))
		var text string
		v.must(v.page.Eval(v.ctx, `document.querySelector("#explained").innerText`, &text))
		text = strings.Join(strings.Fields(text), " ")
		for _, pattern := range wants {
			if !regexp.MustCompile(pattern).MatchString(text) {
				t.Errorf("the page says %q, and nothing like %s", text, pattern)
			}
		}
		v.keptNothing(given)
		v.must(v.page.Show(v.ctx, browser.Screen{Width: 360, Height: 740, Phone: true, Dark: true}))
		v.fits("an explanation", browser.Screen{Width: 360, Phone: true, Dark: true})
		v.must(v.page.Press(v.ctx, "Shift+Tab"))
		v.must(v.page.Press(v.ctx, "Shift+Tab"))
		v.must(v.page.Press(v.ctx, "Shift+Tab"))
	}
}

// Once its token is no longer good, the page keeps what it shows, asks for another,
// and goes on where it was.
func TestBrowserAsksForAnotherToken(t *testing.T) {
	v := visit(t)
	v.must(v.page.Open(v.ctx, v.stage.Site+"/gatehouse/"))
	var done bool
	v.must(v.page.Eval(v.ctx, `(() => {
		const real = window.fetch;
		window.expired = false;
		window.fetch = async (...asked) => window.expired ? Response.json({ message: "the token has expired" }, { status: 401 }) : real(...asked);
		return true;
	})()`, &done))
	v.logInToThePage(v.stage.AdminToken())
	v.must(v.page.Eval(v.ctx, `window.expired = true`, &done))
	v.tabTo(`document.activeElement.id === "searched"`)
	v.must(v.page.Press(v.ctx, "Enter"))
	v.must(v.page.WaitFor(v.ctx, `document.activeElement.id === "token" && !document.querySelector("#board").hidden`))
	if why, when := v.shown("#why"), v.shown("#when"); why != "the token has expired" || !regexp.MustCompile(`^not refreshed since .* UTC$`).MatchString(when) {
		t.Errorf("the page says %q, and %q", why, when)
	}
	v.must(v.page.Eval(v.ctx, `!(window.expired = false)`, &done))
	v.must(v.page.Insert(v.ctx, v.stage.AdminToken()))
	v.must(v.page.Press(v.ctx, "Enter"))
	v.must(v.page.WaitFor(v.ctx, `document.querySelector("#ask").hidden && document.activeElement.id === "searched"`))
}

// What a screen reader says: every field and button has a name, headings are in order,
// and a refresh that brings nothing new says nothing.
func TestBrowserIsReadAloud(t *testing.T) {
	v := visit(t)
	v.must(v.page.Open(v.ctx, v.stage.Site+"/gatehouse/"))
	v.logInToThePage(v.stage.AdminToken())
	var faults []string
	v.must(v.page.Eval(v.ctx, `(async () => {
		const faults = [];
		for (const one of document.querySelectorAll("input, select, textarea, button")) {
			if (!(one.labels?.length || one.getAttribute("aria-label") || one.textContent.trim() || one.id === "sure-yes")) faults.push("no name: " + one.outerHTML);
		}
		let last = 0;
		for (const one of document.querySelectorAll("main h2, main h3, h1")) {
			const level = Number(one.tagName[1]);
			if (level > last + 1) faults.push("a heading too deep: " + one.outerHTML);
			last = level;
		}
		for (const one of document.querySelectorAll("[aria-labelledby], [aria-describedby]")) {
			for (const id of (one.getAttribute("aria-labelledby") || one.getAttribute("aria-describedby")).split(" ")) if (!document.getElementById(id)) faults.push("no " + id);
		}
		const said = [];
		for (const one of document.querySelectorAll("[role=status], [role=alert], output")) {
			new MutationObserver(() => said.push(one.id)).observe(one, { childList: true, characterData: true, subtree: true });
		}
		document.querySelector("#pause").click(); // and again, which refreshes
		const before = performance.getEntriesByType("resource").length;
		document.querySelector("#pause").click();
		while (performance.getEntriesByType("resource").length === before) await new Promise(done => setTimeout(done, 20));
		await new Promise(done => setTimeout(done, 300));
		if (said.length) faults.push("said again: " + said);
		return faults;
	})()`, &faults))
	if len(faults) > 0 {
		t.Errorf("%q", faults)
	}
}

// Pictures for the documentation, written with -update: a busy hour, with something to
// look at.
func TestBrowserPictures(t *testing.T) {
	v := visit(t)
	v.register(v.stage.AdminToken(), `{"subject":"nightly-build","name":"Nightly build","status":"active","groups":["deploy"]}`)
	v.must(v.page.Open(v.ctx, v.stage.Site+"/gatehouse/"))
	var done bool
	v.must(v.page.Eval(v.ctx, `(() => {
		const real = window.fetch;
		window.fetch = async (...asked) => {
			const answer = await real(...asked);
			if (!asked[0].endsWith("/status")) return answer;
			const body = await answer.json();
			const counts = f => [...Array(60).keys()].map(f);
			body.node = "gw-1.example.com";
			body.version = "v0.1.0";
			body.hour.series = [
				{ issuer: "acme", result: "let_in", counts: counts(i => Math.round(210 + 60 * Math.sin(i / 9) + 25 * Math.cos(i * 2.3))) },
				{ issuer: "acme", result: "expired", counts: counts(i => i > 40 && i < 49 ? 14 - 2 * Math.abs(i - 44) : i % 13 === 3 ? 1 : 0) },
				{ issuer: "acme", result: "scope", counts: counts(i => i % 17 === 6 ? 2 : 0) },
				{ issuer: "", result: "no_token", counts: counts(i => i % 5 === 0 ? 2 : 1) },
			];
			body.hour.series[2].counts[59] += window.laterOnes || 0;
			body.refusals = {};
			for (const one of body.hour.series.slice(1)) body.refusals[one.result] = one.counts.reduce((sum, n) => sum + n, 0);
			body.issuers[0].ignored = ["key 2019-sig: RSA of 1024 bits"];
			return Response.json(body);
		};
		return true;
	})()`, &done))
	v.logInToThePage(v.stage.AdminToken())
	v.must(v.page.Eval(v.ctx, `(() => { const at = document.querySelector("#minute"); at.value = 44; at.dispatchEvent(new Event("input")); document.activeElement.blur(); return true; })()`, &done))
	// A reason opens what it means, and stays open and in focus over a refresh.
	v.tabTo(`document.activeElement.closest("#refusals summary")?.dataset.key === "expired"`)
	v.must(v.page.Press(v.ctx, "Enter"))
	v.must(v.page.WaitFor(v.ctx, `document.querySelector("#refusals details[open]")`))
	v.must(v.page.Eval(v.ctx, `(async () => {
		const before = document.querySelector("#refusals details");
		window.laterOnes = 1;
		document.querySelector("#pause").click();
		document.querySelector("#pause").click();
		while (document.querySelector("#refusals details") === before) await new Promise(done => setTimeout(done, 20));
		return document.activeElement.dataset.key === "expired" && document.activeElement.parentElement.open;
	})()`, &done))
	if text := v.section("refusals"); !done || !strings.Contains(text, "It means exp is over, and leeway too What to do get a new one") {
		t.Errorf("the reason says %q, and in focus and open is %v", text, done)
	}
	v.must(v.page.Show(v.ctx, browser.Screen{Width: 360, Height: 740, Phone: true}))
	v.fits("a reason", browser.Screen{Width: 360, Phone: true})
	v.must(v.page.Press(v.ctx, "Enter"))
	v.must(v.page.Eval(v.ctx, `(() => { document.activeElement.blur(); scrollTo(0, 0); return true; })()`, &done))
	if text := v.section("in-chart"); !regexp.MustCompile(`\d+:\d+ UTC: \d+ let in, 1\d refused \(expired 14, no_token 1\)$`).MatchString(text) {
		t.Errorf("the chart says %q", text)
	}
	if text := v.section("verdict"); !strings.Contains(text, "1 key of acme cannot be used") {
		t.Errorf("the verdict is %q", text)
	}
	for name, screen := range map[string]browser.Screen{
		"status-light": {Width: 1280, Height: 900}, "status-dark": {Width: 1280, Height: 900, Dark: true},
		"status-phone": {Width: 360, Height: 740, Phone: true, Dark: true},
	} {
		v.must(v.page.Show(v.ctx, screen))
		v.fits(name, screen)
		shot, err := v.page.Screenshot(v.ctx)
		v.must(err)
		if *update {
			v.must(os.WriteFile(filepath.Join("../../docs/images", name+".png"), shot, 0o644))
		}
	}
}

var update = flag.Bool("update", false, "write the pictures of the documentation")

// onScreens looks at the page on phones and a desktop, light and dark.
func (v *visitor) onScreens(suffix string, begin func(), ready string) {
	v.Helper()
	for name, screen := range map[string]browser.Screen{
		"-phone-light": {Width: 360, Height: 3600, Phone: true}, "-phone-dark": {Width: 360, Height: 3600, Phone: true, Dark: true},
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
	if status < 1 {
		v.Error("the page never asked for the status: the requests are not seen")
	}
}
