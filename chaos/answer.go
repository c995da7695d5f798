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

// answerTo returns the answer to a request, as the fault wants it.
func answerTo(ctx context.Context, req *request, f Fault, r *rand.Rand) (protocol.Answer, error) {
	a := protocol.Answer{Tool: req.Tool, Finish: protocol.FinishStop, Native: f.Finish}
	if a.Tool != "" {
		a.Finish = protocol.FinishTool
	}
	var err error
	switch {
	case f.Kind == Empty:
		return protocol.Answer{Finish: protocol.FinishStop, Native: f.Finish}, nil
	case f.Kind == Refuse:
		return protocol.Answer{Text: cmp.Or(f.Answer, refusalText), Finish: protocol.FinishRefusal, Native: f.Finish}, nil
	case f.Answer != "":
		a.Text = f.Answer
	case f.Kind == Prose:
		a.Text = "Certainly! Here is what you asked for. " + practice.Prose(r)
	case f.Kind == Break:
		a.Text, err = brokenText(ctx, req, f.At, r)
	default:
		a.Text, err = rightText(ctx, req, f.Kind == Fence, r)
	}
	if err != nil {
		return protocol.Answer{}, err
	}
	if f.Kind == Fence {
		a.Text = "```json\n" + a.Text + "\n```"
	}
	stopAt(&a, req.Stop)
	switch f.Kind {
	case Length:
		// Half of one rune is none.
		a.Text, a.Finish = firstHalf(a.Text), protocol.FinishLength
	case Filter:
		a.Text, a.Finish = firstHalf(a.Text), protocol.FinishFilter
	}
	if req.MaxTokens > 0 && tokenCount(a.Text) > req.MaxTokens {
		a.Text, a.Finish = firstRunes(a.Text, req.MaxTokens*charsPerToken), protocol.FinishLength
	}
	if f.Kind == Unfinished {
		a.Finish = protocol.FinishNone
	}
	return a, nil
}

// stopAt ends a text before the first stop sequence in it. A tool's arguments are left
// as they are.
func stopAt(a *protocol.Answer, sequences []string) {
	if a.Tool != "" {
		return
	}
	for _, stop := range sequences {
		if text, _, ok := strings.Cut(a.Text, stop); ok && stop != "" {
			a.Text, a.Ending = text, stop
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
