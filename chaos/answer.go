package chaos

import (
	"cmp"
	"context"
	"math/rand/v2"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"llmcall/chaos/internal/practice"
	"llmcall/chaos/internal/schemagen"
	"llmcall/internal/protocol"
)

// refusalText is the text of a refusal.
const refusalText = "I'm sorry, but I can't assist with that request."

// invented is the answer that a request gets: a text, or a call of a tool.
type invented struct {
	text   string // the text, or the arguments of the call
	tool   string // the tool that is called; "": none
	finish protocol.Finish
	native string // the provider's own word instead of finish's; "": none
	ending string // the stop sequence that ended the answer; "": none
}

// parts returns the answer as it is written, with what its provider shows of its thoughts.
func (a invented) parts(id protocol.IDs, thoughts ...protocol.Part) protocol.Answer {
	out := protocol.Answer{Parts: thoughts, Finish: a.finish, Native: a.native, Ending: a.ending}
	switch {
	case a.tool != "":
		out.Parts = append(out.Parts, protocol.Part{Kind: protocol.CallPart, Name: a.tool, Text: a.text, Sign: protocol.Seal(id)})
	case a.text != "":
		out.Parts = append(out.Parts, protocol.Part{Text: a.text})
	}
	return out
}

// answerTo returns the answer to a request, as the fault wants it.
func answerTo(ctx context.Context, req *request, f Fault, r *rand.Rand) (invented, error) {
	a := invented{tool: req.Tool, finish: protocol.FinishStop, native: f.Finish}
	if a.tool != "" {
		a.finish = protocol.FinishTool
	}
	var err error
	switch {
	case f.Kind == Empty:
		return invented{finish: protocol.FinishStop, native: f.Finish}, nil
	case f.Kind == Refuse:
		return invented{text: cmp.Or(f.Answer, refusalText), finish: protocol.FinishRefusal, native: f.Finish}, nil
	case f.Answer != "":
		a.text = f.Answer
	case f.Kind == Prose:
		a.text = "Certainly! Here is what you asked for. " + practice.Prose(r)
	case f.Kind == Break:
		a.text, err = brokenText(ctx, req, f.At, r)
	default:
		a.text, err = rightText(ctx, req, f.Kind == Fence, r)
	}
	if err != nil {
		return invented{}, err
	}
	if f.Kind == Fence {
		a.text = "```json\n" + a.text + "\n```"
	}
	stopAt(&a, req.Stop)
	switch f.Kind {
	case Length:
		// Half of one rune is none.
		a.text, a.finish = firstHalf(a.text), protocol.FinishLength
	case Filter:
		a.text, a.finish = firstHalf(a.text), protocol.FinishFilter
	}
	if req.MaxTokens > 0 && tokenCount(a.text) > req.MaxTokens {
		a.text, a.finish = firstRunes(a.text, req.MaxTokens*charsPerToken), protocol.FinishLength
	}
	if f.Kind == Unfinished {
		a.finish = protocol.FinishNone
	}
	return a, nil
}

// stopAt ends a text before the first stop sequence in it. A tool's arguments are left
// as they are.
func stopAt(a *invented, sequences []string) {
	if a.tool != "" {
		return
	}
	for _, stop := range sequences {
		if text, _, ok := strings.Cut(a.text, stop); ok && stop != "" {
			a.text, a.ending = text, stop
		}
	}
}

func firstHalf(text string) string { return firstRunes(text, utf8.RuneCountInString(text)/2) }

// rightText returns a correct answer. mustJSON requires JSON even if the request does
// not.
func rightText(ctx context.Context, req *request, mustJSON bool, r *rand.Rand) (string, error) {
	if req.Schema != nil {
		s, err := requestSchema(req)
		if err != nil {
			return "", err
		}
		// Follow a complaint first: the answer may be checked against more than the
		// schema that the provider gets.
		if previous, feedback, ok := req.complaint(); ok {
			if text, ok := practice.Answer(previous, feedback, true, r); ok && s.Fits(text) && !sameJSON(text, previous) {
				return text, nil
			}
		}
		v, err := s.Invent(ctx, r)
		if err != nil {
			return "", &protocol.Error{Message: "No answer could be invented for the schema of this request: " + err.Error() + ".", Param: req.Field}
		}
		return encoded(req, v)
	}
	if previous, feedback, ok := req.complaint(); ok {
		if text, ok := practice.Answer(previous, feedback, req.JSON || mustJSON, r); ok {
			return text, nil
		}
	}
	if req.JSON || mustJSON {
		return schemagen.Encode(map[string]string{"answer": practice.Prose(r)})
	}
	return practice.Prose(r), nil
}

// sameJSON reports whether two texts are the same JSON value.
func sameJSON(a, b string) bool {
	x, errA := jsonschema.UnmarshalJSON(strings.NewReader(a))
	y, errB := jsonschema.UnmarshalJSON(strings.NewReader(b))
	return errA == nil && errB == nil && reflect.DeepEqual(x, y)
}

// brokenText returns an answer that violates the request's schema in one place.
func brokenText(ctx context.Context, req *request, at *string, r *rand.Rand) (string, error) {
	if req.Schema == nil {
		return "", &protocol.Error{Message: "The plan breaks the schema of this request, but the request has none (a JSON Schema for the answer, or a tool that must be called).", Param: req.Field}
	}
	s, err := requestSchema(req)
	if err != nil {
		return "", err
	}
	v, err := s.Broken(ctx, at, r)
	if err != nil {
		return "", &protocol.Error{Message: "No answer could be invented that breaks the schema of this request as the plan asks: " + err.Error() + ".", Param: req.Field}
	}
	return encoded(req, v)
}

// encoded returns the text of an invented value.
func encoded(req *request, v any) (string, error) {
	if text, ok := v.(string); ok && req.Bare {
		return text, nil
	}
	return schemagen.Encode(v)
}

func requestSchema(req *request) (*schemagen.Schema, error) {
	s, err := schemagen.Compiled(req.Schema)
	if err != nil {
		return nil, &protocol.Error{Message: "Invalid schema: " + err.Error(), Param: req.Field}
	}
	return s, nil
}
