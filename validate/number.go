package validate

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"

	"llmcall/internal/phrase"
	"llmcall/internal/say"
	"llmcall/validate/internal/jsontext"
)

// NumberRange is the range of numbers that [Number] passes. Nil means no limit;
// the zero value is any number.
type NumberRange struct {
	Min, Max                   *float64 // the number must be >= Min and <= Max
	ExclusiveMin, ExclusiveMax *float64 // the number must be > ExclusiveMin and < ExclusiveMax
	// Integer requires digits without a decimal point or an exponent, which every
	// language reads as an integer: 3.0 does not pass. Default false.
	Integer bool
}

// Number returns a check, named "number", that passes an answer which is one number
// in the range. The number is written as in JSON (RFC 8259, section 6): no unit, no
// thousands separators. Around it there may be what [JSON] allows (white space, a
// Markdown fence). Numbers are compared exactly, however many digits they have. The
// verdict has the number as a [json.Number].
//
// The error is a *[ParamError]: a limit is not finite, or the range is empty.
func Number(r NumberRange) (Strategy, error) {
	c := numberCheck{integer: r.Integer}
	for _, l := range []struct {
		name  string
		value *float64
		limit *numberLimit
	}{
		{"min", r.Min, &c.min}, {"max", r.Max, &c.max},
		{"exclusive_min", r.ExclusiveMin, &c.above}, {"exclusive_max", r.ExclusiveMax, &c.below},
	} {
		if l.value == nil {
			continue
		}
		if math.IsNaN(*l.value) || math.IsInf(*l.value, 0) {
			return nil, &ParamError{Check: "number", Param: l.name, Got: fmt.Sprint(*l.value), Takes: takesNumber}
		}
		*l.limit = limitOf(l.name, *l.value)
	}
	for _, low := range []numberLimit{c.min, c.above} {
		for _, high := range []numberLimit{c.max, c.below} {
			if low.n == nil || high.n == nil {
				continue
			}
			takes, least := "at most", 0
			if low.name != "min" || high.name != "max" {
				takes, least = "less than", 1
			}
			if high.n.Cmp(low.n) < least {
				return nil, &ParamError{
					Check: "number", Param: low.name, Got: low.text,
					Takes: fmt.Sprintf("%s %s (%s)", takes, high.name, high.text),
				}
			}
		}
	}
	return c, nil
}

const takesNumber = "a finite number"

type numberCheck struct {
	min, max, above, below numberLimit
	integer                bool
}

// numberLimit is a limit as its decimal digits say, so that 0.1 equals the limit 0.1,
// which no float64 does.
type numberLimit struct {
	name, text string
	n          *big.Rat // nil: no limit
}

func limitOf(name string, value float64) numberLimit {
	format := byte('f')
	if math.Abs(value) >= 1e21 {
		format = 'g'
	}
	text := strconv.FormatFloat(value, format, -1, 64)
	n, _ := new(big.Rat).SetString(text) // FormatFloat writes what SetString reads
	return numberLimit{name, text, n}
}

func (numberCheck) Name() string  { return "number" }
func (numberCheck) instant() bool { return true }

func (c numberCheck) Check(_ context.Context, a *Answer) (Verdict, error) {
	doc, complaints := a.document(false)
	n, ok := doc.Value.(json.Number)
	if ok && len(complaints) > 0 { // cut off, perhaps
		return Verdict{Complaints: complaints}, nil
	}
	if !ok {
		return Verdict{Complaints: []Complaint{c.noNumber(strings.TrimFunc(a.Text, jsontext.Blank))}}, nil
	}
	v := Verdict{Decoded: true, Value: n, Text: doc.Text}
	if problem, suggestion := c.outside(string(n)); problem != "" {
		v.Complaints = []Complaint{{Problem: problem, Suggestion: suggestion}}
	}
	return v, nil
}

func (c numberCheck) what() string {
	if c.integer {
		return phrase.WholeNumber
	}
	return phrase.Number
}

// within returns the range for use after "number": " of at least 1 and at most 5".
func (c numberCheck) within() string {
	var bounds []string
	for _, l := range []struct {
		bound phrase.Bound
		numberLimit
	}{{phrase.AtLeast, c.min}, {phrase.MoreThan, c.above}, {phrase.AtMost, c.max}, {phrase.LessThan, c.below}} {
		if l.n != nil {
			bounds = append(bounds, l.bound.Of(l.text))
		}
	}
	if len(bounds) == 0 {
		return ""
	}
	return " of " + strings.Join(bounds, " and ")
}

// noNumber returns the complaint about a text that is not a number, and suggests the
// one that was probably meant.
func (c numberCheck) noNumber(text string) Complaint {
	complaint := Complaint{
		Problem:    fmt.Sprintf("%q is not %s", say.Short(text, 60), c.what()),
		Suggestion: phrase.InDigits.Of(c.what() + c.within()),
	}
	// Without marks and units around it, and separators within it.
	plain := strings.NewReplacer(",", "", "_", "", " ", "", "\u00a0", "", "\u202f", "", "'", "", "’", "").Replace(say.Short(text, 60))
	plain = strings.TrimPrefix(strings.Trim(plain, "\"*`$€£%+. "), "+")
	doc := jsontext.Decode(plain)
	if n, ok := doc.Value.(json.Number); ok && len(doc.Faults) == 0 {
		complaint.Suggestion = phrase.InDigits.Of(c.what()+c.within(), n)
	}
	return complaint
}

// outside returns why a number is not in the range; "" if it is.
func (c numberCheck) outside(digits string) (problem, suggestion string) {
	shown := say.Short(digits, 60)
	if c.integer && strings.ContainsAny(digits, ".eE") {
		return shown + " is not written as an integer", phrase.Integer.Of()
	}
	n, ok := new(big.Rat).SetString(digits)
	if !ok {
		return shown + " is not a number", phrase.Digits.Of()
	}
	switch {
	case c.min.n != nil && n.Cmp(c.min.n) < 0:
		return shown + " is less than " + c.min.text, phrase.AtLeast.Make(c.min.text)
	case c.above.n != nil && n.Cmp(c.above.n) <= 0:
		return shown + " is not more than " + c.above.text, phrase.MoreThan.Make(c.above.text)
	case c.max.n != nil && n.Cmp(c.max.n) > 0:
		return shown + " is more than " + c.max.text, phrase.AtMost.Make(c.max.text)
	case c.below.n != nil && n.Cmp(c.below.n) >= 0:
		return shown + " is not less than " + c.below.text, phrase.LessThan.Make(c.below.text)
	}
	return "", ""
}

func numberDefinition() Definition {
	return Definition{
		Info: Info{
			Name: "number", Aliases: []string{"number_range"}, Example: "number:0..100",
			Summary: "the answer is one number, in a range",
			Params: []Param{
				{Name: "min", Type: "number", Default: "no limit", Meaning: "the least number"},
				{Name: "max", Type: "number", Default: "no limit", Meaning: "the largest number"},
				{Name: "exclusive_min", Type: "number", Default: "no limit", Meaning: "the number must be more than this"},
				{Name: "exclusive_max", Type: "number", Default: "no limit", Meaning: "the number must be less than this"},
				{Name: "integer", Type: "boolean", Default: "false", Meaning: "the number has neither a decimal point nor an exponent"},
			},
			Main: "the least and the largest number: 0..100, 0.. or ..100",
		},
		Build: func(p Params) (Strategy, error) {
			var r NumberRange
			for name, limit := range map[string]**float64{"min": &r.Min, "max": &r.Max, "exclusive_min": &r.ExclusiveMin, "exclusive_max": &r.ExclusiveMax} {
				n, given, err := p.Number(name, takesNumber)
				if err != nil {
					return nil, err
				}
				if given {
					*limit = &n
				}
			}
			var err error
			if r.Integer, err = p.Flag("integer"); err != nil {
				return nil, err
			}
			return Number(r)
		},
		FromMain: span("number", "min", "max", func(digits string) (any, bool) {
			n, err := strconv.ParseFloat(digits, 64)
			return n, err == nil
		}),
	}
}
