package pace

import (
	"container/list"
	"hash/maphash"
	"iter"
	"time"
)

// queueMax is how many requests may wait for one endpoint.
const queueMax = 10_000

// queue has the requests that wait. Clients take turns; of one client, requests of
// calls that have begun go before new calls; otherwise it is first come, first served.
// An empty queue uses no memory. Of a client's name, which may come from outside, only
// the hash is kept.
type queue struct {
	clients map[uint64]*list.Element // of turns
	turns   list.List                // of *client, the next first
	size    int
	tokens  int64     // of all requests that wait
	soonest time.Time // no deadline of a request that waits is earlier; zero: there is none
}

// client has the requests of one client. One of the lists may be empty.
type client struct {
	key        uint64
	begun, new list.List // of *waiter
}

// waiter is a request that waits.
type waiter struct {
	cost     Cost
	since    time.Time
	deadline time.Time // of the wait
	bound    bool      // it has a deadline

	list *list.List // the list that it is in; nil: it no longer waits
	at   *list.Element
	of   *list.Element // its client in turns

	ready chan struct{} // closed when turn or err is there
	turn  Turn
	err   error
}

// seed makes it hard to find two names whose hashes collide.
var seed = maphash.MakeSeed()

func (q *queue) push(w *waiter) {
	key := maphash.String(seed, w.cost.Client)
	w.cost.Client = ""
	e, ok := q.clients[key]
	if !ok {
		if q.clients == nil {
			q.clients = make(map[uint64]*list.Element)
		}
		e = q.turns.PushBack(&client{key: key})
		q.clients[key] = e
	}
	c := e.Value.(*client)
	w.of, w.list = e, &c.new
	if w.cost.Again {
		w.list = &c.begun
	}
	w.at = w.list.PushBack(w)
	q.size++
	q.tokens += w.cost.Tokens
	if w.bound {
		q.note(w.deadline)
	}
}

// note records a deadline.
func (q *queue) note(deadline time.Time) {
	if q.soonest.IsZero() || deadline.Before(q.soonest) {
		q.soonest = deadline
	}
}

// next returns the waiter that goes next, or nil.
func (q *queue) next() *waiter {
	c := q.turns.Front().Value.(*client)
	if c.begun.Len() > 0 {
		return c.begun.Front().Value.(*waiter)
	}
	return c.new.Front().Value.(*waiter)
}

// served removes a waiter that got a turn. The client's next one goes after all other
// clients.
func (q *queue) served(w *waiter) {
	q.turns.MoveToBack(w.of)
	q.remove(w)
}

// remove removes a waiter.
func (q *queue) remove(w *waiter) {
	c := w.of.Value.(*client)
	w.list.Remove(w.at)
	if c.begun.Len()+c.new.Len() == 0 {
		q.turns.Remove(w.of)
		delete(q.clients, c.key)
	}
	w.list, w.at, w.of = nil, nil, nil
	q.size--
	q.tokens -= w.cost.Tokens
	if q.size == 0 {
		*q = queue{}
	}
}

// order yields the waiters in the order in which they go if no other request comes.
func (q *queue) order() iter.Seq[*waiter] {
	return func(yield func(*waiter) bool) {
		var places []*list.Element // the next of each client that has one
		var owners []*client
		for e := q.turns.Front(); e != nil; e = e.Next() {
			c := e.Value.(*client)
			first := c.begun.Front()
			if first == nil {
				first = c.new.Front()
			}
			places, owners = append(places, first), append(owners, c)
		}
		for len(places) > 0 {
			kept := 0
			for i, at := range places {
				w, c := at.Value.(*waiter), owners[i]
				if !yield(w) {
					return
				}
				following := at.Next()
				if following == nil && w.cost.Again {
					following = c.new.Front()
				}
				if following != nil {
					places[kept], owners[kept] = following, c
					kept++
				}
			}
			places, owners = places[:kept], owners[:kept]
		}
	}
}

// before returns how many requests and tokens go before w if no other request comes.
func (q *queue) before(w *waiter) (requests int, tokens int64) {
	if q.turns.Len() == 1 && w.at.Next() == nil && !w.cost.Again {
		return q.size - 1, q.tokens - w.cost.Tokens // w is the last
	}
	for other := range q.order() {
		if other == w {
			break
		}
		requests++
		tokens += other.cost.Tokens
	}
	return requests, tokens
}
