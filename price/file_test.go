package price_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"llmcall/price"
)

func TestAPriceIsReadFromAFile(t *testing.T) {
	for text, want := range map[string]price.Price{
		`{"input": 0.15, "output": 0.60}`:                                        {Rates: price.Rates{Input: 150_000_000, Output: 600_000_000}},
		`{"input": 0, "output": 0}`:                                              {},
		`{"input": -0.0, "output": 0e9}`:                                         {},
		`{"input": 7e-3, "output": 1.5E+1}`:                                      {Rates: price.Rates{Input: 7_000_000, Output: 15 * dollar}},
		`{"input": 0.000000001, "output": 1000000}`:                              {Rates: price.Rates{Input: 1, Output: 1_000_000 * dollar}},
		`{"input": 0.10000000000000000000, "output": 100e-2}`:                    {Rates: price.Rates{Input: 100_000_000, Output: dollar}},
		`{"input": 1, "output": 2, "cached_input": 0, "cache_write": 1.25}`:      {Rates: price.Rates{Input: dollar, Output: 2 * dollar, CachedInput: price.Free, CacheWrite: 1_250_000_000}},
		`{"input": 1, "output": 2, "cache_write_1h": 2, "audio": 3}`:             {Rates: price.Rates{Input: dollar, Output: 2 * dollar, CacheWrite1h: 2 * dollar, Audio: 3 * dollar}},
		`{"input": 1, "output": 2, "cached_audio": 4}`:                           {Rates: price.Rates{Input: dollar, Output: 2 * dollar, CachedAudio: 4 * dollar}},
		`{"input":1,"output":2,"tiers":[{"above":200000,"input":2,"output":3}]}`: {Rates: price.Rates{Input: dollar, Output: 2 * dollar}, Tiers: []price.Tier{{Above: 200_000, Rates: price.Rates{Input: 2 * dollar, Output: 3 * dollar}}}},
		`{"input":1,"output":2,"dated":[{"from":"2026-06-01","input":0,"output":1},{"from":"2026-07-01T02:00:00+02:00","input":0,"output":0,"tiers":[]}]}`: {Rates: price.Rates{Input: dollar, Output: 2 * dollar},
			Dated: []price.Dated{{From: june, Rates: price.Rates{Output: dollar}}, {From: time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)}}},
	} {
		var got price.Price
		if err := json.Unmarshal([]byte(text), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

func TestWhatIsWrongWithAPriceIsSaid(t *testing.T) {
	for text, want := range map[string]string{
		`1`:                                    `acme/small: must be a mapping with input and output, in dollars per million tokens, such as {input: 0.15, output: 0.60}, got 1`,
		`null`:                                 `acme/small: must be a mapping with input and output, in dollars per million tokens, such as {input: 0.15, output: 0.60}, got null`,
		`{}`:                                   `acme/small: must have a field input, got {}`,
		`{"input": 0.15}`:                      `acme/small: must have a field output, got {"input": 0.15}`,
		`{"input": "0.15", "output": 1}`:       `acme/small: input: must be dollars per million tokens, a number >= 0, got "0.15"`,
		`{"input": null, "output": 1}`:         `acme/small: input: must be dollars per million tokens, a number >= 0, got null`,
		`{"input": -0.15, "output": 1}`:        `acme/small: input: must be dollars per million tokens, a number >= 0, got -0.15`,
		`{"input": 0.1234567891, "output": 1}`: `acme/small: input: must be dollars per million tokens, with at most nine decimals, got 0.1234567891`,
		`{"input": 1e-10, "output": 1}`:        `acme/small: input: must be dollars per million tokens, with at most nine decimals, got 1e-10`,
		`{"input": 1, "output": 1000000.1}`:    `acme/small: output: must be dollars per million tokens, at most 1000000, got 1000000.1`,
		`{"input": 1, "output": 1e90}`:         `acme/small: output: must be dollars per million tokens, at most 1000000, got 1e90`,
		`{"input": 1, "output": 1e999999999}`:  `acme/small: output: must be dollars per million tokens, a number without so large an exponent, got 1e999999999`,
		`{"input": 1, "output": 1, "cached_imput": 0.1}`:                                                     `acme/small: must have no field but input, output, cached_input, cache_write, cache_write_1h, audio, cached_audio, dated, tiers, got "cached_imput", did you mean cached_input?`,
		`{"input": 1, "output": 1, "tiers": {}}`:                                                             `acme/small: tiers: must be a list, got {}`,
		`{"input": 1, "output": 1, "tiers": [{"input": 2, "output": 2}]}`:                                    `acme/small: tiers: 1: must have a field above, got {"input": 2, "output": 2}`,
		`{"input": 1, "output": 1, "tiers": [{"above": 1.5, "input": 2, "output": 2}]}`:                      `acme/small: tiers: 1: above: must be a number of input tokens, a whole number >= 0, got 1.5`,
		`{"input": 1, "output": 1, "tiers": [{"above": 1, "input": 2}]}`:                                     `acme/small: tiers: 1: must have a field output, got {"above": 1, "input": 2}`,
		`{"input": 1, "output": 1, "dated": [{"input": 2, "output": 2}]}`:                                    `acme/small: dated: 1: must have a field from, got {"input": 2, "output": 2}`,
		`{"input": 1, "output": 1, "dated": [{"from": "soon", "input": 2, "output": 2}]}`:                    `acme/small: dated: 1: from: must be a date or a time, such as 2027-01-02 or 2027-01-02T15:04:05Z, got "soon"`,
		`{"input": 1, "output": 1, "dated": [{"from": "2026-06-01", "input": 2, "output": 2, "dated": []}]}`: `acme/small: dated: 1: must have no field but input, output, cached_input, cache_write, cache_write_1h, audio, cached_audio, from, tiers, got "dated"`,
	} {
		var table price.Table
		if err := json.Unmarshal([]byte(`{"acme/large": {"input":1,"output":1}, "acme/small": `+text+`}`), &table); err == nil || err.Error() != want || table != nil {
			t.Errorf("%s\n got %v\nwant %s", text, err, want)
		}
	}
	for text, want := range map[string]string{
		`[]`:                     `must be a mapping of models to prices, such as {acme/small: {input: 0.15, output: 0.60}}, got []`,
		`null`:                   `must be a mapping of models to prices, such as {acme/small: {input: 0.15, output: 0.60}}, got null`,
		`{"small": {"input":1}}`: `"small": must be the full name of a model, such as acme/small`,
		`{"/small": {}}`:         `"/small": must be the full name of a model, such as acme/small`,
		`{"acme/": {}}`:          `"acme/": must be the full name of a model, such as acme/small`,
	} {
		var table price.Table
		if err := table.UnmarshalJSON([]byte(text)); err == nil || err.Error() != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestAPriceIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := prices.Draw(t, "price")
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var read price.Price
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		at := times.Draw(t, "at")
		if u := usage(t, 5000, 100); read.Cost(u, at) != p.Cost(u, at) {
			t.Errorf("%s: %+v costs %d, not %d", text, u, read.Cost(u, at), p.Cost(u, at))
		}
		if again, err := json.Marshal(read); err != nil || string(again) != string(text) {
			t.Errorf("%s: %s, %v", text, again, err)
		}
	})
}

func TestARateThatNoFileCanHaveIsNotWritten(t *testing.T) {
	_, err := json.Marshal(price.Price{Rates: price.Rates{Output: 1_000_001 * dollar}})
	if err == nil || !strings.HasSuffix(err.Error(), "price: output: must be dollars per million tokens, at most 1000000, got 1000001") {
		t.Error(err)
	}
}

func FuzzTable(f *testing.F) {
	f.Add(`{"acme/small": {"input": 0.15, "output": 6e-1, "cached_input": 0, "tiers": [{"above": 1, "input": 2, "output": 3}], "dated": [{"from": "2027-01-01", "input": 1, "output": 1}]}}`)
	f.Add(`{"acme/*": {"input": -0, "output": 1e-9}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var table price.Table
		if json.Unmarshal([]byte(text), &table) != nil || table == nil {
			return
		}
		written, err := json.Marshal(table)
		if err != nil {
			t.Fatalf("%v of %s", err, text)
		}
		var read price.Table
		if err := json.Unmarshal(written, &read); err != nil {
			t.Fatalf("%v in %s of %s", err, written, text)
		}
		if again, _ := json.Marshal(read); string(again) != string(written) {
			t.Errorf("%s became %s and %s", text, written, again)
		}
	})
}

func TestFind(t *testing.T) {
	priced := func(dollars int64) price.Price { return price.Price{Rates: price.Rates{Input: dollars}} }
	table := price.Table{
		"acme/small": priced(1), "acme/small-2026-05-05": priced(2), "acme/small-pro": priced(3),
		"acme/large-*": priced(4), "acme/*": priced(5), "vllm/org/*": priced(6),
	}
	for model, want := range map[string]int64{
		"acme/small": 1, "acme/small-2026-05-06": 1, "acme/small-20260506": 1, "acme/small-2026-05-05": 2, "acme/small-pro-2026-05-05": 3,
		"acme/large-9": 4, "acme/large": 5, "acme/small-latest": 5, "acme/small-2026-13-01": 5, "acme/small-2026-0506": 5,
		"vllm/org/any": 6, "vllm/other": 0, "acme": 0, "": 0,
	} {
		got, ok := table.Find(model)
		if ok != (want > 0) || got.Input != want {
			t.Errorf("%q: %d, %t, want %d", model, got.Input, ok, want)
		}
	}
	if _, ok := price.Table(nil).Find("acme/small"); ok {
		t.Error("an empty table has a price")
	}
}

func TestKnown(t *testing.T) {
	price.Register(func(model string) (price.Price, bool) {
		return price.Price{Rates: price.Rates{Input: 1}}, strings.HasPrefix(model, "acme-of-the-test/")
	})
	price.Register(func(model string) (price.Price, bool) {
		return price.Price{Rates: price.Rates{Input: 2}}, strings.HasSuffix(model, "-of-the-test/small")
	})
	for model, want := range map[string]int64{"acme-of-the-test/small": 1, "other-of-the-test/small": 2, "acme/small": 0} {
		got, ok := price.Known(model)
		if ok != (want > 0) || got.Input != want {
			t.Errorf("%q: %d, %t, want %d", model, got.Input, ok, want)
		}
	}
}

func TestRegisterTakesNoNil(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("nil was registered")
		}
	}()
	price.Register(nil)
}
