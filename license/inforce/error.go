package inforce

import "errors"

// Errors that callers tell apart.
var (
	// ErrConfigured: the license is configured as a file or as text, so none
	// can be installed.
	ErrConfigured = errors.New("the license is set in the configuration; change it there")
	// ErrBusy: storage could not be written or read in time, or not at all. What
	// was asked for was not acknowledged; in rare cases it happens all the same.
	// It wraps the storage's own error, which is for logs and not for callers.
	ErrBusy = errors.New("storage is out of reach now")
	// ErrClosed: the keeper was closed.
	ErrClosed = errors.New("the keeper of the license is closed")
	// ErrAfter: the place to list from is not an [Entry.ID].
	ErrAfter = errors.New("not the id of a recorded signature")
)
