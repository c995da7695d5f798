package llmcall

import (
	"bytes"
	"reflect"
	"slices"
	"unsafe"

	"llmcall/llm"
)

// copyOf returns a deep copy of a request, so that a model that keeps or changes
// its request affects neither the caller's nor that of the next attempt. Only the
// bytes of pictures, documents and recordings are shared, as [llm.Model] says: copying
// 10 MiB at each attempt and round of tool calls would cost 4.5 ms and as much memory.
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
			case llm.Document:
				p.Data = slices.Clip(p.Data)
				c.Messages[i].Parts[j] = p
			case llm.Audio:
				p.Data = slices.Clip(p.Data)
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

// copies maps the maps and slices of a value to their copies, so that what the
// value shares stays shared, and one that contains itself is possible.
type copies map[original]reflect.Value

type original struct {
	typ reflect.Type
	at  unsafe.Pointer
	n   int
}

// of returns a copy of a value that shares no map or slice with it, which is all
// that values of JSON consist of. Pointers and structs stay shared.
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
