package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strings"
)

// Chart is a chart of horizontal bars.
type Chart struct {
	// Title is above, with a line of explanation below it.
	Title, About string

	// Axis says what the bars measure, with the unit.
	Axis string

	// Groups follow one below the other.
	Groups []Group
}

// Group is some bars that belong together.
type Group struct {
	Name string
	Bars []Bar
}

// Bar is a median, with a line from the smallest to the largest value.
type Bar struct {
	Name   string
	Values Samples
}

// Add adds a group.
func (c *Chart) Add(name string, bars ...Bar) { c.Groups = append(c.Groups, Group{name, bars}) }

// Measures of the drawing, in pixels.
const (
	chartWidth  = 760
	labelWidth  = 210
	valueWidth  = 70
	barHeight   = 18
	groupHeight = 36
	headHeight  = 84
	footHeight  = 40
)

// bars are the colors of a group's bars: as many as it may have, then again from
// the first.
var bars = []string{"#8b949e", "#b8bfc7", "#5f8dd3", "#2e7d32", "#66a568", "#c77d2e"}

// style makes the chart fit the page: light, or dark where the reader's system
// is. A halo keeps lines and figures apart from bars of any color.
const style = `<style>
.page{fill:#ffffff}.text{fill:#1f2328}.faint{fill:#59636e}.grid{stroke:#d1d9e0}
.line{stroke:#1f2328;stroke-width:1.5}.halo{stroke:#ffffff;stroke-width:4}
@media (prefers-color-scheme:dark){
.page{fill:#0d1117}.text{fill:#f0f6fc}.faint{fill:#9198a1}.grid{stroke:#3d444d}
.line{stroke:#f0f6fc}.halo{stroke:#0d1117}}
</style>
`

// SVG draws the chart.
func (c *Chart) SVG(w io.Writer) error {
	height, largest := headHeight+footHeight, 1.0
	for _, group := range c.Groups {
		height += groupHeight + len(group.Bars)*barHeight
		for _, bar := range group.Bars {
			largest = max(largest, bar.Values.Max())
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", chartWidth, height)
	b.WriteString(style)
	fmt.Fprintf(&b, `<rect class="page" width="%d" height="%d"/>`+"\n", chartWidth, height)
	text(&b, 10, 24, "text", "start", ` font-size="16" font-weight="bold"`, c.Title)
	text(&b, 10, 43, "faint", "start", "", c.About)
	scale := float64(chartWidth-labelWidth-valueWidth) / largest
	c.axis(&b, largest, scale, height)
	y := headHeight
	for _, group := range c.Groups {
		text(&b, 10, y+20, "text", "start", ` font-size="13" font-weight="bold"`, group.Name)
		y += groupHeight - 8
		for i, bar := range group.Bars {
			bar.draw(&b, y, bars[i%len(bars)], scale)
			y += barHeight
		}
		y += 8
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// axis draws lines down the chart, with figures at both ends.
func (c *Chart) axis(b *strings.Builder, largest, scale float64, height int) {
	top, bottom := headHeight-4, height-footHeight+4
	step := tickStep(largest)
	for value := 0.0; value <= largest; value += step {
		x := labelWidth + value*scale
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" x2="%[1]f" y1="%d" y2="%d"/>`+"\n", x, top, bottom)
		text(b, int(x), top-5, "faint", "middle", "", fmt.Sprintf("%g", value))
		text(b, int(x), bottom+14, "faint", "middle", "", fmt.Sprintf("%g", value))
	}
	text(b, labelWidth, bottom+30, "faint", "start", "", c.Axis)
}

// tickStep gives 1, 2 or 5 times a power of ten, so that an axis has some five
// lines.
func tickStep(largest float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(largest)))
	for _, step := range []float64{power / 5, power / 2, power, power * 2} {
		if largest/step <= 7 {
			return step
		}
	}
	return power * 5
}

func (bar Bar) draw(b *strings.Builder, y int, color string, scale float64) {
	text(b, labelWidth-8, y+13, "text", "end", "", bar.Name)
	if len(bar.Values) == 0 {
		text(b, labelWidth+4, y+13, "faint", "start", "", "not measured")
		return
	}
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", labelWidth, y+2, bar.Values.Median()*scale, barHeight-4, color)
	low, high := labelWidth+bar.Values.Min()*scale, labelWidth+bar.Values.Max()*scale
	for _, class := range []string{"halo", "line"} {
		fmt.Fprintf(b, `<line class="%s" x1="%.1f" x2="%.1f" y1="%d" y2="%[4]d"/>`+"\n", class, low, high, y+barHeight/2)
	}
	median := fmt.Sprintf("%.1f", bar.Values.Median())
	text(b, int(high)+6, y+13, "text halo", "start", ` paint-order="stroke"`, median)
}

func text(b *strings.Builder, x, y int, class, anchor, attributes, content string) {
	fmt.Fprintf(b, `<text class="%s" x="%d" y="%d" text-anchor="%s"%s>`, class, x, y, anchor, attributes)
	_ = xml.EscapeText(b, []byte(content)) // a strings.Builder takes all
	b.WriteString("</text>\n")
}
