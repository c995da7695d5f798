package record

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"llmcall/internal/nearest"
	"llmcall/internal/plainfile"
	"llmcall/internal/say"
	"llmcall/internal/yamlfile"
	"llmcall/llm"
)

// format is the version of the format that is written. Later ones may add fields to what is
// written now, and read all that was ever written.
const format = 1

// maxFile is how long a file may be that is read, in bytes.
const maxFile = 64 << 20

// The values of the field "of".
const (
	ofModel = "model"
	ofHTTP  = "http"
)

// head is a comment for whoever opens a file.
const head = `A recording of llmcall. It may be edited: a request like this one is answered with what is below "answer", or fails as "failure" says.`

// document is a file.
type document struct {
	Recording int             `json:"recording"`
	Of        string          `json:"of"`
	At        time.Time       `json:"at"`
	Took      span            `json:"took"`
	Request   json.RawMessage `json:"request"`
	Answer    json.RawMessage `json:"answer,omitempty"`
	Usage     *llm.Usage      `json:"usage,omitempty"`
	Pieces    []pieceInFile   `json:"pieces,omitempty"`
	Left      bool            `json:"left,omitempty"`
	Failure   *fault          `json:"failure,omitempty"`
	Notes     []string        `json:"notes,omitempty"`
}

// answerInFile is an answer of a model. Its text parts are bare strings.
type answerInFile struct {
	Role      llm.Role          `json:"role,omitempty"` // default assistant
	Parts     []json.RawMessage `json:"parts,omitempty"`
	Finish    llm.Finish        `json:"finish,omitempty"`
	Model     string            `json:"model,omitempty"`
	RequestID string            `json:"request_id,omitempty"`
}

// requestInFile has the fields of a request to a model, for the names of them.
type requestInFile struct {
	Model string `json:"model"`
	llm.Request
}

type httpRequestInFile struct {
	Method  string          `json:"method"`
	URL     string          `json:"url"`
	Headers headers         `json:"headers,omitempty"`
	JSON    json.RawMessage `json:"json,omitempty"`
	Body    string          `json:"body,omitempty"`
	Base64  []byte          `json:"base64,omitempty"`
}

type httpAnswerInFile struct {
	Status  int     `json:"status"`
	Headers headers `json:"headers,omitempty"`
	Body    string  `json:"body,omitempty"`
	Base64  []byte  `json:"base64,omitempty"`
}

type pieceInFile struct {
	At       span       `json:"at"`
	Size     int        `json:"size,omitempty"`
	Part     bool       `json:"part,omitempty"`
	Progress bool       `json:"progress,omitempty"`
	Says     []string   `json:"says,omitempty"`
	Usage    *llm.Usage `json:"usage,omitempty"`
}

// span is a duration, written as in Go ("1.5s") and also read as a number of seconds.
type span time.Duration

func (s span) duration() time.Duration { return time.Duration(s) }

func (s span) MarshalJSON() ([]byte, error) { return json.Marshal(s.duration().String()) }

func (s *span) UnmarshalJSON(text []byte) error {
	var written any
	if err := json.Unmarshal(text, &written); err != nil {
		return err
	}
	switch v := written.(type) {
	case string:
		if d, err := time.ParseDuration(v); err == nil && d >= 0 {
			*s = span(d)
			return nil
		}
	case float64:
		if v >= 0 && v < math.MaxInt64/float64(time.Second) {
			*s = span(v * float64(time.Second))
			return nil
		}
	}
	return fmt.Errorf(`a time must be a number of seconds >= 0 or a duration such as "1.5s", got %s`, say.Line(string(text), 60))
}

// headers are written with a string for a single value.
type headers http.Header

func (h headers) MarshalJSON() ([]byte, error) {
	plain := map[string]any{}
	for name, values := range h {
		plain[name] = values
		if len(values) == 1 {
			plain[name] = values[0]
		}
	}
	return json.Marshal(plain)
}

func (h *headers) UnmarshalJSON(text []byte) error {
	var written map[string]json.RawMessage
	if err := json.Unmarshal(text, &written); err != nil {
		return err
	}
	*h = headers{}
	for name, raw := range written {
		var values []string
		var value string
		if json.Unmarshal(raw, &value) == nil {
			values = []string{value}
		} else if err := json.Unmarshal(raw, &values); err != nil {
			return fmt.Errorf("headers.%s must be a string or a list of strings, got %s", name, say.Line(string(raw), 60))
		}
		(*h)[http.CanonicalHeaderKey(name)] = values
	}
	return nil
}

// marshal returns the text of a recording.
func marshal(r *Recording, f *fault) ([]byte, error) {
	d := document{Recording: format, At: r.At.UTC().Round(0), Took: span(r.Took), Left: r.Left, Failure: f}
	for _, p := range r.Pieces {
		d.Pieces = append(d.Pieces, pieceInFile{span(p.At), p.Size, p.Part, p.Progress, p.Says, p.Usage})
	}
	var err error
	if r.HTTP != nil {
		err = d.setHTTP(r.HTTP)
	} else {
		err = d.setCall(r.Call)
	}
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	return readable(text)
}

func (d *document) setCall(c *Call) (err error) {
	d.Of, d.Notes = ofModel, c.Notes
	if d.Request, err = requestJSON(c.Model, c.Request); err != nil || c.Response == nil {
		return err
	}
	a := answerInFile{Finish: c.Response.Finish, Model: c.Response.Model, RequestID: c.Response.RequestID}
	if role := c.Response.Message.Role; role != llm.RoleAssistant {
		a.Role = role
	}
	for _, part := range c.Response.Message.Parts {
		raw, err := json.Marshal(part)
		if err != nil {
			return err
		}
		a.Parts = append(a.Parts, raw)
	}
	if c.Response.Usage != (llm.Usage{}) {
		d.Usage = &c.Response.Usage
	}
	d.Answer, err = json.Marshal(a)
	return err
}

// requestJSON returns a request to a model, its name first.
func requestJSON(model string, r *llm.Request) (json.RawMessage, error) {
	name, err := json.Marshal(model)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	return slices.Concat([]byte(`{"model":`), name, []byte(","), text[1:]), nil // it has "messages" at least
}

func (d *document) setHTTP(x *Exchange) (err error) {
	d.Of = ofHTTP
	request := httpRequestInFile{Method: x.Method, URL: x.URL, Headers: headers(x.RequestHeader)}
	switch body := x.RequestBody; {
	case sameInYAML(body):
		request.JSON = body
	case utf8.Valid(body):
		request.Body = string(body)
	default:
		request.Base64 = body
	}
	if d.Request, err = json.Marshal(request); err != nil || x.Status == 0 {
		return err
	}
	answer := httpAnswerInFile{Status: x.Status, Headers: headers(x.Header)}
	if utf8.Valid(x.Body) {
		answer.Body = string(x.Body)
	} else {
		answer.Base64 = x.Body
	}
	d.Answer, err = json.Marshal(answer)
	return err
}

// sameInYAML reports whether a body is JSON that a file may hold as a value, and not only as
// a text: an object in which no key is twice.
func sameInYAML(body []byte) bool {
	if !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) || !json.Valid(body) || !utf8.Valid(body) {
		return false
	}
	n, err := yamlfile.Parse(body)
	if err != nil {
		return false
	}
	text, err := yamlfile.JSON(n)
	return err == nil && bytes.Equal(canonicalBody(text), canonicalBody(body))
}

// readFile reads a recording.
func readFile(path string) (*Recording, error) {
	data, err := plainfile.Read(path, maxFile)
	if refused, ok := errors.AsType[*plainfile.Refusal](err); ok {
		return nil, fmt.Errorf("%s %w", path, refused)
	}
	if err != nil {
		return nil, err
	}
	r, err := unmarshal(data)
	if at, ok := errors.AsType[*yamlfile.Error](err); ok && at.Line > 0 {
		return nil, fmt.Errorf("%s:%d: %w", path, at.Line, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	r.Path = path
	return r, nil
}

// unmarshal reads the text of a recording.
func unmarshal(data []byte) (*Recording, error) {
	n, err := yamlfile.Parse(data)
	if err != nil {
		return nil, err
	}
	if n == nil || n.Kind != yaml.MappingNode {
		return nil, errors.New("a recording must be a mapping with recording, of, request, and answer or failure, got something else")
	}
	if err := checkFormat(n); err != nil {
		return nil, err
	}
	if err := checkFields(n); err != nil {
		return nil, err
	}
	text, err := yamlfile.JSON(n)
	if err != nil {
		return nil, err
	}
	var d document
	if err := decode(text, &d); err != nil {
		return nil, err
	}
	return d.recording()
}

// checkFormat reports whether this version reads a file's format.
func checkFormat(n *yaml.Node) error {
	for key, value := range pairs(n) {
		if key.Value != "recording" {
			continue
		}
		var version int
		switch {
		case value.Kind != yaml.ScalarNode || value.ShortTag() != "!!int" || value.Decode(&version) != nil || version < 1:
			return &yamlfile.Error{Line: value.Line, Reason: fmt.Sprintf("recording must be the version of the file's format, %d, got %s", format, say.Line(cmp.Or(value.Value, "something else"), 60))}
		case version > format:
			return &yamlfile.Error{Line: value.Line, Reason: fmt.Sprintf("the file has format %d, which a later version of llmcall has written; this one reads format %d: use a later version, or record again", version, format)}
		}
		return nil
	}
	return fmt.Errorf("the file does not say which format it has (recording: %d): it is not a recording, or of a version before there was one, and must be recorded again", format)
}

// checkFields looks for fields that no recording has: what is misspelt would be lost silently.
func checkFields(n *yaml.Node) error {
	of := ""
	for key, value := range pairs(n) {
		if key.Value == "of" {
			of = value.Value
		}
	}
	request, answer := reflect.TypeFor[requestInFile](), reflect.TypeFor[answerInFile]()
	if of == ofHTTP {
		request, answer = reflect.TypeFor[httpRequestInFile](), reflect.TypeFor[httpAnswerInFile]()
	}
	if err := checkNames(n, "", reflect.TypeFor[document]()); err != nil {
		return err
	}
	for key, value := range pairs(n) {
		kind := map[string]reflect.Type{
			"request": request, "answer": answer, "usage": reflect.TypeFor[llm.Usage](), "failure": reflect.TypeFor[fault](),
		}[key.Value]
		if kind != nil {
			if err := checkNames(yamlfile.Resolved(value), key.Value+".", kind); err != nil {
				return err
			}
		}
		if key.Value == "pieces" {
			for i, piece := range yamlfile.Resolved(value).Content {
				if err := checkNames(yamlfile.Resolved(piece), fmt.Sprintf("pieces[%d].", i), reflect.TypeFor[pieceInFile]()); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func checkNames(n *yaml.Node, path string, t reflect.Type) error {
	known := names(t)
	for key := range pairs(n) {
		if key.Value == "<<" || slices.Contains(known, key.Value) {
			continue
		}
		hint := nearest.Question(key.Value, known)
		if hint == "" {
			hint = ": known are " + strings.Join(known, ", ")
		}
		return &yamlfile.Error{Line: key.Line, Reason: path + say.Line(key.Value, 60) + ": unknown field" + hint}
	}
	return nil
}

// names returns the names of a struct's fields in JSON.
func names(t reflect.Type) []string {
	var all []string
	for i := range t.NumField() {
		if f := t.Field(i); f.Anonymous {
			all = append(all, names(f.Type)...)
		} else {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			all = append(all, name)
		}
	}
	return all
}

// decode decodes JSON, and says in plain words what does not fit.
func decode(text []byte, into any) error {
	err := json.Unmarshal(text, into)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		what := map[reflect.Kind]string{
			reflect.String: "a string", reflect.Bool: "true or false", reflect.Slice: "a list", reflect.Struct: "a mapping", reflect.Map: "a mapping",
		}[wrong.Type.Kind()]
		if what == "" {
			what = "a whole number"
		}
		return fmt.Errorf("%s must be %s, got a value of another type (%s)", cmp.Or(wrong.Field, "the file"), what, wrong.Value)
	}
	if wrong, ok := errors.AsType[*time.ParseError](err); ok {
		return fmt.Errorf("at must be a time such as 2026-11-26T09:14:05Z, got %s", say.Line(wrong.Value, 60))
	}
	return err
}

func (d *document) recording() (*Recording, error) {
	r := &Recording{At: d.At, Took: d.Took.duration(), Left: d.Left}
	for i, p := range d.Pieces {
		if p.Size < 0 {
			return nil, fmt.Errorf("pieces[%d].size must be a whole number >= 0, got %d", i, p.Size)
		}
		r.Pieces = append(r.Pieces, Piece{p.At.duration(), p.Size, p.Part, p.Progress, p.Says, p.Usage})
	}
	if d.Failure != nil {
		r.Err = d.Failure.err()
	}
	if len(d.Answer) == 0 && d.Failure == nil {
		return nil, errors.New("a recording must have answer or failure, got neither")
	}
	if len(d.Request) == 0 || d.Request[0] != '{' {
		return nil, errors.New("request must be a mapping, got nothing or something else")
	}
	var err error
	switch d.Of {
	case ofModel:
		r.Call, err = d.call()
	case ofHTTP:
		r.HTTP, err = d.exchange()
	default:
		err = fmt.Errorf("of must be %s or %s, got %s", ofModel, ofHTTP, nearest.Shown(d.Of, []string{ofModel, ofHTTP}))
	}
	return r, err
}

func (d *document) call() (*Call, error) {
	c := &Call{Request: new(llm.Request), Notes: d.Notes}
	var name struct{ Model string }
	if err := decode(d.Request, &name); err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	if c.Model = name.Model; c.Model == "" {
		return nil, errors.New("request.model must be the full name of a model, got nothing")
	}
	if err := decode(d.Request, c.Request); err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	if len(d.Answer) == 0 {
		if d.Usage != nil {
			c.Response = &llm.Response{Message: llm.Message{Role: llm.RoleAssistant}, Usage: *d.Usage}
		}
		return c, nil
	}
	var a answerInFile
	if err := decode(d.Answer, &a); err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	message, err := json.Marshal(map[string]any{"role": cmp.Or(a.Role, llm.RoleAssistant), "parts": append([]json.RawMessage{}, a.Parts...)})
	if err != nil {
		return nil, err
	}
	c.Response = &llm.Response{Finish: a.Finish, Model: a.Model, RequestID: a.RequestID}
	if err := decode(message, &c.Response.Message); err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	if d.Usage != nil {
		c.Response.Usage = *d.Usage
	}
	return c, nil
}

func (d *document) exchange() (*Exchange, error) {
	var request httpRequestInFile
	if err := decode(d.Request, &request); err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	if request.Method == "" || request.URL == "" {
		return nil, errors.New("request must have method and url, got nothing")
	}
	x := &Exchange{Method: request.Method, URL: request.URL, RequestHeader: http.Header(request.Headers), RequestBody: request.Base64}
	switch {
	case request.JSON != nil:
		x.RequestBody = request.JSON
	case request.Body != "":
		x.RequestBody = []byte(request.Body)
	}
	if len(d.Answer) == 0 {
		return x, nil
	}
	var answer httpAnswerInFile
	if err := decode(d.Answer, &answer); err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	if answer.Status < 200 || answer.Status > 599 {
		return nil, fmt.Errorf("answer.status must be an HTTP status from 200 to 599, got %d", answer.Status)
	}
	x.Status, x.Header, x.Body = answer.Status, http.Header(answer.Headers), answer.Base64
	if answer.Body != "" {
		x.Body = []byte(answer.Body)
	}
	return x, nil
}
