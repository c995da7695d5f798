package price

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"llmcall/internal/decimal"
	"llmcall/internal/nearest"
	"llmcall/internal/say"
)

// fields are the rates with their names in a file, in the order in which they are
// written. Without the first two there is no price.
var fields = []struct {
	name string
	of   func(*Rates) *int64
}{
	{"input", func(r *Rates) *int64 { return &r.Input }},
	{"output", func(r *Rates) *int64 { return &r.Output }},
	{"cached_input", func(r *Rates) *int64 { return &r.CachedInput }},
	{"cache_write", func(r *Rates) *int64 { return &r.CacheWrite }},
	{"cache_write_1h", func(r *Rates) *int64 { return &r.CacheWrite1h }},
	{"audio", func(r *Rates) *int64 { return &r.Audio }},
	{"cached_audio", func(r *Rates) *int64 { return &r.CachedAudio }},
}

// required is how many of the fields each price must have: what is left out must not
// count as nothing.
const required = 2

// UnmarshalJSON reads a price as a file has it, in dollars per million tokens:
// `input` and `output`, which must be there; `cached_input`, `cache_write`,
// `cache_write_1h`, `audio` and `cached_audio`, which default as in [Rates], so that 0
// is [Free]; `tiers`, a list of the same fields with `above`, the number of input
// tokens; and `dated`, a list of the same fields with `from`, a date (midnight UTC) or
// a time (RFC 3339). Numbers are read digit by digit, and have at most nine decimals.
// The error names the field.
func (p *Price) UnmarshalJSON(data []byte) error {
	read := Price{}
	err := readObject(data, &read.Rates, map[string]func(json.RawMessage) error{
		"tiers": func(raw json.RawMessage) error { return readTiers(raw, &read.Tiers) },
		"dated": func(raw json.RawMessage) error {
			return readList(raw, &read.Dated, func(d *Dated, raw json.RawMessage) error {
				return readObject(raw, &d.Rates, map[string]func(json.RawMessage) error{
					"from":  func(raw json.RawMessage) error { return readTime(raw, &d.From) },
					"tiers": func(raw json.RawMessage) error { return readTiers(raw, &d.Tiers) },
				}, "from")
			})
		},
	})
	if err != nil {
		return err
	}
	*p = read
	return nil
}

// UnmarshalJSON reads a mapping of names to prices. The error names the model and the
// field.
func (t *Table) UnmarshalJSON(data []byte) error {
	var prices map[string]json.RawMessage
	if json.Unmarshal(data, &prices) != nil || prices == nil {
		return fmt.Errorf("must be a mapping of models to prices, such as {acme/small: {input: 0.15, output: 0.60}}, got %s", say.Short(string(data), 60))
	}
	read := make(Table, len(prices))
	for _, model := range slices.Sorted(maps.Keys(prices)) {
		if provider, name, full := strings.Cut(model, "/"); !full || provider == "" || name == "" {
			return fmt.Errorf("%s: must be the full name of a model, such as acme/small", say.Short(strconv.Quote(model), 60))
		}
		var p Price
		if err := p.UnmarshalJSON(prices[model]); err != nil {
			return fmt.Errorf("%s: %w", model, err)
		}
		read[model] = p
	}
	*t = read
	return nil
}

// readObject reads the rates of an object, and its other fields, of which some must be
// there.
func readObject(data []byte, rates *Rates, others map[string]func(json.RawMessage) error, needed ...string) error {
	var given map[string]json.RawMessage
	if json.Unmarshal(data, &given) != nil || given == nil {
		return fmt.Errorf("must be a mapping with input and output, in dollars per million tokens, such as {input: 0.15, output: 0.60}, got %s", say.Short(string(data), 60))
	}
	var known []string
	for i, f := range fields {
		known = append(known, f.name)
		if i < required {
			needed = append(needed, f.name)
		}
		raw, there := given[f.name]
		if !there {
			continue
		}
		rate, err := readRate(raw)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		if rate == 0 && i >= required {
			rate = Free
		}
		*f.of(rates) = rate
	}
	known = append(known, slices.Sorted(maps.Keys(others))...)
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !slices.Contains(known, name) {
			return fmt.Errorf("must have no field but %s, got %s", strings.Join(known, ", "), nearest.Shown(name, known))
		}
		if read, ok := others[name]; ok {
			if err := read(given[name]); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	for _, name := range needed {
		if _, there := given[name]; !there {
			return fmt.Errorf("must have a field %s, got %s", name, say.Short(string(data), 60))
		}
	}
	return nil
}

func readTiers(raw json.RawMessage, to *[]Tier) error {
	return readList(raw, to, func(t *Tier, raw json.RawMessage) error {
		return readObject(raw, &t.Rates, map[string]func(json.RawMessage) error{"above": func(raw json.RawMessage) error {
			n, err := strconv.ParseInt(string(raw), 10, 64)
			if err != nil || n < 0 {
				return fmt.Errorf("must be a number of input tokens, a whole number >= 0, got %s", say.Short(string(raw), 60))
			}
			t.Above = n
			return nil
		}}, "above")
	})
}

func readList[T any](raw json.RawMessage, to *[]T, read func(*T, json.RawMessage) error) error {
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil || items == nil {
		return fmt.Errorf("must be a list, got %s", say.Short(string(raw), 60))
	}
	for i, item := range items {
		var value T
		if err := read(&value, item); err != nil {
			return fmt.Errorf("%d: %w", i+1, err)
		}
		*to = append(*to, value)
	}
	return nil
}

func readTime(raw json.RawMessage, to *time.Time) error {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		for _, layout := range []string{time.DateOnly, time.RFC3339} {
			if t, err := time.Parse(layout, text); err == nil {
				*to = t.UTC()
				return nil
			}
		}
	}
	return fmt.Errorf("must be a date or a time, such as 2027-01-02 or 2027-01-02T15:04:05Z, got %s", say.Short(string(raw), 60))
}

// dearest is the highest rate of a file, in nano-dollars per million tokens: a million
// dollars. More is a slip.
const dearest = 1_000_000 * 1_000_000_000

// readRate reads dollars, a number of JSON, as nano-dollars.
func readRate(raw json.RawMessage) (int64, error) {
	wrong := func(takes string) (int64, error) {
		return 0, fmt.Errorf("must be dollars per million tokens, %s, got %s", takes, say.Short(string(raw), 60))
	}
	if len(raw) == 0 || !strings.Contains("-0123456789", string(raw[:1])) || raw[0] == '-' && strings.Trim(string(raw), "-0.") != "" {
		return wrong("a number >= 0")
	}
	mantissa, exponent, _ := strings.Cut(strings.ToLower(strings.TrimPrefix(string(raw), "-")), "e")
	shift := 0
	if exponent != "" {
		var err error
		if shift, err = strconv.Atoi(exponent); err != nil || shift < -100 || shift > 100 {
			return wrong("a number without so large an exponent")
		}
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimRight(whole+fraction, "0") // times a power of ten
	shift += len(whole) - len(digits) + decimal.Places
	switch digits = strings.TrimLeft(digits, "0"); {
	case digits == "":
		return 0, nil
	case shift < 0:
		return wrong("with at most nine decimals")
	case len(digits)+shift > len(strconv.Itoa(dearest)):
		return wrong("at most 1000000")
	}
	rate, err := strconv.ParseInt(digits+strings.Repeat("0", shift), 10, 64)
	if err != nil || rate > dearest {
		return wrong("at most 1000000")
	}
	return rate, nil
}

// MarshalJSON writes the price as [Price.UnmarshalJSON] reads it. A rate that a file
// can't have, of more than a million dollars per million tokens, is an error.
func (p Price) MarshalJSON() ([]byte, error) {
	written := writeRates(p.Rates, p.Tiers)
	var dated []string
	for _, d := range p.Dated {
		layout := time.RFC3339Nano
		if from := d.From.UTC(); from.Equal(from.Truncate(24 * time.Hour)) {
			layout = time.DateOnly
		}
		from := `"from":` + strconv.Quote(d.From.UTC().Format(layout))
		dated = append(dated, object(append([]string{from}, writeRates(d.Rates, d.Tiers)...)))
	}
	if len(dated) > 0 {
		written = append(written, `"dated":[`+strings.Join(dated, ",")+"]")
	}
	text := []byte(object(written))
	if err := new(Price).UnmarshalJSON(text); err != nil {
		return nil, fmt.Errorf("price: %w", err)
	}
	return text, nil
}

func object(fields []string) string { return "{" + strings.Join(fields, ",") + "}" }

// writeRates returns the fields of rates and of their tiers.
func writeRates(r Rates, tiers []Tier) (written []string) {
	for i, f := range fields {
		if rate := *f.of(&r); i < required || rate != 0 {
			written = append(written, strconv.Quote(f.name)+":"+decimal.Dollars(max(rate, 0), 0))
		}
	}
	var list []string
	for _, t := range tiers {
		list = append(list, object(append([]string{`"above":` + strconv.FormatInt(t.Above, 10)}, writeRates(t.Rates, nil)...)))
	}
	if len(list) > 0 {
		written = append(written, `"tiers":[`+strings.Join(list, ",")+"]")
	}
	return written
}
