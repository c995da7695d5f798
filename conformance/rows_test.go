package conformance_test

import (
	"net/http"
	"slices"
	"time"

	"llmcall"
	"llmcall/chaos"
	"llmcall/failure"
)

// row is a failure, which every provider shows in its own way.
type row struct {
	name  string
	fault chaos.Fault
	// told is how long the failure says to wait, in the form that the provider
	// has for it. Default: what chaos sends without being asked.
	told time.Duration
	// tells is how long the fault itself says to wait, where that is exact.
	tells time.Duration
	// refused is a server that does not listen.
	refused bool
	// only is the one way of asking that the row has; "" for both.
	only string
	// at is the name of the only provider that has the row; "" for all.
	at string
	// large is a body of which not many should be under way at once.
	large bool
	// limit is the time limit that is reached, attemptTimeout or idleTimeout.
	limit func(*llmcall.RetryConfig, time.Duration)
	// config is what else the call is configured with beside the page's settings.
	config func(*llmcall.RetryConfig)
	// means is the kind that it must be; Unknown: any. except is where it is
	// another, by the provider.
	means  failure.Kind
	except map[string]failure.Kind
}

// meanings are what chaos's words for errors mean, by the table of decisions.
var meanings = map[string]failure.Kind{
	"invalid_request": failure.InvalidRequest, "unsupported_parameter": failure.InvalidRequest, "bad_image": failure.InvalidRequest,
	"too_large": failure.InvalidRequest, "request_over_limit": failure.InvalidRequest,
	"context_too_long": failure.ContextTooLong, "content_filter": failure.ContentFiltered,
	"bad_key": failure.Unauthorized, "missing_key": failure.Unauthorized, "forbidden": failure.Unauthorized,
	"region": failure.Unauthorized, "model_not_found": failure.ModelNotFound, "model_retired": failure.ModelNotFound,
	"rate_limit": failure.RateLimited, "token_limit": failure.RateLimited,
	"daily_quota": failure.QuotaExhausted, "limit_zero": failure.QuotaExhausted, "billing": failure.QuotaExhausted,
	"spend_limit": failure.QuotaExhausted, "usage_limit": failure.QuotaExhausted, "payment_required": failure.QuotaExhausted,
	"overloaded": failure.Overloaded, "slow_down": failure.Overloaded,
	"timeout": failure.Transient, "conflict": failure.Transient, "server_error": failure.Transient, "error_in_200": failure.Transient,
	"bad_gateway_html": failure.Transient, "gateway_timeout_html": failure.Transient, "unavailable_text": failure.Transient,
	"empty_body": failure.Transient, "broken_json": failure.Transient, "html_in_200": failure.Transient,
}

// exceptions are the kinds that such a word has with a provider, or as a code,
// for a reason.
var exceptions = map[string]map[string]failure.Kind{
	// They tell when to come back, so it is waited for, or is too long a wait.
	"daily_quota": {"OpenAI": failure.RateLimited, "Responses": failure.RateLimited, "Anthropic": failure.RateLimited},
	// Nothing in their words tells it from any other limit.
	"slow_down":          {"Anthropic": failure.RateLimited, "Gemini": failure.RateLimited},
	"request_over_limit": {"Gemini": failure.RateLimited},
	// A 503 without a word of capacity.
	"bedrock_unavailable": {"OpenAI": failure.Transient},
	// A model too big for its machine is of no use there, however often it is asked.
	"ollama_out_of_memory": {"OpenAI": failure.ModelNotFound},
	// chaos has OpenAI's headers beside it, which tell when to come back.
	"bedrock_daily_tokens": {"OpenAI": failure.RateLimited},
}

// section is a part of the page.
type section struct {
	title, text string
	rows        []row
}

const (
	// maxLimitTime has room for a wait until a date two seconds ahead, which may be
	// three since dates have whole seconds, and for two turns at our own pace.
	toldWait     = 1200 * time.Millisecond
	maxLimitTime = 4500 * time.Millisecond
	// patience is the limit of an attempt, or of a pause in a stream, in the rows
	// that reach it; longer on a machine that is too slow for it.
	patience     = time.Second
	mostPatience = 16 * time.Second
)

// The ways of asking.
const (
	asWhole  = "whole"
	asStream = "stream"
)

var sections = []section{
	{"What providers say", "Each error in the provider's own status, words and headers; `rate_limit`, `token_limit` and `slow_down` " +
		"tell a wait of 1.2 s in the finest form that the provider has for it.", errorRows()},
	{"What else they say", "The same in other words, and what the servers say that speak OpenAI's protocol.", codeRows()},
	{"When to come back", "", []row{
		{name: "rate limit, told in whole seconds", fault: status("rate_limit", func(f *chaos.Fault) { f.RetryAfter = "1" }), tells: time.Second},
		{name: "rate limit, told as a date", fault: status("rate_limit", func(f *chaos.Fault) { f.RetryAfterDate = time.Second })},
		{name: "rate limit, for longer than max_retry_after", fault: status("rate_limit"), told: time.Hour},
		{name: "rate limit, told in no known form", fault: status("rate_limit", func(f *chaos.Fault) { f.RetryAfter = "soon" })},
		{name: "rate limit, told to wait 0", fault: status("rate_limit", func(f *chaos.Fault) { f.RetryAfter = "0" })},
		{name: "overloaded, with a wait", fault: status("overloaded"), told: toldWait},
		{name: "overloaded, for longer than max_retry_after", fault: status("overloaded"), told: time.Hour},
		{name: "503 with x-should-retry: false", fault: chaos.Fault{Kind: chaos.Status, Status: 503, Headers: http.Header{"X-Should-Retry": {"false"}}}},
		{name: "400 with x-should-retry: true", fault: chaos.Fault{Kind: chaos.Status, Status: 400, Headers: http.Header{"X-Should-Retry": {"true"}}}},
	}},
	{"The network", "", []row{
		{name: "connection refused", refused: true},
		{name: "connection reset before the answer", fault: chaos.Fault{Kind: chaos.Reset}},
		{name: "no answer within attempt_timeout", fault: chaos.Fault{Kind: chaos.Hang}, limit: attemptTimeout},
		{name: "header after attempt_timeout", fault: chaos.Fault{Kind: chaos.Slow, Delay: time.Minute}, limit: attemptTimeout},
		{name: "body slower than attempt_timeout", fault: chaos.Fault{Kind: chaos.Drip, ChunkDelay: time.Minute}, limit: attemptTimeout},
		{name: "body ends early", only: asWhole, fault: chaos.Fault{Kind: chaos.Cut}},
		{name: "body ends early, length as announced", only: asWhole, fault: chaos.Fault{Kind: chaos.Cut, End: chaos.Clean}},
		{name: "redirect loop (307)", fault: chaos.Fault{Kind: chaos.Redirect}},
		{name: "redirect that would make it a GET (302)", fault: chaos.Fault{Kind: chaos.Redirect, Status: 302}},
		{name: "redirect to another host", fault: chaos.Fault{Kind: chaos.Status, Status: 307, Body: new(""), Headers: http.Header{"Location": {"http://elsewhere.invalid/"}}}},
	}},
	{"A success that is not one", "", []row{
		{name: "200 without a body", fault: body("")},
		{name: "200 with a page of HTML", fault: status("html_in_200")},
		{name: "200 with what is not JSON", fault: body("Internal error, sorry.")},
		{name: "200 with half a JSON object", fault: body(`{"id":"x","choices":[{"mess`)},
		{name: "200 with `null`", fault: body("null")},
		{name: "200 with `{}`", fault: body("{}")},
		{name: "200 with a list", fault: body(`["an answer"]`)},
		{name: "200 with garbage in the answer", only: asWhole, fault: chaos.Fault{Kind: chaos.Garbage}},
		{name: "200 with comments and unknown fields", only: asWhole, fault: chaos.Fault{Kind: chaos.Comments}},
		{name: "200 with an answer above 64 MiB", only: asWhole, fault: chaos.Fault{Kind: chaos.Huge, Size: 65 << 20}, large: true},
		{name: "500 with an error above 64 MiB", fault: chaos.Fault{Kind: chaos.Huge, Size: 65 << 20, Error: "server_error"}},
		{name: "204", fault: chaos.Fault{Kind: chaos.Status, Status: 204, Body: new("")}},
	}},
	{"Answers that are none to use", "", []row{
		{name: "a refusal", fault: chaos.Fault{Kind: chaos.Refuse}},
		{name: "withheld by a content filter", fault: chaos.Fault{Kind: chaos.Filter}},
		{name: "cut off at the token limit", fault: chaos.Fault{Kind: chaos.Length}},
		{name: "without a reason to stop", only: asWhole, fault: chaos.Fault{Kind: chaos.Unfinished}},
		{name: "with a reason to stop that nobody knows", fault: chaos.Fault{Finish: "odd_reason"}},
		{name: "without a word", fault: chaos.Fault{Kind: chaos.Empty}},
	}},
	{"Streams", "Here a row is a stream alone.", []row{
		{name: "error event before the content", only: asStream, fault: chaos.Fault{Kind: chaos.StreamError, Error: "server_error", After: new(0)}},
		{name: "error event before the content: overloaded", only: asStream, fault: chaos.Fault{Kind: chaos.StreamError, Error: "overloaded", After: new(0)}},
		{name: "error event before the content: rate limit", only: asStream, fault: chaos.Fault{Kind: chaos.StreamError, Error: "rate_limit", After: new(0)}, told: toldWait},
		{name: "error event before the content: billing", only: asStream, fault: chaos.Fault{Kind: chaos.StreamError, Error: "billing", After: new(0)}},
		{name: "error event in the content", only: asStream, fault: chaos.Fault{Kind: chaos.StreamError, Error: "overloaded"}},
		{name: "error event in the content, restart_streams", only: asStream, fault: chaos.Fault{Kind: chaos.StreamError, Error: "overloaded"}, config: restart},
		{name: "error event of no known form", only: asStream, fault: chaos.Fault{Kind: chaos.StreamError, Body: new(`{"error":{"odd":[1]}}`), After: new(0)}},
		{name: "connection closed after the header", only: asStream, fault: chaos.Fault{Kind: chaos.Cut, After: new(0)}},
		{name: "connection closed in the content", only: asStream, fault: chaos.Fault{Kind: chaos.Cut}},
		{name: "connection closed in the content, restart_streams", only: asStream, fault: chaos.Fault{Kind: chaos.Cut}, config: restart},
		{name: "clean end after the header", only: asStream, fault: chaos.Fault{Kind: chaos.Cut, End: chaos.Clean, After: new(0)}},
		{name: "clean end in the content", only: asStream, fault: chaos.Fault{Kind: chaos.Cut, End: chaos.Clean}},
		{name: "all of the content, without the terminal event", only: asStream, fault: chaos.Fault{Kind: chaos.Unfinished}},
		{name: "comments and unknown fields between events", only: asStream, fault: chaos.Fault{Kind: chaos.Comments}},
		{name: "garbage between events", only: asStream, fault: chaos.Fault{Kind: chaos.Garbage}},
		{name: "nothing more for idle_timeout", only: asStream, fault: chaos.Fault{Kind: chaos.Drip, ChunkDelay: time.Minute}, limit: idleTimeout},
	}},
}

// errorRows are all errors that chaos has a word for.
func errorRows() (rows []row) {
	for _, name := range chaos.ErrorNames() {
		r := row{name: "`" + name + "`", fault: status(name), means: meanings[name], except: exceptions[name]}
		if slices.Contains([]string{"rate_limit", "token_limit", "slow_down"}, name) {
			r.told = toldWait
		}
		rows = append(rows, r)
	}
	return rows
}

// codeRows are the providers' errors that errorRows has not, since they mean the
// same as another that is likelier.
func codeRows() (rows []row) {
	for _, p := range []struct {
		name     string
		protocol chaos.Protocol
	}{{"OpenAI", chaos.OpenAI}, {"Anthropic", chaos.Anthropic}, {"Gemini", chaos.Gemini}} {
		seen := map[string]bool{}
		for _, v := range chaos.Errors(p.protocol) {
			if seen[v.Name] {
				rows = append(rows, row{name: "`" + v.Name + "`: " + v.Code, fault: chaos.Fault{Kind: chaos.Status, Code: v.Code}, at: p.name, means: meanings[v.Name], except: exceptions[v.Code]})
			}
			seen[v.Name] = true
		}
	}
	return rows
}

func status(name string, with ...func(*chaos.Fault)) chaos.Fault {
	f := chaos.Fault{Kind: chaos.Status, Error: name}
	for _, w := range with {
		w(&f)
	}
	return f
}

func body(text string) chaos.Fault {
	return chaos.Fault{Kind: chaos.Status, Status: 200, Body: &text}
}

func attemptTimeout(c *llmcall.RetryConfig, limit time.Duration) { c.AttemptTimeout = limit }
func idleTimeout(c *llmcall.RetryConfig, limit time.Duration) {
	c.FirstPieceTimeout, c.IdleTimeout = limit, limit
}
func restart(c *llmcall.RetryConfig) { c.RestartStreams = true }
