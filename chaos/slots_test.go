package chaos

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

// places of a model: so many have one, and the others wait in this order.
func TestPlacesGoToTheFirstWhoWaitAndNoneIsLost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		concurrent, queue := rapid.IntRange(1, 3).Draw(rt, "concurrent"), rapid.IntRange(0, 4).Draw(rt, "queue")
		actions := rapid.SliceOfN(rapid.SampledFrom([]string{"come", "end", "leave"}), 1, 40).Draw(rt, "actions")
		which := rapid.SliceOfN(rapid.IntRange(0, 99), len(actions), len(actions)).Draw(rt, "which")
		synctest.Test(t, func(*testing.T) {
			type client struct {
				leave context.CancelFunc
				err   error
				done  bool
				give  func()
			}
			s := &slots{concurrent: concurrent, queue: queue}
			var mu sync.Mutex
			var served, waiting []*client
			for i, action := range actions {
				switch {
				case action == "come":
					ctx, leave := context.WithCancel(context.Background())
					c := &client{leave: leave}
					go func() {
						give, err := s.take(ctx, nil)
						mu.Lock()
						defer mu.Unlock()
						c.give, c.err, c.done = give, err, true
					}()
					synctest.Wait()
					switch {
					case len(served) < concurrent:
						served = append(served, c)
					case len(waiting) < queue:
						waiting = append(waiting, c)
					default:
						if !c.done || !errors.Is(c.err, errQueueFull) {
							rt.Errorf("action %d: the queue is full, got %v", i, c.err)
						}
						leave()
					}
				case action == "end" && len(served) > 0:
					n := which[i] % len(served)
					served[n].leave()
					served[n].give()
					served = append(served[:n], served[n+1:]...)
					if len(waiting) > 0 {
						served, waiting = append(served, waiting[0]), waiting[1:]
					}
				case action == "leave" && len(waiting) > 0:
					n := which[i] % len(waiting)
					c := waiting[n]
					c.leave()
					synctest.Wait()
					if !errors.Is(c.err, errLeft) {
						rt.Errorf("action %d: who left got %v", i, c.err)
					}
					waiting = append(waiting[:n:n], waiting[n+1:]...)
				}
				synctest.Wait()
				for _, c := range served {
					if !c.done || c.err != nil {
						rt.Errorf("action %d: one who must have a place has none: %v", i, c.err)
					}
				}
				for _, c := range waiting {
					if c.done {
						rt.Errorf("action %d: one who must wait does not: %v", i, c.err)
					}
				}
				if s.taken != len(served) || len(s.waiting) != len(waiting) {
					rt.Errorf("action %d: %d places are taken, %d wait; want %d and %d", i, s.taken, len(s.waiting), len(served), len(waiting))
				}
			}
			for _, c := range append(served, waiting...) {
				c.leave()
			}
			synctest.Wait()
		})
	})
}

// A client may leave in the moment in which it gets a place: the place goes on.
func TestAPlaceThatComesToOneWhoLeavesGoesOn(t *testing.T) {
	for range 200 {
		s := &slots{concurrent: 1, queue: 2}
		first, err := s.take(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, leave := context.WithCancel(t.Context())
		var both, ends sync.WaitGroup
		ends.Go(func() {
			if give, err := s.take(ctx, nil); err == nil {
				give()
			}
		})
		both.Go(leave)
		both.Go(first)
		both.Wait()
		ends.Wait()
		last, err := s.take(t.Context(), nil)
		if err != nil {
			t.Fatalf("the place is lost: %v", err)
		}
		last()
		if s.taken != 0 || len(s.waiting) != 0 {
			t.Fatalf("%d places are taken, %d wait", s.taken, len(s.waiting))
		}
	}
}
