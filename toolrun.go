package llmcall

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"llmcall/failure"
	"llmcall/internal/say"
	"llmcall/llm"
	"llmcall/retry"
	"llmcall/validate"
)

// The defaults of the limits of tools; see [RetryConfig.MaxToolRounds].
const (
	DefaultMaxToolRounds = 8
	DefaultMaxToolCalls  = 32
	DefaultToolTimeout   = 30 * time.Second
	DefaultMaxToolResult = 64 << 10
)

// tooling counts the calls of tools in one attempt.
type tooling struct{ rounds, calls int }

// over reports whether no further call is allowed.
func (t *tooling) over(c *RetryConfig) bool {
	return t.rounds >= cmp.Or(c.MaxToolRounds, DefaultMaxToolRounds) || t.calls >= cmp.Or(c.MaxToolCalls, DefaultMaxToolCalls)
}

// toolCalls returns the calls in an answer that are to be carried out: those of a
// whole answer that calls only tools of the stage that have a Run.
func (c *call) toolCalls(answer *llm.Response) []llm.ToolCall {
	if !c.at().runs() || !isWhole(answer) {
		return nil
	}
	calls := answer.Message.ToolCalls()
	if slices.ContainsFunc(calls, func(t llm.ToolCall) bool { return c.at().tool(t.Name) == nil }) {
		return nil
	}
	return calls
}

// toolPanic carries a panic in the caller's tool to the end of the call. Otherwise
// the breaker would count it as a panic of the model.
type toolPanic struct{ value any }

func (p toolPanic) Error() string           { return fmt.Sprintf("the tool panicked: %v", p.value) }
func (toolPanic) FailureKind() failure.Kind { return failure.Cancelled }

// runTools carries out the calls of an answer, at the same time, and returns a result for
// each: those that are not run have one that says why.
func (c *call) runTools(ctx context.Context, calls []llm.ToolCall, round *tooling) ([]llm.Part, error) {
	results, runs := make([]llm.Part, len(calls)), make([]ToolRun, len(calls))
	panics := make([]any, len(calls))
	most := cmp.Or(c.cfg.MaxToolCalls, DefaultMaxToolCalls)
	round.rounds++
	var all sync.WaitGroup
	for i, t := range calls {
		tool := c.at().tool(t.Name)
		runs[i].Name = t.Name
		refused := ""
		if wrong := wrongCall(ctx, t, []llm.Tool{tool.Tool}); len(wrong) > 0 {
			refused = validate.Complaints(wrong).Error()
		} else if round.calls == most {
			refused = fmt.Sprintf("not run: this answer has had the %d calls that it may have; answer with what you know", most)
		}
		if refused != "" {
			results[i] = llm.ToolResult{CallID: t.ID, Content: refused, IsError: true}
			runs[i].Error = refused
			continue
		}
		round.calls++
		run, again := c.once(tool, t)
		all.Go(func() {
			defer func() { panics[i] = recover() }()
			start := time.Now()
			content, err := c.runTool(ctx, tool, run)
			runs[i] = ToolRun{Name: t.Name, Duration: time.Since(start), Bytes: len(content), Again: again}
			result := llm.ToolResult{CallID: t.ID, Content: content}
			if err != nil {
				result.Content, result.IsError = err.Error(), true
				runs[i].Error = say.Middle(err.Error(), maxComplaintShown)
			}
			result.Content = asData(cut(result.Content, cmp.Or(c.cfg.MaxToolResult, DefaultMaxToolResult)))
			results[i] = result
		})
	}
	all.Wait()
	r := c.current()
	r.Tools = append(r.Tools, runs...)
	for _, v := range panics {
		if v != nil {
			return nil, retry.Stop(toolPanic{v})
		}
	}
	return results, nil
}

// ran is a run of a tool that must not run twice.
type ran struct {
	arguments string // in one spelling
	attempt   int
	run       func(context.Context) (string, error)
}

// once returns what runs a call. A tool that must not run twice gives the result of the
// same call again, and after an attempt in which it has run, no other.
func (c *call) once(tool *Tool, t llm.ToolCall) (run func(context.Context) (string, error), again bool) {
	arguments := slices.Clone(t.Arguments)
	if !tool.Once {
		return func(ctx context.Context) (string, error) { return tool.Run(ctx, arguments) }, false
	}
	spelled, number := canonical(arguments), c.tries.Number()
	before := c.ran[tool.Name]
	for _, r := range before {
		if r.arguments == spelled {
			return r.run, true
		}
	}
	if len(before) > 0 && before[0].attempt < number {
		return func(context.Context) (string, error) {
			return "", fmt.Errorf("not run: the tool %q has run before, with the arguments %s, and must not run again", tool.Name, say.Middle(before[0].arguments, maxComplaintShown))
		}, true
	}
	var once sync.Once
	content, err := "", errGoexit
	first := func(ctx context.Context) (string, error) {
		once.Do(func() { content, err = tool.Run(ctx, arguments) })
		return content, err
	}
	if c.ran == nil {
		c.ran = map[string][]ran{}
	}
	c.ran[tool.Name] = append(before, ran{spelled, number, first})
	return first, false
}

// canonical returns JSON in one of its spellings: without white space, with sorted keys.
func canonical(text []byte) string {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return string(text)
	}
	spelled, _ := json.Marshal(v)
	return string(spelled)
}

// errToolTime is the cause of a tool's context that has ended for its own time limit.
var errToolTime = errors.New("the tool's time is over")

// runTool runs a tool within its time, and does not wait for one that ignores the end of
// its context.
func (c *call) runTool(ctx context.Context, tool *Tool, run func(context.Context) (string, error)) (string, error) {
	limit := cmp.Or(c.cfg.ToolTimeout, DefaultToolTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errToolTime)
	defer cancel()
	type outcome struct {
		content string
		err     error
		panic   any
	}
	done := make(chan outcome, 1)
	go func() {
		o := outcome{err: errGoexit}
		defer func() {
			if v := recover(); v != nil {
				o.panic = v
			}
			done <- o
		}()
		o.content, o.err = run(ctx)
	}()
	var o outcome
	select {
	case o = <-done:
	case <-ctx.Done():
		select {
		case o = <-done: // it has noticed
		case <-time.After(toolGrace):
			o.err = ctx.Err()
		}
	}
	if o.panic != nil {
		panic(o.panic)
	}
	if o.err != nil && context.Cause(ctx) == errToolTime {
		return "", fmt.Errorf("the tool %q did not end within %v", tool.Name, limit)
	}
	return o.content, o.err
}

// toolGrace is how long a tool has to notice that its context has ended.
const toolGrace = 100 * time.Millisecond

// cut returns a text of at most limit bytes, without its middle if it is longer.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	note := fmt.Sprintf("\n… (%d of %d bytes left out) …\n", len(text)-limit, len(text))
	half := max(0, limit-len(note)) / 2
	return strings.ToValidUTF8(text[:half], "") + note + strings.ToValidUTF8(text[len(text)-half:], "")
}

// The delimiters of a result. Whoever wrote what a tool has found may have written
// instructions for the model into it.
const (
	dataBegins = "<tool_result>\n"
	dataEnds   = "\n</tool_result>"
)

// asData marks a result as data. What looks like its end within it does not end it.
func asData(text string) string {
	return dataBegins + strings.ReplaceAll(text, "</tool_result>", "<\\/tool_result>") + dataEnds
}
