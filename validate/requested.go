package validate

import (
	"context"
	"fmt"
	"sync"
)

// RequestedSchema returns a check, named "requested_schema", that passes an answer which
// fits the JSON Schema that its own request asks for ([llm.Request.Schema]), as [JSONSchema]
// of that schema does. It is for programs whose requests come from elsewhere, each with a
// schema of its own. An answer passes if its request asks for none, is not known, or if it
// has no text and calls a tool: the schema is that of the answer, which is still to come.
//
// A schema is compiled when the first answer to it is checked; the 64 that were used last
// are kept. One that can't be compiled is a failure of the check.
func RequestedSchema() Strategy { return &requestedSchema{} }

// RequestedSchemaWithRepair is [RequestedSchema], but repairs the answer's JSON as
// [JSONWithRepair] does.
func RequestedSchemaWithRepair() Strategy { return &requestedSchema{repair: true} }

// maxCompiled is how many schemas a check keeps compiled.
const maxCompiled = 64

type requestedSchema struct {
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

func (*requestedSchema) Name() string    { return "requested_schema" }
func (c *requestedSchema) repairs() bool { return c.repair }

func (c *requestedSchema) Check(ctx context.Context, a *Answer) (Verdict, error) {
	if a.Request == nil || a.Request.Schema == nil {
		return Verdict{}, nil
	}
	if a.Text == "" && a.Response != nil && len(a.Response.Message.ToolCalls()) > 0 {
		return Verdict{}, nil
	}
	check, err := c.of(string(a.Request.Schema.JSON))
	if err != nil {
		return Verdict{}, fmt.Errorf("the schema that the request asks for: %w", err)
	}
	return check.Check(ctx, a)
}

// of returns the check of a schema.
func (c *requestedSchema) of(schema string) (Strategy, error) {
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
func (c *requestedSchema) keep(schema string, entry *compiledSchema) {
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

func requestedSchemaDefinition() Definition {
	return Definition{
		Info: Info{
			Name: "requested_schema", Example: "requested_schema",
			Summary: "the answer is JSON that fits the JSON Schema that its own request asks for, if it asks for one",
			Params:  []Param{repairParam},
		},
		Build: func(p Params) (Strategy, error) {
			repair, err := p.Flag("repair")
			if err != nil {
				return nil, err
			}
			return &requestedSchema{repair: repair}, nil
		},
	}
}
