package account

import "sync/atomic"

// Version stands for all that look-ups answer: as long as it stays the same, so
// do their answers. Those of different registries, and of views with different
// declared accounts, differ too. Its upper 24 bits number the declared accounts,
// the others the stored ones: enough for a reload a second, half a year long, and
// a thousand changes a second for decades.
type Version uint64

const storedBits = 40

// What was numbered so far in this process.
var declaredVersions, storedVersions atomic.Uint64

// Version is the one of the accounts known now.
func (r *Registry) Version() Version { return Version(r.current.Load().version) }

// Version is [Registry.Version], and that of the declared accounts.
func (v View) Version() Version {
	version := v.Registry.Version()
	if v.Declared != nil {
		version |= Version(v.Declared.version << storedBits)
	}
	return version
}
