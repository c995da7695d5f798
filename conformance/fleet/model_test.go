package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"llmcall/classify"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/llm"
)

// plain is a model of OpenAI's protocol without an SDK, which a worker would compile for
// nothing: what it shares has nothing to do with what it says.
type plain struct {
	name, base, key string
	worker          int // says so to the provider
}

const workerHeader = "X-Worker"

// connections keeps as many as a worker has calls under way.
var connections = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

func (p *plain) Name() string { return "openai/" + p.name }

func (p *plain) EndpointKey() endpoint.Key {
	return endpoint.Key{Model: p.Name(), Address: p.base, Credential: endpoint.Hash(p.key)}
}

func (p *plain) Complete(ctx context.Context, r *llm.Request) (*llm.Response, error) {
	text, err := json.Marshal(map[string]any{"model": p.name, "messages": []any{map[string]string{"role": "user", "content": r.Messages[0].Text()}}})
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.base+"/chat/completions", strings.NewReader(string(text)))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set(workerHeader, strconv.Itoa(p.worker))
	request.Header.Set("Authorization", "Bearer "+p.key)
	response, err := connections.Do(request)
	if err != nil {
		return nil, &failure.Error{Kind: classify.Network(err), Provider: "openai", Err: err}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, &failure.Error{Kind: classify.Network(err), Provider: "openai", Err: err}
	}
	if f := classify.Response("openai", response, body); f != nil {
		return nil, f
	}
	var answer struct {
		Choices []struct{ Message struct{ Content string } }
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, err
	}
	if len(answer.Choices) == 0 {
		return nil, fmt.Errorf("no answer in %q", body)
	}
	return llm.Reply(answer.Choices[0].Message.Content), nil
}
