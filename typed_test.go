package llmcall_test

import (
	"fmt"
	"math/big"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"llmcall"
	"llmcall/chaos"
	"llmcall/llm"
	"llmcall/provider/anthropic"
	"llmcall/provider/gemini"
	"llmcall/provider/openai"
)

type Codes []int16

type Place struct {
	Street string  `json:"street"`
	Zip    *string `json:"zip"`
}

// Order has a field of each kind that a schema may have.
type Order struct {
	ID    uint32        `json:"id" jsonschema:"minimum=1000"`
	Tags  []string      `json:"tags" jsonschema:"enum=new,enum=late,minItems=1" jsonschema_description:"all that fit, at least one"`
	Codes Codes         `json:"codes" jsonschema:"minimum=1,maximum=9,minItems=2"`
	From  Place         `json:"from" jsonschema:"description=where it begins"`
	To    *Place        `json:"to" jsonschema_description:"where it ends, if that is known"`
	Price float64       `json:"price" jsonschema:"exclusiveMinimum=0"`
	Wait  time.Duration `json:"wait"`
	Home  url.URL       `json:"home"`
	At    time.Time     `json:"at"`
	Big   *big.Int      `json:"big"`
	Reply *Reply        `json:"reply"`
}

// What a server decodes by the schema, as each adapter sends it, is what Ask takes.
// Anthropic's takes no bounds, and OpenAI's strict mode no format "uri": there the
// complaints are of these alone.
func TestARichTypeOverHTTP(t *testing.T) {
	for seed := range uint64(5) {
		practice, err := chaos.New(chaos.Config{Seed: seed + 1})
		if err != nil {
			t.Fatal(err)
		}
		defer practice.Close()
		server := httptest.NewServer(practice)
		defer server.Close()
		var models []llm.Model
		for _, open := range []func() (llm.Model, error){
			func() (llm.Model, error) {
				return openai.New("gpt-6-luna", openai.Options{APIKey: "of-the-test", BaseURL: server.URL + "/v1"})
			},
			func() (llm.Model, error) {
				return anthropic.New("claude-sonnet-5", anthropic.Options{APIKey: "of-the-test", BaseURL: server.URL})
			},
			func() (llm.Model, error) {
				return gemini.New("gemini-3-flash", gemini.Options{APIKey: "of-the-test", BaseURL: server.URL})
			},
		} {
			model, err := open()
			if err != nil {
				t.Fatal(err)
			}
			models = append(models, model)
		}
		for _, model := range models {
			order, result, err := llmcall.Ask[Order](t.Context(), client(t, model, nil, exact(llmcall.RetryConfig{})), llm.Prompt(fmt.Sprint("Invent order ", seed)))
			if err != nil {
				t.Errorf("%s: %v", model.Name(), err)
				continue
			}
			for _, attempt := range result.Attempts[:len(result.Attempts)-1] {
				for _, c := range attempt.Complaints {
					if model == models[2] || model == models[0] && !strings.Contains(c.Problem, `is not in the format "uri"`) {
						t.Errorf("%s: attempt %d: %v", model.Name(), attempt.Number, c)
					}
				}
			}
			if order.ID < 1000 || len(order.Tags) == 0 || len(order.Codes) < 2 || order.At.IsZero() {
				t.Errorf("%s: %+v of %s", model.Name(), order, result.Text)
			}
		}
	}
}
