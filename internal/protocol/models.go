package protocol

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Model is an entry of the list of models.
type Model struct {
	ID      string
	Name    string // for people
	Created time.Time
	Embeds  bool // it makes embeddings and not answers
}

// each writes the list of an entry for each model.
func each(models []Model, entry func(Model) []byte) raw {
	var entries [][]byte
	for _, m := range models {
		entries = append(entries, entry(m))
	}
	return list(entries)
}

// ModelList writes all models: OpenAI has no pages
// (platform.openai.com/docs/api-reference/models/list).
func (o openai) ModelList(models []Model, _ url.Values) ([]byte, *Error) {
	return fill(`{"object":"list","data":%s}`, each(models, o.ModelInfo)), nil
}

// ModelInfo writes a model.
func (openai) ModelInfo(m Model) []byte {
	return fill(`{"id":%s,"object":"model","created":%s,"owned_by":"llmcall"}`, m.ID, m.Created.Unix())
}

// ModelList writes up to limit models after after_id or before before_id
// (platform.claude.com/docs/en/api/models-list).
func (a Messages) ModelList(models []Model, query url.Values) ([]byte, *Error) {
	limit, ok := pageSize(query.Get("limit"), 20)
	if !ok {
		return nil, &Error{Message: "Input should be a valid integer from 1 to 1000", Param: "limit"}
	}
	index := func(field string) (int, *Error) {
		at := slices.IndexFunc(models, func(m Model) bool { return m.ID == query.Get(field) })
		if at < 0 {
			return 0, &Error{Message: fmt.Sprintf("no model has the id '%s'", query.Get(field)), Param: field}
		}
		return at, nil
	}
	var refused *Error
	from, to := 0, len(models)
	more := false
	switch {
	case query.Get("before_id") != "":
		if to, refused = index("before_id"); refused != nil {
			return nil, refused
		}
		from = max(0, to-limit)
		more = from > 0
	case query.Get("after_id") != "":
		if from, refused = index("after_id"); refused != nil {
			return nil, refused
		}
		from++
		fallthrough
	default:
		to = min(to, from+limit)
		more = to < len(models)
	}
	page := models[from:to]
	var first, last any
	if len(page) > 0 {
		first, last = page[0].ID, page[len(page)-1].ID
	}
	return fill(`{"data":%s,"has_more":%s,"first_id":%s,"last_id":%s}`, each(page, a.ModelInfo), more, first, last), nil
}

// ModelInfo writes a model.
func (Messages) ModelInfo(m Model) []byte {
	return fill(`{"type":"model","id":%s,"display_name":%s,"created_at":%s,"lifecycle":"active","deprecated_at":null,"retires_at":null,"line":null,"max_input_tokens":200000,"max_tokens":64000,"capabilities":null}`,
		m.ID, m.Name, m.Created.UTC().Format(time.RFC3339))
}

// ModelList writes up to pageSize models (ai.google.dev/api/models#method:-models.list).
func (g Gemini) ModelList(models []Model, query url.Values) ([]byte, *Error) {
	limit, ok := pageSize(query.Get("pageSize"), 50)
	if !ok {
		return nil, &Error{Message: "Invalid value at 'page_size'"}
	}
	from := 0
	if token := query.Get("pageToken"); token != "" {
		n, err := strconv.Atoi(token)
		if err != nil || n < 0 || n > len(models) {
			return nil, &Error{Message: "Invalid page token"}
		}
		from = n
	}
	to := min(len(models), from+limit)
	next := raw("")
	if to < len(models) {
		next = fill(`,"nextPageToken":%s`, strconv.Itoa(to))
	}
	return fill(`{"models":%s%s}`, each(models[from:to], g.ModelInfo), next), nil
}

// ModelInfo writes a model.
func (Gemini) ModelInfo(m Model) []byte {
	methods := []string{"generateContent", "countTokens"}
	if m.Embeds {
		methods = []string{"embedContent", "countTextTokens", "countTokens"}
	}
	return fill(`{"name":%s,"version":"001","displayName":%s,"description":%s,"inputTokenLimit":1048576,"outputTokenLimit":65536,"supportedGenerationMethods":%s,"temperature":1,"topP":0.95,"topK":64}`,
		"models/"+strings.TrimPrefix(m.ID, "models/"), m.Name, m.Name, methods)
}

// pageSize reads the size of a page, of at most 1000.
func pageSize(text string, ordinary int) (int, bool) {
	if text == "" {
		return ordinary, true
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 1 && n <= 1000
}
