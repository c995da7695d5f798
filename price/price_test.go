package price_test

import (
	"math"
	"math/big"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"llmcall/llm"
	"llmcall/price"
)

const dollar = 1_000_000_000 // in nano-dollars

var (
	may  = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	june = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
)

func TestCost(t *testing.T) {
	small := price.Price{Rates: price.Rates{Input: 150_000_000, Output: 600_000_000}}
	claude := price.Price{
		Rates: price.Rates{Input: 3 * dollar, Output: 15 * dollar, CachedInput: 300_000_000, CacheWrite: 3_750_000_000, CacheWrite1h: 6 * dollar},
		Tiers: []price.Tier{{Above: 200_000, Rates: price.Rates{Input: 6 * dollar, Output: 22_500_000_000}}},
		Dated: []price.Dated{{From: june, Rates: price.Rates{Input: 2 * dollar, Output: 10 * dollar, CachedInput: price.Free}}},
	}
	heard := price.Price{Rates: price.Rates{Input: 300_000_000, CachedInput: 30_000_000, Audio: 1 * dollar, CachedAudio: 100_000_000, Output: 2_500_000_000}}
	for _, c := range []struct {
		what string
		of   price.Price
		at   time.Time
		used llm.Usage
		want int64
	}{
		{"nothing", small, may, llm.Usage{}, 0},
		{"input and output", small, may, llm.Usage{InputTokens: 1000, OutputTokens: 100}, 150_000 + 60_000},
		{"what was thought is output", small, may, llm.Usage{OutputTokens: 100, ReasoningTokens: 90}, 60_000},
		{"a cache without a price is input", small, may, llm.Usage{InputTokens: 1000, CachedTokens: 400, CacheWriteTokens: 600, CacheWrite1hTokens: 300}, 150_000},
		{"rounded up once", price.Price{Rates: price.Rates{Input: 400_000, Output: 400_000}}, may, llm.Usage{InputTokens: 1, OutputTokens: 1}, 1},
		{"a whole number is not rounded", price.Price{Rates: price.Rates{Input: 500_000, Output: 500_000}}, may, llm.Usage{InputTokens: 1, OutputTokens: 1}, 1},
		{"each kind of input", claude, may, llm.Usage{InputTokens: 1000, CachedTokens: 400, CacheWriteTokens: 300, CacheWrite1hTokens: 100, OutputTokens: 10}, 300*3000 + 400*300 + 200*3750 + 100*6000 + 10*15_000},
		{"at the limit of a tier", claude, may, llm.Usage{InputTokens: 200_000, OutputTokens: 10}, 200_000*3000 + 10*15_000},
		{"above it, all tokens", claude, may, llm.Usage{InputTokens: 200_001, OutputTokens: 10}, 200_001*6000 + 10*22_500},
		{"a tier does not inherit", claude, may, llm.Usage{InputTokens: 200_001, CachedTokens: 200_001}, 200_001 * 6000},
		{"just before another price", claude, june.Add(-1), llm.Usage{InputTokens: 1000}, 3_000_000},
		{"from another price on", claude, june, llm.Usage{InputTokens: 1000, CachedTokens: 400, OutputTokens: 10}, 600*2000 + 10*10_000},
		{"a tier is that of the date", claude, june, llm.Usage{InputTokens: 300_000}, 300_000 * 2000},
		{"sound", heard, may, llm.Usage{InputTokens: 1000, CachedTokens: 300, AudioTokens: 500, CachedAudioTokens: 200}, 400*300 + 100*30 + 300*1000 + 200*100},
		{"parts of more than the whole", claude, may, llm.Usage{InputTokens: 10, CachedTokens: 100, CacheWriteTokens: 5}, 5*3750 + 5*300},
		{"counts below 0", claude, may, llm.Usage{InputTokens: -10, OutputTokens: -1, CachedTokens: -5}, 0},
		{"parts below 0", claude, may, llm.Usage{InputTokens: 10, CachedTokens: -5, CacheWriteTokens: -1, CacheWrite1hTokens: -9, CachedAudioTokens: -3}, 30_000},
		{"more than there is money", small, may, llm.Usage{InputTokens: math.MaxInt64, OutputTokens: math.MaxInt64}, math.MaxInt64},
		{"more than 64 bits on the way", price.Price{Rates: price.Rates{Input: math.MaxInt64}}, may, llm.Usage{InputTokens: 999_999}, 9_223_362_813_482_738_953},
	} {
		if got := c.of.Cost(c.used, c.at); got != c.want {
			t.Errorf("%s: %d, want %d", c.what, got, c.want)
		}
	}
}

func TestMost(t *testing.T) {
	p := price.Price{
		Rates: price.Rates{Input: 3 * dollar, Output: 15 * dollar, CacheWrite: 4 * dollar, CacheWrite1h: 6 * dollar},
		Tiers: []price.Tier{{Above: 1000, Rates: price.Rates{Input: 12 * dollar, Output: 20 * dollar}}, {Above: 2000, Rates: price.Rates{Input: 1 * dollar}}},
		Dated: []price.Dated{{From: june, Rates: price.Rates{Output: 1 * dollar}}},
	}
	for _, c := range []struct {
		what          string
		input, output int64
		at            time.Time
		want          int64
	}{
		{"nothing", 0, 0, may, 0},
		{"all is written to the cache for an hour", 1000, 10, may, 1000*6000 + 10*15_000},
		{"the tier can be reached", 1001, 10, may, 1001*12_000 + 10*20_000},
		{"a longer prompt would be cheaper", 3000, 10, may, 2000*12_000 + 10*20_000},
		{"a later price", 1000, 10, june, 10_000},
		{"below 0", -5, -5, may, 0},
		{"too much", math.MaxInt64, math.MaxInt64, may, math.MaxInt64},
	} {
		if got := p.Most(c.input, c.output, c.at); got != c.want {
			t.Errorf("%s: %d, want %d", c.what, got, c.want)
		}
	}
}

// bill is the naive model, from the sentences of the docs: each token of the usage is
// put in one heap, the heaps are multiplied by their rates, and the sum is rounded up.
func bill(p price.Price, u llm.Usage, at time.Time) *big.Int {
	rates, tiers := p.Rates, p.Tiers
	dated := slices.SortedStableFunc(slices.Values(p.Dated), func(a, b price.Dated) int { return a.From.Compare(b.From) })
	for _, d := range dated {
		if !at.Before(d.From) {
			rates, tiers = d.Rates, d.Tiers
		}
	}
	tiers = slices.SortedStableFunc(slices.Values(tiers), func(a, b price.Tier) int { return int(a.Above - b.Above) })
	for _, tier := range tiers {
		if u.InputTokens > tier.Above {
			rates = tier.Rates
		}
	}
	as := func(rate *int64, other int64) {
		if *rate == 0 {
			*rate = other
		}
	}
	as(&rates.CachedInput, rates.Input)
	as(&rates.CacheWrite, rates.Input)
	as(&rates.CacheWrite1h, rates.CacheWrite)
	if rates.Audio != 0 {
		as(&rates.CachedAudio, rates.Audio)
	}
	as(&rates.CachedAudio, rates.CachedInput)
	as(&rates.Audio, rates.Input)
	sum := new(big.Int)
	for _, heap := range [][2]int64{
		{u.InputTokens - u.CachedTokens - u.CacheWriteTokens - u.AudioTokens + u.CachedAudioTokens, rates.Input},
		{u.CachedTokens - u.CachedAudioTokens, rates.CachedInput}, {u.CachedAudioTokens, rates.CachedAudio}, {u.AudioTokens - u.CachedAudioTokens, rates.Audio},
		{u.CacheWriteTokens - u.CacheWrite1hTokens, rates.CacheWrite}, {u.CacheWrite1hTokens, rates.CacheWrite1h}, {u.OutputTokens, rates.Output},
	} {
		sum.Add(sum, new(big.Int).Mul(big.NewInt(heap[0]), big.NewInt(max(heap[1], 0))))
	}
	million := big.NewInt(1_000_000)
	return sum.Div(sum.Add(sum, big.NewInt(999_999)), million)
}

var (
	rate  = rapid.OneOf(rapid.Just[int64](0), rapid.Just[int64](price.Free), rapid.Int64Range(1, 100), rapid.Int64Range(1, 200*dollar))
	rates = rapid.Custom(func(t *rapid.T) price.Rates {
		return price.Rates{
			Input: rate.Draw(t, "input"), Output: rate.Draw(t, "output"), CachedInput: rate.Draw(t, "cached"), CacheWrite: rate.Draw(t, "write"),
			CacheWrite1h: rate.Draw(t, "write 1h"), Audio: rate.Draw(t, "audio"), CachedAudio: rate.Draw(t, "cached audio"),
		}
	})
	tiers = rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) price.Tier {
		return price.Tier{Above: rapid.Int64Range(0, 3000).Draw(t, "above"), Rates: rates.Draw(t, "rates")}
	}), 0, 3, func(t price.Tier) int64 { return t.Above })
	prices = rapid.Custom(func(t *rapid.T) price.Price {
		return price.Price{Rates: rates.Draw(t, "rates"), Tiers: tiers.Draw(t, "tiers"), Dated: rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) price.Dated {
			return price.Dated{From: times.Draw(t, "from"), Rates: rates.Draw(t, "rates"), Tiers: tiers.Draw(t, "tiers")}
		}), 0, 3, func(d price.Dated) time.Time { return d.From }).Draw(t, "dated")}
	})
	times = rapid.Custom(func(t *rapid.T) time.Time {
		return may.Add(time.Duration(rapid.IntRange(0, 5).Draw(t, "hours")) * time.Hour)
	})
)

// usage draws the counts of a call, whose parts are not more than the whole.
func usage(t *rapid.T, input, output int64) (u llm.Usage) {
	part := func(of int64, name string) int64 { return rapid.Int64Range(0, max(of, 0)).Draw(t, name) }
	u.InputTokens, u.OutputTokens = part(input, "input used"), part(output, "output used")
	u.CacheWriteTokens = part(u.InputTokens, "written")
	u.CacheWrite1hTokens = part(u.CacheWriteTokens, "written for an hour")
	u.CachedTokens = part(u.InputTokens-u.CacheWriteTokens, "read")
	u.CachedAudioTokens = part(u.CachedTokens, "sound read")
	u.AudioTokens = u.CachedAudioTokens + part(u.InputTokens-u.CacheWriteTokens-u.CachedTokens, "sound")
	u.ReasoningTokens = part(u.OutputTokens, "thought")
	return u
}

func TestCostIsTheBill(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, at := prices.Draw(t, "price"), times.Draw(t, "at")
		u := usage(t, rapid.SampledFrom([]int64{10, 4000, 1 << 40}).Draw(t, "up to"), 1<<40)
		want := bill(p, u, at)
		if !want.IsInt64() {
			want.SetInt64(math.MaxInt64)
		}
		if got := p.Cost(u, at); got != want.Int64() {
			t.Errorf("%+v costs %d, want %s", u, got, want)
		}
	})
}

// A usage may be whatever a gateway sends, a part more than the whole too.
func TestCostIsNeverAboveMost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, at := prices.Draw(t, "price"), times.Draw(t, "at")
		input, output := rapid.Int64Range(-1, 5000).Draw(t, "input"), rapid.Int64Range(-1, 5000).Draw(t, "output")
		u := usage(t, input, output)
		if rapid.Bool().Draw(t, "odd") {
			count := rapid.Int64Range(-10, 10_000)
			u.CachedTokens, u.CacheWriteTokens, u.CacheWrite1hTokens = count.Draw(t, "read"), count.Draw(t, "written"), count.Draw(t, "for an hour")
			u.AudioTokens, u.CachedAudioTokens = count.Draw(t, "sound"), count.Draw(t, "sound read")
		}
		if cost, most := p.Cost(u, at), p.Most(input, output, at); cost > most || cost < 0 {
			t.Errorf("%+v costs %d, and at most %d", u, cost, most)
		}
	})
}

// What is reserved is no more than what can be billed: some usage costs it.
func TestMostIsReached(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, at := prices.Draw(t, "price"), times.Draw(t, "at")
		input, output := rapid.Int64Range(0, 5000).Draw(t, "input"), rapid.Int64Range(0, 5000).Draw(t, "output")
		lengths := []int64{input}
		for _, list := range append([][]price.Tier{p.Tiers}, tiersOf(p.Dated)...) {
			for _, tier := range list {
				lengths = append(lengths, min(tier.Above, input))
			}
		}
		var dearest int64
		for _, n := range lengths {
			for _, u := range []llm.Usage{{}, {CachedTokens: n}, {CacheWriteTokens: n}, {CacheWriteTokens: n, CacheWrite1hTokens: n}, {AudioTokens: n}, {CachedTokens: n, AudioTokens: n, CachedAudioTokens: n}} {
				u.InputTokens, u.OutputTokens = n, output
				dearest = max(dearest, p.Cost(u, at))
			}
		}
		if most := p.Most(input, output, at); most != dearest {
			t.Errorf("at most %d, and the dearest is %d", most, dearest)
		}
	})
}

func tiersOf(dated []price.Dated) (all [][]price.Tier) {
	for _, d := range dated {
		all = append(all, d.Tiers)
	}
	return all
}
