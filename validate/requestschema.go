package validate

import (
	"context"
	"fmt"
	"sync"

	"llmcall/llm"
)

// RequestSchema returns a check, named "request_schema", that passes an answer which fits
// the JSON Schema that its own request asks for ([llm.Request.Schema]), as [JSONSchema] of
// that schema does. It is for requests that come from elsewhere, such as the lines of
// OpenAI's batch API, each of which may have a schema. An answer passes if its request asks
// for none, is not known, or if it calls a tool: the answer is then still to come.
//
// A schema is compiled when the first answer to it is checked; the 64 that were used last
// are kept. One that can't be compiled is an error of the check, not of the answer.
func RequestSchema() Strategy { return &requestSchema{} }

// maxCompiled is how many schemas a check keeps compiled.
const maxCompiled = 64

type requestSchema struct {
	repair bool

	mu       sync.Mutex
	compiled map[string]*compiledSchema
	used     uint64 // counts uses
}

// compiledSchema compiles a schema when it is first needed, once for all who wait for it.
type compiledSchema struct {
	check func() (Strategy, error)
	used  uint64 // when it was last used
}

func (*requestSchema) Name() string    { return "request_schema" }
func (c *requestSchema) repairs() bool { return c.repair }

func (c *requestSchema) Check(ctx context.Context, a *Answer) (Verdict, error) {
	if !asksForSchema(a.Request) || a.Response != nil && len(a.Response.Message.ToolCalls()) > 0 {
		return Verdict{}, nil
	}
	check, err := c.of(string(a.Request.Schema.JSON))
	if err != nil {
		return Verdict{}, fmt.Errorf("the schema that the request asks for: %w", err)
	}
	return check.Check(ctx, a)
}

// Begin watches for what can't become JSON, unless it may be repaired, or be said before the
// call of a tool.
func (c *requestSchema) Begin(req *llm.Request) Watcher {
	if c.repair || !asksForSchema(req) || len(req.Tools) > 0 && !req.NoToolCalls {
		return nil
	}
	return &syntax{check: c.Name()}
}

func asksForSchema(req *llm.Request) bool {
	return req != nil && req.Schema != nil && len(req.Schema.JSON) > 0
}

// of returns the check of a schema.
func (c *requestSchema) of(schema string) (Strategy, error) {
	c.mu.Lock()
	c.used++
	entry, known := c.compiled[schema]
	if !known {
		entry = &compiledSchema{check: sync.OnceValues(func() (Strategy, error) {
			return JSONSchemaWith([]byte(schema), SchemaOptions{Repair: c.repair})
		})}
		c.keep(schema, entry)
	}
	entry.used = c.used
	c.mu.Unlock()
	return entry.check()
}

// keep keeps a schema, and drops the one that was not used for the longest time if there are
// too many.
func (c *requestSchema) keep(schema string, entry *compiledSchema) {
	if c.compiled == nil {
		c.compiled = map[string]*compiledSchema{}
	}
	if len(c.compiled) >= maxCompiled {
		oldest, least := "", c.used
		for name, e := range c.compiled {
			if e.used < least {
				oldest, least = name, e.used
			}
		}
		delete(c.compiled, oldest)
	}
	c.compiled[schema] = entry
}

func requestSchemaDefinition() Definition {
	return Definition{
		Info: Info{
			Name: "request_schema", Example: "request_schema",
			Summary: "the answer is JSON that fits the JSON Schema that its own request asks for, if it asks for one",
			Params:  []Param{repairParam},
		},
		Build: func(p Params) (Strategy, error) {
			repair, err := p.Flag("repair")
			if err != nil {
				return nil, err
			}
			return &requestSchema{repair: repair}, nil
		},
	}
}
