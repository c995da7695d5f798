package wire

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"llmcall/classify"
	"llmcall/endpoint"
	"llmcall/pace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secret is an API key that would be seen wherever it leaks.
const secret = "sk-RECOGNISABLE-0123456789"

// made returns an endpoint that has the secret.
func made(t *testing.T) *Endpoint {
	t.Helper()
	e, key, err := New(Config{
		Protocol: classify.OpenAI, Provider: "openai", Model: "m", Example: "gpt-6-luna",
		APIKey: secret, DefaultBaseURL: "https://api.example.com/v1",
	})
	if err != nil || key != secret {
		t.Fatalf("got %v, %q", err, key)
	}
	return e
}

// heard is a call that hears what an adapter tells it.
type heard struct{ accepted, told []*pace.Told }

func (h *heard) Again() bool              { return true }
func (h *heard) Noted(string)             {}
func (h *heard) Accepted(told *pace.Told) { h.accepted = append(h.accepted, told) }
func (h *heard) Told(told *pace.Told)     { h.told = append(h.told, told) }

// listening returns a context that belongs to a call, and the call.
func listening(ctx context.Context) (context.Context, *heard) {
	h := new(heard)
	return endpoint.Listen(ctx, h), h
}
