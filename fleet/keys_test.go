package fleet

import (
	"testing"

	"llmcall/endpoint"
)

// A configuration's own name of a provider is not in the key of its endpoints, and is what
// its patterns are written with.
func TestWhichEndpointsAreShared(t *testing.T) {
	own := func(k endpoint.Key) []string {
		if k.Address == "http://127.0.0.1:9001/v1" {
			return []string{"acme/small"}
		}
		return nil
	}
	hosted, here := endpoint.Key{Model: "openai/small"}, endpoint.Key{Model: "openai/small", Address: "http://127.0.0.1:9001/v1"}
	for _, c := range []struct {
		only []string
		key  endpoint.Key
		want bool
	}{
		{nil, hosted, true},
		{[]string{"openai/*"}, hosted, true},
		{[]string{"openai/large"}, hosted, false},
		{[]string{"acme/*"}, hosted, false},
		{[]string{"acme/*"}, here, true},
		{[]string{"anthropic/*", "acme/s*"}, here, true},
		{[]string{"*"}, here, false}, // a slash is not matched
		{[]string{"*/*"}, here, true},
		{[]string{"mine"}, endpoint.Key{Name: "mine"}, true},
		{[]string{"*"}, endpoint.Key{}, false},
	} {
		f := &Fleet{options: Options{Only: c.only, Names: own}}
		if got := f.shares(c.key); got != c.want {
			t.Errorf("%q, %v: %v, want %v", c.only, c.key, got, c.want)
		}
	}
}
