package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"llmcall/price"
)

// model is one of the package's.
type model struct {
	ID     string
	Match  rule
	Prices json.RawMessage
}

// rule says which names are those of a model: one of its fields is set.
type rule struct {
	Or, And    []rule
	Equals     string
	StartsWith string `json:"starts_with"`
	EndsWith   string `json:"ends_with"`
	Contains   string
	Regex      string
}

// row is a model in the table: the patterns of its names, as package price/known reads
// them, and its price, if it has one.
type row struct {
	Match []string     `json:"match"`
	Price *price.Price `json:"price,omitempty"`
}

// table returns the table as JSON, a model on each line.
func table(dumped []byte, published string) ([]byte, error) {
	var all []*struct{ Models []model }
	if err := json.Unmarshal(dumped, &all); err != nil {
		return nil, err
	}
	if len(all) != len(providers) {
		return nil, fmt.Errorf("there are %d providers, want %d", len(all), len(providers))
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "{\"source\":%q,\"version\":%q,\"date\":%q,\"licence\":%q,\"providers\":{", source, version, published, licence)
	for i, p := range providers {
		if all[i] == nil || len(all[i].Models) == 0 {
			return nil, fmt.Errorf("%s has no models", p.theirs)
		}
		if i > 0 {
			out.WriteByte(',')
		}
		fmt.Fprintf(&out, "\n%q:[", p.ours)
		between := "\n"
		for _, m := range all[i].Models {
			if servedElsewhere(p.ours, m.ID) {
				continue
			}
			line, err := rowOf(m)
			if err != nil {
				return nil, fmt.Errorf("%s/%s: %w", p.theirs, m.ID, err)
			}
			text, err := json.Marshal(line)
			if err != nil {
				return nil, fmt.Errorf("%s/%s: %w", p.theirs, m.ID, err)
			}
			out.WriteString(between)
			out.Write(text)
			between = ",\n"
		}
		out.WriteByte(']')
	}
	out.WriteString("}}\n")
	return out.Bytes(), nil
}

// servedElsewhere reports whether a model is not to be had by the adapter: the package
// has Vertex AI's Claude among Google's models, which do not speak Gemini's protocol.
func servedElsewhere(provider, id string) bool {
	return provider == "gemini" && strings.HasPrefix(id, "claude")
}

func rowOf(m model) (row, error) {
	patterns, err := m.Match.patterns()
	if err != nil {
		return row{}, err
	}
	slices.Sort(patterns)
	p, err := priceOf(m)
	return row{slices.Compact(patterns), p}, err
}

// patterns returns the rule as patterns: "*" is any text, "#" a digit, and a name that
// fits a pattern after "!" does not fit at all.
func (r rule) patterns() ([]string, error) {
	switch {
	case r.Equals != "":
		return []string{strings.ToLower(r.Equals)}, nil
	case r.StartsWith != "":
		return []string{strings.ToLower(r.StartsWith) + "*"}, nil
	case r.EndsWith != "":
		return []string{"*" + strings.ToLower(r.EndsWith)}, nil
	case r.Contains != "":
		return []string{"*" + strings.ToLower(r.Contains) + "*"}, nil
	case r.Regex != "":
		return fromRegex(r.Regex)
	}
	var all []string
	for i, part := range slices.Concat(r.Or, r.And) {
		patterns, err := part.patterns()
		if err != nil {
			return nil, err
		}
		if single := len(patterns) == 1 && !excludes(patterns); len(r.And) > 0 && single != (i == 0) {
			return nil, errors.New("what must be true together is one pattern, and then what is excluded")
		}
		all = append(all, patterns...)
	}
	switch {
	case len(all) == 0:
		return nil, errors.New("the rule is not one that is known")
	case len(r.Or) > 0 && excludes(all) && open(all) > 1:
		return nil, errors.New("an exclusion would be that of another pattern too")
	}
	return all, nil
}

func excludes(patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return p[0] == '!' })
}

// open returns how many patterns fit more than one name.
func open(patterns []string) (n int) {
	for _, p := range patterns {
		if p[0] != '!' && strings.ContainsAny(p, "*#") {
			n++
		}
	}
	return n
}

// noSpeech is a regular expression that models fit which do not speak.
const noSpeech = `^(?!.*-[tT][tT][sS](?:$|-))`

// fromRegex returns a regular expression of literal text and digits.
func fromRegex(regex string) ([]string, error) {
	if regex == noSpeech {
		return []string{"!*-tts", "!*-tts-*"}, nil
	}
	rest, begins := strings.CutPrefix(regex, "^")
	rest, ends := strings.CutSuffix(rest, "$")
	var pattern strings.Builder
	for rest != "" {
		switch {
		case strings.HasPrefix(rest, `\d`):
			rest = rest[2:]
			times := 1
			if count, after, ok := strings.Cut(rest, "}"); ok && strings.HasPrefix(count, "{") {
				n, err := strconv.Atoi(count[1:])
				if err != nil {
					return nil, fmt.Errorf("the regular expression %s has %s}", regex, count)
				}
				times, rest = n, after
			}
			pattern.WriteString(strings.Repeat("#", times))
		case strings.HasPrefix(rest, `\.`):
			pattern.WriteByte('.')
			rest = rest[2:]
		case strings.ContainsAny(rest[:1], "abcdefghijklmnopqrstuvwxyz0123456789-"):
			pattern.WriteByte(rest[0])
			rest = rest[1:]
		default:
			return nil, fmt.Errorf("the regular expression %s has %q", regex, rest[:1])
		}
	}
	text := pattern.String()
	if !begins {
		text = "*" + text
	}
	if !ends {
		text += "*"
	}
	return []string{text}, nil
}

// rates are the names of rates in a file, by the package's.
var rates = map[string]string{
	"input_mtok": "input", "output_mtok": "output", "cache_read_mtok": "cached_input", "cache_write_mtok": "cache_write",
	"cache_write_1h_mtok": "cache_write_1h", "input_audio_mtok": "audio", "cache_audio_read_mtok": "cached_audio",
}

// beside are charged for a provider's own tools, beside tokens, if a caller asks for
// them.
var beside = []string{"web_searches_kcount", "storage_searches_kcount"}

// unheard are models whose sound the package prices like text, which the provider does
// not (https://platform.openai.com/docs/pricing#audio-tokens).
var unheard = []string{"gpt-4o-audio-preview", "gpt-4o-mini-audio-preview"}

// priceOf returns the price of a model, or nil if its tokens have none, or if it
// depends on more than a usage tells: on what of the output is sound or pictures, for
// instance.
func priceOf(m model) (*price.Price, error) {
	if slices.Contains(unheard, m.ID) {
		return nil, nil
	}
	dated := []datedPrices{{Prices: m.Prices}}
	if m.Prices[0] == '[' {
		dated = nil
		if err := json.Unmarshal(m.Prices, &dated); err != nil {
			return nil, err
		}
	}
	var text map[string]any
	var later []map[string]any
	for i, d := range dated {
		read, ok, err := ratesOf(d.Prices)
		if err != nil || !ok {
			return nil, err
		}
		switch {
		case i == 0 && d.Constraint.Type == "":
			text = read
			continue
		case i == 0 || d.Constraint.Type != "start_date":
			return nil, nil // the hour of the day, which no price of this module has
		case i > 1 && d.Constraint.StartDate <= dated[i-1].Constraint.StartDate:
			return nil, errors.New("the dates are not in order")
		}
		read["from"] = d.Constraint.StartDate
		later = append(later, read)
	}
	if len(later) > 0 {
		text["dated"] = later
	}
	data, err := json.Marshal(text)
	if err != nil {
		return nil, err
	}
	p := new(price.Price)
	return p, json.Unmarshal(data, p)
}

type datedPrices struct {
	Constraint struct {
		Type      string
		StartDate string `json:"start_date"`
	}
	Prices json.RawMessage
}

// tiered is a price that depends on the number of input tokens.
type tiered struct {
	Base  json.Number
	Tiers []struct {
		Start int64
		Price json.Number
	}
}

// of returns what counts above a number of input tokens; below 0 means any.
func (t tiered) of(input int64) json.Number {
	counts, highest := t.Base, int64(-1)
	for _, tier := range t.Tiers {
		if tier.Start <= input && tier.Start > highest {
			counts, highest = tier.Price, tier.Start
		}
	}
	return counts
}

// ratesOf returns the rates as a file has them. ok is false if a call can't be priced
// by them.
func ratesOf(prices json.RawMessage) (read map[string]any, ok bool, err error) {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(prices, &given); err != nil {
		return nil, false, err
	}
	known, starts := map[string]tiered{}, map[int64]bool{}
	for name, raw := range given {
		if slices.Contains(beside, name) {
			continue
		}
		ours, ok := rates[name]
		if !ok {
			return nil, false, nil
		}
		var of tiered
		if raw[0] == '{' {
			err = json.Unmarshal(raw, &of)
		} else {
			of.Base = json.Number(raw)
		}
		if err != nil {
			return nil, false, fmt.Errorf("%s: %w", name, err)
		}
		known[ours] = of
		for _, tier := range of.Tiers {
			starts[tier.Start] = true
		}
	}
	if known["input"].Base == "" || known["output"].Base == "" {
		return nil, false, nil
	}
	read = ratesAbove(known, -1)
	var tiers []map[string]any
	for _, start := range slices.Sorted(maps.Keys(starts)) {
		tier := ratesAbove(known, start)
		tier["above"] = start
		tiers = append(tiers, tier)
	}
	if len(tiers) > 0 {
		read["tiers"] = tiers
	}
	return read, true, nil
}

func ratesAbove(known map[string]tiered, start int64) map[string]any {
	at := map[string]any{}
	for name, of := range known {
		at[name] = of.of(start)
	}
	return at
}
