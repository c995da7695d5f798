package clients

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"

	"llmcall/endpoint"
	"llmcall/gateway"
	_ "llmcall/provider/all"
	"llmcall/validate"
)

// before is a gateway before a provider.
type before struct {
	*gateway.Gateway
	http *httptest.Server

	mu     sync.Mutex
	served []served
}

// served is a request for an answer as the gateway tells of it.
type served struct {
	Route    string `json:"route"`
	Client   string `json:"client,omitempty"`
	Protocol string `json:"protocol"`
	Stream   bool   `json:"stream"`
	Status   int    `json:"status"`
	Code     string `json:"code"`
}

// startGateway starts a provider with a plan and a gateway before it. In the gateway's
// configuration {up} is the address of the provider.
func (p *providers) startGateway(text []byte) (any, error) {
	var asked struct{ Plan, Config json.RawMessage }
	if err := json.Unmarshal(text, &asked); err != nil {
		return nil, err
	}
	its, started, err := p.start(asked.Plan)
	if err != nil {
		return nil, err
	}
	config := strings.ReplaceAll(string(asked.Config), "{up}", its.http.URL)
	cfg, err := gateway.Parse("gateway.yaml", []byte(config), validate.Builder{})
	if err != nil {
		return nil, err
	}
	registry, err := endpoint.NewRegistry(endpoint.Config{})
	if err != nil {
		return nil, err
	}
	b := &before{}
	options := gateway.Options{Endpoints: registry, OnRequest: b.note, Log: slog.New(slog.DiscardHandler)}
	if b.Gateway, err = gateway.New(cfg, options); err != nil {
		return nil, err
	}
	b.http = httptest.NewServer(b.Handler())
	its.gateway = b
	started["url"] = b.http.URL
	return started, nil
}

func (b *before) note(s gateway.Served) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.served = append(b.served, served{s.Route, s.Client, s.Protocol, s.Stream, s.Status, s.Code})
}

func (b *before) requests() []served {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]served{}, b.served...)
}

func (b *before) close() {
	b.http.CloseClientConnections()
	b.http.Close()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_ = b.Shutdown(ended) // the tests that have left requests in flight say so themselves
}
