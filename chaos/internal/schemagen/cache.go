package schemagen

import (
	"crypto/sha256"
	"sync"
)

// cache keeps compiled schemas, by their bytes: a test or a soak asks for the
// same few again and again, and to compile one takes longer than to answer.
type cache struct {
	mu    sync.Mutex
	kept  map[[sha256.Size]byte]*Schema
	order [][sha256.Size]byte // the eldest first
}

// maxSchemas is the number of schemas that are kept.
const maxSchemas = 64

// compiled is shared by the whole process: a schema never changes.
var compiled = cache{kept: map[[sha256.Size]byte]*Schema{}}

// Compiled returns a schema as [Compile] does, and keeps it: of the last 64
// schemas of the process each is compiled once.
func Compiled(source []byte) (*Schema, error) { return compiled.of(source) }

// of returns a schema, compiled. One that can't be compiled is not kept.
func (c *cache) of(source []byte) (*Schema, error) {
	key := sha256.Sum256(source)
	c.mu.Lock()
	s, ok := c.kept[key]
	c.mu.Unlock()
	if ok {
		return s, nil
	}
	// Two requests at once may compile the same: that costs less than to let
	// all others wait for a large one.
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
