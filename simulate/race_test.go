//go:build race

package simulate_test

// raced says that the tests run under the race detector, which makes a simulation ten times
// slower.
const raced = true
