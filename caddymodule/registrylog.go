package caddymodule

import (
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/events"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

// registryLog writes one line for each change of state of a registry, emits an event
// for each record that changed, and has the streams of callers who are no longer let in
// cut.
type registryLog[R any] struct {
	logger  *zap.Logger
	events  *events.Emitter
	recheck func()

	records string // what they are called in a line
	count   string // and the field with their number
	event   string // the name of the event
	// data gives what the event says of a record, beside what became of it; nil: there is
	// none for this change.
	data func(registry.Changed[R]) func() map[string]any
	// other logs what is not the same for all.
	other func(registry.Event[R])
}

func (l *registryLog[R]) observe(e registry.Event[R]) {
	switch e.Kind {
	case registry.Updated, registry.Ended:
		l.logger.Info(l.records+" changed", zap.String("why", string(e.Kind)), zap.Int(l.count, len(e.Changes)))
		l.recheck()
		l.emit(e)
	case registry.Recovered:
		l.logger.Info("the storage of the " + l.records + " can be used again")
	case registry.Damaged:
		l.logger.Error("a record of "+l.records+" is damaged; its last good content stays in force", zap.String("record", e.Record), zap.Error(e.Err))
	case registry.Mended:
		l.logger.Info("a damaged record of "+l.records+" is well again", zap.String("record", e.Record))
	default:
		l.other(e)
	}
}

// emit emits each record that changed, by this node or another one. Of more than a
// thousand at once, the last event says how many more there are.
func (l *registryLog[R]) emit(e registry.Event[R]) {
	for i, changed := range e.Changes {
		if i == events.MaxOfChange {
			l.events.Emit(l.event, func() map[string]any {
				return map[string]any{"change": "more", l.count: len(e.Changes) - i}
			})
			return
		}
		change := "updated"
		switch {
		case e.Kind == registry.Ended:
			change = "expired"
		case changed.Before == nil:
			change = "created"
		case changed.After == nil:
			change = "deleted"
		}
		if data := l.data(changed); data != nil {
			l.events.Emit(l.event, func() map[string]any {
				all := data()
				all["change"] = change
				return all
			})
		}
	}
}
