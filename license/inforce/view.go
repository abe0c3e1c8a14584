package inforce

import (
	"time"

	"github.com/gatehouse-proxy/gatehouse/license"
)

// held is a license, or the lack of one, and its text if it is genuine.
type held struct {
	standing *license.Standing
	text     []byte
}

// view is what requests are answered from. It never changes.
type view struct {
	good held  // in force
	next *held // genuine, and waiting for its time or for the end of good; mostly nil
}

// now is what is in force at this moment.
func (v *view) now() *held {
	if v.next != nil && (v.next.standing.Err() == nil || v.good.standing.Err() != nil) {
		return v.next
	}
	return &v.good
}

// nextChange is the moment at which the state may next change by itself.
func (v *view) nextChange() (at time.Time, ok bool) {
	at, ok = v.good.standing.NextChange()
	if v.next == nil {
		return at, ok
	}
	if also, due := v.next.standing.NextChange(); due && (!ok || also.Before(at)) {
		return also, true
	}
	return at, ok
}
