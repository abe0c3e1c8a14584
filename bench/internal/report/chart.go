package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// Chart is a chart of horizontal bars.
type Chart struct {
	Title, Unit string
	Groups      []Group
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
	labelWidth  = 220
	valueWidth  = 90
	barHeight   = 18
	groupHeight = 34
	headHeight  = 56
)

// colors of bars: as many as a group may have, then again from the first.
var colors = []string{"#9aa0a6", "#5f8dd3", "#2e7d32", "#66a568", "#c77d2e"}

// SVG draws the chart. It can be read on white and on dark pages alike.
func (c *Chart) SVG(w io.Writer) error {
	height, largest := headHeight, 1.0
	for _, group := range c.Groups {
		height += groupHeight + len(group.Bars)*barHeight
		for _, bar := range group.Bars {
			largest = max(largest, bar.Values.Max())
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", chartWidth, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", chartWidth, height)
	text(&b, 10, 22, "start", ` font-size="15" font-weight="bold"`, c.Title)
	text(&b, 10, 40, "start", ` fill="#555555"`, c.Unit+"; line: smallest to largest of the rounds")
	scale := float64(chartWidth-labelWidth-valueWidth) / largest
	y := headHeight
	for _, group := range c.Groups {
		text(&b, 10, y+18, "start", ` font-weight="bold"`, group.Name)
		y += groupHeight - 8
		for i, bar := range group.Bars {
			bar.draw(&b, y, colors[i%len(colors)], scale)
			y += barHeight
		}
		y += 8
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func (bar Bar) draw(b *strings.Builder, y int, color string, scale float64) {
	text(b, labelWidth-8, y+13, "end", "", bar.Name)
	if len(bar.Values) == 0 {
		text(b, labelWidth, y+13, "start", ` fill="#555555"`, "not measured")
		return
	}
	end := float64(labelWidth) + bar.Values.Median()*scale
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", labelWidth, y+2, end-labelWidth, barHeight-4, color)
	low, high := float64(labelWidth)+bar.Values.Min()*scale, float64(labelWidth)+bar.Values.Max()*scale
	fmt.Fprintf(b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%[3]d" stroke="#222222"/>`+"\n", low, high, y+barHeight/2)
	text(b, int(high)+6, y+13, "start", "", fmt.Sprintf("%.1f", bar.Values.Median()))
}

func text(b *strings.Builder, x, y int, anchor, attributes, content string) {
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="%s"%s>`, x, y, anchor, attributes)
	_ = xml.EscapeText(b, []byte(content)) // a strings.Builder takes all
	b.WriteString("</text>\n")
}
