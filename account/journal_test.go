package account_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/account"
	"llmcall/endpoint"
	"llmcall/failure"
)

// slowJournal keeps each reservation after a second.
type slowJournal struct {
	mu   sync.Mutex
	open int
	err  error
}

func (s *slowJournal) Reserved(int64, endpoint.Amount) (kept func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open++
	return func() error {
		time.Sleep(time.Second)
		return s.err
	}
}

func (s *slowJournal) Settled(int64, endpoint.Amount, endpoint.Amount) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
}

// A reservation counts while its journal is being waited for, nobody is held up by the wait
// of another, and the request is made after it.
func TestAReservationIsKeptBeforeTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := account.New(endpoint.Amount{Nanos: 10})
		a.Journal = &slowJournal{}
		begun := time.Now()
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if _, err := a.Reserve(endpoint.Amount{Nanos: 1}, endpoint.Amount{}); err != nil || time.Since(begun) != time.Second {
					t.Errorf("%v after %v", err, time.Since(begun))
				}
			})
		}
		synctest.Wait() // all wait for the journal
		if got := a.Snapshot().Reserved.Nanos; got != 10 {
			t.Errorf("%d are reserved", got)
		}
		_, err := a.Reserve(endpoint.Amount{Nanos: 1}, endpoint.Amount{})
		if _, ok := errors.AsType[*account.Error](err); !ok || time.Since(begun) != 0 {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		all.Wait()
	})
}

// What can't be kept is not lent, in no account of the chain; the guard refuses the request.
func TestAReservationThatIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := &slowJournal{err: errors.New("no space left")}
		good := &slowJournal{}
		process := account.New(endpoint.Amount{Nanos: 10})
		process.Journal = full
		day := account.Daily(endpoint.Amount{Nanos: 10}, time.UTC, process)
		day.Journal = good
		call := account.New(endpoint.Amount{}, day)
		want := endpoint.Amount{Nanos: 4}
		_, refusal := call.Guard().Wait(context.Background(), endpoint.Ask{Need: &endpoint.Need{Want: &want}})
		if refusal == nil || refusal.Kind != failure.AccountSpent || !errors.Is(refusal.Err, full.err) || !strings.Contains(refusal.Err.Error(), "no space left") {
			t.Fatalf("%+v", refusal)
		}
		for _, a := range []*account.Account{process, day, call} {
			if s := a.Snapshot(); s.Reserved != (endpoint.Amount{}) || s.Spent != (endpoint.Amount{}) {
				t.Errorf("%+v", s)
			}
		}
		if full.open != 0 || good.open != 0 {
			t.Errorf("the journals have %d and %d reservations", full.open, good.open)
		}
	})
}
