package protocol

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// Keeper is a protocol in which a request can continue a conversation that the server kept,
// by sending only what is new: [Responses] (previous_response_id) or [Messages] (thread, in
// beta). [Incoming.Kept] gives back what is kept.
type Keeper interface {
	// Keep returns what the server is to keep of a conversation and its answer, and the
	// identifier to keep it under; "" if nothing is to be kept.
	Keep(t *Turn) (id string, kept json.RawMessage)
}

// keptResponse is what is kept of a response.
type keptResponse struct {
	Input    []json.RawMessage `json:"input"`           // all items, those of the answer too
	Response json.RawMessage   `json:"response"`        // complete, or cancelled
	Begun    json.RawMessage   `json:"begun,omitempty"` // as it is until it is ready; nil if it is not in the background
	Ended    json.RawMessage   `json:"ended,omitempty"` // as it is once cancelled; nil likewise
}

// Keep returns a response with the conversation before it, unless store is false.
func (Responses) Keep(t *Turn) (string, json.RawMessage) {
	if t.Request.Keep == nil {
		return "", nil
	}
	o := t.outcome()
	output := t.output(o, t.Parts)
	kept := keptResponse{Response: json.RawMessage(t.response(o, output, responsesUsage(t.Usage)))}
	var said []json.RawMessage
	if json.Unmarshal(t.Request.Keep, &kept.Input) != nil || json.Unmarshal(output, &said) != nil {
		return "", nil
	}
	kept.Input = append(kept.Input, said...)
	if t.Request.Background {
		kept.Begun = json.RawMessage(t.queued())
		kept.Ended = json.RawMessage(t.response(outcome{"cancelled", raw("null"), raw("null")}, []byte("[]"), raw("null")))
	}
	return t.ID("resp_"), marshal(kept)
}

// Fetch writes a response that was kept. One that runs in the background is complete once
// it is ready.
func (Responses) Fetch(in *Incoming, id string, ready bool) ([]byte, *Error) {
	kept, refused := responseOf(in, id)
	switch {
	case refused != nil:
		return nil, refused
	case in.Query.Get("stream") == "true":
		return nil, &Error{Message: "This server does not stream a response that it has kept: ask without 'stream'.", Param: "stream"}
	case !ready && kept.Begun != nil:
		return kept.Begun, nil
	}
	return kept.Response, nil
}

func responseOf(in *Incoming, id string) (kept keptResponse, refused *Error) {
	if !in.kept(id, &kept) {
		refused = &Error{Status: http.StatusNotFound, Message: fmt.Sprintf("Response with id '%s' not found.", id)}
	}
	return kept, refused
}

// Cancel cancels a response that runs in the background. It writes the response as it is
// then, and returns what is to be kept of it from now on. One that is ready stays as it is.
func (Responses) Cancel(in *Incoming, id string, ready bool) (body []byte, keep json.RawMessage, refused *Error) {
	kept, refused := responseOf(in, id)
	switch {
	case refused != nil:
		return nil, nil, refused
	case kept.Begun == nil:
		return nil, nil, &Error{Message: "Cannot cancel a synchronous response."}
	case !ready:
		kept.Response, kept.Begun = kept.Ended, kept.Ended
	}
	return kept.Response, marshal(kept), nil
}

// Deleted writes that a response was deleted. The error says that there is none.
func (Responses) Deleted(in *Incoming, id string) ([]byte, *Error) {
	if _, refused := responseOf(in, id); refused != nil {
		return nil, refused
	}
	return fill(`{"id":%s,"object":"response","deleted":true}`, id), nil
}

// continued puts the items of the response that the request continues before its own.
func (in *responsesRequest) continued(call *Incoming) *Error {
	var items []json.RawMessage
	if in.Previous != "" {
		var kept keptResponse
		if !call.kept(in.Previous, &kept) {
			return &Error{Message: fmt.Sprintf("Previous response with id '%s' not found.", in.Previous), Param: "previous_response_id", Code: "previous_response_not_found"}
		}
		items = kept.Input
	}
	var text string
	var own []json.RawMessage
	switch {
	case absent(in.Input):
		return nil
	case json.Unmarshal(in.Input, &text) == nil:
		own = []json.RawMessage{json.RawMessage(fill(`{"role":"user","content":%s}`, text))}
	case json.Unmarshal(in.Input, &own) != nil:
		return invalidType("input", "one of a list of input items or a string")
	}
	in.Input = marshal(append(items[:len(items):len(items)], own...))
	return nil
}

// thread is what is kept of a conversation with Anthropic: the fields of a request.
type thread struct {
	System   json.RawMessage   `json:"system,omitempty"`
	Tools    json.RawMessage   `json:"tools,omitempty"`
	Messages []json.RawMessage `json:"messages"`
}

// Keep returns a conversation with its answer, if the request asked for a thread.
func (Messages) Keep(t *Turn) (string, json.RawMessage) {
	var kept thread
	if t.Request.Keep == nil || json.Unmarshal(t.Request.Keep, &kept) != nil {
		return "", nil
	}
	if content := t.anthropicContent(); len(content) > 0 {
		kept.Messages = append(kept.Messages, json.RawMessage(fill(`{"role":"assistant","content":%s}`, list(content))))
	}
	return t.ID("msg_01"), marshal(kept)
}

// threaded puts the conversation of the thread that a request continues before its own
// messages, and returns the request's body and what is to be kept of it.
func threaded(call *Incoming) (body []byte, keep json.RawMessage, refused *Error) {
	var in struct {
		thread
		Thread *struct {
			Type     string `json:"type"`
			Previous string `json:"previous_message_id"`
		} `json:"thread"`
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(call.Body, &fields) != nil || json.Unmarshal(call.Body, &in) != nil || in.Thread == nil {
		return call.Body, nil, nil // what is wrong with it is said by who reads it
	}
	switch in.Thread.Type {
	case "create":
		return call.Body, marshal(in.thread), nil
	case "continue":
	default:
		return nil, nil, &Error{Message: fmt.Sprintf("Input tag '%s' found using 'type' does not match any of the expected tags: 'create', 'continue'", in.Thread.Type), Param: "thread"}
	}
	var kept thread
	if !call.kept(in.Thread.Previous, &kept) {
		return nil, nil, &Error{Status: http.StatusNotFound, Details: `{"error_code":"thread_not_found"}`, Param: "thread.previous_message_id",
			Message: fmt.Sprintf("no thread is held under '%s'", in.Thread.Previous)}
	}
	kept.Messages = append(kept.Messages, in.Messages...)
	fields["messages"] = marshal(kept.Messages)
	for field, value := range map[string]json.RawMessage{"system": kept.System, "tools": kept.Tools} {
		if !absent(value) {
			fields[field] = value
		}
	}
	return marshal(fields), marshal(kept), nil
}
