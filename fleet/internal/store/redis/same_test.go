package redis_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"llmcall/fleet/internal/store"
	"llmcall/fleet/internal/store/lua"
	"llmcall/internal/servers"
)

// both runs calls on a real server and in memory. It returns what differs.
func both(t *testing.T, real, memory store.Store, calls []store.Call) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	a, b := real.Run(ctx, calls), memory.Run(ctx, calls)
	for i, c := range calls {
		if (a[i].Err != nil) != (b[i].Err != nil) || !same(a[i].Text, b[i].Text) {
			t.Fatalf("%d of %d: %s\n%q\nRedis:  %q, %v\nmemory: %q, %v", i+1, len(calls), c.Script.Text, c.Args, a[i].Text, a[i].Err, b[i].Text, b[i].Err)
		}
	}
}

// same says whether two texts are equal, or the same JSON: the order of an object's fields is
// not told.
func same(a, b string) bool {
	if a == b {
		return true
	}
	var v, w any
	for text, into := range map[string]*any{a: &v, b: &w} {
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		if d.Decode(into) != nil {
			return false
		}
	}
	c, err1 := json.Marshal(v)
	d, err2 := json.Marshal(w)
	return err1 == nil && err2 == nil && bytes.Equal(c, d)
}

func script(text string) *store.Script { return &store.Script{Name: "test", Text: text} }

// What is easily different in another Lua.
func TestScriptsAreTheSameInMemory(t *testing.T) {
	real := open(t, servers.Redis(t).URL)
	memory := lua.New().Dial()
	defer memory.Close()
	for _, text := range []string{
		`return 'a'`, `return 3.99`, `return -3.99`, `return 1764183796123456`, `return true`, `return false`, `return`,
		`return nil`, `return ''`, `return {1, 2}`, `return {}`, `return redis.error_reply('no')`, `return redis.status_reply('OK')`,
		`return {err = 'CODE no'}`, `return {ok = 'fine'}`, `return cjson.null`, `return ARGV[1] .. #ARGV .. KEYS[1] .. #KEYS`,
		`return 1764183796123456 .. ''`, `return 0.1 + 0.2 .. ''`, `return -0 .. ''`, `return 1e100 .. ''`, `return 1/0 .. ''`, `return -1/0 .. ''`,
		`return tostring(100000000000000) .. tostring(99999999999999)`, `return tostring(1e-5) .. tostring(0.0001)`, `return tostring(nil) .. tostring(true)`,
		`return table.concat({1, 0.5, 'x', 1e15}, ' ')`, `return table.concat({1, 2, 3}, ',', 2)`, `return table.concat({1, {}})`, `return table.concat({})`,
		`return string.format('%d %5.2f %s %s %g %% %5s|%-5s|%05d %x %e', 3.9, 1.005, 1e15, 'x', 0.1, 'a', 'b', 42, 255, 12345.678)`,
		`return string.format('%d', 'x')`, `return string.format('%s')`, `return string.format('%.14g %.17g %.0f', 0.1, 0.1, 1764183796123456)`,
		`return string.format('%d', '12')`, `return string.format('%i %u %c %G %X', 3, 3, 65, 1e20, 255)`, `return string.format('%s', {})`,
		`return ('x'):rep(3) .. (1e15 .. ''):len() .. #'abc'`, `return string.sub(1e15, 1, 2)`, `return string.find('a.b', '.', 1, true) .. ''`,
		`local a, b = ('k=v'):match('(%w+)=(%w+)'); return a .. b`, `return (('aXbX'):gsub('X', '1'))`, `return select('#', ('a b'):gsub(' ', '')) .. ''`,
		`local t = {}; for w in ('a,b,c'):gmatch('[^,]+') do t[#t + 1] = w end; return table.concat(t, ';')`,
		`return tostring(tonumber('0x10'))`, `return tostring(tonumber(' 1e3 '))`, `return tostring(tonumber('010'))`, `return tostring(tonumber('1_0'))`,
		`return tostring(tonumber('ff', 16))`, `return tostring(tonumber(''))`, `return tostring(tonumber('abc'))`, `return tostring(tonumber('1 2'))`,
		`return tostring(tonumber('1.'))`, `return tostring(tonumber('.5'))`, `return tostring(tonumber('inf'))`, `return tostring(tonumber(nil))`,
		`return tostring(tonumber('1e400'))`, `return tostring(tonumber(5))`, `return tostring(tonumber(false))`, `return tostring(tonumber('5', 10))`,
		`return '5' + 1`, `return '5' * '2'`, `return 'x' + 1`, `return 7 % 3 .. -7 % 3 .. 7 % -3 .. ''`, `return 5.5 % 2 .. ''`, `return 2^53 .. ''`,
		`return math.floor(-1.5) .. math.ceil(1.2) .. math.max(1, 5, 3) .. math.min(2, 1) .. math.abs(-3) .. math.huge`,
		`return tostring('a' < 'b') .. tostring('10' < '9') .. tostring(1 == '1')`, `return 1 < 'a'`, `return 'a' .. {}`, `return 'a' .. nil`,
		`local t = {3, 1, 2}; table.sort(t); return table.concat(t)`, `local t = {1, 2}; table.insert(t, 1, 0); table.remove(t); return table.concat(t)`,
		`local t = {3, 1, 2}; table.sort(t, function(a, b) return a > b end); return table.concat(t)`, `return #{1, 2, nil}`,
		`local n = 0; for _, v in ipairs({1, 2, nil, 4}) do n = n + v end; return n`, `local n = 0; for _ in pairs({a = 1, b = 2}) do n = n + 1 end; return n`,
		`return select('#', unpack({1, 2, 3}))`, `local function f(...) return select('#', ...) end; return f(nil, nil)`, `return type(cjson.null)`,
		`local ok, err = pcall(function() error({code = 7}) end); return tostring(ok) .. err.code`, `local ok = pcall(error, 'x'); return tostring(ok)`,
		`return nothing`, `forgotten = 1`, `string = nil; return 1`, `error('mine')`, `error({err = 'mine'})`, `return (`,
		`goto x`, `return #ARGV[2] .. ARGV[2]`,

		`return cjson.encode({})`, `return cjson.encode({{}, {1, 2.5}, 'a/b"\\\n\r\t\b\f\1\127é\255', true, false, cjson.null})`, `return cjson.encode({[1] = 1, [3] = 3})`,
		`return cjson.encode({[2.5] = 'x'})`, `return cjson.encode({[0] = 'x'})`, `return cjson.encode({[-1] = 'x', [1] = 'y'})`, `return cjson.encode({1, 2, x = 3})`,
		`return cjson.encode(1764183796123456)`, `return cjson.encode(0.1)`, `return cjson.encode(1e15)`, `return cjson.encode(123456789012345)`, `return cjson.encode(-0.5)`,
		`return cjson.encode({[1] = 1, [100] = 1})`, `return cjson.encode({[1] = 1, [10] = 1})`, `return cjson.encode(1/0)`, `return cjson.encode({[true] = 1})`,
		`return cjson.encode(cjson.encode)`, `return cjson.encode('x')`, `return cjson.encode(nil)`, `return cjson.encode(true)`, `return cjson.encode()`,
		`return cjson.encode(redis.call('HMGET', KEYS[1], 'none'))`, `return cjson.encode({a = {b = {0.1, {c = 'd'}}}})`,
		`local v = cjson.decode('{"a":[1,null,"\\u00e9\\ud83d\\ude00\\/"],"b":1e3,"c":{},"d":[],"e":true}')
		 return v.a[3] .. v.b .. #v.a .. tostring(v.a[2] == cjson.null) .. type(v.c) .. #v.d .. tostring(v.e)`,
		`return cjson.decode('{')`, `return cjson.decode('')`, `return cjson.decode('nope')`, `return cjson.decode('[1,]')`, `return cjson.decode('1764183796123456')`,
		`return cjson.encode(cjson.decode('{"a":12345678901234567,"b":"\\u0000x","c":-1.5e-7,"d":null}'))`, `return cjson.decode(' "x" ')`, `return cjson.decode('[1] x')`,
		`return cjson.decode(nil)`, `return cjson.encode(cjson.decode('[[],{}]'))`, `return tostring(cjson.decode('null') == cjson.null)`,

		`return redis.call('HSET', KEYS[1], 'a', 1, 'b', 0.1)`, `return redis.call('hset', KEYS[1], 'a', 2, 'c', 1764183796123456, 'd', 1e17, 'e', 1/3, 'f', 1e-7)`,
		`return table.concat(redis.call('HGETALL', KEYS[1]), ' ')`, `return redis.call('HGET', KEYS[1], 'a') + 1`, `return redis.call('HGET', KEYS[1], 'a')`,
		`return redis.call('HGET', KEYS[1], 'none')`, `return tostring(redis.call('HGET', KEYS[1], 'none'))`, `return cjson.encode(redis.call('HMGET', KEYS[1], 'a', 'none', 'c'))`,
		`return redis.call('HLEN', KEYS[1]) .. table.concat(redis.call('HKEYS', KEYS[1]))`, `return redis.call('HDEL', KEYS[1], 'a', 'none')`, `return redis.call('HDEL', KEYS[1])`,
		`return redis.call('PTTL', KEYS[1])`, `return redis.call('PEXPIRE', KEYS[1], 100000)`, `return math.ceil(redis.call('PTTL', KEYS[1]) / 100000)`,
		`return redis.call('PEXPIRE', KEYS[1], 1.5)`, `return redis.call('PEXPIRE', KEYS[1], 'x')`, `return redis.call('PEXPIRE', KEYS[1], 1e3)`, `return redis.call('PEXPIRE', KEYS[1], -1)`,
		`return redis.call('EXISTS', KEYS[1])`, `return redis.call('PEXPIRE', KEYS[1], 5)`, `return redis.call('PTTL', KEYS[1])`,
		`return redis.call('HSET', KEYS[1], 'a')`, `return redis.call('HSET', KEYS[1], 'a', 1, 'b')`, `return redis.call('HSET', KEYS[1], 'a', false)`, `return redis.call('HSET', KEYS[1], 'a', {})`,
		`return redis.call()`, `return redis.call('NOPE')`, `return tostring(redis.pcall('HSET', KEYS[1]).err ~= nil)`, `local ok, err = pcall(redis.call, 'NOPE'); return tostring(ok) .. type(err)`,
		`redis.call('HSET', KEYS[1], 'kept', 1); error('late')`, `return redis.call('HGET', KEYS[1], 'kept')`, `return redis.call('DEL', KEYS[1])`, `return redis.call('DEL', KEYS[1])`,
		`return #redis.call('TIME')[1]`, `return #redis.call('TIME')`, `return redis.call(ARGV[1], KEYS[1] .. ':told', 'x')`, `return redis.call('HSET', KEYS[1], '', '')`, `return redis.call('HGET', KEYS[1], '')`,
	} {
		both(t, real, memory, []store.Call{{Script: script(text), Key: "{same}", Args: []string{"é\x00\xff"}}})
	}
}

// Scripts as a fleet has them, with random arguments: the texts are the same, and so is what is
// kept.
func TestSequencesAreTheSameInMemory(t *testing.T) {
	server := servers.Redis(t)
	real := open(t, server.URL)
	scripts := []*store.Script{
		script(`return redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])`),
		script(`local n = tonumber(ARGV[3]); if not n then return 'no number' end
			local old = tonumber(redis.call('HGET', KEYS[1], ARGV[2]) or '0') or 0
			redis.call('HSET', KEYS[1], ARGV[2], old + n, 'last', n / 3)
			return cjson.encode({was = old, is = old + n, text = old + n .. ''})`),
		script(`return cjson.encode(redis.call('HMGET', KEYS[1], ARGV[2], ARGV[3], 'last'))`),
		script(`return redis.call('HDEL', KEYS[1], ARGV[2], ARGV[3])`),
		script(`if redis.call('EXISTS', KEYS[1]) == 0 then return 'none' end; return redis.call('DEL', KEYS[1])`),
		script(`local all, t = redis.call('HGETALL', KEYS[1]), {}
			for i = 1, #all, 2 do t[all[i]] = all[i + 1] end
			return cjson.encode({n = redis.call('HLEN', KEYS[1]), all = t})`),
		script(`redis.call('HSET', KEYS[1], 'state', cjson.encode({ARGV[2], tonumber(ARGV[3]) or cjson.null, {ARGV[2], {}, 1.5}}))
			local v = cjson.decode(redis.call('HGET', KEYS[1], 'state'))
			return v[1] .. tostring(v[2] == cjson.null) .. #v[3]`),
		script(`local v = cjson.decode(ARGV[3]); return type(v) == 'table' and cjson.encode(v) or tostring(v)`),
		script(`local ms = tonumber(ARGV[3]); if ms and ms > 0 and ms < 1e5 then return 'too soon for both' end
			return redis.call('PEXPIRE', KEYS[1], ARGV[3])`),
		script(`local ttl = redis.call('PTTL', KEYS[1]); return ttl > 0 and 'some' or ttl`),
		script(`local keys = redis.call('HKEYS', KEYS[1]); table.sort(keys); return table.concat(keys, ',')`),
		script(`return string.format('%s|%d|%.3f', ARGV[2], ARGV[3], ARGV[3])`),
	}
	number := rapid.OneOf(
		rapid.Map(rapid.Int64(), func(n int64) string { return fmt.Sprint(n) }),
		rapid.Map(rapid.Float64(), func(f float64) string { return fmt.Sprint(f + 0) }), // not -0
		rapid.Map(rapid.IntRange(-10, 1e6), func(n int) string { return fmt.Sprint(n) }),
	)
	text := rapid.OneOf(number, rapid.SampledFrom([]string{"a", "b", "state", "last", "", `{"a":[1,{"b":null}],"c":1.25}`, `[]`, `"x\ty"`, "100000"}), rapid.String())
	run := 0
	rapid.Check(t, func(r *rapid.T) {
		memory := lua.New().Dial()
		defer memory.Close()
		run++
		key := fmt.Sprintf("{%d}", run) // empty on both
		calls := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) store.Call {
			field := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(r, "field")
			return store.Call{Script: rapid.SampledFrom(scripts).Draw(r, "script"), Key: key, Args: []string{field, text.Draw(r, "value")}}
		}), 1, 20).Draw(r, "calls")
		both(t, real, memory, calls)
	})
}
