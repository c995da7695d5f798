package lua_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"llmcall/fleet/internal/store"
	"llmcall/fleet/internal/store/lua"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func call(text string, args ...string) store.Call {
	return store.Call{Script: &store.Script{Name: "test", Text: text}, Key: "{a}", Args: args}
}

// run runs scripts one after another, and returns their texts or errors.
func run(t *testing.T, c *lua.Client, calls ...store.Call) []string {
	t.Helper()
	var texts []string
	for _, r := range c.Run(t.Context(), calls) {
		if r.Err != nil {
			texts = append(texts, r.Err.Error())
			continue
		}
		texts = append(texts, r.Text)
	}
	return texts
}

func TestScripts(t *testing.T) {
	for _, row := range []struct{ script, want string }{
		{`return 'a'`, "a"},
		{`return 3.99`, "3"},
		{`return -3.99`, "-3"},
		{`return 1764183796123456`, "1764183796123456"},
		{`return true`, "1"},
		{`return false`, ""},
		{`return`, ""},
		{`return redis.error_reply('no')`, "test: no"},
		{`return redis.status_reply('OK')`, "OK"},
		{`return {1, 2}`, "test: a script must return one text"},
		{`return KEYS[1] .. ARGV[1] .. #ARGV`, "{a}publish3"},

		// Numbers become texts as in C.
		{`return 1764183796123456 .. ''`, "1.7641837961235e+15"},
		{`return 'a' .. 0.1 + 0.2 .. 'b'`, "a0.3b"},
		{`return tostring(100000000000000)`, "1e+14"},
		{`return tostring(12345678901234)`, "12345678901234"},
		{`return tostring(1/0) .. tostring(-1/0)`, "inf-inf"},
		{`return table.concat({1, 0.5, 'x', 1e15}, ' ')`, "1 0.5 x 1e+15"},
		{`return string.format('%d %5.2f %s %s %g %%', 3.9, 1.005, 1e15, 'x', 0.1)`, "3  1.00 1e+15 x 0.1 %"},
		{`return string.format('%.0f', 1764183796123456)`, "1764183796123456"},
		{`return ('x'):rep(3) .. (1e15 .. ''):len()`, "xxx5"},
		{`return string.sub(1e15, 1, 2)`, "1e"},
		{`return tostring(tonumber('0x10')) .. tostring(tonumber(' 1e3 ')) .. tostring(tonumber('010')) .. tostring(tonumber('1_0'))`, "16100010nil"},
		{`return tostring(tonumber('ff', 16)) .. tostring(tonumber('')) .. tostring(tonumber({}))`, "255nilnil"},
		{`return '5' + 1`, "6"},
		{`local f = function(x) return 'f' .. x end; return (f(1) .. f(2)):upper()`, "F1F2"},
		{`return 'a' .. {}`, "test: test:1: attempt to concatenate a table value"},

		// JSON.
		{`return cjson.encode({})`, "{}"},
		{`return cjson.encode({{}, {1, 2.5}, 'a/b"\\\n\1\127é', true, cjson.null})`, `[{},[1,2.5],"a\/b\"\\\n\u0001\u007fé",true,null]`},
		{`return cjson.encode({[1] = 1, [3] = 3})`, `[1,null,3]`},
		{`return cjson.encode({[2.5] = 'x'})`, `{"2.5":"x"}`},
		{`return cjson.encode(1764183796123456)`, `1.7641837961235e+15`},
		{`return cjson.encode({a = {b = {0.1}}})`, `{"a":{"b":[0.1]}}`},
		{`return cjson.encode({[1] = 1, [100] = 1})`, "test: test:1: cannot serialise table: excessively sparse array"},
		{`return cjson.encode(1/0)`, "test: test:1: cannot serialise number: must not be NaN or Inf"},
		{`return cjson.encode({[true] = 1})`, "test: test:1: cannot serialise boolean: table key must be a number or string"},
		{`return cjson.encode(cjson.encode)`, "test: test:1: cannot serialise function: type not supported"},
		{`local v = cjson.decode('{"a":[1,null,"\\u00e9\\ud83d\\ude00"],"b":1e3}')
		  return v.a[3] .. v.b .. #v.a .. tostring(v.a[2] == cjson.null)`, "é😀10003true"},
		{`return cjson.decode('{')`, `test: test:1: cjson.decode: not JSON: "{"`},

		// Commands.
		{`return redis.call('HSET', KEYS[1], 'a', 1, 'b', 0.1)`, "2"},
		{`return redis.call('hset', KEYS[1], 'a', 2, 'c', 1764183796123456)`, "1"},
		{`return redis.call('HGET', KEYS[1], 'a') + 1`, "3"},
		{`return tostring(redis.call('HGET', KEYS[1], 'none'))`, "false"},
		{`return table.concat(redis.call('HGETALL', KEYS[1]), ' ')`, "a 2 b 0.10000000000000001 c 1764183796123456"},
		{`local v = redis.call('HMGET', KEYS[1], 'a', 'none', 'c'); return cjson.encode(v)`, `["2",false,"1764183796123456"]`},
		{`return redis.call('HLEN', KEYS[1]) .. table.concat(redis.call('HKEYS', KEYS[1]))`, "3abc"},
		{`return redis.call('HDEL', KEYS[1], 'a', 'none')`, "1"},
		{`return redis.call('EXISTS', KEYS[1]) .. redis.call('PTTL', KEYS[1]) .. redis.call('PEXPIRE', KEYS[1], 1500) .. redis.call('PTTL', KEYS[1])`, "1-111500"},
		{`return redis.call('DEL', KEYS[1]) .. redis.call('DEL', KEYS[1]) .. redis.call('EXISTS', KEYS[1]) .. redis.call('PTTL', KEYS[1]) .. redis.call('PEXPIRE', KEYS[1], 1)`, "100-20"},
		{`return #redis.call('HGETALL', KEYS[1]) .. cjson.encode(redis.call('HGETALL', KEYS[1]))`, "0{}"},
		{`return #redis.call('TIME')[1]`, "10"},
		{`return redis.call(ARGV[1], KEYS[1] .. ':told', 'x')`, "0"},

		// What a Cluster or a real server would refuse.
		{`return redis.call('HGET', 'other', 'a')`, `test: ERR HGET of "other", scripts may use KEYS[1] alone, "{a}"`},
		{`return redis.call('PUBLISH', 'other', 'a')`, `test: ERR PUBLISH to "other", scripts may publish on "{a}:told" alone`},
		{`return redis.call('INCR', KEYS[1])`, "test: ERR INCR is not one of the commands that scripts may use"},
		{`return redis.call('HSET', KEYS[1], 'a')`, "test: ERR wrong number of arguments for 'hset' command"},
		{`return redis.call('HSET', KEYS[1], 'a', 1, 'b')`, "test: ERR wrong number of arguments for 'hset' command"},
		{`return redis.call('HSET', KEYS[1], 'a', false)`, "test: ERR Lua redis lib command arguments must be strings or integers"},
		{`return redis.call('PEXPIRE', KEYS[1], 1.5)`, "test: ERR value is not an integer or out of range"},
		{`return redis.pcall('INCR', KEYS[1]).err`, "ERR INCR is not one of the commands that scripts may use"},
		{`local ok, err = pcall(redis.call, 'INCR', KEYS[1]); return tostring(ok) .. err.err`, "falseERR INCR is not one of the commands that scripts may use"},
		{`return nothing`, "test: test:1: Script attempted to access nonexistent global variable 'nothing'"},
		{`forgotten = 1`, "test: test:1: Attempt to modify a readonly table: global variable 'forgotten'"},
		{`return math.random()`, "test: test:1: attempt to call a non-function object"},
		{`error('mine')`, "test: test:1: mine"},
		{`error({err = 'mine'})`, "test: mine"},
	} {
		c := lua.New().Dial()
		defer c.Close()
		before := []store.Call{}
		if strings.Contains(row.script, "KEYS[1]") && !strings.Contains(row.script, "'b', 0.1") {
			before = append(before, call(`return redis.call('HSET', KEYS[1], 'a', 2, 'b', 0.1, 'c', 1764183796123456)`))
			if strings.Contains(row.script, "'hset'") {
				before[0] = call(`return redis.call('HSET', KEYS[1], 'a', 1)`)
			}
			if strings.Contains(row.script, "#redis.call('HGETALL'") {
				before = nil
			}
		}
		got := run(t, c, append(before, call(row.script, "one", "two"))...)
		if last := got[len(got)-1]; last != row.want {
			t.Errorf("%s\n got %s\nwant %s", row.script, last, row.want)
		}
	}
	c := lua.New().Dial()
	defer c.Close()
	if got := run(t, c, call(`return (`)); !strings.HasPrefix(got[0], "test: ") {
		t.Errorf("got %s", got)
	}
}

func TestAScriptThatFailsHasDoneWhatCameBefore(t *testing.T) {
	c := lua.New().Dial()
	defer c.Close()
	got := run(t, c,
		call(`redis.call('HSET', KEYS[1], 'a', 1); error('late')`),
		call(`return redis.call('HGET', KEYS[1], 'a')`))
	if want := []string{"test: test:1: late", "1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestKeysExpireByTheBubblesTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lua.New().Dial()
		defer c.Close()
		run(t, c, call(`redis.call('HSET', KEYS[1], 'a', 1); return redis.call('PEXPIRE', KEYS[1], 1500)`))
		time.Sleep(1499 * time.Millisecond)
		if got := run(t, c, call(`return redis.call('EXISTS', KEYS[1]) .. redis.call('PTTL', KEYS[1])`)); got[0] != "11" {
			t.Errorf("after 1,499 ms: %s", got)
		}
		time.Sleep(time.Millisecond)
		if got := run(t, c, call(`return redis.call('EXISTS', KEYS[1])`)); got[0] != "0" {
			t.Errorf("after 1,500 ms: %s", got)
		}
		if keys, err := c.Keys(t.Context(), ""); err != nil || len(keys) != 0 {
			t.Errorf("got %q, %v", keys, err)
		}
	})
}

func TestSecretsAndKeys(t *testing.T) {
	s := lua.New()
	one, two := s.Dial(), s.Dial()
	defer one.Close()
	defer two.Close()
	for _, c := range []*lua.Client{one, two} {
		text, err := c.Secret(t.Context(), "p:secret", map[*lua.Client]string{one: "one", two: "two"}[c])
		if text != "one" || err != nil {
			t.Errorf("got %q, %v", text, err)
		}
	}
	run(t, one, call(`return redis.call('HSET', KEYS[1], 'a', 1)`))
	for prefix, want := range map[string][]string{"p:": {"p:secret"}, "": {"p:secret", "{a}"}, "x": nil} {
		if keys, err := two.Keys(t.Context(), prefix); err != nil || !slices.Equal(keys, want) {
			t.Errorf("%q: got %q, %v", prefix, keys, err)
		}
	}
	if n := s.Count(); n != 6 {
		t.Errorf("%d operations", n)
	}
}

// told notes what a watcher hears.
type told struct{ heard chan string }

func watch(c *lua.Client) (told, func()) {
	n := told{make(chan string, 100)}
	return n, c.Watch("{a}", func(m string) { n.heard <- m }, func() { n.heard <- "again" })
}

func (n told) all() []string {
	var all []string
	for len(n.heard) > 0 {
		all = append(all, <-n.heard)
	}
	return all
}

func (n told) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := n.all(); !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
}

func publish(text string) store.Call {
	return call(`return redis.call(ARGV[1], KEYS[1] .. ':told', ARGV[2])`, text)
}

func TestMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := lua.New()
		one, two := s.Dial(), s.Dial()
		defer one.Close()
		first, stop := watch(one)
		second, _ := watch(two)
		first.want(t, "again")
		second.want(t, "again")

		s.Delay(3 * time.Millisecond)
		if got := run(t, one, publish("1"), publish("2")); !slices.Equal(got, []string{"2", "2"}) {
			t.Errorf("published to %q", got)
		}
		time.Sleep(3*time.Millisecond - 1)
		first.want(t)
		time.Sleep(time.Nanosecond)
		first.want(t, "1", "2")
		second.want(t, "1", "2")

		s.Mute(true)
		run(t, one, publish("3"))
		s.Mute(false)
		time.Sleep(time.Second)
		first.want(t)
		second.all()

		two.Down(true) // one alone is cut off
		run(t, one, publish("4"))
		time.Sleep(time.Second)
		two.Down(false)
		time.Sleep(5 * time.Second)
		first.want(t, "4")
		second.want(t, "again")

		s.Flush()
		time.Sleep(5 * time.Second)
		first.want(t, "again")
		second.want(t, "again")

		stop()
		two.Close()
		synctest.Wait()
		if got := run(t, one, publish("5")); got[0] != "0" {
			t.Errorf("published to %q", got)
		}
		first.want(t)
	})
}

func TestAServerThatIsDownOrHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := lua.New()
		c := s.Dial()
		defer c.Close()
		add := call(`return redis.call('HSET', KEYS[1], ARGV[2], 1)`, "a")
		count := call(`return redis.call('HLEN', KEYS[1])`)

		s.Down(true)
		if r := c.Run(t.Context(), []store.Call{add, add}); len(r) != 2 || r[0].Err != lua.ErrDown || r[1].Err != lua.ErrDown {
			t.Errorf("down: %v", r)
		}
		s.Down(false)

		s.Hang(true)
		ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
		defer cancel()
		began := time.Now()
		if r := c.Run(ctx, []store.Call{add}); !errors.Is(r[0].Err, context.DeadlineExceeded) {
			t.Errorf("hung: %v", r)
		}
		if d := time.Since(began); d != 250*time.Millisecond {
			t.Errorf("waited %v", d)
		}
		s.Hang(false) // what waited in the socket is run now
		if got := run(t, c, count); got[0] != "1" {
			t.Errorf("%s fields", got)
		}

		s.Hang(true)
		time.AfterFunc(time.Second, func() { s.Hang(false) })
		began = time.Now()
		if got := run(t, c, count); got[0] != "1" || time.Since(began) != time.Second {
			t.Errorf("%s fields after %v", got, time.Since(began))
		}

		s.Latency(4 * time.Millisecond)
		began = time.Now()
		if got := run(t, c, count); got[0] != "1" || time.Since(began) != 4*time.Millisecond {
			t.Errorf("%s fields after %v", got, time.Since(began))
		}
		ctx, cancel = context.WithTimeout(t.Context(), 3*time.Millisecond)
		defer cancel()
		if r := c.Run(ctx, []store.Call{call(add.Script.Text, "b")}); !errors.Is(r[0].Err, context.DeadlineExceeded) {
			t.Errorf("late: %v", r)
		}
		if got := run(t, c, count); got[0] != "2" {
			t.Errorf("%s fields: the script was run, its answer came late", got)
		}

		s.Hang(true)
		time.AfterFunc(time.Second, c.Close)
		if r := c.Run(t.Context(), []store.Call{add}); r[0].Err != lua.ErrClosed {
			t.Errorf("closed: %v", r)
		}
	})
}

func TestFlushLosesAll(t *testing.T) {
	s := lua.New()
	c := s.Dial()
	defer c.Close()
	run(t, c, call(`return redis.call('HSET', KEYS[1], 'a', 1)`))
	s.Flush()
	if got := run(t, c, call(`return redis.call('EXISTS', KEYS[1])`)); got[0] != "0" {
		t.Errorf("got %s", got)
	}
}

func BenchmarkScript(b *testing.B) {
	c := lua.New().Dial()
	defer c.Close()
	calls := []store.Call{call(`local v = cjson.decode(ARGV[2]); redis.call('HSET', KEYS[1], 'a', v.a, 'b', 2, 'n', tonumber(redis.call('HGET', KEYS[1], 'n') or 0) + 1)
		redis.call('PEXPIRE', KEYS[1], 1000); return cjson.encode({a = redis.call('HGETALL', KEYS[1])})`, `{"a":1}`)}
	for b.Loop() {
		if r := c.Run(b.Context(), calls); r[0].Err != nil {
			b.Fatal(r[0].Err)
		}
	}
}
