package chaos

import (
	"crypto/sha256"
	"sync"
)

// schemaCache keeps compiled schemas, by their bytes: a test or a soak asks for the
// same few again and again, and to compile one takes longer than to answer.
type schemaCache struct {
	mu    sync.Mutex
	kept  map[[sha256.Size]byte]*schema
	order [][sha256.Size]byte // the eldest first
}

// maxSchemas is the number of schemas that are kept.
const maxSchemas = 64

// compiled is shared by all servers of the process: a schema never changes.
var compiled = schemaCache{kept: map[[sha256.Size]byte]*schema{}}

// of returns a schema, compiled. One that can't be compiled is not kept.
func (c *schemaCache) of(source []byte) (*schema, error) {
	key := sha256.Sum256(source)
	c.mu.Lock()
	s, ok := c.kept[key]
	c.mu.Unlock()
	if ok {
		return s, nil
	}
	// Two requests at once may compile the same: that costs less than to let
	// all others wait for a large one.
	s, err := compile(source)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.kept[key]; !ok {
		c.kept[key] = s
		c.order = append(c.order, key)
	}
	if len(c.order) > maxSchemas {
		delete(c.kept, c.order[0])
		c.order = append(c.order[:0], c.order[1:]...)
	}
	return s, nil
}
