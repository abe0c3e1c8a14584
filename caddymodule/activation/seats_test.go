package activation

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/gatehouse-proxy/gatehouse/auth/sso"
)

// 200 instances ask at once, on two nodes, for 50 seats.
func TestLastSeats(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	terms := s.terms["acme"]
	terms.Seats = 50
	s.terms["acme"] = terms
	nodes := []*node{s.start(), s.start()}
	wishes := make([]map[string]any, 200)
	for i := range wishes {
		wishes[i] = nodes[i%2].wish(fmt.Sprint("instance ", i))
	}
	var won, lost atomic.Int32
	var asking sync.WaitGroup
	for i, wish := range wishes {
		asking.Go(func() {
			switch answer := nodes[i%2].post(Activate, wish); answer.Result() {
			case "ok":
				won.Add(1)
			case string(sso.CodeActivatedMaxTimes):
				lost.Add(1)
			default:
				t.Errorf("got %s", answer.Body)
			}
		})
	}
	asking.Wait()
	if won.Load() != 50 || lost.Load() != 150 {
		t.Errorf("%d of 50 seats given, %d refused", won.Load(), lost.Load())
	}
	eventually(t, "both nodes know", func() bool { return nodes[0].taken() == 50 && nodes[1].taken() == 50 })
	all, err := nodes[0].store.List(t.Context(), Query{})
	if err != nil || len(all) != 50 {
		t.Fatal(len(all), err)
	}
	// The same instance again takes no second seat, and one that is freed is there again.
	granted(t, nodes[1].post(Activate, nodes[1].wish(all[0].Name)))
	refused(t, nodes[1].post(Activate, nodes[1].wish("late")), sso.CodeActivatedMaxTimes)
	if _, err := nodes[0].store.Free(t.Context(), all[7].ID); err != nil {
		t.Fatal(err)
	}
	granted(t, nodes[1].post(Activate, nodes[1].wish("late")))
	refused(t, nodes[0].post(Activate, nodes[0].wish("later")), sso.CodeActivatedMaxTimes)
}

// A list is one of pages, by what is asked for.
func TestList(t *testing.T) {
	n := newSite(t).start()
	for i := range 3 {
		granted(t, n.post(Activate, n.wish(fmt.Sprint(i))))
	}
	all, err := n.store.List(t.Context(), Query{Account: "acme", Product: "app"})
	if err != nil || len(all) != 3 {
		t.Fatal(all, err)
	}
	if page, err := n.store.List(t.Context(), Query{After: all[0].ID, Limit: 1}); err != nil || len(page) != 1 || page[0].ID != all[1].ID {
		t.Error(page, err)
	}
	if none, err := n.store.List(t.Context(), Query{Account: "other"}); err != nil || len(none) != 0 {
		t.Error(none, err)
	}
	if _, err := n.store.List(t.Context(), Query{After: uuid.New()}); err != ErrUnknownID {
		t.Error(err)
	}
	if _, err := n.store.Free(t.Context(), uuid.New()); err != ErrUnknownID {
		t.Error(err)
	}
}

// A node that dies at any of its calls of storage has given a seat and used a login, or
// neither: never one of them, never twice.
func TestDiesAtEachStep(t *testing.T) {
	t.Parallel()
	seen := map[int]int{}
	for call, survived := 1, false; !survived; call++ {
		if call > 200 {
			t.Fatal("it dies for ever")
		}
		s := newSite(t)
		n := s.start()
		granted(t, n.post(Activate, n.wish("before"))) // so that all is loaded
		wish := n.wish("one")
		n.storage.DieAt(call)
		answered := make(chan sso.Response, 1)
		go func() { answered <- n.post(Activate, wish) }()
		var answer sso.Response
		eventually(t, "it is answered or dead", func() bool {
			select {
			case answer = <-answered:
				survived = answer.Refusal == nil && !n.storage.Dead()
				return true
			default:
				return n.storage.Dead()
			}
		})
		acknowledged := answer.Status == 200
		_ = n.store.Close()
		s.engineIn.Free("gatehouse-activations")

		next := s.start()
		if err := next.store.Await(t.Context()); err != nil {
			t.Fatal(err)
		}
		known := next.taken()
		if acknowledged && known != 2 {
			t.Errorf("call %d: it was acknowledged, and %d seats are known", call, known)
		}
		again := next.post(Activate, wish)
		switch {
		case known == 2 && again.Result() != string(sso.CodeIDTokenUsed):
			t.Errorf("call %d: the seat is there and its login not used: %s", call, again.Body)
		case known == 1 && again.Refusal != nil:
			t.Errorf("call %d: the seat is not there and its login used: %s", call, again.Body)
		}
		granted(t, next.post(Activate, next.wish("one")))
		if next.taken() != 2 {
			t.Errorf("call %d: %d seats", call, next.taken())
		}
		_ = next.store.Close()
		seen[known]++
	}
	if seen[1] == 0 || seen[2] == 0 {
		t.Errorf("seats after a death, by how often: %v", seen)
	}
}
