package price

import (
	"math"
	"math/bits"
	"time"

	"llmcall/llm"
)

// Free is the rate of a kind of input that costs nothing, where 0 would mean another
// rate. See [Rates].
const Free = -1

// perMillion is how many tokens a rate is for.
const perMillion = 1_000_000

// Rates is what a million tokens of each kind cost, in nano-dollars (1e-9 US
// dollars): $0.15 is 150_000_000. A rate below 0 is nothing, as [Free] is. The zero
// value is a model that is free of charge.
type Rates struct {
	// Input is for input that has no rate of its own. 0: nothing.
	Input int64
	// Output is for all output, also for what the model thought. 0: nothing.
	Output int64
	// CachedInput is for [llm.Usage.CachedTokens]. 0: as Input.
	CachedInput int64
	// CacheWrite is for [llm.Usage.CacheWriteTokens]. 0: as Input.
	CacheWrite int64
	// CacheWrite1h is for [llm.Usage.CacheWrite1hTokens]. 0: as CacheWrite.
	CacheWrite1h int64
	// Audio is for [llm.Usage.AudioTokens]. 0: as Input.
	Audio int64
	// CachedAudio is for [llm.Usage.CachedAudioTokens]. 0: as Audio if that has a rate
	// of its own, else as CachedInput.
	CachedAudio int64
}

// Tier is the rates of a long prompt. They are for all tokens of the call, not just
// for those above the limit, as providers bill it. A rate that is 0 is that of another
// kind of token of the tier, as [Rates] says, and not that of the same kind below.
type Tier struct {
	// Above is the number of input tokens that the call must exceed.
	Above int64
	Rates
}

// Dated is a price from a time on, until the next one's begins.
type Dated struct {
	// From is the first time at which it is right.
	From time.Time
	Rates
	Tiers []Tier
}

// Price is what the tokens of a model cost. The zero value is a model that is free of
// charge; whether a model has a price at all is told by [Table.Find] and [Known].
type Price struct {
	// Rates is for calls for which no tier, and no dated price, is.
	Rates
	// Tiers are the rates of long prompts, in any order: that with the highest Above
	// that the input exceeds counts. Default: none.
	Tiers []Tier
	// Dated are the prices of other times, in any order: that with the latest From
	// that is not after the call counts, instead of Rates and Tiers. Default: none.
	Dated []Dated
}

// Cost returns what a call has cost that was made at the given time, in nano-dollars,
// rounded up. A part of the input counts for at most what is left of the whole, and a
// count below 0 is 0. What does not fit is [math.MaxInt64].
func (p Price) Cost(u llm.Usage, at time.Time) int64 {
	var total sum
	r := p.at(at).rates(u.InputTokens)
	left := max(u.InputTokens, 0)
	take := func(tokens, rate int64) {
		tokens = min(max(tokens, 0), left)
		left -= tokens
		total.add(tokens, rate)
	}
	hour := min(u.CacheWrite1hTokens, u.CacheWriteTokens)
	take(hour, r.cacheWrite1h())
	take(u.CacheWriteTokens-max(hour, 0), r.cacheWrite())
	heard := min(u.CachedAudioTokens, u.AudioTokens, u.CachedTokens)
	take(u.AudioTokens-max(heard, 0), r.audio())
	take(heard, r.cachedAudio())
	take(u.CachedTokens-max(heard, 0), r.cachedInput())
	take(left, r.Input)
	total.add(u.OutputTokens, r.Output)
	return total.up()
}

// Most returns the most that a call can cost at the given time, in nano-dollars, that
// has at most so many input and output tokens: all input is of the dearest kind, a
// write to a cache for instance, and just as long as the dearest tier requires. It is
// never below what [Price.Cost] returns for a usage within these numbers. What does
// not fit is [math.MaxInt64].
func (p Price) Most(input, output int64, at time.Time) int64 {
	valid := p.at(at)
	most := valid.mostOf(Tier{Above: math.MinInt64, Rates: valid.Rates}, input, output)
	for _, tier := range valid.Tiers {
		if input > tier.Above {
			most = max(most, valid.mostOf(tier, input, output))
		}
	}
	return most
}

// mostOf is the most that a call of one tier can cost. Its input is not above where
// the next tier begins, which may be cheaper.
func (d Dated) mostOf(tier Tier, input, output int64) int64 {
	for _, next := range d.Tiers {
		if next.Above > tier.Above {
			input = min(input, next.Above)
		}
	}
	var total sum
	total.add(input, max(tier.Input, tier.cachedInput(), tier.cacheWrite(), tier.cacheWrite1h(), tier.audio(), tier.cachedAudio()))
	total.add(output, tier.Output)
	return total.up()
}

// at returns what is right at a time.
func (p Price) at(at time.Time) Dated {
	valid, found := Dated{Rates: p.Rates, Tiers: p.Tiers}, false
	for _, d := range p.Dated {
		if !d.From.After(at) && (!found || d.From.After(valid.From)) {
			valid, found = d, true
		}
	}
	return valid
}

// rates returns the rates of a call with so many input tokens.
func (d Dated) rates(input int64) Rates {
	valid, above, found := d.Rates, int64(0), false
	for _, tier := range d.Tiers {
		if input > tier.Above && (!found || tier.Above > above) {
			valid, above, found = tier.Rates, tier.Above, true
		}
	}
	return valid
}

func (r Rates) cachedInput() int64  { return or(r.CachedInput, r.Input) }
func (r Rates) cacheWrite() int64   { return or(r.CacheWrite, r.Input) }
func (r Rates) cacheWrite1h() int64 { return or(r.CacheWrite1h, r.cacheWrite()) }
func (r Rates) audio() int64        { return or(r.Audio, r.Input) }

func (r Rates) cachedAudio() int64 {
	return or(r.CachedAudio, or(r.Audio, r.cachedInput()))
}

func or(rate, otherwise int64) int64 {
	if rate == 0 {
		return otherwise
	}
	return rate
}

// sum adds products of tokens and rates. It can't overflow: all tokens of the input
// together, and those of the output, are below 2^63, and so is each rate.
type sum struct{ high, low uint64 }

func (s *sum) add(tokens, rate int64) {
	if tokens <= 0 || rate <= 0 {
		return
	}
	high, low := bits.Mul64(uint64(tokens), uint64(rate))
	var carry uint64
	s.low, carry = bits.Add64(s.low, low, 0)
	s.high, _ = bits.Add64(s.high, high, carry)
}

// up returns the nano-dollars, rounded up.
func (s *sum) up() int64 {
	if s.high >= perMillion { // Div64 panics
		return math.MaxInt64
	}
	whole, rest := bits.Div64(s.high, s.low, perMillion)
	if whole >= math.MaxInt64 {
		return math.MaxInt64
	}
	if rest > 0 {
		whole++
	}
	return int64(whole)
}
