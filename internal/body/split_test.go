package body

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
)

// What is taken apart is what encoding/json finds.
func FuzzSplit(f *testing.F) {
	for _, text := range []string{`{}`, `[]`, ` { "a" : [ 1 , {"b":"\\\"}"} ] , "\u0061" : null , "c":-1e5}`, `["\\","\\\\\"",[[]],{"":""},true , 0.5]`, "{\"\xff\":\"\xff\"}"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if !json.Valid(text) {
			return
		}
		n := node{&reader{}, "", present(text)}
		if n.missing() {
			return
		}
		switch n.raw[0] {
		case '{':
			var want map[string]json.RawMessage
			o, err := n.object()
			if jsonErr := json.Unmarshal(text, &want); jsonErr != nil || err != nil || len(o.fields) != len(want) {
				t.Fatalf("%q: %v, want %q: %v", text, o, want, err)
			}
			for name, raw := range want {
				if !bytes.Equal(o.fields[name], raw) {
					t.Fatalf("%q: %q is %q, want %q", text, name, o.fields[name], raw)
				}
			}
		case '[':
			var want []json.RawMessage
			list, err := n.list()
			if jsonErr := json.Unmarshal(text, &want); jsonErr != nil || err != nil || len(list) != len(want) {
				t.Fatalf("%q: %v, want %q: %v", text, list, want, err)
			}
			for i, raw := range want {
				if !bytes.Equal(list[i].raw, present(raw)) {
					t.Fatalf("%q: %d is %q, want %q", text, i, list[i].raw, raw)
				}
			}
		case '"':
			var want string
			if got, err := n.text(); json.Unmarshal(text, &want) != nil || err != nil || got != want {
				t.Fatalf("%q: %q, want %q", text, got, want)
			}
		}
	})
}

// The short way through a picture's base64 has the same end as the long one.
func FuzzData(f *testing.F) {
	for _, text := range []string{`"iVBORw0KGgo="`, `"data:image/PNG;base64,iVBORw0KGgo="`, `"data:image/png;charset=x;base64,AA=="`, `"data:,x"`, `"data:image/png;base64,A\nA=="`, `"DATA:a/b;base64,AA"`, `"AA=="`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if !json.Valid(text) {
			return
		}
		n := node{&reader{}, "", present(text)}
		mediaType, data, ok := n.plainData()
		if !ok {
			return
		}
		// A space before the first byte of base64 is what only the long way takes.
		long := node{n.r, "", bytes.Replace(n.raw, []byte(";base64,"), []byte("; base64,"), 1)}
		if bytes.Equal(long.raw, n.raw) {
			long.raw = append([]byte(`" `), n.raw[1:]...)
		}
		if longType, longData, err := long.data(); err != nil || longType != mediaType || !reflect.DeepEqual(longData, data) {
			t.Fatalf("%q: %q %q, want %q %q: %v", text, mediaType, data, longType, longData, err)
		}
	})
}
