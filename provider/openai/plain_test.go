package openai

import (
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"llmcall/failure"
	"llmcall/provider/internal/providertest"
	"llmcall/provider/internal/wire"

	"pgregory.net/rapid"
)

// anyExchange returns an exchange with a success.
func anyExchange() *wire.Exchange {
	e := &wire.Endpoint{Provider: "openai", Protocol: "openai", Name: "openai/m", Model: "m", Base: &url.URL{}, Hide: func(text string) string { return text }}
	return &wire.Exchange{Endpoint: e, Status: 200, Response: &http.Response{Header: http.Header{"X-Request-Id": {"r"}}}}
}

// Where the short reader reads an answer, it reads what the whole one does.
func TestPlainAnswersAreReadAlike(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		odd := rapid.SliceOfN(rapid.SampledFrom([]string{"prompt_tokens", "completion_tokens_details", "reasoning_tokens", "role", "content", "refusal", "tool_calls", "index", "message", "finish_reason", "model", "choices", "usage", "new"}), 0, 2).Draw(t, "odd")
		object := func(members ...[]string) string {
			if slices.Contains(odd, "new") {
				members = append(members, []string{"new", "1"}, []string{"reasoning_content", `"hm"`})
			}
			return providertest.DrawObject(t, odd, members...)
		}
		usages := object([]string{"prompt_tokens", "12", "3e2"}, []string{"completion_tokens", "5", "9007199254740993"}, []string{"total_tokens", "17"},
			[]string{"prompt_tokens_details", object([]string{"cached_tokens", "3"}, []string{"audio_tokens", "0"})},
			[]string{"completion_tokens_details", object([]string{"reasoning_tokens", "0", "7"}, []string{"accepted_prediction_tokens", "0"})})
		message := object([]string{"role", `"assistant"`}, []string{"content", `"Hello!"`, `""`, `"\u00e9\ud83d\ude00\n"`, `" {\"a\":1}"`}, []string{"refusal", "null"}, []string{"annotations", "[]"}, []string{"tool_calls", "null"})
		choice := object([]string{"index", "0"}, []string{"message", message}, []string{"logprobs", "null"}, []string{"finish_reason", `"stop"`, `"length"`, `"content_filter"`, `"tool_calls"`, `"eos"`, `"new"`})
		body := object([]string{"id", `"c"`}, []string{"object", `"chat.completion"`}, []string{"created", "1"}, []string{"model", `"m-1"`, `""`},
			[]string{"choices", "[" + choice + "]"}, []string{"usage", usages}, []string{"service_tier", `"default"`})
		if !json.Valid([]byte(body)) {
			t.Fatal(body)
		}
		p, ok := readPlain([]byte(body))
		if !ok {
			return
		}
		got, gotErr := p.answer(anyExchange())
		want, wantErr := readCompletion(anyExchange(), []byte(body))
		if !reflect.DeepEqual(got, want) || failure.KindOf(gotErr) != failure.KindOf(wantErr) || (gotErr != nil && gotErr.Error() != wantErr.Error()) {
			t.Fatalf("%s\nread as %+v, %v\nwant %+v, %v", body, got, gotErr, want, wantErr)
		}
	})
}

func TestPlainResponsesAreReadAlike(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		odd := rapid.SliceOfN(rapid.SampledFrom([]string{"input_tokens", "cached_tokens", "output_tokens_details", "type", "text", "content", "role", "annotations", "output", "model", "status", "incomplete_details", "error", "usage", "tools", "new"}), 0, 2).Draw(t, "odd")
		object := func(members ...[]string) string {
			if slices.Contains(odd, "new") {
				members = append(members, []string{"new", "1"}, []string{"phase", `"commentary"`})
			}
			return providertest.DrawObject(t, odd, members...)
		}
		used := object([]string{"input_tokens", "12"}, []string{"input_tokens_details", object([]string{"cached_tokens", "3"})}, []string{"output_tokens", "5", "1e3"},
			[]string{"output_tokens_details", object([]string{"reasoning_tokens", "2"})}, []string{"total_tokens", "17"})
		part := object([]string{"type", `"output_text"`}, []string{"text", `"Hello!"`, `""`, `"\ud83d"`, `"\u00e9"`}, []string{"annotations", "[]"}, []string{"logprobs", "[]"})
		item := object([]string{"type", `"message"`}, []string{"id", `"i"`}, []string{"status", `"completed"`}, []string{"role", `"assistant"`}, []string{"content", "[" + part + "]"})
		body := object([]string{"id", `"r"`}, []string{"object", `"response"`}, []string{"status", `"completed"`}, []string{"error", "null"}, []string{"incomplete_details", "null"},
			[]string{"model", `"m"`}, []string{"output", "[" + item + "]", "[" + item + "," + item + "]"}, []string{"usage", used}, []string{"tools", `[{"type":"new"}]`})
		if !json.Valid([]byte(body)) {
			t.Fatal(body)
		}
		p, ok := readPlainResponse([]byte(body))
		if x := anyExchange(); !ok || x.ErrorWithin([]byte(body)) != nil {
			return
		}
		got, gotErr := p.response(anyExchange())
		want, wantErr := readResponse(anyExchange(), []byte(body))
		if !reflect.DeepEqual(got, want) || gotErr != nil || wantErr != nil {
			t.Fatalf("%s\nread as %+v, %v\nwant %+v, %v", body, got, gotErr, want, wantErr)
		}
	})
}

func TestPlainPiecesAreReadAlike(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		short, whole := completionStream{x: anyExchange()}, completionStream{x: anyExchange()}
		for range rapid.IntRange(1, 4).Draw(t, "events") {
			odd := rapid.SliceOfN(rapid.SampledFrom([]string{"id", "model", "choices", "index", "delta", "role", "content", "refusal", "logprobs", "finish_reason", "usage", "new"}), 0, 2).Draw(t, "odd")
			object := func(members ...[]string) string {
				if slices.Contains(odd, "new") {
					members = append(members, []string{"new", "1"}, []string{"reasoning_content", `"hm"`})
				}
				return providertest.DrawObject(t, odd, members...)
			}
			delta := object([]string{"role", `"assistant"`}, []string{"content", `"Hello!"`, `""`, `"\ud83d"`, `"\u00e9"`}, []string{"refusal", "null"})
			choice := object([]string{"index", "0", "0", "1"}, []string{"delta", delta}, []string{"logprobs", "null"}, []string{"finish_reason", "null"})
			data := []byte(object([]string{"id", `"c"`, `"d"`, `""`}, []string{"object", `"chat.completion.chunk"`}, []string{"model", `"m"`, `"n"`, `""`}, []string{"choices", "[" + choice + "]", "[" + choice + "]", "[]"}, []string{"usage", "null"}))
			got, gotDone, gotErr := short.Read(data)
			want, wantDone, wantErr := whole.read(data)
			if !reflect.DeepEqual(got, want) || gotDone != wantDone || (gotErr == nil) != (wantErr == nil) || short.id != whole.id || short.model != whole.model || short.grown != whole.grown {
				t.Fatalf("%s\nread as %+v, %v, %v\nwant %+v, %v, %v", data, got, gotDone, gotErr, want, wantDone, wantErr)
			}
			if gotErr != nil {
				return
			}
		}
	})
	const own = `{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1780000000,"model":"m","service_tier":"default","system_fingerprint":"fp","choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"abc"}`
	if _, ok := readPlainPiece([]byte(own)); !ok {
		t.Error("OpenAI's own piece is not plain")
	}
}

// OpenAI's own answer is plain, and one with anything else is not.
func TestWhatIsPlain(t *testing.T) {
	const own = `{"id":"chatcmpl-1","object":"chat.completion","created":1780000000,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hello!","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"service_tier":"default","system_fingerprint":"fp"}`
	for old, replaced := range map[string]string{
		``:                            ``,
		`"refusal":null`:              `"refusal":"no"`,
		`"content":"Hello!"`:          `"content":[{"type":"text","text":"Hello!"}]`,
		`"annotations":[]`:            `"reasoning":"hm"`,
		`"finish_reason":"stop"`:      `"finish_reason":null`,
		`"logprobs":null`:             `"native_finish_reason":"x"`,
		`,"service_tier":"default"`:   `,"error":null`,
		`"model":"m"`:                 `"model":"m","model":"n"`,
		`"prompt_tokens":9`:           `"prompt_tokens":"9"`,
		`"cached_tokens":0`:           `"cached_tokens":null`,
		`"role":"assistant","content`: `"role":"assistant","tool_calls":[{"id":"1"}],"content`,
	} {
		if _, ok := readPlain([]byte(strings.Replace(own, old, replaced, 1))); ok != (old == "") {
			t.Errorf("with %s: plain is %v", replaced, ok)
		}
	}
}

// OpenAI's own response is plain.
func TestWhatIsAPlainResponse(t *testing.T) {
	const own = `{"id":"resp_1","object":"response","created_at":1780000000,"status":"completed","background":false,"billing":{"payer":"developer"},"completed_at":1780000001,"error":null,"frequency_penalty":0.0,"incomplete_details":null,"instructions":null,"max_output_tokens":null,"max_tool_calls":null,"model":"m","output":[{"id":"msg_1","type":"message","status":"completed","content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"Hello!"}],"role":"assistant"}],"parallel_tool_calls":true,"presence_penalty":0.0,"previous_response_id":null,"prompt_cache_key":null,"prompt_cache_retention":null,"reasoning":{"effort":null,"summary":null},"safety_identifier":null,"service_tier":"default","store":false,"temperature":1.0,"text":{"format":{"type":"text"},"verbosity":"medium"},"tool_choice":"auto","tools":[],"top_logprobs":0,"top_p":1.0,"truncation":"disabled","usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":11},"user":null,"metadata":{}}`
	if _, ok := readPlainResponse([]byte(own)); !ok {
		t.Error("it is not")
	}
}
