package command

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/auth/account"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
)

func TestGoldenImport(t *testing.T) {
	g, s := newSite(t)
	g.people()
	lines := `{"subject":"new","status":"active"}

  {"subject":"ci-deploy","status":"active"}
{"subject":"off","status":"active","issuer":"acme"}` + "\r\n"
	file := s.file("accounts.jsonl", lines, 0o600)

	r := s.must("service-account", "import", "--mode", "upsert", file)
	golden(t, "import", r.stdout)
	golden(t, "import.stderr", r.stderr)
	g.wantAsked("GET /api/issuers", "POST /api/serviceaccounts:import?mode=upsert")

	r = s.typed(lines).run("service-account", "import", "--json", "-")
	if r.err == nil || !strings.Contains(r.stderr, "refused 3 of 3 accounts") {
		t.Errorf("got %v %s", r.err, r.stderr)
	}
	golden(t, "import.jsonl", r.stdout)
}

// TestExportImport takes what one server has to another.
func TestExportImport(t *testing.T) {
	g, s := newSite(t)
	g.people()
	g.issuers = `[{"name":"acme"},{"name":"github"}]`
	exported := s.must("service-account", "export").stdout

	other, there := newSite(t)
	other.issuers = g.issuers
	r := there.typed(exported).must("service-account", "import", "-")
	if !strings.Contains(r.stderr, "created 4, updated 0, unchanged 0, refused 0") {
		t.Errorf("got %s", r.stderr)
	}
	if again := there.must("service-account", "export").stdout; again != exported {
		t.Errorf("got\n%s\nwant\n%s", again, exported)
	}
}

// TestImportChecksFirst names every bad line and sends none.
func TestImportChecksFirst(t *testing.T) {
	g, s := newSite(t)
	file := s.file("accounts.jsonl", strings.Join([]string{
		`{"subject":"good","status":"active"}`,
		`{"subject":"","status":"active"}`,
		``,
		`{"subject":"a","status":"maybe"}`,
		`{"subject":"b","status":"active","shade":"red"}`,
		`{"subject":"c","status":"active","status":"active"}`,
		`not JSON`,
		`{"subject":"d","status":"active","issuer":"elsewhere"}`,
		`[]`,
		`{"subject":"e","status":"active"} {}`,
	}, "\n"), 0o600)
	want := []string{"no account in 8 of 9 lines; nothing was written", "issuer is \"elsewhere\"", "shade"}
	for _, n := range []int{2, 4, 5, 6, 7, 8, 9, 10} {
		want = append(want, fmt.Sprintf("%s:%d: ", file, n))
	}
	r := s.fails(want, "service-account", "import", file)
	if strings.Contains(r.stderr, file+":1:") {
		t.Errorf("a good line is named: %s", r.stderr)
	}
	g.wantAsked("GET /api/issuers")

	many := strings.Repeat("x\n", 200)
	r = s.typed(many).fails([]string{"stdin:1: ", "stdin:50: ", "and 150 more"}, "service-account", "import", "-")
	if strings.Contains(r.stderr, "stdin:51:") {
		t.Error("line 51 is reported as well")
	}
}

func TestImportBadInput(t *testing.T) {
	g, s := newSite(t)
	good := s.file("good.jsonl", `{"subject":"a","status":"active"}`, 0o600)
	s.fails([]string{`--mode is "replace"; want create or upsert`}, "service-account", "import", "--mode", "replace", good)
	s.fails([]string{"no-such-file"}, "service-account", "import", "no-such-file")
	g.wantAsked()
	r := s.must("service-account", "import", s.file("empty", "\n \n", 0o600))
	if r.stdout != "" || !strings.Contains(r.stderr, "created 0") {
		t.Errorf("an empty file: %q %q", r.stdout, r.stderr)
	}
	g.wantAsked("GET /api/issuers")
}

// TestImportWithoutIssuers asks a server that does not tell its issuers.
func TestImportWithoutIssuers(t *testing.T) {
	g, s := newSite(t)
	g.says("GET /api/issuers", answer{status: http.StatusNotFound, body: `{"message":"there is no such route"}`})
	s.typed(`{"subject":"a","status":"active","issuer":"any"}`).must("service-account", "import", "-")

	g.says("GET /api/issuers", answer{status: http.StatusOK, body: `[]`})
	s.typed(`{"subject":"c","status":"active","issuer":"any"}`).must("service-account", "import", "-")

	g.says("GET /api/issuers", answer{status: http.StatusForbidden, body: `{"message":"not of the group"}`})
	g.got()
	s.typed(`{"subject":"b","status":"active"}`).fails([]string{"HTTP 403", "not of the group"}, "service-account", "import", "-")
	g.wantAsked("GET /api/issuers")
	g.says("GET /api/issuers", answer{status: http.StatusOK, body: `[{}]`})
	s.typed(`{"subject":"b","status":"active"}`).fails([]string{"an issuer without a name"}, "service-account", "import", "-")
}

func manyLines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "\n{\"subject\":\"job-%06d\",\"status\":\"active\"}\n", i)
	}
	return b.String()
}

// TestImportInChunks sends a large file in parts and counts on.
func TestImportInChunks(t *testing.T) {
	g, s := newSite(t)
	r := s.typed(manyLines(12000)).must("service-account", "import", "-")
	g.wantAsked("GET /api/issuers", "POST /api/serviceaccounts:import?mode=create", "POST /api/serviceaccounts:import?mode=create",
		"POST /api/serviceaccounts:import?mode=create")
	if len(g.accounts) != 12000 || strings.Count(r.stdout, "\n") != 12000 {
		t.Errorf("%d accounts, %d lines", len(g.accounts), strings.Count(r.stdout, "\n"))
	}
	if !strings.HasSuffix(r.stdout, "line 24000   created    job-011999\n") {
		t.Errorf("the end is %q", r.stdout[len(r.stdout)-100:])
	}
	want := "5000 of 12000 accounts done\n10000 of 12000 accounts done\n12000 of 12000 accounts done\ncreated 12000, updated 0, unchanged 0, refused 0\n"
	if r.stderr != want {
		t.Errorf("stderr is %q", r.stderr)
	}
}

// TestImportStopsHalfway tells what is written and what is not.
func TestImportStopsHalfway(t *testing.T) {
	for name, c := range map[string]struct {
		answer answer
		want   string
	}{
		"storage":   {answer{status: 503, header: http.Header{"Retry-After": {"5"}}, body: `{"message":"storage cannot be written now"}`}, "HTTP 503"},
		"bad line":  {answer{status: 400, body: `{"message":"line 3: name: is bad; nothing was written"}`}, "line 10006: name: is bad"},
		"few":       {answer{status: 200, body: `{"line":1,"subject":"job-005000","result":"created"}`}, "reported 1 of 1000 lines"},
		"no JSON":   {answer{status: 200, body: "hello\n"}, "is not what Gatehouse answers"},
		"odd line":  {answer{status: 200, body: `{"line":1001,"subject":"a","result":"created"}`}, "reported a line 1001"},
		"odd word":  {answer{status: 200, body: `{"line":1,"subject":"a","result":"eaten"}`}, `as "eaten"`},
		"long line": {answer{status: 200, body: `{"line":1,"subject":"` + strings.Repeat("x", 70000) + `"}`}, "token too long"},
	} {
		t.Run(name, func(t *testing.T) {
			g, s := newSite(t)
			imports := 0
			g.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, ":import") {
					if imports++; imports == 2 {
						g.answers["POST "+accountsPath+":import"] = c.answer
					}
				}
				g.ServeHTTP(w, r)
			})
			r := s.typed(manyLines(6000)).run("service-account", "import", "-")
			if r.err == nil || strings.Count(r.stdout, "created") < 5000 || len(g.accounts) != 5000 {
				t.Errorf("%v, %d lines, %d accounts", r.err, strings.Count(r.stdout, "created"), len(g.accounts))
			}
			for _, part := range []string{c.want, "the import stopped at line 10002; those before are written", "5000 of 6000 accounts done"} {
				if !strings.Contains(r.stderr, part) {
					t.Errorf("stderr does not hold %q: %s", part, r.stderr)
				}
			}
		})
	}
}

// TestImportWithABar draws one on a terminal, and removes it before results.
func TestImportWithABar(t *testing.T) {
	_, s := newSite(t)
	s.program.terminal = func(any) bool { return true }
	r := s.typed(manyLines(10000)).must("service-account", "import", "-")
	want := "\r\x1b[K[..............................] 0 of 10000 accounts\r\x1b[K" +
		"\r\x1b[K[###############...............] 5000 of 10000 accounts\r\x1b[K" +
		"\r\x1b[K[##############################] 10000 of 10000 accounts\n" +
		"created 10000, updated 0, unchanged 0, refused 0\n"
	if r.stderr != want {
		t.Errorf("got %q\nwant %q", r.stderr, want)
	}
	if strings.Contains(r.stdout, "\x1b") {
		t.Error("the results hold escapes")
	}
}

func TestImportHidesNothingToTheTerminal(t *testing.T) {
	g, s := newSite(t)
	g.says("POST "+accountsPath+":import", answer{status: 200, body: `{"line":1,"subject":"a\u202eb","result":"refused","message":"no\u001b[2J ` + goodToken + `"}` + "\n"})
	for _, flags := range [][]string{{}, {"--json"}} {
		r := s.typed(`{"subject":"a","status":"active"}`).run(append([]string{"service-account", "import", "-"}, flags...)...)
		if r.err == nil || strings.ContainsAny(r.stdout, "\u202e\x1b") || strings.Contains(r.stdout, goodToken) || !strings.Contains(r.stdout, `\u202e`) {
			t.Errorf("%v: %v %q", flags, r.err, r.stdout)
		}
	}
}

func TestChunks(t *testing.T) {
	sizes := func(lines []line) (sizes []int) {
		for chunk := range chunks(lines) {
			sizes = append(sizes, len(chunk))
		}
		return sizes
	}
	some := func(n, size int) []line { return slices.Repeat([]line{{1, make([]byte, size)}}, n) }
	if got := sizes(nil); got != nil {
		t.Errorf("none: got %v", got)
	}
	if got := sizes(some(5001, 10)); !slices.Equal(got, []int{5000, 1}) {
		t.Errorf("5001 lines: got %v", got)
	}
	if got := sizes(some(1_000_000, 10)); len(got) != 20 || got[0] != 50_000 {
		t.Errorf("a million lines: got %v", got)
	}
	large := sizes(some(3000, account.MaxBody))
	if len(large) < 4 || large[0]*(account.MaxBody+1) > maxChunk {
		t.Errorf("large lines: got %v", large)
	}
}

func TestImportedJSONLinesAreJSON(t *testing.T) {
	_, s := newSite(t)
	r := s.typed(manyLines(3)).must("service-account", "import", "--json", "-")
	for line := range strings.Lines(r.stdout) {
		var got api.ImportResult
		if err := json.Unmarshal([]byte(line), &got); err != nil || got.Result != "created" || got.Line%2 != 0 {
			t.Errorf("%s: %+v %v", line, got, err)
		}
	}
}
