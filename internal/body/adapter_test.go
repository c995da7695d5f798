package body_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"llmcall/internal/body"
	"llmcall/llm"
	"llmcall/provider"
	_ "llmcall/provider/all"
)

// models speak the four protocols.
var models = map[string]string{
	"openai": "openai/gpt-6-luna", "openai-responses": "openai-responses/gpt-6-luna", "anthropic": "anthropic/claude-opus-5", "gemini": "gemini/gemini-3.5-flash",
}

// wireTap keeps the bodies of requests.
type wireTap struct{ sent []byte }

func (w *wireTap) RoundTrip(r *http.Request) (*http.Response, error) {
	w.sent, _ = io.ReadAll(r.Body)
	return nil, errors.New("nobody answers")
}

// writer returns what the adapter of a protocol sends for a request.
func writer(t interface{ Fatal(...any) }, protocol string) func(*llm.Request) ([]byte, error) {
	tap := &wireTap{}
	m, err := provider.Open(models[protocol], provider.Options{APIKey: "k", HTTPClient: &http.Client{Transport: tap}})
	if err != nil {
		t.Fatal(err)
	}
	return func(req *llm.Request) ([]byte, error) {
		tap.sent = nil
		_, err := m.Complete(context.Background(), req)
		if tap.sent == nil {
			return nil, err
		}
		return tap.sent, nil
	}
}

// requests are requests that a protocol can carry whole.
func requests(protocol string) *rapid.Generator[*llm.Request] {
	word := rapid.StringMatching(`[a-z<&é]{1,8}( [a-z"\\]{1,8})?`)
	id := rapid.StringMatching(`[a-z]{1,4}_[A-Za-z0-9-]{1,6}`)
	return rapid.Custom(func(t *rapid.T) *llm.Request {
		req := &llm.Request{}
		schemas := []string{`{"type":"object","properties":{"b":{"type":"string"},"a":{"type":"integer"}},"required":["b","a"],"additionalProperties":false}`}
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"look", "go_on", "z"}), 0, 3, rapid.ID[string]).Draw(t, "tools") {
			req.Tools = append(req.Tools, llm.Tool{Name: name, Description: rapid.SampledFrom([]string{"", "does it"}).Draw(t, "description"), Parameters: json.RawMessage(schemas[0])})
		}
		if rapid.Bool().Draw(t, "system") {
			req.Messages = append(req.Messages, llm.System(word.Draw(t, "text")))
		}
		calls := 0
		for range rapid.IntRange(1, 3).Draw(t, "turns") {
			user := llm.Message{Role: llm.RoleUser, Parts: []llm.Part{llm.Text(word.Draw(t, "text"))}}
			switch rapid.IntRange(0, 4).Draw(t, "medium") {
			case 0:
				user.Parts = append(user.Parts, llm.Image{MediaType: "image/png", Data: picture()})
			case 1:
				user.Parts = append(user.Parts, llm.Image{URL: "https://x.example/a.png"})
			case 2:
				user.Parts = append(user.Parts, llm.Document{MediaType: "application/pdf", Data: []byte("%PDF-1.4\n1 0 obj\n<</Type/Page>>\nendobj\n%%EOF"), Name: "a.pdf"})
			case 3:
				if protocol == "openai" || protocol == "gemini" {
					user.Parts = append(user.Parts, llm.Audio{MediaType: "audio/wav", Data: []byte("RIFF\x24\x00\x00\x00WAVEfmt ")})
				}
			}
			req.Messages = append(req.Messages, user)
			answer := llm.Message{Role: llm.RoleAssistant}
			if rapid.Bool().Draw(t, "says") {
				answer.Parts = append(answer.Parts, llm.Text(word.Draw(t, "text")))
			}
			var results []llm.Part
			for range rapid.IntRange(0, min(2, 2*len(req.Tools))).Draw(t, "calls") {
				calls++
				call := llm.ToolCall{ID: id.Draw(t, "ID") + string(rune('0'+calls)), Name: req.Tools[0].Name, Arguments: json.RawMessage(`{"b":"x","a":1}`)}
				answer.Parts = append(answer.Parts, call)
				results = append(results, llm.ToolResult{CallID: call.ID, Content: word.Draw(t, "content")})
			}
			if len(answer.Parts) == 0 {
				answer.Parts = []llm.Part{llm.Text("ok")}
			}
			req.Messages = append(req.Messages, answer)
			if len(results) > 0 {
				req.Messages = append(req.Messages, llm.Message{Role: llm.RoleTool, Parts: results})
			}
		}
		if req.Messages[len(req.Messages)-1].Role == llm.RoleAssistant {
			req.Messages = append(req.Messages, llm.User(word.Draw(t, "text")))
		}
		if rapid.Bool().Draw(t, "limited") {
			req.MaxTokens = rapid.IntRange(1, 4000).Draw(t, "max tokens")
		}
		if rapid.Bool().Draw(t, "warm") {
			req.Temperature = new(float64(rapid.IntRange(0, 4).Draw(t, "temperature")) / 4)
		}
		if protocol != "openai-responses" {
			req.Stop = rapid.SliceOfN(word, 0, 2).Draw(t, "stop")
			if len(req.Stop) == 0 {
				req.Stop = nil
			}
		}
		if (protocol == "openai" || protocol == "gemini") && rapid.Bool().Draw(t, "seeded") {
			req.Seed = new(int64(rapid.Int32().Draw(t, "seed")))
		}
		if rapid.Bool().Draw(t, "formed") {
			req.Schema = &llm.Schema{Name: "answer", JSON: json.RawMessage(schemas[0])}
		}
		if len(req.Tools) > 0 {
			req.NoToolCalls = rapid.Bool().Draw(t, "no calls")
		}
		return req
	})
}

// picture is the smallest that models take.
func picture() []byte {
	var b bytes.Buffer
	_ = png.Encode(&b, image.NewGray(image.Rect(0, 0, 16, 16)))
	return b.Bytes()
}

// What an adapter writes is read without a loss, and written again it is the same.
func TestWhatAnAdapterWritesIsReadWhole(t *testing.T) {
	writers := map[string]func(*llm.Request) ([]byte, error){}
	for name := range models {
		writers[name] = writer(t, name)
	}
	for name, write := range writers {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				req := requests(name).Draw(t, "request")
				first, err := write(req)
				if err != nil {
					t.Fatal(err)
				}
				b, err := body.Read(name, first)
				if err != nil {
					t.Fatalf("%s: %v", first, err)
				}
				back, losses := b.To(name)
				if len(losses) > 0 {
					t.Fatalf("%s: %v", first, losses)
				}
				second, err := write(back)
				if err != nil {
					t.Fatal(err)
				}
				if !same(first, second) {
					t.Fatalf("first  %s\nsecond %s", first, second)
				}
				// What it says is said in every other protocol too, or it is told.
				for other := range models {
					to, lost := b.To(other)
					if !slices.ContainsFunc(lost, func(l body.Loss) bool { return !l.Harmless }) {
						sent, err := writers[other](to)
						if err != nil {
							t.Fatalf("%s to %s: %s: %v", name, other, first, err)
						}
						there, err := body.Read(other, sent)
						if err != nil || meaning(there.Request) != meaning(b.Request) {
							t.Fatalf("%s to %s: %v\n%s\n%s", name, other, err, meaning(b.Request), meaning(there.Request))
						}
					}
				}
			})
		})
	}
}

// meaning is what a conversation says in any protocol: who says what, calls with their
// results, how many pictures and documents, which tools, and the form of the answer.
func meaning(req *llm.Request) string {
	var out strings.Builder
	var last llm.Role
	for _, m := range req.Messages {
		if m.Role != last {
			fmt.Fprintf(&out, "\n%s:", m.Role)
		}
		last = m.Role
		for _, p := range m.Parts {
			switch p := p.(type) {
			case llm.Image:
				fmt.Fprintf(&out, " image(%d %s)", len(p.Data), p.URL)
			case llm.Document:
				fmt.Fprintf(&out, " document(%d %s)", len(p.Data), p.URL)
			case llm.ToolCall:
				fmt.Fprintf(&out, " call(%s %s %s)", p.ID, p.Name, p.Arguments)
			default:
				fmt.Fprintf(&out, " %v", p)
			}
		}
	}
	for _, tool := range req.Tools {
		fmt.Fprintf(&out, "\n%s %s %s", tool.Name, tool.Description, tool.Parameters)
	}
	if req.Schema != nil {
		fmt.Fprintf(&out, "\n%s", req.Schema.JSON)
	}
	fmt.Fprint(&out, "\n", req.NoToolCalls, req.ForceTool)
	return out.String()
}

// same reports whether two texts are the same JSON.
func same(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

func base64Of(data []byte) string { return base64.StdEncoding.EncodeToString(data) }
