// Package recorded replays what real providers answered through the adapters.
// The recordings come with the tests of two modules, of which no code is used:
// charm.land/fantasy (Apache-2.0) and github.com/tmc/langchaingo (MIT). The test
// fetches them through Go's module cache, which the tests of llmcall itself
// never need: so this is a module of its own.
package recorded

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/anthropic"
	"llmcall/provider/gemini"
	"llmcall/provider/openai"
)

// protocol is a way to ask for an answer that llmcall speaks.
type protocol struct {
	name string
	// path is what the adapter adds to the base URL, with %s for the model and its
	// method. Where a recorded address does not end so (Vertex AI, Bedrock) only
	// the answers are the protocol's.
	path string
	read func(body []byte, stream bool) (record, error)
	open func(model string, base *url.URL, host string) (llm.Streamer, error)
}

const key = "sk-recorded"

var (
	chat = &protocol{"chat completions", "/chat/completions", readChat, func(model string, base *url.URL, host string) (llm.Streamer, error) {
		return openai.New(model, options(base, host+"/"+model))
	}}
	response = &protocol{"responses", "/responses", readResponses, func(model string, base *url.URL, host string) (llm.Streamer, error) {
		return openai.NewResponses(model, options(base, host+"/"+model))
	}}
	messages = &protocol{"messages", "/v1/messages", readMessages, func(model string, base *url.URL, host string) (llm.Streamer, error) {
		return anthropic.New(model, anthropic.Options{APIKey: key, BaseURL: base.String(), Name: host + "/" + model})
	}}
	generate = &protocol{"generateContent", "/v1beta/models/%s", readGenerated, func(model string, base *url.URL, host string) (llm.Streamer, error) {
		return gemini.New(model, gemini.Options{APIKey: key, BaseURL: base.String(), Name: host + "/" + model})
	}}
)

// options are those of the server in the adapter's table that has the host which
// the name begins with.
func options(base *url.URL, name string) openai.Options {
	server := ""
	host, _, _ := strings.Cut(name, "/")
	for _, s := range openai.Servers() {
		if own, err := url.Parse(s.BaseURL); err == nil && own.Host == host {
			server = s.Name
		}
	}
	if strings.HasSuffix(host, ".openai.azure.com") {
		server = "azure"
	}
	return openai.Options{Server: server, APIKey: key, BaseURL: base.String(), Name: name}
}

// route returns the protocol of an interaction, or why it has none.
func route(u *url.URL) (p *protocol, why string) {
	path, bedrock := u.EscapedPath(), strings.HasPrefix(u.Host, "bedrock-runtime.")
	ends := func(suffixes ...string) bool { return hasSuffix(path, suffixes) }
	switch {
	case ends("/chat/completions"):
		return chat, ""
	case ends("/responses"):
		return response, ""
	case ends("/v1/messages"):
		return messages, ""
	case strings.Contains(path, "/publishers/anthropic/") && ends(":rawPredict", ":streamRawPredict"):
		return messages, ""
	case bedrock && strings.Contains(path, "anthropic.") && ends("/invoke"):
		return messages, ""
	case ends(":generateContent", ":streamGenerateContent"):
		return generate, ""
	case bedrock && ends("/invoke-with-response-stream"):
		return nil, "Anthropic's events in Amazon's own binary frames, which no adapter reads"
	case bedrock:
		return nil, "the own protocol of a model on Bedrock"
	case ends("/embeddings", ":batchEmbedContents", "/api/embed"):
		return nil, "not a request for an answer: embeddings"
	case ends("/api/chat", "/api/generate"):
		return nil, "Ollama's own protocol: llmcall speaks to it by its /v1/chat/completions"
	case ends("/api/pull"):
		return nil, "not a request for an answer: a download"
	case u.Host == "api.cohere.ai":
		return nil, "Cohere's own protocol"
	case u.Host == "api-inference.huggingface.co":
		return nil, "Hugging Face's own protocol: llmcall speaks to its router's /chat/completions"
	case u.Host == "en.wikipedia.org", u.Host == "serpapi.com", u.Host == "html.duckduckgo.com":
		return nil, "not a request to a model: a search"
	}
	return nil, ""
}

// thinking is what models wrote into their text before the answer.
var thinking = regexp.MustCompile(`(?s)^\s*<think(?:ing)?>.*?(?:</think(?:ing)?>|$)`)

// model returns the model that was asked, and whether for a stream.
func (x interaction) model() (name string, stream bool) {
	var asked struct {
		Model  string
		Stream bool
	}
	// A body that is no JSON names none, and asks for none.
	_ = json.Unmarshal(x.asked, &asked)
	_, name, _ = strings.Cut(x.url.Path, "/models/")
	if name == "" {
		_, name, _ = strings.Cut(x.url.Path, "/model/") // Bedrock
		name = strings.TrimSuffix(name, "/invoke")
	}
	name, method, _ := strings.Cut(name, ":")
	return cmp.Or(asked.Model, name), asked.Stream || strings.HasPrefix(method, "stream")
}

// streams reports whether a stream was asked for.
func (x interaction) streams() bool {
	_, stream := x.model()
	return stream
}

// base returns what the adapter adds its path to, and whether what was asked is
// such a path.
func (p protocol) base(x interaction) (base string, ok bool) {
	path := strings.Replace(p.path, "%s", x.url.Path[strings.LastIndexByte(x.url.Path, '/')+1:], 1)
	if base, ok = strings.CutSuffix(x.url.Path, path); !ok {
		return "", false
	}
	return base, true
}

// ending is how a response stops before its end.
type ending int

const (
	whole  ending = iota
	short         // as if it were all
	broken        // with the connection
)

// player answers each request with what it was given last.
type player struct {
	*httptest.Server
	answer atomic.Pointer[answer]
	asked  atomic.Pointer[asked] // the last request
}

type asked struct {
	path string
	body []byte
}

type answer struct {
	status int
	header http.Header
	body   []byte
	end    ending
}

func play(t *testing.T) *player {
	p := &player{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		p.asked.Store(&asked{r.URL.EscapedPath(), body})
		next := p.answer.Load()
		maps.Copy(w.Header(), next.header)
		w.WriteHeader(next.status)
		for piece := range slices.Chunk(next.body, 1000) { // of no event's length
			w.Write(piece)
		}
		if next.end == broken {
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	}))
	t.Cleanup(p.Close)
	return p
}

// replayed is the header as it would be sent today, without what is of the
// connection that it came by.
func (x interaction) replayed() http.Header {
	header := x.header.Clone()
	for _, name := range []string{"Connection", "Content-Length", "Transfer-Encoding"} {
		header.Del(name)
	}
	if wait, ok := x.reset(); ok {
		header.Set("X-Ratelimit-Reset", strconv.FormatInt(time.Now().Add(wait).UnixMilli(), 10))
	}
	return header
}

// reset is how long after the response OpenRouter's limit is whole again: a
// time in milliseconds in the header.
func (x interaction) reset() (time.Duration, bool) {
	at, err := strconv.ParseInt(x.header.Get("X-Ratelimit-Reset"), 10, 64)
	date, dateErr := http.ParseTime(x.header.Get("Date"))
	return time.UnixMilli(at).Sub(date), err == nil && dateErr == nil
}

// ask replays the interaction, with the first n bytes of its body, and returns
// what the adapter makes of it.
func (p *player) ask(t *testing.T, x interaction, by *protocol, req *llm.Request, n int, end ending) (*llm.Response, error) {
	t.Helper()
	p.answer.Store(&answer{x.status, x.replayed(), x.body[:n], end})
	base, err := url.Parse(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	under, _ := by.base(x)
	name, stream := x.model()
	model, err := by.open(name, base.JoinPath(under), x.url.Host)
	if err != nil {
		t.Fatal(err)
	}
	if !stream {
		return model.Complete(t.Context(), req)
	}
	var got llm.Assembly
	for chunk, chunkErr := range model.Stream(t.Context(), req) {
		got.Add(chunk)
		err = chunkErr
	}
	return got.Response(), err
}

// compare returns in what an answer differs from the record; "" if in nothing.
func compare(got *llm.Response, want record, x interaction) string {
	var text string
	var calls []llm.ToolCall
	thoughts := false
	for _, part := range got.Message.Parts {
		switch part := part.(type) {
		case llm.Text:
			text += string(part)
		case llm.ToolCall:
			calls = append(calls, part)
		case llm.Reasoning:
			thoughts = true
		}
	}
	var id string
	for _, name := range []string{"X-Request-Id", "Request-Id", "X-Amzn-Requestid"} {
		if id == "" {
			id = x.header.Get(name)
		}
	}
	if id == "" {
		id = want.id
	}
	switch {
	case want.finish == "" || got.Finish != want.finish:
		return fmt.Sprintf("the finish is %q, want %q", got.Finish, want.finish)
	case text == "" && len(calls) == 0 && !thoughts:
		return "the answer is empty"
	case squeezed(text) != squeezed(thinking.ReplaceAllString(want.text, "")):
		return fmt.Sprintf("the text is %q, want %q", text, want.text)
	case thoughts != (want.thoughts || thinking.MatchString(want.text)):
		return fmt.Sprintf("thoughts are there: %v, want %v", thoughts, want.thoughts)
	case want.usage != nil && got.Usage != *want.usage:
		return fmt.Sprintf("the usage is %+v, want %+v", got.Usage, *want.usage)
	case want.usage != nil && (got.Usage.InputTokens == 0 || got.Usage.OutputTokens == 0):
		return fmt.Sprintf("the usage is %+v: nothing is for nothing", got.Usage)
	case got.Usage.CachedTokens > got.Usage.InputTokens || got.Usage.ReasoningTokens > got.Usage.OutputTokens:
		return fmt.Sprintf("the usage is %+v: a part is more than the whole", got.Usage)
	case got.Model != want.model || got.Model == "":
		return fmt.Sprintf("the model is %q, want %q", got.Model, want.model)
	case got.RequestID != id:
		return fmt.Sprintf("the request's number is %q, want %q", got.RequestID, id)
	}
	return compareCalls(calls, want.calls)
}

func compareCalls(got, want []llm.ToolCall) string {
	if len(got) != len(want) {
		return fmt.Sprintf("%d calls of tools, want %d", len(got), len(want))
	}
	for i := range got {
		g, w := got[i], want[i]
		var a, b any
		if err := json.Unmarshal(g.Arguments, &a); err != nil {
			return fmt.Sprintf("the arguments are no JSON: %q", g.Arguments)
		}
		if err := json.Unmarshal(w.Arguments, &b); err != nil && len(w.Arguments) > 0 {
			return fmt.Sprintf("the recorded arguments are no JSON: %q", w.Arguments)
		}
		if b == nil {
			b = map[string]any{} // no arguments
		}
		if g.Name != w.Name || g.ID == "" || w.ID != "" && g.ID != w.ID || !reflect.DeepEqual(a, b) || !bytes.Equal(g.Signature, w.Signature) {
			return fmt.Sprintf("the call is %+v, want %+v", g, w)
		}
	}
	return ""
}

// failures is what the recorded failures are.
var failures = []struct {
	host string
	want failure.Error // of which Kind, Status, Code, Told are compared
}{
	{"openrouter.ai", failure.Error{Kind: failure.RateLimited, Status: 429, Told: true}},
	{"generativelanguage.googleapis.com", failure.Error{Kind: failure.Unauthorized, Status: 403, Code: "PERMISSION_DENIED"}},
	{"bedrock-runtime.us-east-1.amazonaws.com", failure.Error{Kind: failure.Unauthorized, Status: 403}},
}

// expected returns what a recorded failure is.
func expected(x interaction) (failure.Error, bool) {
	for _, f := range failures {
		if f.host == x.url.Host && f.want.Status == x.status {
			return f.want, true
		}
	}
	return failure.Error{}, false
}

// compareFailure returns in what an error differs from the recorded failure.
func compareFailure(err error, x interaction) string {
	want, ok := expected(x)
	if !ok {
		return fmt.Sprintf("a failure that the table lacks: %d %s", x.status, x.body)
	}
	got, ok := errors.AsType[*failure.Error](err)
	if !ok {
		return fmt.Sprintf("no *failure.Error: %v", err)
	}
	wait, told := x.reset()
	switch {
	case got.Kind != want.Kind || got.Status != want.Status || got.Code != want.Code:
		return fmt.Sprintf("the failure is %v %d %q, want %v %d %q", got.Kind, got.Status, got.Code, want.Kind, want.Status, want.Code)
	case got.Told != want.Told || want.Told != told:
		return fmt.Sprintf("a wait is told: %v, want %v", got.Told, want.Told)
	case told && (got.RetryAfter > wait || got.RetryAfter < wait-10*time.Second):
		return fmt.Sprintf("the wait is %v, want %v", got.RetryAfter, wait)
	case !strings.Contains(string(x.body), strings.TrimSuffix(got.Message, "…")) || got.Message == "":
		return fmt.Sprintf("the message is %q, and not the provider's", got.Message)
	}
	if id := x.header.Get("X-Amzn-Requestid"); got.RequestID != id {
		return fmt.Sprintf("the request's number is %q, want %q", got.RequestID, id)
	}
	return ""
}

// understand returns what of an interaction was not understood; "" if nothing.
func (p *player) understand(t *testing.T, x interaction, by *protocol) string {
	t.Helper()
	got, err := p.ask(t, x, by, llm.Prompt("x"), len(x.body), whole)
	if _, ok := by.base(x); ok && p.asked.Load().path != x.url.EscapedPath() {
		return fmt.Sprintf("the adapter asks %s, where %s was recorded", p.asked.Load().path, x.url.EscapedPath())
	}
	if x.status != http.StatusOK {
		return compareFailure(err, x)
	}
	if err != nil {
		return err.Error()
	}
	want, err := by.read(x.body, x.streams())
	if err != nil {
		return "the record can't be read: " + err.Error()
	}
	return compare(got, want, x)
}

// exception is what is not understood, though its protocol is known.
type exception struct {
	why string // that is as it should be
	is  func(x interaction) bool
}

var accepted = []exception{
	{"it answers functions, which tools replaced in 2023 and llmcall never sends", func(x interaction) bool {
		return x.url.Host == "api.openai.com" && bytes.Contains(x.asked, []byte(`"functions":[`)) &&
			bytes.Contains(x.body, []byte(`"finish_reason": "function_call"`))
	}},
	{"asked for with enum-encoding=int, as llmcall does not: reasons to stop are numbers, a stream is a list", func(x interaction) bool {
		return strings.Contains(x.url.Query().Get("$alt"), "enum-encoding=int") && x.status == http.StatusOK
	}},
}

// excused returns the index in accepted of the exception that the interaction
// is; -1 for none.
func (x interaction) excused() int {
	return slices.IndexFunc(accepted, func(e exception) bool { return e.is(x) })
}

// row counts the interactions of a provider.
type row struct {
	answers, streams, failures, understood int
	not                                    map[string]int // by the reason
}

func TestRecorded(t *testing.T) {
	p := play(t)
	table := map[string]*row{} // by provider and kind
	used := make([]bool, len(accepted))
	for _, x := range load(t) {
		by, why := route(x.url)
		kind := "other"
		if by != nil {
			kind = by.name
		}
		name := x.url.Host + "\t" + kind
		r := table[name]
		if r == nil {
			r = &row{not: map[string]int{}}
			table[name] = r
		}
		switch {
		case x.status != http.StatusOK:
			r.failures++
		case x.streams():
			r.streams++
		default:
			r.answers++
		}
		if by == nil {
			if why == "" {
				t.Errorf("%s: neither a protocol nor a reason is known for %s", x.source, x.url)
			}
			r.not[why]++
			continue
		}
		wrong := p.understand(t, x, by)
		n := x.excused()
		switch {
		case wrong == "" && n < 0:
			r.understood++
		case wrong == "":
			t.Errorf("%s: is understood, though it is said not to be: %s", x.source, accepted[n].why)
		case n < 0:
			t.Errorf("%s: %s", x.source, wrong)
		default:
			used[n] = true
			r.not[accepted[n].why]++
		}
	}
	for i, a := range accepted {
		if !used[i] {
			t.Errorf("accepted for nothing: %s", a.why)
		}
	}
	t.Log("\n" + print(table))
}

func print(table map[string]*row) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "provider\tkind\tanswers\tstreams\tfailures\tunderstood\tnot understood")
	var sum row
	for _, name := range slices.Sorted(maps.Keys(table)) {
		r := table[name]
		var not []string
		for _, why := range slices.Sorted(maps.Keys(r.not)) {
			not = append(not, fmt.Sprintf("%d: %s", r.not[why], why))
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%s\n", name, r.answers, r.streams, r.failures, r.understood, strings.Join(not, "; "))
		sum.answers, sum.streams = sum.answers+r.answers, sum.streams+r.streams
		sum.failures, sum.understood = sum.failures+r.failures, sum.understood+r.understood
	}
	all := sum.answers + sum.streams + sum.failures
	fmt.Fprintf(w, "all\t%d\t%d\t%d\t%d\t%d\t%d\n", all, sum.answers, sum.streams, sum.failures, sum.understood, all-sum.understood)
	w.Flush()
	return text.String()
}

const cuts = 3 // of each recording

// A recording that ends early is never a success: real shapes, cut where nobody
// chose.
func TestCut(t *testing.T) {
	p := play(t)
	chance := rand.New(rand.NewPCG(1, 2))
	for _, x := range load(t) {
		by, _ := route(x.url)
		if by == nil || x.excused() >= 0 {
			continue
		}
		length := len(bytes.TrimSpace(x.body))
		for i := range cuts {
			n, end := chance.IntN(length), short+ending(chance.IntN(2))
			if i == 0 && x.streams() {
				n = max(0, length-1-chance.IntN(min(length, 300))) // about its end, where it is hard to tell
			}
			got, err := p.ask(t, x, by, llm.Prompt("x"), n, end)
			if wrong := compareCut(got, err, x, by, n); wrong != "" {
				t.Errorf("%s, cut at %d of %d bytes (%v): %s", x.source, n, len(x.body), end == broken, wrong)
			}
		}
	}
}

// compareCut returns what is wrong with what an adapter makes of a recording's
// first n bytes.
func compareCut(got *llm.Response, err error, x interaction, by *protocol, n int) string {
	if x.status != http.StatusOK {
		want, _ := expected(x)
		if f, ok := errors.AsType[*failure.Error](err); !ok || f.Kind != want.Kind || f.Status != want.Status {
			return fmt.Sprintf("the failure is %v, want %v %d", err, want.Kind, want.Status)
		}
		return ""
	}
	if err != nil {
		f, ok := errors.AsType[*failure.Error](err)
		if !ok || f.Kind != failure.Transient && f.Kind != failure.CutOff {
			return fmt.Sprintf("the error is %v, and not one of what is cut off", err)
		}
		return ""
	}
	if got.Finish == llm.FinishNone && x.streams() {
		return ""
	}
	want, err := by.read(x.body, x.streams())
	if err != nil {
		return "the record can't be read: " + err.Error()
	}
	if !x.streams() || n < want.whole {
		return fmt.Sprintf("it is taken for whole: %+v", got)
	}
	want.usage = nil // may be what is missing
	return compare(got, want, x)
}
