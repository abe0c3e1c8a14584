package caddymodule_test

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// What becomes of the license's file under a running server takes nothing away,
// but everybody who looks sees it: a restart would refuse all requests.
func TestLicenseSourceFaultIsTold(t *testing.T) {
	if apart(t) {
		return
	}
	short := asks("127.0.0.1")
	short.TTL, short.Grace = time.Minute, seconds(0)
	for name, c := range map[string]struct {
		spoil func(v *vendor)
		line  string // what the log says once
		words string // of the status
	}{
		"gone":       {(*vendor).remove, "the license is no longer where it came from", "no such file"},
		"a folder":   {func(v *vendor) { v.remove(); _ = os.Mkdir(v.file(), 0o700) }, "what was found is no license to be believed", "not a regular file"},
		"no license": {func(v *vendor) { v.write("{}") }, "what was found is no license to be believed", "missing"},
		"ended":      {func(v *vendor) { v.write(v.sign(2*time.Hour, short)) }, "a license was found that does not let pass now", "ended on"},
	} {
		t.Run(name, func(t *testing.T) {
			v, admin := newVendor(t), freeAddress(t)
			good := v.sign(0, asks("127.0.0.1"))
			v.write(good)
			g := prepare(t, "WITHADMIN", strings.Replace(globals, "admin off", "admin "+admin, 1), "FILE", v.file(), "PUBLIC", v.public())
			if err := g.load(explained); err != nil {
				t.Fatal(err)
			}
			status := func() map[string]any {
				object := g.do(g.client, http.MethodGet, "http://"+admin+"/api/status").object(t)
				return object["license"].(map[string]any)
			}
			if got := status(); got["source_error"] != "" || g.scrape()["license_source_fault"] != 0 || got["source"] != "file "+v.file() {
				t.Errorf("got %v before anything happened", got)
			}
			c.spoil(v)
			eventually(t, "the metric tells of the fault", func() bool { return g.scrape()["license_source_fault"] == 1 })
			now := status()
			if words, _ := now["source_error"].(string); !strings.Contains(words, c.words) || now["state"] != "expiring" || now["is_valid"] != true {
				t.Errorf("got %v, want the license in force and a fault with %q", now, c.words)
			}
			if got := g.get("/"); got.status != 200 {
				t.Errorf("got %d, want the last good license to serve on", got.status)
			}
			if n := strings.Count(g.log(), c.line); n != 1 {
				t.Errorf("the log says %d times %q, want once", n, c.line)
			}
			_ = os.Remove(v.file())
			v.write(good)
			eventually(t, "the fault is over", func() bool { return g.scrape()["license_source_fault"] == 0 })
			if got := status(); got["source_error"] != "" {
				t.Errorf("got %v, want no fault any more", got)
			}
		})
	}
}
