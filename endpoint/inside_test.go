package endpoint

import (
	"math/bits"
	"runtime"
	"sync"
	"testing"
	"weak"

	"pgregory.net/rapid"
)

// afresh makes the process's secret as it is at the start, until the test ends.
func afresh(t *testing.T) {
	reset := func() { secret.once, secret.text = sync.Once{}, "" }
	reset()
	t.Cleanup(reset)
}

// Credentials are told apart, in one process or, with the same secret, in many.
func TestHashes(t *testing.T) {
	hash := func() [3]uint64 { return [3]uint64{Hash("key a"), Hash("key b"), Hash("")} }
	all := map[string][3]uint64{}
	for _, c := range []struct{ name, secret string }{{"none", ""}, {"none again", ""}, {"x", "x"}, {"x again", "x"}, {"y", "y"}} {
		afresh(t)
		if c.secret != "" && !Seed(c.secret) {
			t.Errorf("%s: it does not hold", c.name)
		}
		got := hash()
		if got != hash() || got[0] == got[1] || got[2] != 0 || got[0] == 0 || Seed("too late") != (c.secret != "") || got != hash() {
			t.Errorf("%s: %x", c.name, got)
		}
		all[c.name] = got
	}
	if all["x"] != all["x again"] || all["x"] == all["y"] || all["x"] == all["none"] || all["none"] == all["none again"] {
		t.Errorf("%x", all)
	}
	if bits.OnesCount64(all["x"][0]^all["x"][1]) < 8 {
		t.Errorf("%x are like each other", all["x"])
	}
}

// What a process would have made of a credential with another secret follows from what it has
// made of it; without a secret of its own nothing does.
func TestHashesOfAnotherSecret(t *testing.T) {
	keys := []string{"", "k", "sk-proj-0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz"}
	var want []uint64
	afresh(t)
	Seed("of the fleet")
	for _, key := range keys {
		want = append(want, Hash(key))
	}
	for _, own := range []string{"of the fleet", "of the process", "x"} {
		afresh(t)
		Seed(own)
		for i, key := range keys {
			if got := Rehash(Hash(key), "of the fleet"); got != want[i] {
				t.Errorf("%q with %q: %x, want %x", key, own, got, want[i])
			}
		}
	}
	afresh(t)
	if h := Hash("k"); Rehash(h, "of the fleet") != h {
		t.Error("a number without a secret was made another")
	}
}

// Two credentials never become one with another secret.
func TestHashesStayDifferent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret, n := rapid.String().Draw(t, "secret"), rapid.Uint64().Draw(t, "hash")
		if there := permuted(secret, n, false); permuted(secret, there, true) != n || permuted(secret, permuted(secret, n, true), false) != n {
			t.Errorf("%x becomes %x, and not back", n, there)
		}
	})
}

// What was held by nobody leaves nothing behind, and a forgotten one takes away
// nobody else of its key.
func TestWhatIsForgotten(t *testing.T) {
	r, err := NewRegistry(Config{Max: 1})
	if err != nil {
		t.Fatal(err)
	}
	a, b := Key{Model: "a"}, Key{Model: "b"}
	e := r.Get(a)
	r.forget(a)
	r.forget(b)
	if len(r.byKey) != 1 || r.Get(a) != e {
		t.Errorf("%d are known", len(r.byKey))
	}
	r.byKey[b] = weak.Pointer[Endpoint]{}
	for one := range r.All() {
		if one != e {
			t.Errorf("one that is gone is among all: %v", one)
		}
	}
	r.forget(b)
	if len(r.byKey) != 1 {
		t.Error("one that is gone is known")
	}
	for i := range 1000 {
		r.Get(Key{Model: "m", Credential: uint64(i + 1)})
	}
	known := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.byKey)
	}
	for n := 0; known() > 100; n++ {
		if n == 1000 {
			t.Fatalf("%d are known", known())
		}
		runtime.GC()
		runtime.Gosched()
	}
	runtime.KeepAlive(e)
}
