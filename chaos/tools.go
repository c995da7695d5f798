package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"llmcall/chaos/internal/practice"
	"llmcall/internal/protocol"
)

// The values of [Fault.Tool] that are no names.
const (
	anyTool = "any"
	noTool  = "none"
)

// calling returns the request with the tool that its answer is to call, of those that the
// request leaves to the model; the request itself if it is none.
func calling(req *request, f Fault, r *rand.Rand) (*request, error) {
	if req.Tool != "" || req.hasResults() || f.Kind == Empty || f.Kind == Refuse {
		return req, nil // it must be called, or the question has been asked
	}
	tools := req.Tools
	switch {
	case f.Tool == noTool, len(tools) == 0 && (f.Tool == "" || f.Tool == anyTool):
		return req, nil
	case f.Tool == "":
		// The seed decides, but not against a plan that says what the answer is.
		if f.Answer != "" || slices.Contains([]Kind{Prose, Fence, Break, Filter}, f.Kind) || req.complains() || r.IntN(2) == 0 {
			return req, nil
		}
	case f.Tool != anyTool:
		tools = slices.DeleteFunc(slices.Clone(tools), func(t protocol.Tool) bool { return t.Name != f.Tool })
		if len(tools) == 0 {
			return nil, &protocol.Error{Message: fmt.Sprintf("The plan calls the tool %q, but the request does not offer it.", f.Tool), Param: "tools"}
		}
	}
	called, inner := *req, *req.Request
	inner.MustCall(tools[r.IntN(len(tools))])
	called.Request = &inner
	return &called, nil
}

// hasResults reports whether the results of tools follow the last answer: the question is
// then not asked again.
func (r *request) hasResults() bool {
	for _, m := range slices.Backward(r.Messages) {
		switch m.Role {
		case "tool":
			return true
		case "assistant":
			return false
		}
	}
	return false
}

// complains reports whether the last message is a complaint about the answer before it.
func (r *request) complains() bool {
	previous, feedback, ok := r.complaint()
	if ok {
		_, ok = practice.Answer(previous, feedback, r.JSON, rand.New(rand.NewPCG(0, 0)))
	}
	return ok
}
