package parse

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// Resolver replaces global placeholders in options and keeps the first error: a
// placeholder that is unknown or empty would silently change what an option
// means.
type Resolver struct {
	Err error
}

// Text resolves the value of an option.
func (r *Resolver) Text(option, value string) string {
	if value == "" {
		return ""
	}
	resolved, err := caddy.NewReplacer().ReplaceOrErr(value, true, true)
	if err != nil && r.Err == nil {
		r.Err = fmt.Errorf("%s: found %q: %w", option, value, err)
	}
	return resolved
}

// List resolves each value of an option.
func (r *Resolver) List(option string, values []string) []string {
	list := make([]string, 0, len(values))
	for _, value := range values {
		list = append(list, r.Text(option, value))
	}
	return list
}

// Secret is Text whose error does not show the value.
func (r *Resolver) Secret(option, value string) string {
	resolved, err := caddy.NewReplacer().ReplaceOrErr(value, true, true)
	if err != nil && r.Err == nil {
		r.Err = fmt.Errorf("%s: a placeholder is unknown or empty", option)
	}
	return resolved
}

// OptionalSecret is a secret that may be left out. Space at its ends is that of a file it
// was read from.
func (r *Resolver) OptionalSecret(option, value string) string {
	if value == "" {
		return ""
	}
	return strings.TrimSpace(r.Secret(option, value))
}

// HasPlaceholder tells whether a value may be another one once it is resolved.
func HasPlaceholder(value string) bool { return strings.Contains(value, "{") }

// Shown is what an error may show of where a secret comes from: a placeholder that
// stands alone, with a space in front, and nothing of a literal.
func Shown(value string) string {
	inner, ok := strings.CutPrefix(value, "{")
	inner, closed := strings.CutSuffix(inner, "}")
	if !ok || !closed || strings.ContainsAny(inner, "{}") {
		return ""
	}
	return " " + value
}

const maxKeyFile = 64 << 10

// ReadKeyFile reads the file of a private key.
func ReadKeyFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxKeyFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxKeyFile {
		return nil, fmt.Errorf("%s is larger than 64 KiB: it is no key", path)
	}
	return data, nil
}
