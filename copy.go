package llmcall

import (
	"bytes"
	"reflect"
	"slices"
	"unsafe"

	"llmcall/llm"
)

// copyOf returns a copy of a request that shares nothing that is small and can
// be written: what a model keeps or changes of its request must reach neither
// the caller's nor that of the next attempt. The bytes of pictures are shared,
// as [llm.Model] says: to copy 10 MiB at each attempt and round of tool calls
// costs 4.5 ms and as much memory.
func copyOf(r *llm.Request) *llm.Request {
	c := *r
	c.Messages = make([]llm.Message, len(r.Messages))
	for i, m := range r.Messages {
		c.Messages[i] = llm.Message{Role: m.Role, Parts: slices.Clone(m.Parts)}
		for j, part := range m.Parts {
			switch p := part.(type) {
			case llm.Image:
				p.Data = slices.Clip(p.Data) // so that an append makes a copy
				c.Messages[i].Parts[j] = p
			case llm.ToolCall:
				p.Arguments, p.Signature = bytes.Clone(p.Arguments), bytes.Clone(p.Signature)
				c.Messages[i].Parts[j] = p
			case llm.Reasoning:
				p.Data = bytes.Clone(p.Data)
				c.Messages[i].Parts[j] = p
			}
		}
	}
	c.Tools = slices.Clone(r.Tools)
	for i := range c.Tools {
		c.Tools[i].Parameters = bytes.Clone(c.Tools[i].Parameters)
	}
	if r.Schema != nil {
		c.Schema = &llm.Schema{Name: r.Schema.Name, JSON: bytes.Clone(r.Schema.JSON)}
	}
	if r.Temperature != nil {
		c.Temperature = new(*r.Temperature)
	}
	if r.Seed != nil {
		c.Seed = new(*r.Seed)
	}
	c.Stop = slices.Clone(r.Stop)
	if r.Extra != nil {
		c.Extra = copies{}.of(reflect.ValueOf(r.Extra)).Interface().(map[string]any)
	}
	return &c
}

// copies are the maps and slices that have been copied. To know them again keeps
// what is shared within a value shared, and ends where it holds itself.
type copies map[original]reflect.Value

type original struct {
	typ reflect.Type
	at  unsafe.Pointer
	n   int
}

// of returns a copy of a value that shares no map or slice with it: of what JSON
// is made of, that is all. What is within a pointer or a struct stays shared.
func (c copies) of(v reflect.Value) reflect.Value {
	if v.Kind() == reflect.Interface {
		if v.IsNil() {
			return v
		}
		return c.of(v.Elem())
	}
	if v.Kind() != reflect.Map && v.Kind() != reflect.Slice || v.IsNil() {
		return v
	}
	from := original{v.Type(), v.UnsafePointer(), v.Len()}
	if known, ok := c[from]; ok {
		return known
	}
	if v.Kind() == reflect.Map {
		own := reflect.MakeMapWithSize(v.Type(), v.Len())
		c[from] = own
		for m := v.MapRange(); m.Next(); {
			own.SetMapIndex(m.Key(), c.of(m.Value()))
		}
		return own
	}
	own := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
	c[from] = own
	reflect.Copy(own, v)
	switch v.Type().Elem().Kind() {
	case reflect.Interface, reflect.Map, reflect.Slice:
		for i := range own.Len() {
			own.Index(i).Set(c.of(v.Index(i)))
		}
	}
	return own
}
