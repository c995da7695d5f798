package eventlog

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"llmcall"
	"llmcall/internal/redact"
	"llmcall/llm"
	"llmcall/validate"
)

// Options say what is in a line. The zero value works.
type Options struct {
	// Name says what the calls are for; it is in each line. Default "": none.
	Name string
	// Content adds what is asked, what is answered, and complaints: without keys, each text
	// cut to MaxContent characters. Default false.
	Content bool
	// MaxContent is how many characters of a text are in a line; of a longer one the middle is
	// left out. Default 0: 4,000.
	MaxContent int
	// Keys are texts to hide wherever they are, besides the API keys in the environment and
	// whatever has the form of a key. One of fewer than 8 bytes is not looked for.
	Keys []string
}

// Observer returns an observer that writes calls to a log, for
// [llmcall.RetryConfig.Observer]. The default of log, nil, is [slog.Default] at the time of
// a line. Lines are written with the context of the call or of the attempt, from which a
// handler may take the trace.
func Observer(log *slog.Logger, o Options) llmcall.Observer {
	w := &writer{log: log, name: o.Name, content: o.Content, filter: redact.New(o.Keys, o.MaxContent), plain: redact.New(o.Keys, 0)}
	return w.observe
}

type writer struct {
	log     *slog.Logger
	name    string
	content bool
	filter  *redact.Filter // of contents
	plain   *redact.Filter // of everything else
}

func (w *writer) observe(ctx context.Context, e llmcall.Event) context.Context {
	level, text := slog.LevelDebug, ""
	switch e.Type {
	case llmcall.EventCallStarted, llmcall.EventAttemptStarted:
		return nil // their ends say more
	case llmcall.EventWaiting:
		text = "waiting"
	case llmcall.EventAttemptEnded:
		text = "attempt"
	case llmcall.EventCallEnded:
		level, text = slog.LevelInfo, "call"
		if e.Err != nil {
			level = slog.LevelWarn
		}
	}
	log := w.log
	if log == nil {
		log = slog.Default()
	}
	if log.Enabled(ctx, level) {
		// Without the position in the source, which would be this one for all lines.
		line := slog.NewRecord(time.Now(), level, text, 0)
		line.AddAttrs(w.line(&e)...)
		_ = log.Handler().Handle(ctx, line) // as slog's own methods do
	}
	return nil
}

// line returns what is in the line of an event.
func (w *writer) line(e *llmcall.Event) []slog.Attr {
	all := []slog.Attr{slog.Uint64("call", e.Call)}
	if w.name != "" {
		all = append(all, slog.String("name", w.name))
	}
	switch e.Type {
	case llmcall.EventWaiting:
		all = append(all, slog.Int("attempt", e.Attempt.Number), slog.String("model", e.Attempt.Model), slog.Duration("wait", e.Wait), slog.String("wait_reason", e.WaitReason.String()))
	case llmcall.EventAttemptEnded:
		all = append(all, w.hidden(e.Attempt.LogValue())...)
		if w.content {
			all = w.quoted(all, e.Attempt.Answer, e.Attempt.Complaints)
		}
	case llmcall.EventCallEnded:
		all = w.ended(all, e)
		if w.content {
			all = append(all, slog.Any("request", w.conversation(e.Request)))
			if e.Err == nil {
				all = append(all, slog.String("answer", w.filter.Text(e.Result.Text)))
			}
		}
	}
	return all
}

// ended adds how a call has ended.
func (w *writer) ended(all []slog.Attr, e *llmcall.Event) []slog.Attr {
	if e.Err == nil {
		all = append(all, slog.String("reason", "valid"))
		all = append(all, w.hidden(e.Result.LogValue())...)
		return append(all, slog.Duration("duration", e.Duration))
	}
	all = append(all, w.hidden(errorOf(e))...)
	return append(all, slog.String("model", e.Model), slog.Duration("duration", e.Duration))
}

// errorOf returns the error of a call as the event's own log value has it, which never shows
// what quotes an answer: of an error of the library the fields.
func errorOf(e *llmcall.Event) slog.Value {
	for _, a := range e.LogValue().Group() {
		if a.Key != "error" {
			continue
		}
		if v := a.Value.Resolve(); v.Kind() == slog.KindGroup {
			return v
		}
		reason := "failed"
		if _, ok := e.Err.(*llmcall.PanicError); ok {
			reason = "panic"
		}
		return slog.GroupValue(slog.String("reason", reason), a)
	}
	return slog.GroupValue(slog.String("reason", "failed"))
}

// hidden returns the attributes of a group, without keys in texts.
func (w *writer) hidden(group slog.Value) []slog.Attr {
	var all []slog.Attr
	for _, a := range group.Resolve().Group() {
		switch v := a.Value.Resolve(); v.Kind() {
		case slog.KindGroup:
			a.Value = slog.GroupValue(w.hidden(v)...)
		case slog.KindString:
			a.Value = slog.StringValue(w.plain.Text(v.String()))
		case slog.KindAny:
			if texts, ok := v.Any().([]string); ok {
				a.Value = slog.AnyValue(w.texts(texts))
			}
		}
		all = append(all, a)
	}
	return all
}

func (w *writer) texts(all []string) []string {
	filtered := make([]string, len(all))
	for i, text := range all {
		filtered[i] = w.plain.Text(text)
	}
	return filtered
}

// maxListed is how many messages, or complaints, are in a line: the last messages, the first
// complaints.
const maxListed = 20

// conversation returns the texts of a request, each after its role.
func (w *writer) conversation(req *llm.Request) []string {
	var all []string
	messages := req.Messages
	if left := len(messages) - maxListed; left > 0 {
		all = append(all, fmt.Sprintf("… (%d messages left out) …", left))
		messages = messages[left:]
	}
	for _, m := range messages {
		all = append(all, string(m.Role)+": "+w.filter.Text(m.Text()))
	}
	return all
}

// quoted adds an answer that is not valid, and what is wrong with it.
func (w *writer) quoted(all []slog.Attr, answer string, complaints []validate.Complaint) []slog.Attr {
	if answer != "" {
		all = append(all, slog.String("answer", w.filter.Text(answer)))
	}
	var texts []string
	for i, c := range complaints {
		if i == maxListed {
			texts = append(texts, fmt.Sprintf("and %d more", len(complaints)-i))
			break
		}
		texts = append(texts, w.filter.Text(c.String()))
	}
	if texts != nil {
		all = append(all, slog.Any("complaints", texts))
	}
	return all
}
