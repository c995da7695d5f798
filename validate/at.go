package validate

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"llmcall/internal/phrase"
	"llmcall/internal/say"
	"llmcall/validate/internal/schemawords"
)

// At makes of a check one that looks at a part of the JSON answer: at what the
// JSON pointer (RFC 6901, "/items/0/name"; "" is the whole) leads to. A string is
// checked as its text, without quotes and escapes; any other value as its JSON.
// So
//
//	validate.At("/email", validate.Must(validate.Format("email")))
//
// checks a field as the whole of an answer would be checked. It complains, too,
// of an answer that JSON does not pass, and of one that has nothing there. The
// given check's complaints get the pointer, and lose line and column, which are
// those of the part. It can't see the model's response, but the request.
func At(pointer string, check Strategy) (Strategy, error) {
	if check == nil {
		return nil, &ParamError{Check: "at", Param: "check", Problem: "is missing", Takes: "a check"}
	}
	path, err := say.Tokens(pointer)
	if err != nil {
		return nil, &ParamError{
			Check: "at", Param: "pointer", Problem: fmt.Sprintf("is %q", say.Short(pointer, 60)), Err: err,
			Takes: `a JSON pointer such as "/items/0/name"; ~1 stands for a / in a name, and ~0 for a ~`,
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

// Costly makes the check costly where the given one is.
func (c atCheck) Costly() bool { return isCostly(c.check) }

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

// add says what to add: what the given check says of an empty text, if it can
// say that at once. A model that is not told is wrong once more.
func (c atCheck) add(ctx context.Context, a *Answer) string {
	if c.instant() {
		v, failed := guard(ctx, c.check, &Answer{Request: a.Request, Attempt: a.Attempt})
		if failed == nil && len(v.Complaints) > 0 && v.Complaints[0].Suggestion != "" {
			return phrase.AddAs(v.Complaints[0].Suggestion)
		}
	}
	return phrase.Add.Of()
}

// textOf returns what stands for a value where a text is checked.
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

// atDefinition is a function and no variable, since it looks up its check in
// builtIn.
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
					Check: "at", Param: "arguments", Problem: fmt.Sprintf("are %q", say.Short(text, 60)),
					Takes: "a pointer, a space and a check: /email format:email",
				}
			}
			return map[string]any{"pointer": pointer, "check": check}, nil
		},
	}
}
