package main

import (
	"fmt"

	"github.com/gatehouse-proxy/gatehouse/bench/internal/report"
)

// goal is a figure that must not be exceeded.
type goal struct {
	figure string
	unit   string
	limit  float64
	values report.Samples
}

// goal notes a figure with its limit; the median counts.
func (s *stage) goal(figure, unit string, limit float64, values report.Samples) {
	s.goals = append(s.goals, goal{figure, unit, limit, values})
}

// one is a figure that was measured once.
func one(value float64) report.Samples { return report.Samples{value} }

// verdict says whether the goal is reached, and otherwise by how much it is not.
func (g goal) verdict() string {
	if len(g.values) == 0 {
		return "not measured"
	}
	over := g.values.Median() - g.limit
	if over <= 0 {
		return "reached"
	}
	if g.limit == 0 {
		return fmt.Sprintf("**missed** by %.2f", over)
	}
	return fmt.Sprintf("**missed** by %.2f%s, %.0f %%", over, g.unit, 100*over/g.limit)
}

func (s *stage) goalsSection() *report.Section {
	section := &report.Section{Title: "Goals", Columns: []string{"figure", "goal", "measured", ""}}
	section.Note("The median decides. A ratio is of two servers in the same round.")
	for _, g := range s.goals {
		section.Row(g.figure, fmt.Sprintf("≤ %g%s", g.limit, g.unit), g.values.ShowQuartiles(2)+g.unit, g.verdict())
	}
	return section
}
