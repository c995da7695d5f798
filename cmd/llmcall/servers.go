package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"llmcall"
	"llmcall/llm"
	"llmcall/mcp"
)

// connect connects the MCP servers of a configuration, whose tools its stages name. They are
// closed by end.
func connect(ctx context.Context, cfg *llmcall.RetryConfig) (end func(), err error) {
	if len(cfg.MCPServers) == 0 {
		return func() {}, nil
	}
	client, err := mcp.Connect(ctx, mcp.Servers(cfg.MCPServers)...)
	if err == nil {
		cfg.Tools, err = client.Tools(ctx)
		if err != nil {
			err = errors.Join(err, client.Close())
		}
	}
	if ctx.Err() != nil {
		return nil, errInterrupted
	}
	if _, ok := errors.AsType[*llmcall.ConfigError](err); ok { // it says the field itself
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("mcp_servers: %w", err)
	}
	return func() { _ = client.Close() }, nil // it has no error
}

// standInTools gives a configuration tools that are never run, under the names of those that
// its servers have, as far as these can be known without them.
//
// own are the names that only a Go program can give a meaning to, in a file without
// servers.
func standInTools(cfg *llmcall.RetryConfig) (own []string) {
	wanted := []string{cfg.DebugToolName}
	for _, s := range cfg.Stages {
		wanted = append(wanted, s.Tools...)
	}
	var open string // a server that does not list its tools
	for _, s := range mcp.Servers(cfg.MCPServers) {
		for _, name := range s.Tools {
			cfg.Tools = append(cfg.Tools, llmcall.Tool{Tool: llm.Tool{Name: name}, Group: s.Name})
		}
		if len(s.Tools) == 0 {
			open = s.Name
			cfg.Tools = append(cfg.Tools, llmcall.Tool{Tool: llm.Tool{Name: s.Name}, Group: s.Name})
		}
	}
	for _, name := range wanted {
		known := slices.ContainsFunc(cfg.Tools, func(t llmcall.Tool) bool { return t.Name == name || t.Group == name })
		if name == "" || known {
			continue
		}
		if len(cfg.MCPServers) == 0 {
			own = append(own, name)
		}
		if open != "" || len(cfg.MCPServers) == 0 {
			cfg.Tools = append(cfg.Tools, llmcall.Tool{Tool: llm.Tool{Name: name}, Group: open})
		}
	}
	return own
}
