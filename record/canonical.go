package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"io"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"llmcall/llm"
)

// identity is that of a request: equal requests have the same.
type identity [sha256.Size]byte

// callKey returns the key of a request to a model.
func callKey(model string, r *llm.Request) (identity, error) {
	text, err := requestJSON(model, r)
	if err != nil {
		return identity{}, err
	}
	return sha256.Sum256(append([]byte(ofModel+"\n"), canonicalBody(text)...)), nil
}

// httpKey returns the key of an HTTP request.
func httpKey(method, address string, body []byte) identity {
	return sha256.Sum256(slices.Concat([]byte(ofHTTP+"\n"+method+"\n"+address+"\n"), canonicalBody(body)))
}

// of returns the key of a recording's request.
func (r *Recording) key() (identity, error) {
	if r.HTTP != nil {
		address := r.HTTP.URL
		if u, err := url.Parse(address); err == nil {
			address = addressOf(u)
		}
		return httpKey(r.HTTP.Method, address, r.HTTP.RequestBody), nil
	}
	return callKey(r.Call.Model, r.Call.Request)
}

// addressOf returns an address without what is a credential in it, its parameters sorted.
func addressOf(u *url.URL) string {
	plain := url.URL{Scheme: strings.ToLower(u.Scheme), Host: strings.ToLower(u.Host), Path: u.Path, RawPath: u.RawPath}
	query := u.Query()
	for name := range query {
		if secretParameter(name) {
			delete(query, name)
		}
	}
	plain.RawQuery = query.Encode()
	return plain.String()
}

// canonicalBody returns JSON in the form that equal values share: keys sorted, no white
// space, numbers by their value. Anything else is returned as it is.
func canonicalBody(text []byte) []byte {
	value, ok := valueOf(text)
	if !ok {
		return text
	}
	canonical, err := json.Marshal(value)
	if err != nil {
		return text
	}
	return canonical
}

// valueOf returns the value of a JSON text, its numbers in their canonical form.
func valueOf(text []byte) (any, bool) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if decoder.Decode(&value) != nil {
		return nil, false
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, false
	}
	return canonicalNumbers(value), true
}

func canonicalNumbers(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for name, inner := range v {
			v[name] = canonicalNumbers(inner)
		}
	case []any:
		for i, inner := range v {
			v[i] = canonicalNumbers(inner)
		}
	case json.Number:
		return canonicalNumber(v)
	}
	return value
}

// canonicalNumber returns 1 for 1.0 and 1e0. Whole numbers keep all their digits.
func canonicalNumber(n json.Number) json.Number {
	if text := n.String(); !strings.ContainsAny(text, ".eE") && text != "-0" {
		return n
	}
	f, err := n.Float64()
	if err != nil {
		return n
	}
	if f == math.Trunc(f) && math.Abs(f) < 1e15 {
		return json.Number(strconv.FormatInt(int64(f), 10))
	}
	return json.Number(strconv.FormatFloat(f, 'g', -1, 64))
}
