package redis_test

import (
	"testing"

	"go.uber.org/goleak"

	"llmcall/fleet/internal/store"
	"llmcall/fleet/internal/store/redis"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, url string) store.Store {
	t.Helper()
	s, err := redis.Open(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}
