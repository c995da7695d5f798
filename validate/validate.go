// Package validate checks a model's answer. A Strategy looks at an answer and
// returns complaints: what is wrong, where, and how to fix it, in words that
// the model can act on. Run makes all checks and tells an answer that is wrong
// from a check that could not be made.
//
// The checks are NotEmpty, JSON, JSONSchema, FieldPresent, Length, Regex, Contains, OneOf,
// Number, Format, WordCount, SentenceCount, NoSecrets, Quotes, a caller's function
// (Func), the combinations All, Any and Not, and At, which makes a check of a part
// of a JSON answer. Build and Parse make them from configuration and from the
// command line. The packages below this one have those that need parsers.
//
// Checks that need parsers of other languages are in packages of their own (code,
// sql, openapi), so that a program compiles those alone that it uses, and so are
// those that ask a model to judge (judge); package standard is all of them.
//
// What JSON and JSONSchema accept, the caller can decode: the verdict carries
// the decoded value and the text that it was decoded from. JSONWithRepair fixes
// what a model got wrong, and says what it changed.
//
// A check that is Streaming tells while an answer still comes that it can no
// longer pass. Prefix reads the value of a JSON answer as far as it has come.
package validate

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"llmcall/failure"
	"llmcall/llm"
)

// Answer is what a Strategy looks at. A Strategy must not change it.
type Answer struct {
	Text     string        // the answer's text
	Response *llm.Response // the whole answer; nil where only a text is checked
	Request  *llm.Request  // what was asked; may be nil
	Attempt  int           // from 1

	decoded *memo // set by Run, so that its checks decode the text once
}

// Strategy is one check of an answer. Implementations are safe for use from
// many goroutines at once.
type Strategy interface {
	// Name names the check in complaints and traces ("length"). It is the same
	// at every call.
	Name() string
	// Check looks at one answer and returns what is wrong with it; no
	// complaint means that it passes. An error means that the check itself
	// failed, and says nothing about the answer; of the verdict, Usage alone
	// counts then. Check should return when ctx ends; Run does not wait for one
	// that does not. Checks of one answer may be made at the same time.
	Check(ctx context.Context, a *Answer) (Verdict, error)
}

// Must returns the check, or panics with the error, for checks that the
// program's source fixes:
//
//	checks := []validate.Strategy{validate.JSON(), validate.Must(validate.Length(3, 200))}
func Must(check Strategy, err error) Strategy {
	if err != nil {
		panic(err)
	}
	return check
}

// Verdict is what a check says of an answer. The zero value passes it.
type Verdict struct {
	Complaints []Complaint
	Decoded    bool      // Value and Text are set
	Value      any       // the decoded JSON value, with numbers as json.Number
	Text       string    // the cleaned text that Value was decoded from, which the caller can decode too
	Repaired   []Repair  // what was changed in the answer to make JSON of it; see JSONWithRepair
	Advice     Advice    // what to do about the complaints
	Usage      llm.Usage // the tokens that the check itself used, as a judge does
	Skipped    []string  // names of the checks within a combination that were not made; see Costly
}

// Advice is what a check wants to be done about an answer that is wrong. A
// larger value outweighs a smaller one.
type Advice uint8

const (
	Again Advice = iota // ask the model again
	Stop                // asking again is useless
	Human               // a person must look
)

// String returns "again", "stop" or "human".
func (a Advice) String() string {
	switch a {
	case Again:
		return "again"
	case Stop:
		return "stop"
	case Human:
		return "human"
	}
	return fmt.Sprintf("advice(%d)", uint8(a))
}

// Complaint is one thing that is wrong with an answer.
type Complaint struct {
	Check      string `json:"check"`                // which check complains
	Problem    string `json:"problem"`              // what is wrong
	Pointer    string `json:"pointer,omitempty"`    // where, as a JSON pointer (RFC 6901); "" is the whole answer
	Line       int    `json:"line,omitempty"`       // where in the text, from 1; 0: not known
	Column     int    `json:"column,omitempty"`     // in code points, from 1; 0: not known
	Suggestion string `json:"suggestion,omitempty"` // how to fix it, said to the model
}

// String returns the check, the place, the problem and the suggestion in one
// line.
func (c Complaint) String() string {
	var b strings.Builder
	if c.Check != "" {
		b.WriteString(c.Check + ": ")
	}
	if c.Pointer != "" {
		b.WriteString("at " + c.Pointer + ": ")
	}
	if c.Line > 0 {
		fmt.Fprintf(&b, "line %d, column %d: ", c.Line, c.Column)
	}
	b.WriteString(c.Problem)
	if c.Suggestion != "" {
		b.WriteString(" (" + c.Suggestion + ")")
	}
	return b.String()
}

// Complaints is a list of complaints as an error, for a caller's function that
// finds more than one; see Func.
type Complaints []Complaint

// Error returns the complaints, joined by "; ".
func (cs Complaints) Error() string {
	texts := make([]string, len(cs))
	for i, c := range cs {
		texts[i] = c.String()
	}
	return strings.Join(texts, "; ")
}

// CheckError is the failure of a check: it panicked, returned an error, took
// too long, or was not begun because the context had ended. It says nothing
// about the answer.
type CheckError struct {
	Check    string // which one
	Index    int    // its place in the slice given to Run, from 0
	Err      error  // *PanicError, ErrTimeout, the context's error, or what the check returned
	Panicked bool
}

// Error names the check and says why it could not be made.
func (e *CheckError) Error() string {
	if e.Check == "" {
		return fmt.Sprintf("the check could not be made: %v", e.Err)
	}
	return fmt.Sprintf("check %q could not be made: %v", e.Check, e.Err)
}

// Unwrap returns e.Err.
func (e *CheckError) Unwrap() error { return e.Err }

// FailureKind returns failure.CheckUnavailable.
func (e *CheckError) FailureKind() failure.Kind { return failure.CheckUnavailable }

// ErrTimeout is the failure of a check that took longer than the time that Run
// gave it.
var ErrTimeout = errors.New("it took too long")

// PanicError is the failure of a check that panicked.
type PanicError struct {
	Value any    // what it panicked with
	Stack []byte // of the goroutine that panicked
}

// Error returns the panic's value, without the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("it panicked: %v", e.Value) }

// Unwrap returns the panic's value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// ParamError is a check's parameter that is missing, unknown or impossible.
type ParamError struct {
	Check   string // "length"
	Param   string // "min_length"
	Problem string // what is wrong with what was given ("is -1")
	Takes   string // what would be right
	Err     error  // the cause; may be nil
}

// Error names the check and the parameter, what was given, and what it takes.
func (e *ParamError) Error() string {
	s := fmt.Sprintf("check %q: %s %s", e.Check, e.Param, e.Problem)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s + "; it takes " + e.Takes
}

// Unwrap returns the cause.
func (e *ParamError) Unwrap() error { return e.Err }
