package soak_test

import (
	"net/http"
	"time"

	"llmcall/chaos"
)

// schema is what every answer must fit.
const schema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "required": ["id", "customer", "currency", "items", "paid"],
  "additionalProperties": false,
  "properties": {
    "id": {"type": "integer", "minimum": 1, "maximum": 999999},
    "customer": {"type": "object", "required": ["name"], "additionalProperties": false, "properties": {
      "name": {"type": "string", "minLength": 2, "maxLength": 40},
      "email": {"type": "string", "format": "email"}
    }},
    "currency": {"enum": ["EUR", "PLN", "CHF"]},
    "items": {"type": "array", "minItems": 1, "maxItems": 3, "items": {
      "type": "object", "required": ["sku", "price"], "additionalProperties": false, "properties": {
        "sku": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4}$"},
        "price": {"type": "number", "minimum": 0, "maximum": 10000}
      }
    }},
    "paid": {"type": "boolean"},
    "note": {"type": ["string", "null"], "maxLength": 60}
  }
}`

// order is an answer, read without the schema's help.
type order struct {
	ID       int
	Customer struct{ Name string }
	Currency string
	Items    []struct {
		SKU   string
		Price float64
	}
	Paid *bool
}

// fits says whether the order keeps the schema's promises.
func (o *order) fits() bool {
	for _, i := range o.Items {
		if len(i.SKU) != 7 || i.Price < 0 || i.Price > 10_000 {
			return false
		}
	}
	known := map[string]bool{"EUR": true, "PLN": true, "CHF": true}
	return o.ID >= 1 && o.ID <= 999_999 && len(o.Customer.Name) >= 2 && known[o.Currency] && len(o.Items) >= 1 && o.Paid != nil
}

// plan mixes the faults that package chaos knows, behind the size's limits. The
// weights add up to about 100, and no two are the same, so that each tells which
// fault was drawn. A long one is longer than an attempt may take.
func (n size) plan() *chaos.Plan {
	long := n.attempt
	w := []chaos.Fault{
		{Kind: chaos.Right, Weight: 30},
		{Kind: chaos.Empty, Weight: 2},
		{Kind: chaos.Length, Weight: 2},
		{Kind: chaos.Prose, Weight: 3},
		{Kind: chaos.Fence, Weight: 4},
		{Kind: chaos.Break, Weight: 7},
		{Kind: chaos.Break, Weight: 2, At: new("/items/0/sku")},
		{Kind: chaos.Break, Weight: 2, At: new("/currency")},
		{Kind: chaos.Right, Weight: 2, Answer: `{"id": 1}`},

		{Kind: chaos.Reset, Weight: 4},
		{Kind: chaos.Reset, Weight: 1, Delay: 20 * time.Millisecond},
		{Kind: chaos.Hang, Weight: 1},
		{Kind: chaos.Slow, Weight: 4, Delay: 50 * time.Millisecond}, // slow headers
		{Kind: chaos.Slow, Weight: 0.5, Delay: 2 * long},
		{Kind: chaos.Drip, Weight: 3, ChunkDelay: 3 * time.Millisecond},
		{Kind: chaos.Drip, Weight: 0.5, ChunkDelay: long / 3},
		{Kind: chaos.Cut, Weight: 3},
		{Kind: chaos.Cut, Weight: 2, End: chaos.Clean},
		{Kind: chaos.Cut, Weight: 1, ChunkDelay: 2 * time.Millisecond},
		{Kind: chaos.Unfinished, Weight: 0.5},
		{Kind: chaos.Garbage, Weight: 0.5},
		{Kind: chaos.Comments, Weight: 1},
		{Kind: chaos.Refuse, Weight: 0.2},
		{Kind: chaos.Filter, Weight: 0.2},
		{Kind: chaos.Redirect, Weight: 0.2},
		{Kind: chaos.StreamError, Weight: 0.5, Error: "overloaded"},
		{Kind: chaos.StreamError, Weight: 0.5, Error: "server_error", After: new(0)},

		// Errors that are no status of the provider's, or hide behind one.
		{Kind: chaos.Status, Weight: 1, Status: 200, Code: "server_error"},
		{Kind: chaos.Status, Weight: 0.1, Status: 200, Code: "rate_limit_exceeded", RetryAfter: "0.02"},
		{Kind: chaos.Status, Weight: 1, Status: 200, Body: new("")},
		{Kind: chaos.Status, Weight: 0.5, Status: 200, Body: new("<html>welcome to the hotel's network</html>")},
		{Kind: chaos.Status, Weight: 0.5, Status: 502, Body: new("")},
		{Kind: chaos.Status, Weight: 0.2, Status: 302, Body: new(""), Headers: http.Header{"Location": {"/elsewhere"}}},
	}
	// Every error of the provider's. Those that are worth another attempt come
	// often; those that end a call, or open the circuit, seldom: else nothing but
	// them would be seen. Rate limits come seldom too: where one request in twenty
	// is refused however few there are, all wait.
	often := map[string]bool{"server_error": true, "server_is_overloaded": true, "overloaded": true, "html": true}
	for _, code := range chaos.Codes() {
		weight := 0.01
		if often[code] {
			weight = 1.5
		}
		w = append(w, chaos.Fault{Kind: chaos.Status, Code: code, Weight: weight})
	}
	for _, status := range []int{408, 409, 413, 418, 422, 425, 500, 501, 503, 504, 507, 520, 599} {
		w = append(w, chaos.Fault{Kind: chaos.Status, Status: status, Weight: 0.15})
	}
	// Every form of Retry-After, sense and nonsense.
	for _, f := range []chaos.Fault{
		{RetryAfter: "0"}, {RetryAfter: "0.05"}, {RetryAfter: "1"}, {RetryAfter: "0.02, 0.04"}, {RetryAfter: "5e-05"},
		{RetryAfter: "300"}, {RetryAfter: "1e400"}, {RetryAfter: "-1"}, {RetryAfter: "nan"}, {RetryAfter: "soon"}, {RetryAfter: " "},
		{RetryAfter: "Thu, 01 Jan 1970 00:00:00 GMT"}, {RetryAfter: "Monday, 01-Jan-70 00:00:00 GMT"}, {RetryAfterDate: time.Second}, {RetryAfterDate: time.Hour},
		{RetryAfterMS: "30"}, {RetryAfterMS: "0.5"}, {RetryAfterMS: "-1"}, {RetryAfterMS: "40", RetryAfter: "300"}, {RetryAfterMS: "inf", RetryAfter: "0.01"},
		{Headers: http.Header{"Retry-After": {"0.01", "0.03"}}},
	} {
		f.Kind = chaos.Status
		long := f.RetryAfterDate > 2*time.Second || f.RetryAfter == "300" && f.RetryAfterMS == "" || f.RetryAfter == "1e400"
		for _, f.Status = range []int{429, 503} {
			f.Weight = 0.005
			if long {
				f.Weight = 0.001 // it keeps all callers of the endpoint away from then on
			}
			w = append(w, f)
		}
	}
	for i := range w {
		w[i].Weight += float64(i) / 1e6
	}
	return &chaos.Plan{Seed: 20, Weights: w, Limits: &chaos.Limits{
		RequestsPerMinute: n.perMinute, Burst: n.burst, Hint: n.hint, Concurrent: n.atATime * 3 / 4, Queue: n.atATime / 20,
	}}
}
