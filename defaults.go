package llmcall

import (
	"maps"
	"slices"

	"llmcall/llm"
)

// completed returns a request with the defaults of the configuration where it
// leaves a field to them; the request itself if there is nothing to add.
func (c *RetryConfig) completed(req *llm.Request) *llm.Request {
	if c.System == "" && c.MaxTokens == 0 && c.pointsToNothing() {
		return req
	}
	r := *req
	isSystem := func(m llm.Message) bool { return m.Role == llm.RoleSystem }
	if c.System != "" && !slices.ContainsFunc(r.Messages, isSystem) {
		r.Messages = append([]llm.Message{llm.System(c.System)}, r.Messages...)
	}
	if r.MaxTokens == 0 {
		r.MaxTokens = c.MaxTokens
	}
	if r.Temperature == nil {
		r.Temperature = c.Temperature
	}
	if r.Seed == nil {
		r.Seed = c.Seed
	}
	if r.Stop == nil {
		r.Stop = c.Stop
	}
	r.Extra = with(c.Extra, req.Extra)
	return &r
}

// with returns fields with others that replace them; if there are no others, the fields
// themselves.
func with(fields, others map[string]any) map[string]any {
	if len(fields) == 0 {
		return others
	}
	if len(others) == 0 {
		return fields
	}
	all := maps.Clone(fields)
	maps.Copy(all, others)
	return all
}

// ownDefaults replaces what the defaults point to by copies. They are copied as
// those of a request, which [copyOf] does too before a model gets them.
func (c *RetryConfig) ownDefaults() {
	if c.pointsToNothing() {
		return
	}
	own := copyOf(&llm.Request{Temperature: c.Temperature, Seed: c.Seed, Stop: c.Stop, Extra: c.Extra})
	c.Temperature, c.Seed, c.Stop, c.Extra = own.Temperature, own.Seed, own.Stop, own.Extra
}

func (c *RetryConfig) pointsToNothing() bool {
	return c.Temperature == nil && c.Seed == nil && len(c.Stop) == 0 && len(c.Extra) == 0
}
