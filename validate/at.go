package validate

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	"llmcall/internal/phrase"
	"llmcall/internal/say"
	"llmcall/validate/internal/schemawords"
)

// At returns a check, named "at", that applies a check to a part of the JSON answer:
// to the value at a JSON pointer (RFC 6901), such as "/items/0/name", or "" for the
// whole. A string is checked as its text, without quotes and escapes; any other value
// as its JSON. So
//
//	validate.At("/email", validate.Must(validate.Format("email")))
//
// checks a field as Format checks a whole answer. It also complains about an answer
// that [JSON] does not pass, and about one without a value there. The complaints of
// the given check get the pointer, but no line and column. The check sees the request
// and not the model's response.
//
// The error is a *[ParamError]: the pointer is not a JSON pointer, or the check is
// nil.
func At(pointer string, check Strategy) (Strategy, error) {
	if check == nil {
		return nil, &ParamError{Check: "at", Param: "check", Got: "nil", Takes: "a check"}
	}
	path, err := say.Tokens(pointer)
	if err != nil {
		return nil, &ParamError{
			Check: "at", Param: "pointer", Got: strconv.Quote(say.Short(pointer, 60)), Err: err,
			Takes: `a JSON pointer such as "/items/0/name" (~1 stands for a / in a name, ~0 for a ~)`,
		}
	}
	return atCheck{pointer, path, check}, nil
}

type atCheck struct {
	pointer string
	path    []string
	check   Strategy
}

func (atCheck) Name() string { return "at" }

// Costly reports whether the given check is costly.
func (c atCheck) Costly() bool { return isCostly(c.check) }

// Models returns the models that the given check asks; see [Costly].
func (c atCheck) Models() []string { return modelsOf(c.check) }

func (c atCheck) instant() bool {
	i, ok := c.check.(instant)
	return ok && i.instant()
}

func (c atCheck) Check(ctx context.Context, a *Answer) (Verdict, error) {
	doc, complaints := a.document(false)
	if len(complaints) > 0 {
		return Verdict{Complaints: complaints}, nil
	}
	said := Verdict{Decoded: true, Value: doc.Value, Text: doc.Text}
	value, ok := schemawords.Find(doc.Value, c.path)
	if !ok {
		said.Complaints = []Complaint{{
			Problem: "the value is missing", Pointer: c.pointer, Suggestion: c.add(ctx, a),
		}}
		return said, nil
	}
	text, err := textOf(value)
	if err != nil {
		return Verdict{}, err
	}
	v, failed := guard(ctx, c.check, &Answer{Text: text, Request: a.Request, Attempt: a.Attempt})
	said.Usage, said.Skipped, said.Advice = v.Usage, v.Skipped, v.Advice
	if failed != nil {
		return said, failed
	}
	for _, inner := range v.Complaints {
		if inner.Check == "" {
			inner.Check = nameOf(c.check)
		}
		inner.Pointer, inner.Line, inner.Column = c.pointer+inner.Pointer, 0, 0
		said.Complaints = append(said.Complaints, inner)
	}
	return said, nil
}

// add returns a suggestion for a missing value: the given check's suggestion for an
// empty text, if it has one at once. Without it the model would guess, and fail again.
func (c atCheck) add(ctx context.Context, a *Answer) string {
	if c.instant() {
		v, failed := guard(ctx, c.check, &Answer{Request: a.Request, Attempt: a.Attempt})
		if failed == nil && len(v.Complaints) > 0 && v.Complaints[0].Suggestion != "" {
			return phrase.AddAs(v.Complaints[0].Suggestion)
		}
	}
	return phrase.Add.Of()
}

// textOf returns the text that a value is checked as.
func textOf(value any) (string, error) {
	switch v := value.(type) {
	case string:
		return v, nil
	case json.Number:
		return string(v), nil
	}
	text, err := json.Marshal(value)
	return string(text), err
}

// atDefinition is a function since its check is looked up in builtIn: as a variable
// it would depend on itself.
func atDefinition() Definition {
	return Definition{
		Info: Info{
			Name: "at", Example: "at:/email format:email",
			Summary: "a check passes a part of the JSON answer",
			Params: []Param{
				{Name: "pointer", Type: "string", Required: true, Meaning: "where the part is, as a JSON pointer (/items/0/name)"},
				{Name: "check", Type: "check", Required: true, Meaning: "the check of the part; of a string its text is checked, of any other value its JSON"},
			},
			Main: "the pointer, a space, and the check",
		},
		Build: func(p Params) (Strategy, error) {
			pointer, err := p.Text("pointer", "a JSON pointer")
			if err != nil {
				return nil, err
			}
			check, err := p.Check("check")
			if err != nil {
				return nil, err
			}
			return At(pointer, check)
		},
		FromMain: func(text string) (map[string]any, error) {
			pointer, check, ok := strings.Cut(strings.TrimSpace(text), " ")
			if !ok {
				return nil, &ParamError{
					Check: "at", Param: "arguments", Got: strconv.Quote(say.Short(text, 60)),
					Takes: `a pointer, a space and a check ("/email format:email")`,
				}
			}
			return map[string]any{"pointer": pointer, "check": check}, nil
		},
	}
}
