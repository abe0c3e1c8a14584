package activation

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/keyfile"
)

var fuzzTime = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// FuzzRequest: what is read of a body asks for something whole, and a refusal repeats
// nothing of it.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		`{"product":"app","hardware_id":"one","customer_account_code":"acme","id_token":"a.b.c"}`,
		`{"product":"app","hardware_id":"one","customer_account_code":"acme","code":"x","code_verifier":"` + strings.Repeat("x", 43) + `","hosts":["a.example"]}`,
		`{"product":"app","hardware_id":"one","license_key":"8f0dbb8e-6d0e-4b40-a4f5-65df3f4ad001"}`,
		`{"product":null,"is_vm":true,"variables":{"a":[1]}}`, `{`, `[]`, `{"a":1}{`,
	} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, body []byte, gone bool) {
		op := Activate
		if gone {
			op = Deactivate
		}
		a, refusal := readJSON(op, body)
		if refusal != nil {
			if refusal.Code.Status() != 400 || len(refusal.Message) > 300 {
				t.Errorf("got %d %q", refusal.Code.Status(), refusal.Message)
			}
			return
		}
		checkAsk(t, op, a)
	})
}

func checkAsk(t *testing.T, op Operation, a *ask) {
	t.Helper()
	if a.product == "" || a.hardwareID == "" || len(a.hardwareID) > maxHardwareID || strings.ContainsAny(a.hardwareID, "\x00\n\x7f") {
		t.Errorf("got %+v", a)
	}
	if op != Deactivate && (a.account == "" || (a.idToken == "") == (a.code == "") || len(a.hosts) > maxHosts) {
		t.Errorf("got %+v", a)
	}
}

// FuzzOfflineFile: nothing but a file that its instance signed asks for anything.
func FuzzOfflineFile(f *testing.F) {
	key, err := keyfile.Parse([]byte(fuzzKey), "")
	if err != nil {
		f.Fatal(err)
	}
	good, err := license.SignOfflineRequest(key, license.OfflineRequest{
		Type: license.OfflineActivation, RequestID: "8f0dbb8e-6d0e-4b40-a4f5-65df3f4ad001", Product: "app", Account: "acme",
		Hosts: []string{"a.example"}, Date: fuzzTime.Format(time.RFC3339),
	})
	if err != nil {
		f.Fatal(err)
	}
	signed := strings.TrimSuffix(strings.TrimSpace(string(good)), "}") + `,"id_token":"a.b.c"}`
	form := "--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n" + string(good) + "\r\n--b\r\nContent-Disposition: form-data; name=\"id_token\"\r\n\r\na.b.c\r\n--b--\r\n"
	f.Add([]byte(signed), "")
	f.Add([]byte(base64.StdEncoding.EncodeToString([]byte(signed))), "text/plain")
	f.Add([]byte(form), "multipart/form-data; boundary=b")
	f.Add(good, "application/json")
	f.Add([]byte("{}"), "multipart/form-data")
	id, err := license.KeyID(key.Public())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, contentType string) {
		a, refusal := readOffline(ActivateOffline, contentType, body, fuzzTime)
		if refusal != nil {
			if refusal.Code.Status() != 400 || len(refusal.Message) > 300 {
				t.Errorf("got %d %q", refusal.Code.Status(), refusal.Message)
			}
			return
		}
		checkAsk(t, ActivateOffline, a)
		if a.hardwareID == id && (a.account != "acme" || a.product != "app" || len(a.hosts) != 1) {
			t.Errorf("the instance did not sign %+v", a)
		}
	})
}

// fuzzKey is one for the seeds to be the same each time.
const fuzzKey = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f
-----END PRIVATE KEY-----
`
