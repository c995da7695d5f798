package chaos

import (
	"context"
	"errors"
	"math/rand/v2"
	"unicode/utf8"
)

// The reasons to stop, in OpenAI's words.
const (
	finishStop   = "stop"
	finishLength = "length"
	finishTool   = "tool_calls"
)

// answer is what the model says: a text, or a call of a tool whose arguments
// the text is.
type answer struct {
	text   string
	tool   string
	finish string
}

// answerTo makes the answer to a request, with what the fault does to it.
func answerTo(ctx context.Context, req *chatRequest, f Fault, r *rand.Rand) (answer, error) {
	a := answer{tool: req.tool, finish: finishStop}
	if a.tool != "" {
		a.finish = finishTool
	}
	var err error
	switch {
	case f.Kind == Empty:
		return answer{finish: finishStop}, nil
	case f.Answer != "":
		a.text = f.Answer
	case f.Kind == Prose:
		a.text = "Certainly! Here is what you asked for. " + prose(r)
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
	if f.Kind == Length {
		// A text of one rune is cut to nothing.
		a.text, a.finish = firstRunes(a.text, utf8.RuneCountInString(a.text)/2), finishLength
	}
	if req.maxTokens > 0 && tokenCount(a.text) > req.maxTokens {
		a.text, a.finish = firstRunes(a.text, req.maxTokens*charsPerToken), finishLength
	}
	return a, nil
}

// rightText makes a right answer. mustJSON asks for JSON where the request does
// not.
func rightText(ctx context.Context, req *chatRequest, mustJSON bool, r *rand.Rand) (string, error) {
	if req.schema != nil {
		s, err := requestSchema(req)
		if err != nil {
			return "", err
		}
		v, err := s.invent(ctx, nil, r)
		if err != nil {
			return "", &refusal{message: "No answer could be invented for the schema of this request: " + err.Error() + ".", param: req.schemaParam()}
		}
		return encode(v)
	}
	if previous, feedback, ok := req.complaint(); ok {
		if text, ok := mended(previous, feedback, req.json || mustJSON, r); ok {
			return text, nil
		}
	}
	if req.json || mustJSON {
		return encode(map[string]string{"answer": prose(r)})
	}
	return prose(r), nil
}

// brokenText makes an answer that breaks the request's schema in one place.
func brokenText(ctx context.Context, req *chatRequest, at *string, r *rand.Rand) (string, error) {
	if req.schema == nil {
		return "", &refusal{message: "The plan breaks the schema of this request, but the request has none (response_format json_schema, or a tool that must be called).", param: "response_format"}
	}
	s, err := requestSchema(req)
	if err != nil {
		return "", err
	}
	v, err := s.broken(ctx, at, r)
	if err != nil {
		return "", &refusal{message: "No answer could be invented that breaks the schema of this request as the plan asks: " + err.Error() + ".", param: req.schemaParam()}
	}
	return encode(v)
}

func requestSchema(req *chatRequest) (*schema, error) {
	s, err := compile(req.schema)
	if err != nil {
		return nil, &refusal{message: "Invalid schema: " + err.Error(), param: req.schemaParam()}
	}
	return s, nil
}

func (r *chatRequest) schemaParam() string {
	if r.tool != "" {
		return "tools"
	}
	return "response_format"
}

// refused returns the body of the answer to a request that can't be answered.
func refused(err error) []byte {
	var r *refusal
	if errors.As(err, &r) {
		return errorBody(r.message, "invalid_request_error", r.param, r.code)
	}
	return errorBody(err.Error(), "invalid_request_error", "", "")
}
