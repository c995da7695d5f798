// Package store is where the processes of a fleet meet: a server that runs scripts and
// passes messages on. A [Store] is a Redis server, a Sentinel, a Cluster, or for tests the
// same scripts over maps (package lua).
package store

import (
	"context"
	"errors"
)

// Script is a Lua script of one key (KEYS[1]), so that a Cluster has it in one slot. It
// returns one text. ARGV[1] is the command with which it publishes: publish, or spublish in
// a Cluster.
type Script struct {
	Name string // for errors
	Text string
}

// Call is one run of a script. Args follow ARGV[1].
type Call struct {
	Script *Script
	Key    string
	Args   []string
}

// Result is what a [Call] has returned.
type Result struct {
	Text string
	Err  error
}

// Store runs scripts and passes on what they publish. It is safe for concurrent use.
type Store interface {
	// Run makes the calls in one exchange, in order, and returns a result for each of
	// them. It returns when ctx ends at the latest, whatever the connection does; calls
	// without a result have ctx's error then, and may have been run.
	Run(ctx context.Context, calls []Call) []Result
	// Watch calls told with each message that is published for a key, until stop is
	// called. It subscribes again after a lost connection, and calls again each time it
	// has subscribed: what was published in between is lost. Neither may wait, as answers are
	// read by the same connection, and they may be called at the same time.
	Watch(key string, told func(message string), again func()) (stop func())
	// Secret returns the text that is kept at a key. If there is none, it is first.
	Secret(ctx context.Context, key, first string) (string, error)
	// Keys returns the keys that begin with a prefix.
	Keys(ctx context.Context, prefix string) ([]string, error)
	// Close ends the connections. Calls of Run that are under way may fail.
	Close()
}

// Channel returns the channel on which scripts publish for a key.
func Channel(key string) string { return key + ":told" }

// ErrNoText is the error of a script that has returned something else than one text.
var ErrNoText = errors.New("a script must return one text")
