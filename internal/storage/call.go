package storage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// DefaultLimit is how long a call may take.
	DefaultLimit = 5 * time.Second
	// MaxCalls bounds the calls under way at once, and so those left behind.
	MaxCalls = 16
	// graceDivisor: an answer may come late by the limit divided by this.
	graceDivisor = 5
)

var (
	// ErrNoAnswer: a call was left behind, or gave up at its time limit by itself.
	ErrNoAnswer = fmt.Errorf("no answer within %s", DefaultLimit)
	// ErrStuck: a call was not made, because too many were left behind.
	ErrStuck = errors.New("earlier calls have not been answered yet")
)

// Calls bounds calls that may never return, whatever their context says. Its
// methods and [Do] are safe for concurrent use.
type Calls struct {
	limit time.Duration
	slots chan struct{} // one of each call that has not returned
	late  atomic.Int32  // of those, the ones that were left behind: nobody waits for them
	trip  atomic.Int64  // how long the last answer took
}

// NewCalls makes a bound for calls that may take as long as limit; zero:
// [DefaultLimit].
func NewCalls(limit time.Duration) *Calls {
	if limit <= 0 {
		limit = DefaultLimit
	}
	return &Calls{limit: limit, slots: make(chan struct{}, MaxCalls)}
}

// Do makes a call, and returns a fifth of the limit after the limit, or after ctx has
// ended, at the latest. Its own errors are [ErrNoAnswer], [ErrStuck] and the
// error of ctx.
func Do[T any](ctx context.Context, c *Calls, call func(context.Context) (T, error)) (T, error) {
	return do(ctx, c, c.limit, c.limit/graceDivisor, call, nil)
}

// do makes a call within a limit and grace of its own. undo, if not nil, is called
// when a call that was left behind succeeds after all.
func do[T any](ctx context.Context, c *Calls, limit, grace time.Duration, call func(context.Context) (T, error), undo func()) (T, error) {
	type answer struct {
		value T
		err   error
	}
	var none T
	limited, cancel := context.WithTimeout(ctx, limit)
	if err := c.enter(limited); err != nil {
		cancel()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return none, err
	}
	answers := make(chan answer, 1)
	var settled atomic.Bool // exactly one side deals with the answer
	begun := time.Now()
	go func() {
		defer func() { <-c.slots }()
		defer cancel()
		value, err := call(limited)
		if err != nil && limited.Err() != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w: %w", ErrNoAnswer, err) // it heeded the time limit
		}
		if settled.CompareAndSwap(false, true) {
			c.trip.Store(int64(time.Since(begun)))
			answers <- answer{value, err}
			return
		}
		if err == nil && undo != nil {
			undo()
		}
		c.late.Add(-1)
	}()
	select {
	case a := <-answers:
		return a.value, a.err
	case <-limited.Done():
	}
	late := time.NewTimer(grace)
	defer late.Stop()
	select {
	case a := <-answers:
		return a.value, a.err
	case <-late.C:
	}
	c.late.Add(1) // first, because the call takes it back when it returns
	if !settled.CompareAndSwap(false, true) {
		c.late.Add(-1)
		a := <-answers
		return a.value, a.err
	}
	if err := ctx.Err(); err != nil {
		return none, err
	}
	return none, ErrNoAnswer
}

// enter waits for the call's turn.
func (c *Calls) enter(ctx context.Context) error {
	select {
	case c.slots <- struct{}{}:
	default:
		if c.late.Load() >= MaxCalls {
			return ErrStuck
		}
		select {
		case c.slots <- struct{}{}:
		case <-ctx.Done():
			return ErrStuck
		}
	}
	if err := ctx.Err(); err != nil { // also: none begins after its lease has ended
		<-c.slots
		return err
	}
	return nil
}

// settle waits until the calls under way have returned, but for those that were
// left behind already, or until ctx ends.
func (c *Calls) settle(ctx context.Context) {
	for range MaxCalls - c.late.Load() {
		select {
		case c.slots <- struct{}{}:
			defer func() { <-c.slots }()
		case <-ctx.Done():
			return
		}
	}
}

// Each calls f for 0 to n-1, so many at once, until one fails, and returns the
// first error.
func Each(n, atOnce int, f func(i int) error) error {
	var (
		next  atomic.Int64
		first atomic.Pointer[error]
		all   sync.WaitGroup
	)
	for range min(n, atOnce) {
		all.Go(func() {
			for first.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := f(i); err != nil {
					first.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	all.Wait()
	if err := first.Load(); err != nil {
		return *err
	}
	return nil
}

// Pause waits; its error is that of a context that has ended meanwhile.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting: %w", ctx.Err())
	}
}

// Spread varies d by up to that part of it either way, so that nodes that began
// together do not ask together for ever.
func Spread(d time.Duration, part float64) time.Duration {
	return time.Duration(float64(d) * (1 - part + 2*part*rand.Float64())) //nolint:gosec // not a secret
}
