package licensing

import (
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth"
)

// TestCountedCallersCostNothing: whoever was counted today is let in by one look.
func TestCountedCallersCostNothing(t *testing.T) {
	l, caller, now := &Licensing{Limits: new(Limits)}, &auth.Principal{}, time.Now()
	l.Limits.mark.Store(7 << 32)
	caller.Mark.Store(7<<32 | uint64(now.Unix()/secondsOfDay)) //nolint:gosec // days since 1970
	var none *Licensing
	for name, l := range map[string]*Licensing{"counted": l, "no license": none} {
		if allocs := testing.AllocsPerRun(100, func() {
			if l.Admit(t.Context(), caller, now) != nil {
				t.Error("refused")
			}
		}); allocs != 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}
