package account

import "testing"

func TestQuoteIsBounded(t *testing.T) {
	long := ""
	for range 100 {
		long += "ü"
	}
	if got := quote("x" + long); len(got) > 60 {
		t.Errorf("quoted %s", got)
	}
}
