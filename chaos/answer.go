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
)

// finish says why an answer ended.
type finish int

const (
	finishNone    finish = iota // it did not: no reason is told
	finishStop                  // it was complete, or came to a stop sequence
	finishLength                // the limit of tokens
	finishTool                  // a tool is to be called
	finishFilter                // the provider's filter stepped in
	finishRefusal               // the model, or the provider for it, refused
)

// answer is what the model says: a text, or a call of a tool whose arguments
// the text is.
type answer struct {
	text   string
	tool   string
	finish finish
	native string // the provider's word to send in place of finish's
	ending string // the stop sequence that the answer came to
}

// refusalText is what a model says that refuses.
const refusalText = "I'm sorry, but I can't assist with that request."

// answerTo makes the answer to a request, with what the fault does to it.
func answerTo(ctx context.Context, req *request, f Fault, r *rand.Rand) (answer, error) {
	a := answer{tool: req.tool, finish: finishStop, native: f.Finish}
	if a.tool != "" {
		a.finish = finishTool
	}
	var err error
	switch {
	case f.Kind == Empty:
		return answer{finish: finishStop, native: f.Finish}, nil
	case f.Kind == Refuse:
		return answer{text: cmp.Or(f.Answer, refusalText), finish: finishRefusal, native: f.Finish}, nil
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
		return answer{}, err
	}
	if f.Kind == Fence {
		a.text = "```json\n" + a.text + "\n```"
	}
	a.stopAt(req.stop)
	switch f.Kind {
	case Length:
		// A text of one rune is cut to nothing.
		a.text, a.finish = firstHalf(a.text), finishLength
	case Filter:
		a.text, a.finish = firstHalf(a.text), finishFilter
	}
	if req.maxTokens > 0 && tokenCount(a.text) > req.maxTokens {
		a.text, a.finish = firstRunes(a.text, req.maxTokens*charsPerToken), finishLength
	}
	if f.Kind == Unfinished {
		a.finish = finishNone
	}
	return a, nil
}

// stopAt ends a text before the first of the stop sequences that it holds. A
// tool's arguments are not looked at.
func (a *answer) stopAt(sequences []string) {
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

// rightText makes a right answer. mustJSON asks for JSON where the request does
// not.
func rightText(ctx context.Context, req *request, mustJSON bool, r *rand.Rand) (string, error) {
	if req.schema != nil {
		s, err := requestSchema(req)
		if err != nil {
			return "", err
		}
		// What a complaint asks for beyond the schema: a provider may be sent less
		// of it than the answer is held to.
		if previous, feedback, ok := req.complaint(); ok {
			if text, ok := practice.Answer(previous, feedback, true, r); ok && s.Fits(text) && !sameJSON(text, previous) {
				return text, nil
			}
		}
		v, err := s.Invent(ctx, r)
		if err != nil {
			return "", &refusal{message: "No answer could be invented for the schema of this request: " + err.Error() + ".", param: req.field}
		}
		return schemagen.Encode(v)
	}
	if previous, feedback, ok := req.complaint(); ok {
		if text, ok := practice.Answer(previous, feedback, req.json || mustJSON, r); ok {
			return text, nil
		}
	}
	if req.json || mustJSON {
		return schemagen.Encode(map[string]string{"answer": practice.Prose(r)})
	}
	return practice.Prose(r), nil
}

// sameJSON reports whether two texts are the same JSON value: nothing was corrected.
func sameJSON(a, b string) bool {
	x, errA := jsonschema.UnmarshalJSON(strings.NewReader(a))
	y, errB := jsonschema.UnmarshalJSON(strings.NewReader(b))
	return errA == nil && errB == nil && reflect.DeepEqual(x, y)
}

// brokenText makes an answer that breaks the request's schema in one place.
func brokenText(ctx context.Context, req *request, at *string, r *rand.Rand) (string, error) {
	if req.schema == nil {
		return "", &refusal{message: "The plan breaks the schema of this request, but the request has none (a JSON Schema for the answer, or a tool that must be called).", param: req.field}
	}
	s, err := requestSchema(req)
	if err != nil {
		return "", err
	}
	v, err := s.Broken(ctx, at, r)
	if err != nil {
		return "", &refusal{message: "No answer could be invented that breaks the schema of this request as the plan asks: " + err.Error() + ".", param: req.field}
	}
	return schemagen.Encode(v)
}

func requestSchema(req *request) (*schemagen.Schema, error) {
	s, err := schemagen.Compiled(req.schema)
	if err != nil {
		return nil, &refusal{message: "Invalid schema: " + err.Error(), param: req.field}
	}
	return s, nil
}
