package licensing

import (
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/metrics"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// Every reason of a license that is refused has a code that is a label, and the
// words of no caller ever are one.
func TestLabelsAreClosed(t *testing.T) {
	for _, reason := range []license.Reason{
		license.ReasonMissing, license.ReasonForm, license.ReasonUnknownKey, license.ReasonRevokedKey, license.ReasonRetiredKey,
		license.ReasonSignature, license.ReasonRevokedID, license.ReasonNotYetValid, license.ReasonExpired, license.ReasonHost, license.ReasonFeature,
	} {
		if got := metrics.Known(refusalCodes, reason.Code()); got != reason.Code() || !strings.HasPrefix(got, "license_") {
			t.Errorf("the label of %s is %q", reason, got)
		}
	}
	if got := metrics.Known(refusalCodes, "whatever"); got != metrics.Other {
		t.Errorf("got the label %q", got)
	}
}
