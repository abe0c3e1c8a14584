package command

import (
	"fmt"
	"io"
	"strings"
)

// progress tells how far an import is: with a bar on a terminal, with plain
// lines elsewhere.
type progress struct {
	w     io.Writer
	live  bool // w is a terminal
	total int
}

const barWidth = 30

// show tells that so many accounts are done.
func (p *progress) show(done int) {
	if !p.live {
		if done > 0 {
			_, _ = fmt.Fprintf(p.w, "%d of %s done\n", done, count(p.total, "account"))
		}
		return
	}
	full := barWidth
	if p.total > 0 {
		full = done * barWidth / p.total
	}
	_, _ = fmt.Fprintf(p.w, "\r\x1b[K[%s%s] %d of %s", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), done, count(p.total, "account"))
}

// clear makes room for other lines on the terminal.
func (p *progress) clear() {
	if p.live {
		_, _ = io.WriteString(p.w, "\r\x1b[K")
	}
}

// finish leaves the last word standing.
func (p *progress) finish(done int) {
	p.show(done)
	if p.live {
		_, _ = io.WriteString(p.w, "\n")
	}
}
