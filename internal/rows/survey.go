package rows

import (
	"cmp"
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
	// /v1/responses; "" if there are none, and "/v1/chat/completions" if they name both.
	URL string
}

// Survey reads all rows once, before anything is asked. It calls each with every row, its
// request, and the error of [Form.Request]; an error of each ends it. Two rows with the same
// id are an error that names both lines, and so are lines of OpenAI's batch API that name
// different models. Survey needs 16 bytes for each row with an id.
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
			if err := summary.take(row, &named); err != nil {
				return summary, err
			}
		}
		req, err := form.Request(row)
		if err := each(row, req, err); err != nil {
			return summary, err
		}
	}
	return summary, s.unique(ids)
}

// take notes what a line of OpenAI's batch API asks for.
func (s *Summary) take(row *Row, named **Row) error {
	model, url := row.openAI()
	switch {
	case model == "" && url == "":
		return nil
	case *named == nil:
		*named, s.Model, s.URL = row, model, url
	case model != s.Model:
		return row.fault("body.model", "must be that of the other rows (%q in line %d), got %q: ask one model in one batch",
			say.Short(s.Model, 60), (*named).Line, say.Short(model, 60))
	case url != s.URL:
		s.URL = chatURL
	}
	return nil
}

// idList are the ids of rows by their hashes.
type idList struct {
	seed   maphash.Seed
	hashes []hashed
}

type hashed struct {
	id  uint64
	row int
}

func (l *idList) add(row *Row) {
	if row.ID == "" {
		return
	}
	if l.hashes == nil {
		l.seed = maphash.MakeSeed()
	}
	l.hashes = append(l.hashes, hashed{maphash.String(l.seed, row.ID), row.Number})
}

// unique returns an error if two rows have the same id. Rows whose ids have the same hash
// are read again.
func (s *Source) unique(ids idList) error {
	slices.SortFunc(ids.hashes, func(a, b hashed) int { return cmp.Or(cmp.Compare(a.id, b.id), a.row-b.row) })
	suspects := map[int]bool{} // by the number of the row
	for i := range ids.hashes {
		if i > 0 && ids.hashes[i].id == ids.hashes[i-1].id {
			suspects[ids.hashes[i].row], suspects[ids.hashes[i-1].row] = true, true
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
		if !suspects[row.Number] {
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
