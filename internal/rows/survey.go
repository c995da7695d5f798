package rows

import (
	"encoding/json"
	"hash/maphash"
	"slices"

	"llmcall/internal/say"
	"llmcall/llm"
)

// Summary is what [Source.Survey] found.
type Summary struct {
	// Rows is how many there are.
	Rows int
	// Model is the model that the rows name, as lines of OpenAI's batch API do; "" if they
	// name none.
	Model string
	// URL is the path that lines of OpenAI's batch API name, /v1/chat/completions or
	// [ResponsesURL]; "" if there are none.
	URL string
	// Mixed says which row is the first that names another model or URL than those before
	// it; nil if none does. It does not matter to who asks a model that the rows don't name.
	Mixed *Error
}

// Survey reads all rows once, before anything is asked. It calls each with every row, its
// request, and the error of [Form.Request]; an error of each ends it. Two rows with the same
// id are an error that names both lines. Survey needs 8 bytes for each row with an id.
func (s *Source) Survey(form Form, each func(*Row, *llm.Request, error) error) (Summary, error) {
	var summary Summary
	var ids idList
	var named *Row
	for row, err := range s.All() {
		if err != nil {
			return summary, err
		}
		summary.Rows++
		ids.add(row)
		if form.Prompt == nil {
			summary.take(row, &named)
		}
		req, err := form.Request(row)
		if err := each(row, req, err); err != nil {
			return summary, err
		}
	}
	return summary, s.unique(ids)
}

// take notes what a line of OpenAI's batch API asks for.
func (s *Summary) take(row *Row, named **Row) {
	model, url := row.openAI()
	switch {
	case model == "" && url == "" || s.Mixed != nil:
	case *named == nil:
		*named, s.Model, s.URL = row, model, url
	case model != s.Model:
		s.Mixed = row.fault("body.model", "must be that of the other rows (%q in line %d), got %q: ask one model in one batch, or name it with --model",
			say.Short(s.Model, 60), (*named).Line, say.Short(model, 60))
	case url != s.URL:
		s.Mixed = row.fault("url", "must be that of the other rows (%s in line %d), got %s: ask them in batches of their own, or name a model with --model",
			s.URL, (*named).Line, say.Short(url, 60))
	}
}

// idList are the hashes of the rows' ids.
type idList struct {
	seed   maphash.Seed
	hashes []uint64
}

func (l *idList) hash(row *Row) uint64 { return maphash.String(l.seed, row.ID) }

func (l *idList) add(row *Row) {
	if row.ID == "" {
		return
	}
	if l.hashes == nil {
		l.seed = maphash.MakeSeed()
	}
	l.hashes = append(l.hashes, l.hash(row))
}

// unique returns an error if two rows have the same id. Rows whose ids have the same hash
// are read again.
func (s *Source) unique(ids idList) error {
	slices.Sort(ids.hashes)
	suspects := map[uint64]bool{}
	for i, h := range ids.hashes {
		if i > 0 && h == ids.hashes[i-1] {
			suspects[h] = true
		}
	}
	if len(suspects) == 0 {
		return nil
	}
	lineOf := map[string]int{}
	for row, err := range s.All() {
		if err != nil {
			return err
		}
		if row.ID == "" || !suspects[ids.hash(row)] {
			continue
		}
		if first, twice := lineOf[row.ID]; twice {
			return row.fault(row.IDKey, "must be unique, got %q, which line %d has too", say.Short(row.ID, 60), first)
		}
		lineOf[row.ID] = row.Line
	}
	return nil
}

// identify finds the id of a row.
func (r *Row) identify() error {
	keys := []string{ID, CustomID}
	if _, ok := r.Fields["body"].(map[string]any); ok {
		keys = []string{CustomID, ID}
	}
	for _, key := range keys {
		switch id := r.Fields[key].(type) {
		case nil:
			continue
		case string:
			r.ID = id
		case json.Number:
			r.ID = id.String()
		default:
			return r.fault(key, "must be a string or a number, got %s", describe(id))
		}
		if r.ID != "" {
			r.IDKey = key
			return nil
		}
	}
	return nil
}
