package retry

import (
	"fmt"
	"testing"
)

// Keys may come from outside, and each may have seen a failure.
func TestBudgetsAreBoundedInNumber(t *testing.T) {
	var s Budgets
	held := s.Get("held")
	for i := range 3 * maxShared {
		s.Get(fmt.Sprint(i)).withdraw()
		if n := len(s.byKey); n > maxShared {
			t.Fatalf("%d budgets after %d keys", n, i)
		}
	}
	if !held.withdraw() {
		t.Error("a budget that was forgotten is of no use to who holds it")
	}
}

// What is spent stays spent while there is room: the full ones go first.
func TestFullBudgetsAreForgottenFirst(t *testing.T) {
	var s Budgets
	for i := range maxShared {
		if b := s.Get(fmt.Sprint(i)); i%2 == 0 {
			b.withdraw()
		}
	}
	s.Get("one more")
	for i := 0; i < maxShared; i += 2 {
		if b := s.byKey[fmt.Sprint(i)]; b == nil || b.Tokens() != DefaultMaxRetries-1 {
			t.Fatalf("the budget of key %d, which was not full, is forgotten", i)
		}
	}
}

// No more go than must: the others' outages are remembered.
func TestNineOfTenBudgetsAreKeptWhereNoneIsFull(t *testing.T) {
	var s Budgets
	for i := range maxShared {
		s.Get(fmt.Sprint(i)).withdraw()
	}
	s.Get("one more")
	if n := len(s.byKey); n != maxShared*9/10+1 {
		t.Errorf("%d budgets are left", n)
	}
}

func TestNoBudgetIsForgottenWhileThereIsRoom(t *testing.T) {
	var s Budgets
	first := s.Get("first")
	for i := range maxShared - 1 {
		s.Get(fmt.Sprint(i))
	}
	if s.Get("first") != first {
		t.Error("the first of as many as there is room for is forgotten")
	}
}
