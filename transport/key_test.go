package transport_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"llmcall/endpoint"
	"llmcall/transport"
)

func stream(text string) func() io.ReadCloser {
	return func() io.ReadCloser { return io.NopCloser(strings.NewReader(text)) }
}

func TestTheModelIsNamedByThePathOrTheBody(t *testing.T) {
	long := strings.Repeat("x", 20_000)
	for _, c := range []struct{ address, body, want string }{
		{chat, `{"model":"gpt-6","messages":[]}`, "gpt-6"},
		{chat, `{"messages":[{"model":"x","role":"model"}],"role":"model", "model" : "g\"pt" }`, `g"pt`},
		{chat, `{"messages":["` + long + `\\"],"model":"gpt-6"}`, "gpt-6"},
		{chat, `{"messages":["` + long + `\""],"model":"gpt-6"}`, "gpt-6"},
		{chat, `{"mod\u0065l":"gpt-6"}`, "gpt-6"},
		{chat, `{"model":"a","model":"b"}`, "a"},
		{chat, `{"Model":"a","model":"b"}`, "b"},
		{chat, `{"model":5,"messages":[]}`, ""},
		{chat, `{"model":null,"x":"y"}`, ""},
		{chat, `{"model":["x"],"x":"y"}`, ""},
		{chat, `{"a":{"model":"x"}}`, ""},
		{chat, `{"a":1}, "model":"x"`, ""},
		{chat, `{"a":"model","b":"x"}`, ""},
		{chat, `["model","x"]`, ""},
		{chat, `[{"model":"x"}]`, ""},
		{chat, `"model"`, ""},
		{chat, `{"model":"`, ""},
		{chat, `{"model":"` + strings.Repeat("x", 198) + `"}`, strings.Repeat("x", 198)},
		{chat, `{"model":"` + strings.Repeat("x", 199) + `"}`, ""},
		{chat, `{"` + long + `":1,"model":"m"}`, "m"},
		{chat, "--boundary\r\n\"model\":\"x\"", ""},
		{chat, ` `, ""},
		{chat, ``, ""},
		{"https://g.example/v1beta/models/gemini-3:generateContent", `{}`, "gemini-3"},
		{"https://g.example/v1/publishers/anthropic/models/claude@20260101:rawPredict", `{}`, "claude@20260101"},
		{"https://a.example/openai/deployments/mine/chat/completions", `{"model":"x"}`, "mine"},
		{"https://bedrock.example/model/amazon.nova-pro/invoke", `{"model":"x"}`, "amazon.nova-pro"},
		{"https://bedrock.example/model/anthropic.claude-4-v1:0/invoke", `{}`, "anthropic.claude-4-v1:0"},
		{"https://bedrock.example/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.a/converse", `{}`, "arn:aws:bedrock:us-east-1:1:inference-profile/us.a"},
		{"https://bedrock.example/model/arn:aws:bedrock:us-east-1:1:provisioned-model%2Fb/invoke", `{}`, "arn:aws:bedrock:us-east-1:1:provisioned-model/b"},
		{"https://bedrock.example/model/", `{"model":"x"}`, "x"},
		{"https://hf.example/models/meta-llama/Llama-3-8B", `{}`, "meta-llama/Llama-3-8B"},
		{"https://hf.example/models/meta-llama/Llama-3-8B/", `{}`, "meta-llama/Llama-3-8B"},
		{"https://hf.example/hf-inference/models/meta-llama/Llama-3-8B/v1/chat/completions", `{}`, "meta-llama/Llama-3-8B"},
		{"https://hf.example/models/gpt2", `{}`, "gpt2"},
		{"https://hf.example/models/gpt2/v1/completions", `{}`, "gpt2"},
		{"https://hf.example/hf-inference/models/sentence-transformers/all/pipeline/feature-extraction", `{}`, "sentence-transformers/all"},
		{"https://g.example/v1beta/models/gemini-3/operations/abc", `{}`, "gemini-3"},
		{"https://g.example/v1beta/models/gemini-3%3AgenerateContent", `{}`, "gemini-3"},
		{"https://a.example/openai/deployments/my%20own/chat/completions", `{}`, "my own"},
	} {
		r := post(t, c.address, c.body)
		if got := transport.ByModel(r, stream(c.body)).Model; got != c.want {
			t.Errorf("%s %.60s: %q, want %q", c.address, c.body, got, c.want)
		}
		if got := transport.ByHost(r, stream(c.body)).Model; got != "" {
			t.Errorf("ByHost: %q", got)
		}
	}
}

func TestAKeyHasTheAddressWithoutItsPath(t *testing.T) {
	for address, want := range map[string]string{
		"https://api.example.com/v1/chat/completions?key=x#y":  "https://api.example.com",
		"http://user:password@API.example.com:8080/v1/models/": "http://api.example.com:8080",
	} {
		if got := transport.ByHost(post(t, address, ""), nil).Address; got != want {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
}

// What changes with each request is no credential, and what tells two tenants
// apart is one.
func TestCredentials(t *testing.T) {
	const gemini = "https://generativelanguage.googleapis.com/v1beta/models/m:generateContent"
	signed := func(scope, signature string) string {
		return "AWS4-HMAC-SHA256 Credential=" + scope + ", SignedHeaders=host;x-amz-date, Signature=" + signature
	}
	for name, c := range map[string]struct {
		address       string // default chat
		header        string
		a, b          string
		others, query bool // they differ; the values stand in the query
	}{
		"one token":                   {header: "Authorization", a: "Bearer t", b: "Bearer t"},
		"its scheme in other letters": {header: "Authorization", a: "Bearer t", b: "bearer t"},
		"two tokens":                  {header: "Authorization", a: "Bearer t", b: "Bearer u", others: true},
		"two passwords":               {header: "Authorization", a: "Basic t", b: "Basic u", others: true},
		"two keys":                    {header: "X-Api-Key", a: "t", b: "u", others: true},
		"two keys of Gemini":          {header: "X-Goog-Api-Key", a: "t", b: "u", others: true},
		"two keys of Azure":           {header: "Api-Key", a: "t", b: "u", others: true},
		"a signature each": {header: "Authorization",
			a: signed("AKID/20261124/us-east-1/bedrock/aws4_request", "aaa"),
			b: signed("AKID/20261125/us-east-1/bedrock/aws4_request", "bbb")},
		"a signature without blanks": {header: "Authorization",
			a: signed("AKID/20261124/us-east-1/bedrock/aws4_request", "aaa"),
			b: strings.ReplaceAll(signed("AKID/20261125/us-east-1/bedrock/aws4_request", "bbb"), ", ", ",")},
		"signed by another": {header: "Authorization", others: true,
			a: signed("AKID/20261124/us-east-1/bedrock/aws4_request", "aaa"),
			b: signed("AKIE/20261124/us-east-1/bedrock/aws4_request", "aaa")},
		"signed for another region": {header: "Authorization", others: true,
			a: signed("AKID/20261124/us-east-1/bedrock/aws4_request", "aaa"),
			b: signed("AKID/20261124/eu-west-1/bedrock/aws4_request", "aaa")},
		"signed for another service": {header: "Authorization", others: true,
			a: signed("AKID/20261124/us-east-1/bedrock/aws4_request", "aaa"),
			b: signed("AKID/20261124/us-east-1/sagemaker/aws4_request", "aaa")},
		"signed in the query": {query: true,
			a: "X-Amz-Credential=AKID%2F20261124%2Fus-east-1%2Fbedrock%2Faws4_request&X-Amz-Signature=aaa",
			b: "X-Amz-Credential=AKID%2F20261125%2Fus-east-1%2Fbedrock%2Faws4_request&X-Amz-Signature=bbb"},
		"a signature that is cut off": {header: "Authorization", a: "AWS4-HMAC-SHA256 x", b: "AWS4-HMAC-SHA256 y", others: true},
		"Gemini's in the query":       {address: gemini, a: "key=t", b: "key=u", query: true, others: true},
		"the same for a proxy":        {address: "https://proxy.example/v1beta/models/m:generateContent", a: "key=t", b: "key=u", query: true, others: true},
		"another one's key":           {a: "key=t", b: "key=u", query: true},
		"no credential":               {a: "after=t", b: "after=u", query: true},
	} {
		if c.address == "" {
			c.address = chat
		}
		key := func(value string) endpoint.Key {
			r := post(t, c.address, "{}")
			if c.query {
				r.URL.RawQuery = value
			} else {
				r.Header.Set(c.header, value)
			}
			return transport.ByModel(r, stream("{}"))
		}
		a, b := key(c.a), key(c.b)
		if (a != b) != c.others {
			t.Errorf("%s: %v and %v", name, a, b)
		}
		if c.others && a.Credential == 0 {
			t.Errorf("%s: none is found", name)
		}
		if strings.Contains(a.String(), "AKID") {
			t.Errorf("%s: %s shows it", name, a)
		}
	}
	// A gateway's key and a tenant's in one request.
	both := func(tenant string) endpoint.Key {
		r := post(t, chat, "{}")
		r.Header.Set("Authorization", "Bearer gateway")
		r.Header.Set("X-Api-Key", tenant)
		return transport.ByHost(r, nil)
	}
	if first, again := both("a"), both("a"); first == both("b") || first != again {
		t.Error("tenants of a gateway are one, or one is two")
	}
}

// firstModel is what encoding/json finds under the first "model" at the top of
// valid JSON.
func firstModel(body []byte) string {
	d := json.NewDecoder(bytes.NewReader(body))
	if begin, _ := d.Token(); begin != json.Delim('{') {
		return ""
	}
	for d.More() {
		name, _ := d.Token()
		var raw json.RawMessage
		if d.Decode(&raw) != nil {
			return ""
		}
		if name == "model" {
			var model string
			if len(raw) > 200 || json.Unmarshal(raw, &model) != nil {
				return ""
			}
			return model
		}
	}
	return ""
}

// pieces reads so many bytes at a time.
type pieces struct {
	io.Reader
	size int
}

func (p pieces) Read(to []byte) (int, error) { return p.Reader.Read(to[:min(len(to), p.size)]) }

func FuzzByModel(f *testing.F) {
	for _, body := range []string{
		`{"model":"m"}`, `{"a":"\"model\":","model":"x"}`, `{"a":[{"b":"\\"},"\\\""],"mod\u0065l":"\ud83d\ude00"}`,
		`{"a":{"model":1},"model":{"model":"x"}}`, " {\"\":[],\"model\":\"\xff\"}", `{"model":"a","model":"b"}`, `[{"model":"m"}]`,
	} {
		f.Add([]byte(body), 3)
	}
	f.Fuzz(func(t *testing.T, body []byte, size int) {
		r, _ := http.NewRequest("POST", chat, bytes.NewReader(body))
		in := func(reader io.Reader) string {
			return transport.ByModel(r, func() io.ReadCloser { return io.NopCloser(reader) }).Model
		}
		whole := in(bytes.NewReader(body))
		if got := in(pieces{bytes.NewReader(body), max(1, size%64)}); got != whole {
			t.Errorf("%q in pieces of %d, %q whole", got, max(1, size%64), whole)
		}
		if got := in(iotest.DataErrReader(iotest.OneByteReader(bytes.NewReader(body)))); got != whole {
			t.Errorf("%q byte by byte, %q whole", got, whole)
		}
		if json.Valid(body) && len(body) > 0 && whole != firstModel(body) {
			t.Errorf("%q, encoding/json finds %q", whole, firstModel(body))
		}
		if len(whole) > 600 { // 200 bytes, each at most three of U+FFFD
			t.Errorf("a name of %d bytes", len(whole))
		}
	})
}

// counting tells how much was read, and whether it was closed.
type counting struct {
	io.Reader
	read   int
	closed bool
}

func (c *counting) Read(to []byte) (int, error) {
	n, err := c.Reader.Read(to)
	c.read += n
	return n, err
}

func (c *counting) Close() error {
	c.closed = true
	return nil
}

func TestNothingIsReadAfterTheModel(t *testing.T) {
	content := &counting{Reader: strings.NewReader(`{"model":"m","messages":["` + strings.Repeat("x", 10<<20) + `"]}`)}
	r := post(t, chat, "{}")
	if got := transport.ByModel(r, func() io.ReadCloser { return content }).Model; got != "m" || content.read > 64<<10 || !content.closed {
		t.Errorf("%q after %d bytes, closed %v", got, content.read, content.closed)
	}
	// Of an upload only the beginning is looked at.
	content = &counting{Reader: strings.NewReader("--boundary" + strings.Repeat("x", 10<<20))}
	if got := transport.ByModel(r, func() io.ReadCloser { return content }).Model; got != "" || content.read > 64<<10 || !content.closed {
		t.Errorf("%q after %d bytes, closed %v", got, content.read, content.closed)
	}
	// Nor is it waited for a reader that never reads anything.
	if got := transport.ByModel(r, func() io.ReadCloser { return io.NopCloser(idle{}) }).Model; got != "" {
		t.Errorf("%q", got)
	}
}

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

// A request with ten pictures costs what it weighs only where it must be kept.
func TestALargeBodyIsNotCopied(t *testing.T) {
	picture := strings.Repeat("iVBORw0K", 10<<17)
	first := []byte(`{"model":"m","messages":["` + picture + `"]}`)
	last := []byte(`{"messages":["` + picture + `"],"model":"m"}`)
	tr, err := transport.New(transport.Config{Endpoints: registry(t), Base: instantly{}})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		body   []byte
		keep   bool
		atMost uint64
	}{
		"first":          {body: first, atMost: 1 << 20},
		"last":           {body: last, atMost: 1 << 20},
		"kept":           {body: last, keep: true, atMost: 11 << 20},
		"no model in it": {body: []byte(`["` + picture + `"]`), atMost: 1 << 20},
	} {
		const rounds = 4
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range rounds {
			r, err := http.NewRequestWithContext(t.Context(), "POST", chat, bytes.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if c.keep {
				r.GetBody = nil
			}
			if got, err := send(tr, r); got != "200 " || err != nil {
				t.Fatalf("%q, %v", got, err)
			}
		}
		runtime.ReadMemStats(&after)
		if got := (after.TotalAlloc - before.TotalAlloc) / rounds; got > c.atMost {
			t.Errorf("%s: %d bytes for a body of %d, want at most %d", name, got, len(c.body), c.atMost)
		}
	}
}

// A Key of one's own may read the body as often as it likes.
func TestAKeyOfOnesOwnReadsTheBody(t *testing.T) {
	for name, c := range map[string]struct {
		body    io.Reader
		maxBody int64
		want    string
	}{
		"with GetBody":         {strings.NewReader("prompt"), -1, "prompt"},
		"kept":                 {io.MultiReader(strings.NewReader("prompt")), 0, "prompt"},
		"not kept":             {io.MultiReader(strings.NewReader("prompt")), -1, ""},
		"too large to be kept": {io.MultiReader(strings.NewReader("prompt")), 3, ""},
		"none":                 {nil, 0, ""},
	} {
		var seen []string
		v := serve()
		tr := newTransport(t, v, func(cfg *transport.Config) {
			cfg.MaxBody = c.maxBody
			cfg.Key = func(_ *http.Request, body func() io.ReadCloser) endpoint.Key {
				for range 2 {
					content := body()
					text, _ := io.ReadAll(content)
					content.Close()
					seen = append(seen, string(text))
				}
				return endpoint.Key{Name: "mine"}
			}
		})
		r, err := http.NewRequestWithContext(t.Context(), "POST", chat, c.body)
		if err != nil {
			t.Fatal(err)
		}
		got, err := send(tr, r)
		if got != "200 fine" || err != nil || len(seen) != 2 || seen[0] != c.want || seen[1] != c.want {
			t.Errorf("%s: %q, %v, read %q", name, got, err, seen)
		}
		if c.body != nil && v.got[0] != "prompt" {
			t.Errorf("%s: sent %q", name, v.got)
		}
	}
}
