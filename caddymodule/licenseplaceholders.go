package caddymodule

import (
	"strconv"
	"strings"
)

// licensePlaceholder begins the placeholders that tell of the license.
const licensePlaceholder = "http.license."

// licenseCodePlaceholder says why a request was refused for the license.
const licenseCodePlaceholder = licensePlaceholder + "code"

// resolve gives the value of a placeholder, from the license at the moment of
// asking. What an absent or unbelievable license does not tell is empty.
func (l *licensing) resolve(key string) (any, bool) {
	name, ours := strings.CutPrefix(key, licensePlaceholder)
	if !ours {
		return nil, false
	}
	standing := l.keeper.Standing()
	switch name {
	case "state":
		return string(standing.State()), true
	case "code": // of a request that was not refused
		return "", true
	case "type", "description", "expire_at", "key_id", "features":
	default:
		return nil, false
	}
	held := genuine(standing)
	if held == nil {
		return "", true
	}
	switch name {
	case "type":
		return string(held.Payload.Type), true
	case "description":
		return held.Payload.Description, true
	case "expire_at":
		return strconv.FormatInt(held.Payload.ExpireAt, 10), true
	case "key_id":
		return held.KeyID, true
	}
	return strings.Join(standing.Status("").Features, ","), true
}
