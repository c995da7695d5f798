package account_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"llmcall/account"
	"llmcall/endpoint"
)

// A refusal says in what time the day ends, by the clock of the account and where it is.
func TestWhenTheDayEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which begins at midnight in UTC
		for zone, want := range map[string]time.Duration{"UTC": 17 * time.Hour, "Asia/Tokyo": 8 * time.Hour} {
			day, err := time.LoadLocation(zone)
			if err != nil {
				t.Skip(err)
			}
			a := account.Daily(endpoint.Amount{Tokens: 10}, day)
			time.Sleep(time.Until(time.Now().Truncate(24 * time.Hour).Add(31 * time.Hour)))
			if _, err := a.Reserve(endpoint.Amount{Tokens: 4}, endpoint.Amount{}); err != nil {
				t.Fatal(err)
			}
			_, err = a.Reserve(endpoint.Amount{Tokens: 7}, endpoint.Amount{Tokens: 7})
			if e, ok := errors.AsType[*account.Error](err); !ok || e.Renews != want || e.Here != 4 || e.Reserved != 4 {
				t.Errorf("%s: %+v, want %v", zone, e, want)
			}
		}
	})
}
