// Package report sums figures up and writes them down, as Markdown and as a
// chart in SVG.
package report

import (
	"fmt"
	"slices"
	"time"
)

// Samples are the values of one figure, one for each round.
type Samples []float64

// Add adds a value.
func (s *Samples) Add(v float64) { *s = append(*s, v) }

// AddTime adds a duration, in microseconds.
func (s *Samples) AddTime(d time.Duration) { s.Add(float64(d) / float64(time.Microsecond)) }

// Median is the value in the middle, of an even number the mean of the two; 0
// of none.
func (s Samples) Median() float64 { return s.Quantile(0.5) }

// Quantile is the value that the fraction q of the values does not exceed, on
// the line between the two nearest; 0 of none. Half of the values lie between
// the quartiles 0.25 and 0.75.
func (s Samples) Quantile(q float64) float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	at := q * float64(len(sorted)-1)
	below := int(at)
	above := min(below+1, len(sorted)-1)
	return sorted[below] + (at-float64(below))*(sorted[above]-sorted[below])
}

// Min is the smallest value, 0 of none.
func (s Samples) Min() float64 {
	if len(s) == 0 {
		return 0
	}
	return slices.Min(s)
}

// Max is the largest value, 0 of none.
func (s Samples) Max() float64 {
	if len(s) == 0 {
		return 0
	}
	return slices.Max(s)
}

// To gives the ratios of the values to those of the same rounds of another
// figure: what slows a machine for a while slows both.
func (s Samples) To(base Samples) Samples {
	return s.pair(base, func(a, b float64) float64 { return a / b })
}

// Minus gives the differences to the values of the same rounds.
func (s Samples) Minus(base Samples) Samples {
	return s.pair(base, func(a, b float64) float64 { return a - b })
}

func (s Samples) pair(base Samples, f func(a, b float64) float64) Samples {
	out := make(Samples, 0, len(s))
	for i := range min(len(s), len(base)) {
		out = append(out, f(s[i], base[i]))
	}
	return out
}

// Show writes the median with, in brackets, the smallest and the largest value;
// "–" where there is none.
func (s Samples) Show(decimals int) string {
	if len(s) < 2 {
		return s.middle(decimals)
	}
	return s.middle(decimals) + fmt.Sprintf(" (%.*f–%.*f)", decimals, s.Min(), decimals, s.Max())
}

// ShowQuartiles is Show with, in square brackets, the quartiles: half of the
// values lie between them, which shows how firm the median is. Of values that are
// all the same it shows one.
func (s Samples) ShowQuartiles(decimals int) string {
	if s.Min() == s.Max() {
		return s.middle(decimals)
	}
	return s.middle(decimals) + fmt.Sprintf(" [%.*f–%.*f] (%.*f–%.*f)",
		decimals, s.Quantile(0.25), decimals, s.Quantile(0.75), decimals, s.Min(), decimals, s.Max())
}

func (s Samples) middle(decimals int) string {
	if len(s) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.*f", decimals, s.Median())
}
