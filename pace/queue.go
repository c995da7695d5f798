package pace

import (
	"container/list"
	"hash/maphash"
	"iter"
	"time"
)

// queueMax is how many may wait at an endpoint.
const queueMax = 10_000

// queue is those who wait: clients by turns; of one client, calls that have
// begun before new ones; otherwise first come, first served. An empty queue
// holds no memory, and a client's name none but its hash: what names clients may
// come from outside.
type queue struct {
	clients map[uint64]*list.Element // of turns
	turns   list.List                // of *client, the next first
	size    int
	tokens  int64     // of all who wait
	soonest time.Time // no deadline of those who wait is sooner; zero: none has one
}

// client is those who wait for one client. One of the lists may be empty.
type client struct {
	key        uint64
	begun, new list.List // of *waiter
}

// waiter is a request that waits.
type waiter struct {
	cost     Cost
	deadline time.Time
	bound    bool // it has a deadline

	list *list.List // where it waits; nil: not any more
	at   *list.Element
	of   *list.Element // its client in turns

	ready chan struct{} // closed when turn or err is there
	turn  Turn
	err   error
}

// seed makes two names that collide hard to find.
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

// note takes in a deadline.
func (q *queue) note(deadline time.Time) {
	if q.soonest.IsZero() || deadline.Before(q.soonest) {
		q.soonest = deadline
	}
}

// next is who goes next, if anybody waits.
func (q *queue) next() *waiter {
	c := q.turns.Front().Value.(*client)
	if c.begun.Len() > 0 {
		return c.begun.Front().Value.(*waiter)
	}
	return c.new.Front().Value.(*waiter)
}

// served removes who has got a turn: the client's next comes after all others.
func (q *queue) served(w *waiter) {
	q.turns.MoveToBack(w.of)
	q.remove(w)
}

// remove takes one out.
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

// order is those who wait in the order in which they will go, if nobody comes.
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

// before is how many requests and tokens go before w, if nobody comes.
func (q *queue) before(w *waiter) (requests int, tokens int64) {
	if q.turns.Len() == 1 && w.at.Next() == nil && !w.cost.Again {
		return q.size - 1, q.tokens - w.cost.Tokens // the last: no need to look
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
