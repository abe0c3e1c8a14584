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
func (s Samples) Median() float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
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
	if len(s) == 0 {
		return "–"
	}
	if len(s) == 1 {
		return fmt.Sprintf("%.*f", decimals, s[0])
	}
	return fmt.Sprintf("%.*f (%.*f–%.*f)", decimals, s.Median(), decimals, s.Min(), decimals, s.Max())
}
