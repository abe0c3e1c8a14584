package license

import (
	"strings"
	"testing"
	"time"
)

func TestStatus(t *testing.T) {
	l := mustSign(t, newSigner(t, "rsa", at(issued)), request())
	now := at(expires - 24*hour - 1)
	s := newVerifier(t, now, Config{Grace: time.Hour}).Verify(l)
	got := mustJSON(t, s.Status("johnwick.org"))
	want := `{"state":"valid","is_valid":true,"verified_host":"johnwick.org","verify_error":"","key_id":"` + goodKeyID + `","type":"enterprise",` +
		`"allowed_hosts":["*.johnwick.org","johnwick.org"],"description":"Acme: prod","features":["data-masking","runbooks"],` +
		`"issued_at":1767225600,"expire_at":1798761600,"days_left":1}`
	if got != want {
		t.Errorf("status %s\nwant   %s", got, want)
	}
	if other := s.Status("evil.example"); other.IsValid || other.State != StateValid || other.VerifiedHost != "" || !strings.Contains(other.VerifyError, "host") {
		t.Errorf("of another host: %+v", other)
	}
	if none := s.Status(""); !none.IsValid || none.VerifiedHost != "" {
		t.Errorf("of no host: %+v", none)
	}
	now.unix.Store(expires - 24*hour + 1)
	if left := s.Status("").DaysLeft; left != 0 {
		t.Errorf("%d days left on the last day, want 0", left)
	}
	now.unix.Store(expires + 10*24*hour)
	if ended := s.Status(""); ended.DaysLeft != 0 || ended.IsValid || ended.State != StateExpired {
		t.Errorf("after the end: %+v", ended)
	}
	missing := mustJSON(t, Missing("x").Status("a.org"))
	if !strings.Contains(missing, `"state":"missing","is_valid":false,"verified_host":""`) || !strings.Contains(missing, `"allowed_hosts":[]`) {
		t.Errorf("without a license: %s", missing)
	}
	changed := *l
	changed.Payload = l.Payload.Clone()
	changed.Payload.Description = "Evil"
	if bad := newVerifier(t, now, Config{}).Verify(&changed).Status(""); bad.IsValid || bad.State != StateInvalid || bad.KeyID != goodKeyID || bad.DaysLeft != 0 {
		t.Errorf("of a changed license: %+v", bad)
	}
}

// A status is of one moment, even if the license ends while it is made.
func TestStatusIsOfOneMoment(t *testing.T) {
	now := at(issued)
	v := newVerifier(t, now, Config{})
	v.config.Now = func() time.Time { return time.Unix(now.unix.Add(1), 0) }
	s := v.Verify(mustSign(t, newSigner(t, "rsa", at(issued)), request()))
	for before := range int64(8) {
		now.unix.Store(expires - before)
		if status := s.Status("johnwick.org"); status.IsValid != status.State.Passes() || status.IsValid != (status.VerifyError == "") {
			t.Errorf("%d s before the end: %+v", before, status)
		}
	}
}
