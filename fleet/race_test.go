//go:build race

package fleet

// raced says that the tests run under the race detector, which makes the scripts ten times
// slower.
const raced = true
