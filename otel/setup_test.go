package otel

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A collector that is away for an hour is a line a minute, however often it is tried.
func TestACollectorThatIsAwayIsLoggedOnceAMinute(t *testing.T) {
	var log strings.Builder
	before := slog.Default()
	defer slog.SetDefault(before)
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	synctest.Test(t, func(t *testing.T) {
		handler := warns()
		for range 3600 / 5 {
			handler.Handle(errors.New("connection refused"))
			time.Sleep(5 * time.Second)
		}
	})
	got := log.String()
	if strings.Count(got, "connection refused") != 60 || strings.Count(got, "not_logged=11") != 59 {
		t.Error(got)
	}
}
