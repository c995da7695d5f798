package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"llmcall"
	"llmcall/failure"
	"llmcall/internal/say"
	"llmcall/llm"
	"llmcall/record"
	"llmcall/retry"

	"github.com/spf13/cobra"
)

// tape is where models are recorded, or replayed from. A nil one does neither.
type tape struct {
	recorder *record.Recorder
	player   *record.Player
}

// openTape opens the directories of --record and --replay.
func openTape(cmd *cobra.Command, to, from string) (*tape, error) {
	var t tape
	var err error
	switch {
	case to != "" && from != "":
		return nil, errors.New("--record can't be combined with --replay")
	case to != "":
		errs := cmd.ErrOrStderr()
		t.recorder, err = record.New(record.Config{Dir: to, Report: func(err error) {
			fmt.Fprintf(errs, "llmcall: not recorded: %s\n", printable(inRecordWords(err).Error()))
		}})
		if err != nil {
			return nil, fmt.Errorf("--record: %w", inRecordWords(err))
		}
	case from != "":
		if t.player, err = record.Open(from); err != nil {
			return nil, fmt.Errorf("--replay: %w", inRecordWords(err))
		}
	default:
		return nil, nil
	}
	return &t, nil
}

// inRecordWords returns an error of package record as the command says it.
func inRecordWords(err error) error {
	return errors.New(strings.ReplaceAll(err.Error(), "record: ", ""))
}

// replays reports whether no model is asked.
func (t *tape) replays() bool { return t != nil && t.player != nil }

// onto returns models whose calls are recorded.
func (t *tape) onto(models []llm.Model) []llm.Model {
	if t == nil || t.recorder == nil {
		return models
	}
	var all []llm.Model
	for _, m := range models {
		all = append(all, t.recorder.Model(m))
	}
	return all
}

// models returns models that answer with recordings.
func (t *tape) models(names []string, cfg *llmcall.RetryConfig) ([]llm.Model, error) {
	if recorded := t.player.Models(); len(names) == 0 {
		if len(recorded) != 1 {
			return nil, fmt.Errorf("--replay: there are recordings of several models (%s): --model must be one of them", strings.Join(recorded, ", "))
		}
		names = recorded
	}
	var all []llm.Model
	for _, name := range names {
		prefix, _, _ := strings.Cut(name, "/")
		for range max(1, len(cfg.Providers[prefix].Keys)) {
			all = append(all, t.player.Model(name))
		}
	}
	return all, nil
}

// recordingLine begins the fields of a recording.
var recordingLine = regexp.MustCompile(`(?m)^recording: `)

// recordings reads those of a directory, or one of a file. It returns nil for a file that is
// something else.
func recordings(path string) ([]*record.Recording, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil // whoever reads it says so
	}
	if info.IsDir() {
		var all []*record.Recording
		for r, err := range record.All(path) {
			if err != nil {
				return nil, inRecordWords(err)
			}
			all = append(all, r)
		}
		if len(all) == 0 {
			return nil, fmt.Errorf("%s holds no recordings", path)
		}
		return all, nil
	}
	if !info.Mode().IsRegular() {
		return nil, nil
	}
	text, err := readFile(path, maxInput)
	if err != nil || !recordingLine.Match(bytes.TrimPrefix(text[:min(len(text), 4096)], []byte("\ufeff"))) {
		return nil, nil
	}
	r, err := record.Read(path)
	if err != nil {
		return nil, inRecordWords(err)
	}
	return []*record.Recording{r}, nil
}

// recordingDocument is what a recording holds, as --output json prints it.
type recordingDocument struct {
	File     string       `json:"file"`
	At       time.Time    `json:"at"`
	TookMS   float64      `json:"took_ms"`
	Model    string       `json:"model,omitempty"`
	Request  string       `json:"request"` // its last message, or the HTTP request
	Answer   *string      `json:"answer,omitempty"`
	Usage    llm.Usage    `json:"usage,omitzero"`
	Status   int          `json:"status,omitempty"`
	Pieces   int          `json:"pieces,omitempty"` // of a stream
	Left     bool         `json:"left,omitempty"`   // its caller left it
	Notes    []string     `json:"notes,omitempty"`
	Failure  *explanation `json:"failure,omitempty"`
	tookText string
}

// explained says what a recording holds, and what would follow from a failure.
func explained(r *record.Recording, cfg *llmcall.RetryConfig) recordingDocument {
	d := recordingDocument{
		File: r.Path, At: r.At, TookMS: float64(r.Took.Microseconds()) / 1000, Pieces: len(r.Pieces), Left: r.Left,
		tookText: r.Took.Round(time.Millisecond).String(),
	}
	switch {
	case r.Call != nil:
		d.Model, d.Notes = r.Call.Model, r.Call.Notes
		if m := r.Call.Request.Messages; len(m) > 0 {
			d.Request = m[len(m)-1].Text()
		}
		if a := r.Call.Response; a != nil {
			text := a.Text()
			for _, c := range a.Message.ToolCalls() {
				text += fmt.Sprintf("[calls %s %s]", c.Name, c.Arguments)
			}
			d.Answer, d.Usage = &text, a.Usage
		}
	case r.HTTP != nil:
		d.Request, d.Status = r.HTTP.Method+" "+r.HTTP.URL, r.HTTP.Status
		if r.Failure() == nil {
			text := string(r.HTTP.Body)
			d.Answer = &text
		}
	}
	if f := r.Failure(); f != nil {
		d.Failure = meaning(f, cfg)
		name, _, _ := strings.Cut(d.Model, "/")
		d.Failure.Provider = cmp.Or(name, f.Provider)
	}
	return d
}

// meaning is explain for a failure that is known already.
func meaning(f *failure.Error, cfg *llmcall.RetryConfig) *explanation {
	table := cfg.Table()
	e := &explanation{
		Kind: f.Kind, Status: f.Status, Code: say.Line(f.Code, 100), Message: say.Line(f.Message, 500), RequestID: say.Line(f.RequestID, 100),
		NoRetry: f.NoRetry, Decision: table.For(f.Kind),
	}
	if f.Told {
		e.RetryAfter = new(f.RetryAfter.Seconds())
	}
	e.Then = thenFor(f, e.Again, cmp.Or(cfg.MaxRetryAfter, retry.DefaultMaxRetryAfter), !cfg.DisablePacing)
	e.Circuit = circuitFor(f, e.Breaker, !cfg.DisablePacing)
	return e
}

func (d *recordingDocument) text() string {
	var b strings.Builder
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-12s %s\n", name, value)
		}
	}
	row("recording", d.File)
	if !d.At.IsZero() { // a file may be edited
		row("at", d.At.Local().Format("2006-01-02 15:04:05")+", took "+d.tookText)
	}
	row("model", d.Model)
	row("asked", say.Short(shown(d.Request), maxShown))
	if d.Answer != nil {
		row("answered", say.Short(shown(*d.Answer), maxShown))
	}
	if d.Usage != (llm.Usage{}) {
		row("used", fmt.Sprintf("%s in, %d out", say.Count(int(d.Usage.InputTokens), "token", "tokens"), d.Usage.OutputTokens))
	}
	if d.Pieces > 0 {
		row("streamed", "in "+say.Count(d.Pieces, "piece", "pieces"))
	}
	if d.Left {
		row("left", "by its caller, before its end")
	}
	for _, note := range d.Notes {
		row("note", shown(note))
	}
	if d.Failure != nil {
		b.WriteString(d.Failure.text())
	}
	return b.String()
}

// explainRecordings prints what recordings hold, or a plan for chaos.
func explainRecordings(w io.Writer, all []*record.Recording, cfg *llmcall.RetryConfig, output string, plan bool) error {
	if plan {
		text, err := record.Plan(all)
		if err != nil {
			return inRecordWords(err)
		}
		_, err = w.Write(text)
		return err
	}
	var documents []recordingDocument
	var texts []string
	for _, r := range all {
		d := explained(r, cfg)
		documents = append(documents, d)
		texts = append(texts, d.text())
	}
	if output == "json" && len(documents) == 1 {
		return printJSON(w, documents[0])
	}
	if output == "json" {
		return printJSON(w, documents)
	}
	_, err := io.WriteString(w, printable(strings.Join(texts, "\n")))
	return err
}
