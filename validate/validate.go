// Package validate checks a model's answer.
//
// A check is a [Strategy]. It looks at an [Answer] and returns a [Verdict]; the
// answer passes if the verdict has no complaints. A [Complaint] says what is wrong,
// where, and how to fix it, in words that the model can act on. A check that fails
// (an error, a panic, a timeout) says nothing about the answer. [Run] runs a list
// of checks, and its [Report] keeps the two apart: Complaints, and Failed.
//
// The checks of this package are
//
//   - for one value: [JSON], [JSONSchema], [RequestSchema], [Number], [Format], [OneOf];
//   - for text: [NotEmpty], [Length], [WordCount], [SentenceCount], [Contains],
//     [Regex], [NoSecrets], [Quotes];
//   - for parts of a JSON answer: [FieldPresent], and [At], which applies a check to
//     a part;
//   - made from other checks: [All], [Any], [Not];
//   - made from a function: [Func].
//
// Checks that need a parser of another language ([llmcall/validate/code],
// [llmcall/validate/sql], [llmcall/validate/openapi], [llmcall/validate/expression]) or
// a model that judges ([llmcall/validate/judge]) are in packages of their own, so that a
// program links only what it uses. [llmcall/validate/standard] imports them all.
//
// [Build] makes a check from its name and parameters, as a configuration file has
// them, and [Parse] from one string, as the command line has it.
//
// The verdict of JSON and JSONSchema has the decoded value and the text that it was
// decoded from, which the caller can decode too. [JSONWithRepair] fixes common
// mistakes, and the verdict lists what it changed.
//
// A [Streaming] check can report, while the answer is still arriving, that it can no
// longer pass. [Prefix] parses such an unfinished JSON answer.
package validate

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"llmcall/failure"
	"llmcall/llm"
)

// Answer is what a [Strategy] looks at. A Strategy must not change it.
type Answer struct {
	Text     string        // the answer's text
	Response *llm.Response // the whole answer; nil where only a text is checked
	Request  *llm.Request  // what was asked; may be nil
	Attempt  int           // the number of the attempt, from 1

	decoded *memo // set by Run, so that its checks decode the text once
}

// Strategy is a check. Several goroutines may use it at once.
type Strategy interface {
	// Name is the name of the check in complaints and traces ("length"). It is
	// always the same.
	Name() string
	// Check looks at one answer and returns what is wrong with it; without
	// complaints the answer passes. An error means that the check itself failed,
	// and says nothing about the answer; only Usage and Skipped of the verdict are
	// then read. Check should return when ctx ends; [Run] does not wait for one that
	// does not.
	Check(ctx context.Context, a *Answer) (Verdict, error)
}

// Must returns the check, and panics if err is not nil. It is for checks whose
// parameters are constants:
//
//	checks := []validate.Strategy{validate.JSON(), validate.Must(validate.Length(3, 200))}
func Must(check Strategy, err error) Strategy {
	if err != nil {
		panic(err)
	}
	return check
}

// Verdict is the result of a check. The zero value passes the answer.
type Verdict struct {
	Complaints []Complaint // none: the answer passes
	Decoded    bool        // Value and Text are set
	Value      any         // the decoded JSON value, with numbers as [json.Number]
	Text       string      // the text that Value was decoded from, without the fence and prose around it
	Repaired   []Repair    // what was changed in the answer to make it JSON; see [JSONWithRepair]
	Advice     Advice      // what to do about the complaints. Default Again
	Usage      llm.Usage   // the tokens that the check itself used, for instance by a judge
	Skipped    []string    // the names of the checks within a combination that did not run; see [Costly]
}

// Advice is what to do about an answer that is wrong. Of several checks the largest
// value decides.
type Advice uint8

// The kinds of advice.
const (
	Again     Advice = iota // ask the model again; the default
	NextStage               // the call should go up to its next stage; if there is none, ask again
	Stop                    // no further attempt can help
	Human                   // a person must look
)

// String returns "again", "next_stage", "stop" or "human".
func (a Advice) String() string {
	switch a {
	case Again:
		return "again"
	case NextStage:
		return "next_stage"
	case Stop:
		return "stop"
	case Human:
		return "human"
	}
	return fmt.Sprintf("advice(%d)", uint8(a))
}

// Complaint is one thing that is wrong with an answer.
type Complaint struct {
	Check      string `json:"check"`                // the name of the check; "": [Run] sets it
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
// finds more than one; see [Func].
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
	Check    string // the name of the check
	Index    int    // its index in the slice given to [Run]
	Err      error  // a *[PanicError], [ErrTimeout], the context's error, or what the check returned
	Panicked bool   // Err is a *[PanicError]
}

// Error names the check and says why it failed.
func (e *CheckError) Error() string {
	if e.Check == "" {
		return fmt.Sprintf("the check could not be made: %v", e.Err)
	}
	return fmt.Sprintf("check %q could not be made: %v", e.Check, e.Err)
}

// Unwrap returns e.Err.
func (e *CheckError) Unwrap() error { return e.Err }

// FailureKind returns [failure.CheckUnavailable].
func (e *CheckError) FailureKind() failure.Kind { return failure.CheckUnavailable }

// ErrTimeout is the cause of a [CheckError] for a check that took longer than the
// timeout of [Run].
var ErrTimeout = errors.New("it took too long")

// PanicError is the failure of a check that panicked.
type PanicError struct {
	Value any    // what panic was called with
	Stack []byte // the stack of the goroutine that panicked
}

// Error returns the panic's value, without the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("it panicked: %v", e.Value) }

// Unwrap returns the panic's value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// ParamError is the error of a check's parameter that is missing, unknown or
// impossible.
type ParamError struct {
	Check string // the name of the check: "length"
	Param string // the name of the parameter: "min_length"
	Got   string // what was given, as it is shown: "-1"; "nothing" if it is missing
	Takes string // what the parameter must be: "a whole number of at least 1"; "" if Err says it all
	Err   error  // the cause; may be nil
}

// Error names the check and the parameter, what it must be, what was given, and the
// cause.
func (e *ParamError) Error() string {
	s := fmt.Sprintf("check %q: %s", e.Check, e.Param)
	if e.Takes != "" {
		s += fmt.Sprintf(" must be %s, got %s", e.Takes, e.Got)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns e.Err.
func (e *ParamError) Unwrap() error { return e.Err }
