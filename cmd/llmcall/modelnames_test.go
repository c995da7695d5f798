package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"llmcall/internal/servers"
)

// Logs and errors name an endpoint as the file does, and not by the protocol of a provider of
// one's own.
func TestEndpointsHaveTheNamesOfTheFile(t *testing.T) {
	provider := newOutage(t)
	provider.down.Store(true)
	own := fmt.Sprintf("providers: {acme: {protocol: openai, base_url: %q, key: none}}\n", provider.url)
	const settings = "enable_circuit_breaker: true, circuit_breaker_config: {failure_threshold: 2}, max_delay: 1ms, max_attempts: 4"
	want, other := "acme/small at "+provider.url, "openai/small"

	url, log, end := startServe(t, "--config", file(t, "gateway.yaml", own+"routes: {chat: {models: [acme/small], "+settings+"}}\n"))
	askServe(t, url, "chat")
	if _, text := askServe(t, url, "chat"); !strings.Contains(text, want) || strings.Contains(text, other) {
		t.Errorf("a client is told %s", text)
	}
	end()
	if text := log.String(); !strings.Contains(text, `endpoint="`+want) || strings.Contains(text, other) {
		t.Errorf("the log:\n%s", text)
	}

	calls := file(t, "call.yaml", own+"model: acme/small\n"+strings.ReplaceAll(settings, ", ", "\n")+"\n")
	got := command(t, "", "call", "--config", calls, "Hello")
	if !strings.Contains(got.stderr, want) || strings.Contains(got.stderr, other) {
		t.Errorf("a call: exit %d\n%s", got.code, got.stderr)
	}
}

// The log of a gateway and llmcall circuits have the same name of an
// endpoint.
func TestALogNamesACircuitAsTheListDoes(t *testing.T) {
	store := servers.Redis(t)
	provider := newOutage(t)
	provider.down.Store(true)
	config := file(t, "gateway.yaml", fmt.Sprintf("fleet: %s\nproviders: {acme: {protocol: openai, base_url: %q, key: none}}\nroutes: {chat: {models: [acme/small], max_attempts: 1, circuit_breaker_config: {failure_threshold: 2}}}\n", store.URL, provider.url))
	p := startMember(t, "--config", config)
	for range 2 {
		p.asked("chat")
	}
	p.log.until(t, "a circuit has changed")
	var list circuitsDocument
	if got := command(t, "", "circuits", "--json", "--config", config); json.Unmarshal([]byte(got.stdout), &list) != nil || len(list.Circuits) != 1 {
		t.Fatalf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
	name := list.Circuits[0].Name
	if !strings.HasPrefix(name, "acme/small at ") || !strings.Contains(p.log.String(), "endpoint="+strconv.Quote(name)) || strings.Contains(p.log.String(), "openai/small") {
		t.Errorf("the list has %q, the log\n%s", name, p.log)
	}
}
