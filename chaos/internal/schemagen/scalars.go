package schemagen

import (
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// plainRange bounds how far an invented number is from its bounds: a price of 4.2e18 would
// fit, but would not be plausible.
const plainRange = 1000

// number makes a number that fits the bounds of all the schemas.
func (g *inventor) number(parts []*jsonschema.Schema, whole bool) (any, error) {
	var lo, hi, step *big.Rat
	var aboveLo, belowHi bool // the bound itself is excluded
	raise := func(bound *big.Rat, exclusive bool) {
		if bound != nil && (lo == nil || bound.Cmp(lo) > 0 || bound.Cmp(lo) == 0 && exclusive) {
			lo, aboveLo = bound, exclusive
		}
	}
	lower := func(bound *big.Rat, exclusive bool) {
		if bound != nil && (hi == nil || bound.Cmp(hi) < 0 || bound.Cmp(hi) == 0 && exclusive) {
			hi, belowHi = bound, exclusive
		}
	}
	if whole {
		step = big.NewRat(1, 1)
	}
	for _, s := range parts {
		raise(s.Minimum, false)
		raise(s.ExclusiveMinimum, true)
		lower(s.Maximum, false)
		lower(s.ExclusiveMaximum, true)
		if s.MultipleOf != nil && s.MultipleOf.Sign() > 0 {
			step = commonMultiple(step, s.MultipleOf)
		}
	}
	if step != nil {
		if n, ok := g.between(lo, hi, aboveLo, belowHi, step); ok {
			return n, nil
		}
		return nil, cannot("no number fits the bounds there%s", stepText(step))
	}
	// Any number: one with two decimals, or with as many as it takes.
	for decimals := 2; decimals <= 1000; decimals = decimals*2 - 1 {
		step := new(big.Rat).SetFrac(big.NewInt(1), new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(decimals)), nil))
		if n, ok := g.between(lo, hi, aboveLo, belowHi, step); ok {
			return n, nil
		}
	}
	return nil, cannot("no number fits the bounds there")
}

func stepText(step *big.Rat) string {
	if step.Cmp(big.NewRat(1, 1)) == 0 {
		return " (a whole one)"
	}
	return " (a multiple of " + step.RatString() + ")"
}

// commonMultiple returns the least positive number that is a multiple of both.
func commonMultiple(a, b *big.Rat) *big.Rat {
	if a == nil {
		return b
	}
	// lcm(p/q, r/s) is lcm(p·s, r·q) / (q·s).
	x := new(big.Int).Mul(a.Num(), b.Denom())
	y := new(big.Int).Mul(b.Num(), a.Denom())
	both := new(big.Int).Mul(x, y)
	both.Div(both, new(big.Int).GCD(nil, nil, x, y))
	return new(big.Rat).SetFrac(both, new(big.Int).Mul(a.Denom(), b.Denom()))
}

// between draws a multiple of step between the bounds, near one of them or near
// 0 if they are far apart.
func (g *inventor) between(lo, hi *big.Rat, aboveLo, belowHi bool, step *big.Rat) (json.Number, bool) {
	near := big.NewRat(plainRange, 1)
	if hundred := new(big.Rat).Mul(step, big.NewRat(100, 1)); hundred.Cmp(near) > 0 {
		near = hundred
	}
	switch {
	case lo == nil && (hi == nil || hi.Cmp(step) >= 0):
		lo, aboveLo = new(big.Rat), false
	case lo == nil:
		lo, aboveLo = new(big.Rat).Sub(hi, near), false
	}
	if lo.Sign() < 0 && (hi == nil || hi.Cmp(step) >= 0) {
		lo, aboveLo = new(big.Rat), false
	}
	if far := new(big.Rat).Add(lo, near); hi == nil || hi.Cmp(far) > 0 {
		hi, belowHi = far, false
	}
	first := floor(new(big.Rat).Quo(lo, step))
	for n := new(big.Rat).Mul(new(big.Rat).SetInt(first), step); n.Cmp(lo) < 0 || n.Cmp(lo) == 0 && aboveLo; n.Add(n, step) {
		first.Add(first, big.NewInt(1))
	}
	last := floor(new(big.Rat).Quo(hi, step))
	if belowHi && new(big.Rat).Mul(new(big.Rat).SetInt(last), step).Cmp(hi) == 0 {
		last.Sub(last, big.NewInt(1))
	}
	count := new(big.Int).Sub(last, first)
	if count.Sign() < 0 {
		return "", false
	}
	k := int64(1) << 40
	if count.IsInt64() {
		k = min(k, count.Int64()+1)
	}
	n := new(big.Rat).SetInt(first.Add(first, big.NewInt(g.r.Int64N(k))))
	n.Mul(n, step)
	decimals, exact := n.FloatPrec()
	return json.Number(n.FloatString(decimals)), exact
}

func floor(x *big.Rat) *big.Int { return new(big.Int).Div(x.Num(), x.Denom()) }

// text makes a text that fits the format, pattern and length of all the schemas.
func (g *inventor) text(parts []*jsonschema.Schema, hint string) (any, error) {
	lo, hi := 0, Unbounded
	var patterns []string
	var format *jsonschema.Format
	for _, s := range parts {
		lo, hi = max(lo, orElse(s.MinLength, 0)), min(hi, orElse(s.MaxLength, Unbounded))
		if s.Pattern != nil {
			patterns = append(patterns, s.Pattern.String())
		}
		if s.Format != nil {
			format = s.Format
		}
	}
	switch {
	case lo > Longest:
		return nil, cannot("this server invents texts of up to %d characters, not of %d", Longest, lo)
	case lo > hi:
		return nil, cannot("a text can't have at least %d and at most %d characters", lo, hi)
	}
	if format != nil && (len(patterns) == 0 || g.chance(0.5)) {
		return g.formatted(format, lo, hi)
	}
	if len(patterns) > 0 {
		g.fuel -= patternCost
		s, err := Matching(patterns[g.r.IntN(len(patterns))], lo, hi, g.r)
		if err != nil {
			return nil, cannot("%v", err)
		}
		return s, nil
	}
	if s := Named(hint, g.r); s != "" {
		if n := utf8.RuneCountInString(s); lo <= n && n <= hi {
			return s, nil
		}
	}
	return Words(lo, hi, g.r), nil
}

// formatted makes a text of a format, of the required length.
func (g *inventor) formatted(format *jsonschema.Format, lo, hi int) (any, error) {
	for _, short := range []bool{false, true} {
		text := InFormat(format.Name, short, g.r)
		padding := strings.Repeat("a", max(0, lo-utf8.RuneCountInString(text)))
		for _, s := range []string{text, padding + text, text + padding} {
			if n := utf8.RuneCountInString(s); n >= lo && n <= hi && format.Validate(s) == nil {
				return s, nil
			}
		}
	}
	return nil, cannot("found no text of %s in the format %s", lengthRange(lo, hi), format.Name)
}

// InFormat makes a text of a format that the validator knows, or a short one if
// possible.
func InFormat(name string, short bool, r *rand.Rand) string {
	at := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(r.Int64N(30*365*24*3600)) * time.Second)
	word, n := Word(r), r.IntN(100)
	if short {
		word = word[:1]
	}
	switch name {
	case "date-time":
		return at.Format(time.RFC3339)
	case "date":
		return at.Format(time.DateOnly)
	case "time":
		return at.Format("15:04:05Z")
	case "duration":
		return fmt.Sprintf("P%dD", 1+n)
	case "period":
		return at.Format(time.RFC3339) + fmt.Sprintf("/P%dD", 1+n)
	case "email":
		if short {
			return fmt.Sprintf("%s%d@b.co", word, n)
		}
		return fmt.Sprintf("%s%d@example.com", word, n)
	case "hostname":
		if short {
			return fmt.Sprintf("%s%d", word, n)
		}
		return fmt.Sprintf("%s%d.example.com", word, n)
	case "ipv4":
		if short {
			return fmt.Sprintf("1.1.1.%d", n%10)
		}
		return fmt.Sprintf("192.0.2.%d", n) // kept for documentation, RFC 5737
	case "ipv6":
		if short {
			return fmt.Sprintf("::%x", n)
		}
		a := [16]byte{0x20, 0x01, 0x0d, 0xb8, 15: byte(n)} // RFC 3849
		return netip.AddrFrom16(a).String()
	case "uri", "iri":
		if short {
			return fmt.Sprintf("a:%d", n)
		}
		return fmt.Sprintf("https://example.com/%s/%d", word, n)
	case "uri-reference", "iri-reference", "json-pointer", "uri-template":
		return fmt.Sprintf("/%s/%d", word, n)
	case "relative-json-pointer":
		return fmt.Sprintf("%d/%s", n, word)
	case "uuid":
		var b [16]byte
		for i := range b {
			b[i] = byte(r.IntN(256))
		}
		b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // version 4, RFC 9562
		return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
	case "regex":
		return "^" + word + "[0-9]+$"
	case "semver":
		return fmt.Sprintf("%d.%d.%d", n%10, n%7, n)
	}
	return word
}

// byName has plausible texts for a property, by its name. The first row whose key is in
// the name is used.
var byName = []struct {
	key    string
	values []string
}{
	{"email", []string{"ada@example.com", "grace@example.com", "alan@example.com"}},
	{"url", []string{"https://example.com/", "https://example.org/about"}},
	{"phone", []string{"+49 30 901820", "+1 202 555 0143", "+44 20 7946 0958"}},
	{"city", []string{"Berlin", "Lisbon", "Nairobi", "Osaka", "Quito", "Toronto"}},
	{"country", []string{"Canada", "Ecuador", "Germany", "Japan", "Kenya", "Portugal"}},
	{"currency", []string{"EUR", "JPY", "KES", "USD"}},
	{"language", []string{"English", "German", "Japanese", "Portuguese", "Swahili"}},
	{"date", []string{"2024-02-29", "2025-07-14", "2026-01-05"}},
	{"name", []string{"Ada Lovelace", "Alan Turing", "Barbara Liskov", "Grace Hopper", "Katherine Johnson"}},
}

// Named makes a plausible text for a property, or "" if its name says nothing.
func Named(hint string, r *rand.Rand) string {
	hint = strings.ToLower(hint)
	for _, e := range byName {
		if strings.Contains(hint, e.key) {
			return e.values[r.IntN(len(e.values))]
		}
	}
	return ""
}

// Word makes a word.
func Word(r *rand.Rand) string { return words[r.IntN(len(words))] }

var words = []string{
	"amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "harbor", "island", "juniper", "kestrel", "lagoon",
	"meadow", "nectar", "orchid", "pebble", "quartz", "river", "saffron", "timber", "umber", "valley", "willow", "zephyr",
}

// Words returns words of lo to hi characters together: two or three if the length
// allows.
func Words(lo, hi int, r *rand.Rand) string {
	var b strings.Builder
	for n := 2 + r.IntN(2); n > 0 || b.Len() < lo; n-- {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(Word(r))
	}
	s := b.String()
	if len(s) > hi {
		s = s[:hi]
	}
	if strings.HasSuffix(s, " ") {
		s = s[:len(s)-1] + "s" // a checker may trim, and the length must stay
	}
	return s
}
