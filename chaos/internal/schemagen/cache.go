package schemagen

import (
	"crypto/sha256"
	"sync"
)

// cache keeps compiled schemas, by their bytes: tests use the same few again and again,
// and compiling one takes longer than answering.
type cache struct {
	mu    sync.Mutex
	kept  map[[sha256.Size]byte]*Schema
	order [][sha256.Size]byte // the oldest first
}

// maxSchemas bounds the number of schemas that are kept.
const maxSchemas = 64

// compiled is shared by the whole process, since a schema never changes.
var compiled = cache{kept: map[[sha256.Size]byte]*Schema{}}

// Compiled is [Compile] with a cache of the last 64 schemas of the process.
func Compiled(source []byte) (*Schema, error) { return compiled.of(source) }

// of returns a compiled schema. Errors are not cached.
func (c *cache) of(source []byte) (*Schema, error) {
	key := sha256.Sum256(source)
	c.mu.Lock()
	s, ok := c.kept[key]
	c.mu.Unlock()
	if ok {
		return s, nil
	}
	// Two requests may compile the same schema at once. That costs less than making all
	// others wait for a large one.
	s, err := Compile(source)
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
