package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"llmcall/internal/datauri"
	"llmcall/internal/rows"
	"llmcall/llm"
)

// batchForm makes requests of rows.
type batchForm struct {
	rows.Form
	text          string      // of the prompt's template; "" without one
	system        *string     // of --system, instead of the row's own; nil without it
	schema        *llm.Schema // of --schema, instead of the row's own; nil without it
	images, files []*attached
}

// newForm reads the templates of the flags.
func (f *batchFlags) newForm(p *program) (*batchForm, error) {
	form := &batchForm{text: f.prompt}
	if system, given := p.Settings["system"]; given {
		form.system = &system
	}
	if len(p.Schema) > 0 {
		form.schema = &llm.Schema{Name: "answer", JSON: p.Schema}
	}
	name := "--prompt"
	if path, ok := strings.CutPrefix(f.prompt, "@"); ok {
		text, err := readFile(path, maxInput)
		if err != nil {
			return nil, fmt.Errorf("--prompt: %w", err)
		}
		form.text, name = strings.TrimRight(string(text), "\r\n"), "--prompt "+f.prompt
		if strings.TrimSpace(form.text) == "" {
			return nil, fmt.Errorf("--prompt: %s is empty", path)
		}
	}
	var err error
	if form.text != "" {
		if form.Prompt, err = rows.ParseTemplate(name, form.text); err != nil {
			return nil, err
		}
	}
	if form.images, err = templates("--image", f.images); err == nil {
		form.files, err = templates("--file", f.files)
	}
	return form, err
}

// attached is a flag that names a file of each row.
type attached struct {
	*rows.Template
	// The last file that was read for the identity of a row, which may go with all rows.
	path    string
	size    int64
	changed time.Time
	sum     [sha256.Size]byte
}

func templates(flag string, texts []string) (all []*attached, err error) {
	for _, text := range texts {
		t, err := rows.ParseTemplate(flag, text)
		if err != nil {
			return nil, err
		}
		all = append(all, &attached{Template: t})
	}
	return all, nil
}

// isFile reports whether what a flag names is a file, and not an address or a data URI.
func isFile(path string) bool { return !strings.Contains(path, "://") && !datauri.Is(path) }

// contents returns what the files of a row hold, as hashes: a row whose picture is another
// one asks something else. It is nil if no file goes with rows.
func (f *batchForm) contents(row *rows.Row) []byte {
	var sums []byte
	for _, all := range [][]*attached{f.files, f.images} {
		for _, a := range all {
			if path, err := a.Text(row); err == nil && isFile(path) {
				sum, err := a.content(path)
				if err != nil {
					sum = [sha256.Size]byte{} // the row has an error, until the file can be read
				}
				sums = append(sums, sum[:]...)
			}
		}
	}
	return sums
}

// content returns the hash of a file.
func (a *attached) content(path string) (sum [sha256.Size]byte, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return sum, err
	}
	if path == a.path && info.Size() == a.size && info.ModTime().Equal(a.changed) {
		return a.sum, nil
	}
	data, err := readFile(path, maxInput)
	if err != nil {
		return sum, err
	}
	a.path, a.size, a.changed, a.sum = path, info.Size(), info.ModTime(), sha256.Sum256(data)
	return a.sum, nil
}

// request returns what a row asks, with its files and pictures.
func (f *batchForm) request(row *rows.Row) (*llm.Request, error) {
	req, err := f.Request(row)
	if err != nil {
		return nil, err
	}
	return req, f.complete(row, req)
}

// check looks whether the files of a row are there, before anything is asked.
func (f *batchForm) check(row *rows.Row) error {
	for flag, all := range map[string][]*attached{"--file": f.files, "--image": f.images} {
		for _, t := range all {
			path, err := t.Text(row)
			if err != nil {
				return err
			}
			if !isFile(path) {
				continue
			}
			if _, err := os.Stat(path); err != nil {
				return fmt.Errorf("line %d: %s: %w", row.Line, flag, err)
			}
		}
	}
	return nil
}

// complete adds to a row's own request what the flags say.
func (f *batchForm) complete(row *rows.Row, req *llm.Request) error {
	if f.system != nil {
		req.Messages = withSystem(req.Messages, *f.system, true)
	}
	if f.schema != nil {
		req.Schema = f.schema
	}
	if len(f.images)+len(f.files) == 0 {
		return nil
	}
	at := len(req.Messages) - 1
	for at >= 0 && req.Messages[at].Role != llm.RoleUser {
		at--
	}
	if at < 0 {
		return fmt.Errorf("line %d: has no message of the user, with which a file could go", row.Line)
	}
	var texts []string
	var others []llm.Part
	for _, t := range f.files {
		path, err := t.Text(row)
		if err != nil {
			return err
		}
		part, err := readAttachment(path)
		if err != nil {
			return fmt.Errorf("--file: %w", err)
		}
		if text, ok := part.(llm.Text); ok {
			texts = append(texts, string(text))
		} else {
			others = append(others, part)
		}
	}
	for _, t := range f.images {
		where, err := t.Text(row)
		if err != nil {
			return err
		}
		image, err := readImage(where)
		if err != nil {
			return fmt.Errorf("--image: %w", err)
		}
		others = append(others, image)
	}
	turn := &req.Messages[at]
	if len(texts) > 0 {
		if len(turn.Parts) > 0 { // as call has it
			if first, ok := turn.Parts[0].(llm.Text); ok {
				texts, turn.Parts = append(texts, string(first)), turn.Parts[1:]
			}
		}
		turn.Parts = slices.Concat([]llm.Part{llm.Text(strings.Join(texts, "\n\n"))}, turn.Parts)
	}
	turn.Parts = append(turn.Parts, others...)
	return nil
}
