// Package redis is a store in a Redis server.
package redis

import (
	"errors"
	"log/slog"

	"llmcall/fleet/internal/store"
)

// Open is replaced by the real one.
func Open(string, *slog.Logger) (store.Store, error) { return nil, errors.ErrUnsupported }
