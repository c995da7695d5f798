// Package openapi has the check "openapi_spec": an answer is an OpenAPI document
// (https://spec.openapis.org) of version 2.0, 3.0 or 3.1. [New] makes it; an import of
// the package also makes its name known to [validate.Build] and [validate.Parse].
package openapi

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"llmcall/internal/say"
	"llmcall/validate"
)

const (
	// MaxBytes is the length in bytes of the longest document that is checked. A
	// longer one is a complaint.
	MaxBytes = 1 << 20

	maxDepth  = 100     // of nested mappings and lists
	maxValues = 200_000 // with YAML aliases expanded
)

func init() {
	validate.MustRegister(validate.Definition{
		Info: validate.Info{
			Name: "openapi_spec", Example: "openapi_spec",
			Summary: "the answer is an OpenAPI document (2.0, 3.0 or 3.1), as JSON or YAML",
		},
		Build: func(validate.Params) (validate.Strategy, error) { return New(), nil },
	})
}

// New returns the check "openapi_spec". It passes an answer that is an OpenAPI
// document of version 2.0, 3.0.x or 3.1.x, as JSON or YAML, alone or in a Markdown
// block. Text around the block is ignored; of several blocks, each must be such a
// document.
//
// The document must
//
//   - match the OpenAPI Initiative's JSON Schema of its version;
//   - have a title and a version that are not empty;
//   - refer ($ref) only to its own parts;
//   - follow the rules that the schema can't express, as far as
//     github.com/getkin/kin-openapi knows them: unique operationIds, declared path
//     parameters, existing security schemes, and so on.
//
// Examples and defaults are not compared with their schemas.
//
// Nothing is read from files or the network: a $ref to another document is a complaint.
// So is a document longer than [MaxBytes], one with more than 100 levels of nesting,
// and one with more than 200,000 values once its YAML aliases are expanded. Complaints
// have the JSON pointer, and the line and column in the answer.
func New() validate.Strategy { return check{} }

type check struct{}

func (check) Name() string { return "openapi_spec" }

func (check) Check(ctx context.Context, a *validate.Answer) (validate.Verdict, error) {
	var complaints []validate.Complaint
	for _, b := range validate.BlocksOf(a.Text, "yaml", "yml", "json", "openapi", "swagger") {
		if err := ctx.Err(); err != nil {
			return validate.Verdict{}, err
		}
		found, err := complaintsOf(ctx, b)
		if err != nil {
			return validate.Verdict{}, err
		}
		complaints = append(complaints, found...)
	}
	if left := len(complaints) - say.MaxListed; left > 0 {
		complaints = append(complaints[:say.MaxListed], validate.Complaint{Problem: say.More(left, "like these", "like these")})
	}
	return validate.Verdict{Complaints: complaints}, nil
}

// complaintsOf runs one stage after the other and stops at the first that complains:
// the next ones would only say the same in other words.
func complaintsOf(ctx context.Context, b validate.Block) ([]validate.Complaint, error) {
	complain := func(problem, suggestion string, line, column int) []validate.Complaint {
		line, column = b.Position(max(1, line), max(1, column))
		return []validate.Complaint{{Problem: problem, Line: line, Column: column, Suggestion: suggestion}}
	}
	const whole = "answer with the whole document; make it shorter if it does not fit"
	switch {
	case !b.Closed:
		return complain("the Markdown block is not closed: the text ends before it is complete", whole, strings.Count(b.Code, "\n")+1, 1), nil
	case len(b.Code) > MaxBytes:
		return complain(fmt.Sprintf("the document is longer than %d bytes", MaxBytes), "make it shorter", 1, 1), nil
	case !utf8.ValidString(b.Code):
		return complain("the text is not valid UTF-8", "write it in UTF-8", 1, 1), nil
	}
	doc, bad := read(b.Code)
	if bad != nil {
		return complain(bad.problem, bad.suggestion, bad.line, bad.column), nil
	}
	found := doc.identity()
	if len(found) == 0 {
		text, err := json.Marshal(doc.value)
		if err != nil {
			return nil, fmt.Errorf("the document can't be written as JSON: %w", err)
		}
		if found, err = fits(ctx, doc.version, text); err != nil {
			return nil, err
		}
		found = append(found, doc.references()...)
		if len(found) == 0 {
			if found, err = semantics(ctx, doc.version, text); err != nil {
				return nil, err
			}
		}
	}
	for i := range found {
		line, column := doc.position(found[i].Pointer)
		found[i].Line, found[i].Column = b.Position(line, column)
	}
	return found, nil
}
