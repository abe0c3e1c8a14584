package license

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf16"
)

const (
	goodKeyID     = "7f49c97de9356c085ea5d33f344983a20d51563d176875830d09cb6ca29f0133"
	goodSignature = "AAECAwQFBgc="
	goodV1        = `"type":"enterprise","issued_at":1767225600,"expire_at":1798761600,"allowed_hosts":["a.org"],"description":"Acme"`
	goodV2        = `"v":2,` + goodV1
)

func envelope(payload string) string {
	return fmt.Sprintf(`{"key_id":%q,"payload":{%s},"signature":%q}`, goodKeyID, payload, goodSignature)
}

func TestDecodeAccepts(t *testing.T) {
	many := strings.Repeat(`"a.org",`, maxHosts-1) + `"b.org"`
	for name, data := range map[string]string{
		"version 1":            envelope(goodV1),
		"version 2":            envelope(goodV2),
		"white space":          " \t\r\n" + envelope(goodV1) + "\n\n",
		"other order":          fmt.Sprintf(`{"signature":%q,"payload":{%s},"key_id":%q}`, goodSignature, goodV1, goodKeyID),
		"escapes":              envelope(strings.Replace(goodV1, "Acme", `\u0041cme \ud83d\ude00 \"\\\/`, 1)),
		"256 hosts":            envelope(strings.Replace(goodV1, `"a.org"`, many, 1)),
		"bad pattern":          envelope(strings.Replace(goodV1, `"a.org"`, `"a.org","*b"`, 1)),
		"features":             envelope(goodV1 + `,"features":["a","b-2"]`),
		"no features":          envelope(goodV2 + `,"features":[]`),
		"every feature":        envelope(goodV2 + `,"features":["*"]`),
		"unsorted features":    envelope(goodV2 + `,"features":["b","a"]`),
		"colons in version 2":  envelope(strings.Replace(goodV2, "Acme", "Acme:prod", 1)),
		"IPv6 in version 2":    envelope(strings.Replace(goodV2, "a.org", "::1", 1)),
		"greatest integers":    envelope(goodV2 + `,"limits":{"a":9007199254740992,"b":-9007199254740992,"c":0}`),
		"negative times":       envelope(strings.NewReplacer("1767225600", "-2", "1798761600", "-1").Replace(goodV2)),
		"grace 0":              envelope(goodV2 + `,"grace":0,"not_before":0`),
		"all of version 2":     envelope(goodV2 + `,"id":"5B0E3C0E-8b0e-4a5e-9a52-0d7d3a0f9f11","issuer":"I","environment":"e","crit":["grace"],"limits":{"a":1}`),
		"description of 2":     envelope(strings.Replace(goodV1, "Acme", "é", 1)),
		"description of 200":   envelope(strings.Replace(goodV1, "Acme", strings.Repeat("é", 100), 1)),
		"JSON in all its ways": "{\n\"key_id\" :\t\"" + goodKeyID + "\",\"payload\": {" + goodV1 + "} ,\"signature\":\"" + goodSignature + "\"\r\n}",
	} {
		t.Run(name, func(t *testing.T) {
			l, err := Decode([]byte(data))
			if err != nil {
				t.Fatal(err)
			}
			checkEncodes(t, l)
		})
	}
}

// checkEncodes makes sure that a license written and read again is the same.
func checkEncodes(t *testing.T, l *License) {
	t.Helper()
	data, err := l.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Decode(data)
	if err != nil || !reflect.DeepEqual(again, l) {
		t.Errorf("written and read again: %v, %+v; want %+v", err, again, l)
	}
}

func TestDecodeRefuses(t *testing.T) {
	swap := func(payload, old, with string) string { return envelope(strings.Replace(payload, old, with, 1)) }
	for _, c := range []struct{ name, data, field, want string }{
		{"nothing", "", "", "ends before"},
		{"white space", " \n", "", "ends before"},
		{"cut", envelope(goodV1)[:100], "", "ends before"},
		{"too long", strings.Repeat(" ", MaxSize+1), "", "at most 65536"},
		{"array", "[]", "", "is an array; want an object"},
		{"null", "null", "", "is null; want an object"},
		{"comment", "// license\n" + envelope(goodV1), "", "not valid JSON"},
		{"trailing comma", `{"key_id":"a",}`, "", "not valid JSON"},
		{"second object", envelope(goodV1) + "{}", "", "something follows"},
		{"trailing text", envelope(goodV1) + "x", "", "something follows"},
		{"trailing NUL", envelope(goodV1) + "\x00", "", "something follows"},
		{"empty object", "{}", "key_id", "is missing"},
		{"no payload", `{"key_id":"a","signature":"b"}`, "payload", "is missing"},
		{"no signature", `{"key_id":"a","payload":{` + goodV1 + `}}`, "signature", "is missing"},
		{"unknown member", strings.Replace(envelope(goodV1), "{", `{"alg":"none",`, 1), "", `unknown member "alg"`},
		{"wrong case", strings.Replace(envelope(goodV1), "key_id", "Key_ID", 1), "", `want it spelled "key_id"`},
		{"repeated member", strings.Replace(envelope(goodV1), "{", `{"key_id":"a",`, 1), "key_id", "twice"},
		{"repeated, escaped", strings.Replace(envelope(goodV1), "{", `{"key\u005fid":"a",`, 1), "key_id", "twice"},

		{"key id null", strings.Replace(envelope(goodV1), `"`+goodKeyID+`"`, "null", 1), "key_id", "is null; want a string"},
		{"key id upper case", strings.Replace(envelope(goodV1), goodKeyID, strings.ToUpper(goodKeyID), 1), "key_id", "lower-case"},
		{"key id short", strings.Replace(envelope(goodV1), goodKeyID, goodKeyID[2:], 1), "key_id", "64"},
		{"key id not hex", strings.Replace(envelope(goodV1), goodKeyID, "g"+goodKeyID[1:], 1), "key_id", "hexadecimal"},
		{"key id long", strings.Replace(envelope(goodV1), goodKeyID, strings.Repeat("ab", 5000), 1), "key_id", "64"},

		{"signature empty", strings.Replace(envelope(goodV1), goodSignature, "", 1), "signature", "not base64"},
		{"signature unpadded", strings.Replace(envelope(goodV1), goodSignature, "AAECAwQFBgc", 1), "signature", "not base64"},
		{"signature URL alphabet", strings.Replace(envelope(goodV1), goodSignature, "AAECAwQFB-c=", 1), "signature", "not base64"},
		{"signature line end", strings.Replace(envelope(goodV1), goodSignature, `AAECAwQF\nBgc=`, 1), "signature", "control character"},
		{"signature space", strings.Replace(envelope(goodV1), goodSignature, "AAECAwQF Bgc=", 1), "signature", "not base64"},
		{"signature loose bits", strings.Replace(envelope(goodV1), goodSignature, "AAECAwQFBgd=", 1), "signature", "not base64"},
		{"signature number", strings.Replace(envelope(goodV1), `"`+goodSignature+`"`, "1", 1), "signature", "is a number; want a string"},

		{"payload string", strings.Replace(envelope(goodV1), "{"+goodV1+"}", `"x"`, 1), "payload", "is a string; want an object"},
		{"payload empty", envelope(""), "payload.type", "is missing"},
		{"unknown in payload", envelope(goodV1 + `,"seats":1`), "payload", `unknown member "seats"`},
		{"prototype", envelope(goodV1 + `,"__proto__":{}`), "payload", "unknown member"},
		{"wrong case in payload", swap(goodV1, "type", "Type"), "payload", `want it spelled "type"`},
		{"repeated in payload", envelope(goodV1 + `,"expire_at":1798761601`), "payload.expire_at", "twice"},
		{"very long member", envelope(goodV1 + `,"` + strings.Repeat("x", 9000) + `":1`), "payload", "unknown member"},

		{"v null", swap(goodV2, `"v":2`, `"v":null`), "payload.v", "is null"},
		{"v 0", swap(goodV2, `"v":2`, `"v":0`), "payload.v", "is 0; want 2"},
		{"v 1", swap(goodV2, `"v":2`, `"v":1`), "payload.v", "is 1; want 2"},
		{"v 3", swap(goodV2, `"v":2`, `"v":3`), "payload.v", "is 3; want 2"},
		{"v string", swap(goodV2, `"v":2`, `"v":"2"`), "payload.v", "is a string; want an integer"},

		{"type unknown", swap(goodV1, "enterprise", "trial"), "payload.type", `want "oss" or "enterprise"`},
		{"type case", swap(goodV1, "enterprise", "OSS"), "payload.type", `is "OSS"`},
		{"type missing", swap(goodV1, `"type":"enterprise",`, ""), "payload.type", "is missing"},

		{"time fraction", swap(goodV1, "1767225600", "1767225600.0"), "payload.issued_at", "plain digits"},
		{"time exponent", swap(goodV1, "1767225600", "1e9"), "payload.issued_at", "plain digits"},
		{"time negative zero", swap(goodV1, "1767225600", "-0"), "payload.issued_at", "plain digits"},
		{"time leading zero", swap(goodV1, "1767225600", "01"), "", "not valid JSON"},
		{"time plus", swap(goodV1, "1767225600", "+1"), "", "not valid JSON"},
		{"time hexadecimal", swap(goodV1, "1767225600", "0x1"), "", "not valid JSON"},
		{"time string", swap(goodV1, "1767225600", `"1767225600"`), "payload.issued_at", "is a string"},
		{"time null", swap(goodV1, "1767225600", "null"), "payload.issued_at", "is null"},
		{"time true", swap(goodV1, "1767225600", "true"), "payload.issued_at", "is a boolean"},
		{"time over 2^53", swap(goodV1, "1798761600", "9007199254740993"), "payload.expire_at", "2^53"},
		{"time under -2^53", swap(goodV1, "1767225600", "-9007199254740993"), "payload.issued_at", "2^53"},
		{"time over 64 bits", swap(goodV1, "1798761600", strings.Repeat("9", 400)), "payload.expire_at", "2^53"},
		{"ends as it begins", swap(goodV1, "1798761600", "1767225600"), "payload.expire_at", "after issued_at"},
		{"ends before", swap(goodV1, "1798761600", "1767225599"), "payload.expire_at", "after issued_at"},

		{"no hosts", swap(goodV1, `"a.org"`, ""), "payload.allowed_hosts", "0 entries"},
		{"257 hosts", swap(goodV1, `"a.org"`, strings.Repeat(`"a",`, 256)+`"a"`), "payload.allowed_hosts", "at most 256"},
		{"hosts string", swap(goodV1, `["a.org"]`, `"a.org"`), "payload.allowed_hosts", "is a string; want an array"},
		{"hosts null", swap(goodV1, `["a.org"]`, `null`), "payload.allowed_hosts", "is null"},
		{"host null", swap(goodV1, `"a.org"`, `"a.org",null`), "payload.allowed_hosts[1]", "is null; want a string"},
		{"host nested", swap(goodV1, `"a.org"`, strings.Repeat("[", 5000)+strings.Repeat("]", 5000)), "payload.allowed_hosts[0]", "is an array; want a string"},
		{"host control", swap(goodV1, "a.org", `a\u007f.org`), "payload.allowed_hosts[0]", "control"},
		{"host long", swap(goodV1, "a.org", strings.Repeat("a", 1025)), "payload.allowed_hosts[0]", "1025 bytes"},
		{"host with comma", swap(goodV1, "a.org", "a.org,b.org"), "payload.allowed_hosts", "version 2"},
		{"host with colon", swap(goodV1, "a.org", "::1"), "payload.allowed_hosts", "version 2"},

		{"description of 1", swap(goodV1, "Acme", "A"), "payload.description", "1 bytes; want 2 to 200"},
		{"description of 201", swap(goodV1, "Acme", strings.Repeat("a", 201)), "payload.description", "201 bytes"},
		{"description control", swap(goodV1, "Acme", `Ac\u0000me`), "payload.description", "control"},
		{"description C1 control", swap(goodV1, "Acme", `Ac\u0085me`), "payload.description", "control"},
		{"description raw control", swap(goodV1, "Acme", "Ac\nme"), "", "not valid JSON"},
		{"description bad UTF-8", swap(goodV1, "Acme", "Ac\xffme"), "", "not valid JSON"},
		{"description lone surrogate", swap(goodV1, "Acme", `Ac\ud800me`), "", "not valid JSON"},
		{"description ambiguous", swap(goodV1, "Acme", "Acme:prod"), "payload.description", "put a space after ':'"},
		{"description ambiguous list", swap(goodV1, "Acme", "Acme:a,b-1"), "payload.description", "put a space after ':'"},

		{"features empty in version 1", envelope(goodV1 + `,"features":[]`), "payload.features", "needs version 2"},
		{"features * in version 1", envelope(goodV1 + `,"features":["*"]`), "payload.features", "needs version 2"},
		{"features null", envelope(goodV1 + `,"features":null`), "payload.features", "is null"},
		{"features unsorted in version 1", envelope(goodV1 + `,"features":["b","a"]`), "payload.features", "not sorted"},
		{"feature twice", envelope(goodV1 + `,"features":["a","a"]`), "payload.features[1]", "second time"},
		{"feature upper case", envelope(goodV2 + `,"features":["A"]`), "payload.features[0]", `is "A"`},
		{"feature hyphen first", envelope(goodV2 + `,"features":["-a"]`), "payload.features[0]", "hyphens"},
		{"feature empty", envelope(goodV2 + `,"features":[""]`), "payload.features[0]", `is ""`},
		{"feature with newline", envelope(goodV2 + `,"features":["a\n"]`), "payload.features[0]", "control"},
		{"feature long", envelope(goodV2 + `,"features":["` + strings.Repeat("a", 65) + `"]`), "payload.features[0]", "at most 64"},
		{"feature * beside another", envelope(goodV2 + `,"features":["*","a"]`), "payload.features[0]", "alone"},
		{"257 features", envelope(goodV2 + `,"features":[` + strings.Repeat(`"a",`, 256) + `"a"]`), "payload.features", "at most 256"},

		{"id in version 1", envelope(goodV1 + `,"id":"5b0e3c0e-8b0e-4a5e-9a52-0d7d3a0f9f11"`), "payload.id", "needs version 2"},
		{"issuer in version 1", envelope(goodV1 + `,"issuer":"I"`), "payload.issuer", "needs version 2"},
		{"not_before in version 1", envelope(goodV1 + `,"not_before":0`), "payload.not_before", "needs version 2"},
		{"grace in version 1", envelope(goodV1 + `,"grace":0`), "payload.grace", "needs version 2"},
		{"limits in version 1", envelope(goodV1 + `,"limits":{"a":1}`), "payload.limits", "needs version 2"},
		{"environment in version 1", envelope(goodV1 + `,"environment":"e"`), "payload.environment", "needs version 2"},
		{"crit in version 1", envelope(goodV1 + `,"crit":["grace"]`), "payload.crit", "needs version 2"},

		{"id empty", envelope(goodV2 + `,"id":""`), "payload.id", "is empty"},
		{"id no UUID", envelope(goodV2 + `,"id":"7"`), "payload.id", "want a UUID"},
		{"id in braces", envelope(goodV2 + `,"id":"{5b0e3c0e-8b0e-4a5e-9a52-0d7d3a0f9f11}"`), "payload.id", "want a UUID"},
		{"issuer empty", envelope(goodV2 + `,"issuer":""`), "payload.issuer", "is empty"},
		{"issuer long", envelope(goodV2 + `,"issuer":"` + strings.Repeat("a", 201) + `"`), "payload.issuer", "201 bytes"},
		{"environment empty", envelope(goodV2 + `,"environment":""`), "payload.environment", "is empty"},
		{"environment long", envelope(goodV2 + `,"environment":"` + strings.Repeat("a", 101) + `"`), "payload.environment", "101 bytes"},
		{"not_before at the end", envelope(goodV2 + `,"not_before":1798761600`), "payload.not_before", "before expire_at"},
		{"not_before null", envelope(goodV2 + `,"not_before":null`), "payload.not_before", "is null"},
		{"grace negative", envelope(goodV2 + `,"grace":-1`), "payload.grace", "0 or more"},
		{"grace over 2^53", envelope(goodV2 + `,"grace":9007199254740993`), "payload.grace", "2^53"},
		{"limits empty", envelope(goodV2 + `,"limits":{}`), "payload.limits", "0 members"},
		{"limits array", envelope(goodV2 + `,"limits":[1]`), "payload.limits", "is an array; want an object"},
		{"limit string", envelope(goodV2 + `,"limits":{"a":"1"}`), "payload.limits.a", "is a string; want an integer"},
		{"limit fraction", envelope(goodV2 + `,"limits":{"a":1.5}`), "payload.limits.a", "plain digits"},
		{"limit twice", envelope(goodV2 + `,"limits":{"a":1,"a":2}`), "payload.limits.a", "twice"},
		{"limit name", envelope(goodV2 + `,"limits":{"a b":1}`), "payload.limits", `the name "a b"`},
		{"limit control name", envelope(goodV2 + `,"limits":{"a\n":"x"}`), `payload.limits."a\n"`, "is a string"},
		{"65 limits", envelope(goodV2 + `,"limits":{` + numbered(65) + `}`), "payload.limits", "at most 64"},
		{"crit empty", envelope(goodV2 + `,"crit":[]`), "payload.crit", "0 entries"},
		{"crit twice", envelope(goodV2 + `,"crit":["a","a"]`), "payload.crit[1]", "second time"},
		{"crit name", envelope(goodV2 + `,"crit":[" "]`), "payload.crit[0]", `is " "`},
		{"17 crit", envelope(goodV2 + `,"crit":[` + strings.Repeat(`"a",`, 16) + `"a"]`), "payload.crit", "at most 16"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := Decode([]byte(c.data))
			if err == nil {
				t.Fatalf("read as %+v, want an error", l)
			}
			wantError(t, err, ReasonForm, c.field, c.want)
			var again License
			if json.Unmarshal([]byte(c.data), &again) == nil {
				t.Error("json.Unmarshal takes it")
			}
		})
	}
}

func numbered(n int) string {
	members := make([]string, n)
	for i := range n {
		members[i] = fmt.Sprintf(`"a%d":1`, i)
	}
	return strings.Join(members, ",")
}

// A payload that was made by hand is held to the same form as one decoded.
func TestSignedBytesChecksForm(t *testing.T) {
	bad := []func(p *Payload){
		func(p *Payload) { p.V = 3 },
		func(p *Payload) { p.Type = "" },
		func(p *Payload) { p.Description = "Ac\xffme" },
		func(p *Payload) { p.Limits = map[string]int64{"a": maxInteger + 1} },
		func(p *Payload) { p.Limits = map[string]int64{} },
		func(p *Payload) { p.Crit = []string{} },
		func(p *Payload) { p.AllowedHosts = nil },
		func(p *Payload) { p.Features = make([]string, maxFeatures+1) },
		func(p *Payload) { p.V, p.Features = 0, []string{} },
	}
	for i, spoil := range bad {
		p := Payload{V: 2, Type: OSS, IssuedAt: 1, ExpireAt: 2, AllowedHosts: []string{"a.org"}, Description: "Acme"}
		if _, err := signedBytes(goodKeyID, &p); err != nil {
			t.Fatal(err)
		}
		spoil(&p)
		if data, err := signedBytes(goodKeyID, &p); err == nil {
			t.Errorf("case %d gives the bytes %q, want an error", i, data)
		}
	}
}

func TestEncodeRefusesWhatCannotBeRead(t *testing.T) {
	l := &License{Signature: strings.Repeat("a", MaxSize)}
	_, err := l.Encode()
	wantError(t, err, ReasonForm, "", "want at most 65536")
}

// utf16LE is a text as PowerShell's `>` writes it.
func utf16LE(text []byte) []byte {
	out := []byte("\xff\xfe")
	for _, unit := range utf16.Encode([]rune(string(text))) {
		out = append(out, byte(unit), byte(unit>>8))
	}
	return out
}

func TestByteOrderMarks(t *testing.T) {
	data := readFile(t, "v2-ed25519.json")
	key, err := EncodePublicKey(testKey(t, "ed25519").Public())
	if err != nil {
		t.Fatal(err)
	}
	v := newVerifier(t, at(expires-1), Config{})
	if s := v.Open(append([]byte("\ufeff"), data...)); s.Err() != nil {
		t.Errorf("a license behind a mark: %v", s.Err())
	}
	if _, err := ParsePublicKeys(append([]byte("\ufeff"), key...)); err != nil {
		t.Errorf("a key behind a mark: %v", err)
	}
	for _, text := range [][]byte{utf16LE(data), utf16LE(data)[2:]} {
		wantError(t, v.Open(text).Err(), ReasonForm, "", "UTF-16")
	}
	if _, err := ParsePublicKeys(utf16LE(key)); err == nil || err.Error() != "reading public keys: the text is in UTF-16; save it in UTF-8" {
		t.Errorf("a key in UTF-16: %v", err)
	}
}
