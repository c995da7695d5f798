package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"llmcall"
	"llmcall/llm"
)

// stdoutWriter is standard output, whose errors wrap errOutput for all commands.
type stdoutWriter struct{ io.Writer }

func (w stdoutWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if err != nil {
		err = fmt.Errorf("%w: %w", errOutput, err)
	}
	return n, err
}

// document is what --output json prints, with either an answer or an error.
type document struct {
	Answer *string `json:"answer,omitempty"`
	Error  *string `json:"error,omitempty"`
	Value  any     `json:"value,omitempty"`
	// LastAnswer is the text of the last answer of a call without a valid one; an
	// attempt has its own.
	LastAnswer string `json:"last_answer,omitempty"`
	// Conversation is the file with the conversation: that of --save, or the review file.
	Conversation string `json:"conversation_file,omitempty"`
	// Review is the file with a call that waits for a person, and Expires when it is too
	// late to decide.
	Review   string          `json:"review_file,omitempty"`
	Expires  *time.Time      `json:"review_expires,omitempty"`
	Person   llmcall.Verdict `json:"person,omitempty"` // whose answer it is, if it is not a model's: accept or edit
	Model    string          `json:"model"`
	Practice bool            `json:"practice,omitempty"` // the answer is invented
	// Started is when the first request of the call was made; left out if none was.
	Started  *time.Time        `json:"started,omitempty"`
	Usage    llm.Usage         `json:"usage"`
	Cost     *llmcall.Cost     `json:"cost,omitempty"` // in dollars; left out if a price is not known
	Attempts []llmcall.Attempt `json:"attempts"`
}

// write completes the document by the outcome, and prints it.
func (d document) write(w io.Writer, result *llmcall.Result, failed error) error {
	var trace llmcall.Trace
	if failed != nil {
		text := failed.Error()
		d.Error, trace, d.LastAnswer = &text, traceOf(failed), lastAnswer(failed)
	} else {
		d.Answer, trace, d.Person = &result.Text, result.Trace, result.Person
		if result.Decoded {
			d.Value = valueOf(result.Value)
		}
	}
	d.Usage, d.Attempts = trace.Usage, trace.Attempts
	if trace.Cost.Known() && trace.Usage != (llm.Usage{}) {
		d.Cost = &trace.Cost
	}
	if n := len(d.Attempts); n > 0 {
		d.Model = d.Attempts[n-1].Model
		if start := d.Attempts[0].Start; !start.IsZero() {
			start = start.UTC().Truncate(time.Microsecond)
			d.Started = &start
		}
	}
	if d.Attempts == nil {
		d.Attempts = []llmcall.Attempt{}
	}
	return printJSON(w, d)
}

// valueOf returns a decoded value for a field with omitempty, which would leave
// out null.
func valueOf(v any) any {
	if v == nil {
		return json.RawMessage("null")
	}
	return v
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// lastAnswer returns the text of the last answer that an error carries.
func lastAnswer(err error) string {
	var last *llm.Response
	if e, ok := errors.AsType[*llmcall.Error](err); ok {
		last = e.Last
	} else if e, ok := errors.AsType[*llmcall.HumanReviewError](err); ok {
		last = e.Last
	}
	if last == nil {
		return ""
	}
	return last.Text()
}

// traceOf returns the trace that an error carries.
func traceOf(err error) llmcall.Trace {
	if e, ok := errors.AsType[*llmcall.Error](err); ok {
		return e.Trace
	}
	if e, ok := errors.AsType[*llmcall.HumanReviewError](err); ok {
		return e.Trace
	}
	return llmcall.Trace{}
}
