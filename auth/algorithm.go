package auth

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

// Algorithms lists the signature algorithms that can be accepted: asymmetric ones
// only.
var Algorithms = jose.Algorithms

// CheckAlgorithm is an error that says what would be right, or nil for one of
// [Algorithms].
func CheckAlgorithm(name string) error {
	if slices.Contains(Algorithms, name) {
		return nil
	}
	if name == "none" || strings.HasPrefix(name, "HS") {
		return fmt.Errorf("algorithm %q is never accepted: only asymmetric signatures are (%s)", name, strings.Join(Algorithms, ", "))
	}
	return fmt.Errorf("unknown algorithm %q: expected one of %s", name, strings.Join(Algorithms, ", "))
}
