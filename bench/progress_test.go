package main

import (
	"strings"
	"testing"
	"time"
)

func TestProgressTellsNowAndThen(t *testing.T) {
	var out strings.Builder
	clock := time.Unix(0, 0)
	p := newProgress(&out)
	p.now = func() time.Time { return clock }
	end := p.begin("matrix")
	for done := range 12 {
		p.step("tokens", done, 12)
		clock = clock.Add(time.Second)
	}
	end()
	want := "matrix …\nmatrix: tokens: 5 of 12\nmatrix: tokens: 10 of 12\nmatrix: done in 12.0 s\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}
