package schemagen

import (
	"fmt"
	"sync"
	"testing"
)

func TestCompiledSchemasAreKeptAndBounded(t *testing.T) {
	c := cache{kept: map[[32]byte]*Schema{}}
	numbered := func(i int) []byte { return fmt.Appendf(nil, `{"type":"string","minLength":%d}`, i) }
	of := func(i int) *Schema {
		s, err := c.of(numbered(i))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := of(0)
	if of(0) != first || of(1) == first {
		t.Error("a schema is told by its bytes")
	}
	for i := range maxSchemas + 10 {
		of(i)
	}
	if of(0) == first || len(c.kept) != maxSchemas || len(c.order) != maxSchemas {
		t.Errorf("%d schemas are kept, of which the order holds %d", len(c.kept), len(c.order))
	}
	if _, err := c.of([]byte(`{"type":"objekt"}`)); err == nil || len(c.kept) != maxSchemas {
		t.Errorf("a schema that is wrong: %v", err)
	}
}

func TestOneSchemaServesManyRequestsAtOnce(t *testing.T) {
	c := cache{kept: map[[32]byte]*Schema{}}
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for j := range 3 * maxSchemas {
				if _, err := c.of(fmt.Appendf(nil, `{"minLength":%d}`, (i+j)%(2*maxSchemas))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if len(c.kept) != maxSchemas || len(c.order) != maxSchemas {
		t.Errorf("%d schemas are kept, of which the order holds %d", len(c.kept), len(c.order))
	}
}
