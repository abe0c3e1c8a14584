package secevent

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-proxy/gatehouse/auth/revocation"
	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
)

const (
	caepIssuer    = "https://idp.example.com/123456789/"
	caepAudience  = "https://sp.example.com/caep"
	caepIssuer2   = "https://idp.example.com/987654321/"
	caepIssuer3   = "https://idp.example.com/3456789/"
	caepAudience2 = "https://sp.example2.net/caep"
	riscIssuer    = "https://idp.example.com/"
	riscAudience  = "636C69656E745F6964"
	scimIssuer    = "https://scim.example.com"
	ssfIssuer     = "https://transmitter.example.com"
	ssfAudience   = "receiver.example.com"
)

// The examples that the specifications print, when they were new, signed by a key of
// the issuer that they name. They are as printed, but for white space.
var printed = []struct {
	name             string
	issuer, audience string
	claims           string
	kind             Kind
	want             []Subject
	says             string // of the refusal
}{
	{
		"Back-Channel Logout 1.0, section 2.4", "https://server.example.com", "s6BhdRkqt3",
		`{"iss": "https://server.example.com", "sub": "248289761001", "aud": "s6BhdRkqt3", "iat": 1471566154, "exp": 1471569754, "jti": "bWJq",
			"sid": "08a5019c-17e1-4977-8f42-65a12843ea02", "events": {"http://schemas.openid.net/event/backchannel-logout": {}}}`,
		BackChannelLogout, []Subject{{revocation.Session, "08a5019c-17e1-4977-8f42-65a12843ea02"}}, "",
	},
	{
		"RFC 8417, section 2.1.1", scimIssuer, "https://jhub.example.com/Feeds/98d52461fa5bbc879593b7754",
		`{"iss": "https://scim.example.com", "iat": 1458496025, "jti": "3d0c3cf797584bd193bd0fb1bd4e7d30",
			"aud": ["https://jhub.example.com/Feeds/98d52461fa5bbc879593b7754", "https://jhub.example.com/Feeds/5d7604516b1d08641d7676ee7"],
			"sub": "https://scim.example.com/Users/44f6142df96bd6ab61e7521d9",
			"events": {"urn:ietf:params:scim:event:passwordReset": {"id": "44f6142df96bd6ab61e7521d9"},
				"https://example.com/scim/event/passwordResetExt": {"resetAttempts": 5}}}`,
		Other, nil, "",
	},
	{
		"RFC 8417, section 2.1.2", "https://server.example.com", "s6BhdRkqt3", // a logout token, as it was before it had to have exp
		`{"iss": "https://server.example.com", "sub": "248289761001", "aud": "s6BhdRkqt3", "iat": 1471566154, "jti": "bWJq",
			"sid": "08a5019c-17e1-4977-8f42-65a12843ea02", "events": {"http://schemas.openid.net/event/backchannel-logout": {}}}`,
		BackChannelLogout, []Subject{{revocation.Session, "08a5019c-17e1-4977-8f42-65a12843ea02"}}, "",
	},
	{
		"RFC 8417, section 2.1.3", "https://my.med.example.org", "https://rp.example.com",
		`{"iss": "https://my.med.example.org", "iat": 1458496025, "jti": "fb4e75b5411e4e19b6c0fe87950f7749", "aud": ["https://rp.example.com"],
			"events": {"https://openid.net/heart/specs/consent.html": {"iss": "https://connect.example.com", "sub": "248289761001",
				"consentUri": ["https://terms.med.example.org/labdisclosure.html#Agree"]}}}`,
		Other, nil, "",
	},
	{
		"RFC 8417, section 2.1.4", riscIssuer, riscAudience, // with the names that RISC had before RFC 9493
		`{"iss": "https://idp.example.com/", "jti": "756E69717565206964656E746966696572", "iat": 1508184845, "aud": "636C69656E745F6964",
			"events": {"https://schemas.openid.net/secevent/risc/event-type/account-disabled": {
				"subject": {"subject_type": "iss-sub", "iss": "https://idp.example.com/", "sub": "7375626A656374"}, "reason": "hijacking"}}}`,
		AccountDisabled, []Subject{{revocation.Subject, "7375626A656374"}}, "",
	},
	{
		"RFC 8417, section 2.4", scimIssuer, "https://scim.example.com/Feeds/5d7604516b1d08641d7676ee7",
		`{"iss": "https://scim.example.com", "iat": 1458496404, "jti": "4d3559ec67504aaba65d40b0363faad8",
			"aud": ["https://scim.example.com/Feeds/98d52461fa5bbc879593b7754", "https://scim.example.com/Feeds/5d7604516b1d08641d7676ee7"],
			"events": {"urn:ietf:params:scim:event:create": {"ref": "https://scim.example.com/Users/44f6142df96bd6ab61e7521d9",
				"attributes": ["id", "name", "userName", "password", "emails"]}}}`,
		Other, nil, "",
	},
	{
		"CAEP 1.0, section 3.1.2, a simple subject", caepIssuer, caepAudience,
		`{"iss": "https://idp.example.com/123456789/", "jti": "24c63fb56e5a2d77a6b512616ca9fa24", "iat": 1615305159, "aud": "https://sp.example.com/caep", "txn": "8675309",
			"sub_id": {"format": "opaque", "id": "dMTlD|1600802906337.16|16008.16"},
			"events": {"https://schemas.openid.net/secevent/caep/event-type/session-revoked": {"event_timestamp": 1615304991}}}`,
		SessionRevoked, []Subject{{revocation.Subject, "dMTlD|1600802906337.16|16008.16"}}, "",
	},
	{
		"CAEP 1.0, section 3.1.2, a session, a user and a tenant", caepIssuer, caepAudience,
		`{"iss": "https://idp.example.com/123456789/", "jti": "24c63fb56e5a2d77a6b512616ca9fa24", "iat": 1615305159, "aud": "https://sp.example.com/caep", "txn": "8675309",
			"sub_id": {"format": "complex", "session": {"format": "opaque", "id": "dMTlD|1600802906337.16|16008.16"},
				"user": {"format": "iss_sub", "iss": "https://idp.example.com/123456789/", "sub": "99beb27c-c1c2-4955-882a-e0dc4996fcbc"},
				"tenant": {"format": "opaque", "id": "123456789"}},
			"events": {"https://schemas.openid.net/secevent/caep/event-type/session-revoked": {"initiating_entity": "policy",
				"reason_admin": {"en": "Landspeed Policy Violation: C076E82F"},
				"reason_user": {"en": "Access attempt from multiple regions.", "es-410": "Intento de acceso desde varias regiones."},
				"event_timestamp": 1615304991}}}`,
		SessionRevoked, []Subject{{revocation.Session, "dMTlD|1600802906337.16|16008.16"}}, "",
	},
	{
		"CAEP 1.0, section 3.1.2, a user, a device and a tenant", caepIssuer, caepAudience,
		`{"iss": "https://idp.example.com/123456789/", "jti": "24c63fb56e5a2d77a6b512616ca9fa24", "iat": 1615305159, "aud": "https://sp.example.com/caep", "txn": "8675309",
			"sub_id": {"format": "complex", "user": {"format": "iss_sub", "iss": "https://idp.example.com/123456789/", "sub": "jane.smith@example.com"},
				"device": {"format": "iss_sub", "iss": "https://idp.example.com/123456789/", "sub": "e9297990-14d2-42ec-a4a9-4036db86509a"},
				"tenant": {"format": "opaque", "id": "123456789"}},
			"events": {"https://schemas.openid.net/secevent/caep/event-type/session-revoked": {"initiating_entity": "policy",
				"reason_admin": {"en": "Policy Violation: C076E822"},
				"reason_user": {"en": "This device is no longer compliant.", "it": "Questo dispositivo non è più conforme."},
				"event_timestamp": 1615304991}}}`,
		SessionRevoked, []Subject{{revocation.Subject, "jane.smith@example.com"}}, "",
	},
	{
		"CAEP 1.0, section 3.2.2, of an ID token", caepIssuer2, caepAudience2,
		`{"iss": "https://idp.example.com/987654321/", "jti": "9afce1e4e642b165fcaacdd0e7aa4903", "iat": 1615305159, "aud": "https://sp.example2.net/caep", "txn": "8675309",
			"sub_id": {"format": "jwt_id", "iss": "https://idp.example.com/987654321/", "jti": "f61t6e20zdo3px56gepu8rzlsp4c1dpc0fx7"},
			"events": {"https://schemas.openid.net/secevent/caep/event-type/token-claims-change": {"event_timestamp": 1615304991, "claims": {"role": "ro-admin"}}}}`,
		TokenClaimsChange, []Subject{{revocation.TokenID, "f61t6e20zdo3px56gepu8rzlsp4c1dpc0fx7"}}, "",
	},
	{
		"CAEP 1.0, section 3.2.2, of a SAML assertion", caepIssuer2, caepAudience2,
		`{"iss": "https://idp.example.com/987654321/", "jti": "dae94fed5f459881efa38b65c6772ddc", "iat": 1615305159, "aud": "https://sp.example2.net/caep", "txn": "8675309",
			"sub_id": {"format": "saml_assertion_id", "issuer": "https://idp.example.com/987654321/", "assertion_id": "_a75adf55-01d7-dbd8372ebdfc"},
			"events": {"https://schemas.openid.net/secevent/caep/event-type/token-claims-change": {"event_timestamp": 1615304991,
				"claims": {"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/role": "ro-admin"}}}}`,
		TokenClaimsChange, nil, "format is not supported",
	},
	{
		"CAEP 1.0, section 3.3.2", caepIssuer3, caepAudience2,
		`{"iss": "https://idp.example.com/3456789/", "jti": "07efd930f0977e4fcc1149a733ce7f78", "iat": 1615305159, "aud": "https://sp.example2.net/caep", "txn": "8675309",
			"sub_id": {"format": "iss_sub", "iss": "https://idp.example.com/3456789/", "sub": "jane.smith@example.com"},
			"events": {"https://schemas.openid.net/secevent/caep/event-type/credential-change": {"credential_type": "fido2-roaming", "change_type": "create",
				"fido2_aaguid": "accced6a-63f5-490a-9eea-e59bc1896cfc", "friendly_name": "Jane's USB authenticator", "initiating_entity": "user",
				"reason_admin": {"en": "User self-enrollment"}, "event_timestamp": 1615304991}}}`,
		CredentialChange, nil, "",
	},
	{
		"CAEP 1.0, section 3.4.2", caepIssuer3, caepAudience2,
		`{"iss": "https://idp.example.com/3456789/", "jti": "07efd930f0977e4fcc1149a733ce7f78", "iat": 1615305159, "aud": "https://sp.example2.net/caep", "txn": "8675309",
			"sub_id": {"format": "iss_sub", "iss": "https://idp.example.com/3456789/", "sub": "jane.smith@example.com"},
			"events": {"https://schemas.openid.net/secevent/caep/event-type/assurance-level-change": {"namespace": "NIST-AAL", "current_level": "nist-aal2",
				"previous_level": "nist-aal1", "change_direction": "increase", "initiating_entity": "user", "event_timestamp": 1615304991}}}`,
		Other, nil, "",
	},
	{
		"RISC 1.0, section 2.3", riscIssuer, riscAudience,
		`{"iss": "https://idp.example.com/", "jti": "756E69717565206964656E746966696572", "iat": 1508184845, "aud": "636C69656E745F6964",
			"sub_id": {"format": "iss_sub", "iss": "https://idp.example.com/", "sub": "7375626A656374"},
			"events": {"https://schemas.openid.net/secevent/risc/event-type/account-disabled": {"reason": "hijacking"}}}`,
		AccountDisabled, []Subject{{revocation.Subject, "7375626A656374"}}, "",
	},
	{
		"SSF 1.0, section 5, a simple subject", riscIssuer, riscAudience,
		`{"iss": "https://idp.example.com/", "jti": "756E69717565206964656E746966696572", "iat": 1520364019, "txn": "8675309", "aud": "636C69656E745F6964",
			"sub_id": {"format": "email", "email": "foo@example.com"},
			"events": {"https://schemas.openid.net/secevent/risc/event-type/account-enabled": {}}}`,
		Other, nil, "",
	},
	{
		"SSF 1.0, section 5, a telephone", riscIssuer, riscAudience,
		`{"iss": "https://idp.example.com/", "jti": "756E69717565206964656E746966696572", "iat": 1520364019, "txn": "8675309", "aud": "636C69656E745F6964",
			"sub_id": {"format": "phone_number", "phone_number": "+1 206 555 0123"},
			"events": {"https://schemas.openid.net/secevent/risc/event-type/account-disabled": {"reason": "hijacking"}}}`,
		AccountDisabled, nil, "format is not supported",
	},
	{
		"SSF 1.0, section 5, a complex subject", riscIssuer, riscAudience, // of users of other issuers
		`{"iss": "https://idp.example.com/", "jti": "756E69717565206964656E746966696572", "iat": 1520364019, "txn": "8675309", "aud": "636C69656E745F6964",
			"sub_id": {"format": "complex",
				"user": {"format": "iss_sub", "iss": "https://idp.example.com/3957ea72-1b66-44d6-a044-d805712b9288/", "sub": "jane.smith@example.com"},
				"device": {"format": "iss_sub", "iss": "https://idp.example.com/3957ea72-1b66-44d6-a044-d805712b9288/", "sub": "e9297990-14d2-42ec-a4a9-4036db86509a"}},
			"events": {"https://schemas.openid.net/secevent/caep/event-type/session-revoked": {"initiating_entity": "policy",
				"reason_admin": {"en": "Policy Violation: C076E82F"},
				"reason_user": {"en": "Land speed violation.", "es": "Violación de velocidad en tierra."}, "event_timestamp": 1600975810}}}`,
		SessionRevoked, nil, "another issuer",
	},
	{
		"SSF 1.0, section 8.1.4.2", ssfIssuer, ssfAudience,
		`{"jti": "123456", "iss": "https://transmitter.example.com", "aud": "receiver.example.com", "iat": 1493856000,
			"sub_id": {"format": "opaque", "id": "f67e39a0a4d34d56b3aa1bc4cff0069f"},
			"events": {"https://schemas.openid.net/secevent/ssf/event-type/verification": {"state": "VGhpcyBpcyBhbiBleGFtcGxlIHN0YXRlIHZhbHVlLgo="}}}`,
		Verification, nil, "",
	},
	{
		"SSF 1.0, section 8.1.5", ssfIssuer, ssfAudience,
		`{"jti": "123456", "iss": "https://transmitter.example.com", "aud": "receiver.example.com", "iat": 1493856000,
			"sub_id": {"format": "opaque", "id": "f67e39a0a4d34d56b3aa1bc4cff0069f"},
			"events": {"https://schemas.openid.net/secevent/ssf/event-type/stream-updated": {"status": "paused", "reason": "Internal error"}}}`,
		StreamUpdated, nil, "",
	},
}

func TestExamplesOfTheSpecifications(t *testing.T) {
	key := newSigner(t, "key")
	for _, c := range printed {
		t.Run(c.name, func(t *testing.T) {
			var claims struct{ Iat int64 }
			if err := json.Unmarshal([]byte(c.claims), &claims); err != nil {
				t.Fatal(err)
			}
			config := config(publish(t, key))
			config.Issuer, config.Audiences, config.Clients = c.issuer, []string{c.audience}, []string{c.audience}
			config.Now = func() time.Time { return time.Unix(claims.Iat+1, 0) }
			s, typ := sourceOf(t, config), typSET
			read := s.ReadSET
			if c.kind == BackChannelLogout {
				read, typ = s.ReadLogout, typLogout
			}
			e, err := read(t.Context(), key.sign([]byte(`{"alg":"ES256","kid":"key","typ":"`+typ+`"}`), []byte(c.claims)))
			check(t, e, err, c.want, c.says)
			kind := Unread
			if refusal := (*Refusal)(nil); errors.As(err, &refusal) {
				kind = refusal.Kind
			} else if e != nil {
				kind = e.Kind
			}
			if kind != c.kind {
				t.Errorf("it is %s, expected %s", kind, c.kind)
			}
		})
	}
}

// The subject identifiers of RFC 9493, section 3.2, and SSF 1.0, sections 3.3 and 3.5,
// to an issuer that has the names they need, and matches addresses.
func TestExamplesOfSubjects(t *testing.T) {
	for name, c := range map[string]struct {
		issuer, subject string
		want            Subject
		says            string
	}{
		"RFC 9493, section 3.2.1, account": {ours, `{"format": "account", "uri": "acct:example.user@service.example.com"}`, Subject{}, "format is not supported"},
		"RFC 9493, section 3.2.2, email":   {ours, `{"format": "email", "email": "user@example.com"}`, Subject{revocation.Subject, "user@example.com"}, ""},
		"RFC 9493, section 3.2.3, iss_sub": {
			"https://issuer.example.com/", `{"format": "iss_sub", "iss": "https://issuer.example.com/", "sub": "145234573"}`,
			Subject{revocation.Subject, "145234573"}, "",
		},
		"RFC 9493, section 3.2.4, opaque":       {ours, `{"format": "opaque", "id": "11112222333344445555"}`, Subject{revocation.Subject, "11112222333344445555"}, ""},
		"RFC 9493, section 3.2.5, phone_number": {ours, `{"format": "phone_number", "phone_number": "+12065550100"}`, Subject{}, "format is not supported"},
		"RFC 9493, section 3.2.6, did":          {ours, `{"format": "did", "url": "did:example:123456"}`, Subject{}, "format is not supported"},
		"RFC 9493, section 3.2.7, uri":          {ours, `{"format": "uri", "uri": "https://user.example.com/"}`, Subject{}, "format is not supported"},
		"RFC 9493, section 3.2.8, aliases": {
			ours, `{"format": "aliases", "identifiers": [{"format": "email", "email": "user@example.com"}, {"format": "phone_number", "phone_number": "+12065550100"},
				{"format": "email", "email": "user+qualifier@example.com"}]}`, Subject{}, "format is not supported",
		},
		"SSF 1.0, section 3.3, complex": {
			ours, `{"format": "complex", "user": {"format": "email", "email": "bar@example.com"},
				"tenant": {"format": "iss_sub", "iss": "https://example.com/idp1", "sub": "1234"}}`, Subject{revocation.Subject, "bar@example.com"}, "",
		},
		"SSF 1.0, section 3.5.1, jwt_id": {
			caepIssuer, `{"format": "jwt_id", "iss": "https://idp.example.com/123456789/", "jti": "B70BA622-9515-4353-A866-823539EECBC8"}`,
			Subject{revocation.TokenID, "B70BA622-9515-4353-A866-823539EECBC8"}, "",
		},
		"SSF 1.0, section 3.5.2, saml_assertion_id": {
			caepIssuer, `{"format": "saml_assertion_id", "issuer": "https://idp.example.com/123456789/", "assertion_id": "_8e8dc5f69a98cc4c1ff3427e5ce34606fd672f91e6"}`,
			Subject{}, "format is not supported",
		},
		"SSF 1.0, section 3.5.3, ip-addresses": {
			ours, `{"format": "ip-addresses", "ip-addresses": ["10.29.37.75", "2001:0db8:0000:0000:0000:8a2e:0370:7334"]}`, Subject{}, "format is not supported",
		},
	} {
		t.Run(name, func(t *testing.T) {
			config := config(publish(t, newSigner(t, "key")))
			config.Issuer, config.MatchEmail = c.issuer, true
			got, refusal := sourceOf(t, config).readSubject(jsontext.Value(c.subject), false)
			if c.says != "" {
				if refusal == nil || !strings.Contains(refusal.Description, c.says) {
					t.Errorf("got %v, %v; expected a refusal about %s", got, refusal, c.says)
				}
				return
			}
			if refusal != nil || got != c.want {
				t.Errorf("got %v, %v; expected %v", got, refusal, c.want)
			}
		})
	}
}

// RFC 8935, section 2.1, pushes the event of RFC 8417, section 2.1.4, under a shared key:
// none is accepted here.
func TestExampleOfAPush(t *testing.T) {
	const pushed = "eyJ0eXAiOiJzZWNldmVudCtqd3QiLCJhbGciOiJIUzI1NiJ9Cg" +
		".eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlLmNvbS8iLCJqdGkiOiI3NTZFNjk" +
		"3MTc1NjUyMDY5NjQ2NTZFNzQ2OTY2Njk2NTcyIiwiaWF0IjoxNTA4MTg0ODQ1LC" +
		"JhdWQiOiI2MzZDNjk2NTZFNzQ1RjY5NjQiLCJldmVudHMiOnsiaHR0cHM6Ly9zY" +
		"2hlbWFzLm9wZW5pZC5uZXQvc2VjZXZlbnQvcmlzYy9ldmVudC10eXBlL2FjY291" +
		"bnQtZGlzYWJsZWQiOnsic3ViamVjdCI6eyJzdWJqZWN0X3R5cGUiOiJpc3Mtc3V" +
		"iIiwiaXNzIjoiaHR0cHM6Ly9pZHAuZXhhbXBsZS5jb20vIiwic3ViIjoiNzM3NT" +
		"YyNkE2NTYzNzQifSwicmVhc29uIjoiaGlqYWNraW5nIn19fQ" +
		".Y4rXxMD406P2edv00cr9Wf3_XwNtLjB9n-jTqN1_lLc"
	config := config(publish(t, newSigner(t, "key")))
	config.Issuer, config.Audiences = riscIssuer, []string{riscAudience}
	config.Now = func() time.Time { return time.Unix(1508184845, 0) }
	e, err := sourceOf(t, config).ReadSET(t.Context(), pushed)
	check(t, e, err, nil, "alg")
	if refusal := (*Refusal)(nil); !errors.As(err, &refusal) || refusal.Code != InvalidKey {
		t.Errorf("got %v", err)
	}
}

// RFC 8936, section 2.5, answers with the events of RFC 8417, sections 2.4 and 2.1.1, as
// unsecured JWTs, which are not accepted here. That is said as in section 2.4.4.
func TestExampleOfAPoll(t *testing.T) {
	const answer = `{"sets": {
		"4d3559ec67504aaba65d40b0363faad8": "eyJhbGciOiJub25lIn0.` +
		`eyJqdGkiOiI0ZDM1NTllYzY3NTA0YWFiYTY1ZDQwYjAzNjNmYWFkOCIsImlhdCI6MTQ` +
		`1ODQ5NjQwNCwiaXNzIjoiaHR0cHM6Ly9zY2ltLmV4YW1wbGUuY29tIiwiYXVkIjpbIm` +
		`h0dHBzOi8vc2NpbS5leGFtcGxlLmNvbS9GZWVkcy85OGQ1MjQ2MWZhNWJiYzg3OTU5M` +
		`2I3NzU0IiwiaHR0cHM6Ly9zY2ltLmV4YW1wbGUuY29tL0ZlZWRzLzVkNzYwNDUxNmIx` +
		`ZDA4NjQxZDc2NzZlZTciXSwiZXZlbnRzIjp7InVybjppZXRmOnBhcmFtczpzY2ltOmV` +
		`2ZW50OmNyZWF0ZSI6eyJyZWYiOiJodHRwczovL3NjaW0uZXhhbXBsZS5jb20vVXNlcn` +
		`MvNDRmNjE0MmRmOTZiZDZhYjYxZTc1MjFkOSIsImF0dHJpYnV0ZXMiOlsiaWQiLCJuY` +
		`W1lIiwidXNlck5hbWUiLCJwYXNzd29yZCIsImVtYWlscyJdfX19.",
		"3d0c3cf797584bd193bd0fb1bd4e7d30": "eyJhbGciOiJub25lIn0.` +
		`eyJqdGkiOiIzZDBjM2NmNzk3NTg0YmQxOTNiZDBmYjFiZDRlN2QzMCIsImlhdCI6MTQ` +
		`1ODQ5NjAyNSwiaXNzIjoiaHR0cHM6Ly9zY2ltLmV4YW1wbGUuY29tIiwiYXVkIjpbIm` +
		`h0dHBzOi8vamh1Yi5leGFtcGxlLmNvbS9GZWVkcy85OGQ1MjQ2MWZhNWJiYzg3OTU5M` +
		`2I3NzU0IiwiaHR0cHM6Ly9qaHViLmV4YW1wbGUuY29tL0ZlZWRzLzVkNzYwNDUxNmIx` +
		`ZDA4NjQxZDc2NzZlZTciXSwic3ViIjoiaHR0cHM6Ly9zY2ltLmV4YW1wbGUuY29tL1V` +
		`zZXJzLzQ0ZjYxNDJkZjk2YmQ2YWI2MWU3NTIxZDkiLCJldmVudHMiOnsidXJuOmlldG` +
		`Y6cGFyYW1zOnNjaW06ZXZlbnQ6cGFzc3dvcmRSZXNldCI6eyJpZCI6IjQ0ZjYxNDJkZ` +
		`jk2YmQ2YWI2MWU3NTIxZDkifSwiaHR0cHM6Ly9leGFtcGxlLmNvbS9zY2ltL2V2ZW50` +
		`L3Bhc3N3b3JkUmVzZXRFeHQiOnsicmVzZXRBdHRlbXB0cyI6NX19fQ."}}`
	var asked []string
	sender := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, string(body))
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer)
	}))
	defer sender.Close()
	r, _, _ := receiver(t, config(publish(t, newSigner(t, "key"))), faultstorage.New(faultstorage.Faults{}))
	p := NewPoller(PollConfig{URL: sender.URL, Client: sender.Client()}, r, nil)
	for range 2 {
		if fresh, err := p.poll(t.Context()); fresh || err != nil {
			t.Fatalf("fresh %t, %v", fresh, err)
		}
	}
	const refused = `{"err":"invalid_request","description":"not a JWT in JWS compact serialization: an encrypted or unsigned one is not accepted"}`
	want := []string{
		`{"maxEvents":100,"returnImmediately":true}`,
		`{"maxEvents":100,"returnImmediately":true,"setErrs":{"3d0c3cf797584bd193bd0fb1bd4e7d30":` + refused + `,"4d3559ec67504aaba65d40b0363faad8":` + refused + `}}`,
	}
	if !slices.Equal(asked, want) {
		t.Errorf("asked %q", asked)
	}
}
