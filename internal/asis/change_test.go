package asis_test

import (
	"bytes"
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"llmcall/internal/asis"

	"pgregory.net/rapid"
)

var (
	whole  = asis.Change{Model: []byte(`"m"`), Streams: true}
	stream = asis.Change{Model: []byte(`"m"`), Streams: true, Stream: true}
	usage  = asis.Change{Model: []byte(`"m"`), Streams: true, Stream: true, Usage: true}
	named  = asis.Change{Model: []byte(`"m"`), Named: true}
)

func TestApply(t *testing.T) {
	for _, step := range []struct {
		change     asis.Change
		body, want string
		added      bool
	}{
		{whole, `{"model":"x","n":1}`, `{"model":"m","n":1}`, false},
		{whole, ` { "model" : "x" , "n" : 1.0 } `, `{ "model" : "m" , "n" : 1.0 } `, false},
		{whole, `{}`, `{"model":"m"}`, false},
		{whole, `{ "n" : 1 }`, `{"model":"m", "n" : 1 }`, false},
		{whole, `{"n":{"model":"x"},"model":null}`, `{"n":{"model":"x"},"model":"m"}`, false},
		{whole, `{"s":"},\"model\":\"x\\","model":"x"}`, `{"s":"},\"model\":\"x\\","model":"m"}`, false},
		// Readers differ in which of two counts, and all of them read escapes.
		{whole, `{"model":"a","model":"b"}`, `{"model":"m","model":"m"}`, false},
		{whole, `{"mod\u0065l":"a"}`, `{"mod\u0065l":"m"}`, false},
		{whole, `{"Model":"a"}`, `{"model":"m","Model":"a"}`, false},
		{whole, `{"model":"x","stream":true}`, `{"model":"m","stream":false}`, false},
		{whole, `{"model":"x","stream":true,"stream_options":{"include_usage":true}}`, `{"model":"m","stream":false,"stream_options":null}`, false},

		{stream, `{"model":"x"}`, `{"stream":true,"model":"m"}`, false},
		{stream, `{}`, `{"model":"m","stream":true}`, false},
		{stream, `{"stream":false,"model":"x","stream_options":{}}`, `{"stream":true,"model":"m","stream_options":{}}`, false},

		{usage, `{"model":"x"}`, `{"stream":true,"stream_options":{"include_usage":true},"model":"m"}`, true},
		{usage, `{"model":"x","stream":true,"stream_options":null}`, `{"model":"m","stream":true,"stream_options":{"include_usage":true}}`, true},
		{usage, `{"model":"x","stream":true,"stream_options":{ }}`, `{"model":"m","stream":true,"stream_options":{"include_usage":true }}`, true},
		{usage, `{"model":"x","stream":true,"stream_options":{"new":1}}`, `{"model":"m","stream":true,"stream_options":{"include_usage":true,"new":1}}`, true},
		{usage, `{"stream_options":{"include_usage":false,"new":1},"model":"x","stream":true}`, `{"stream_options":{"include_usage":true,"new":1},"model":"m","stream":true}`, true},
		{usage, `{"model":"x","stream":true,"stream_options":{"include_usage":true}}`, `{"model":"m","stream":true,"stream_options":{"include_usage":true}}`, false},
		{usage, `{"model":"x","stream":true,"stream_options":7}`, `{"model":"m","stream":true,"stream_options":7}`, false}, // the provider's to refuse

		{named, `{"contents":[]}`, `{"contents":[]}`, false},
		{named, `{"contents":[],"model":"models/x","stream":1}`, `{"contents":[],"model":"m","stream":1}`, false},
	} {
		pieces, added, err := step.change.Apply([]byte(step.body))
		if got := string(bytes.Join(pieces, nil)); err != nil || got != step.want || added != step.added {
			t.Errorf("%+v of %s: got %s, %v, %v, want %s, %v", step.change, step.body, got, added, err, step.want, step.added)
		}
	}
	for _, body := range []string{``, ` `, `[]`, `7`, `{`, `{"`, `{"a`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{"a":1 "b":2}`, `{"a" 1}`, `{,}`, `{"a":,}`, `{"a":{"b":1}`} {
		if pieces, _, err := usage.Apply([]byte(body)); err == nil {
			t.Errorf("%s became %s", body, bytes.Join(pieces, nil))
		}
	}
}

// A picture of 20 MiB is neither copied nor read byte by byte.
func TestApplyDoesNotCopy(t *testing.T) {
	body := []byte(`{"model":"x","picture":"` + strings.Repeat("A", 20<<20) + `"}`)
	if n := testing.AllocsPerRun(10, func() { _, _, _ = whole.Apply(body) }); n > 8 {
		t.Errorf("%v allocations", n)
	}
	pieces, _, err := whole.Apply(body)
	if err != nil || &pieces[len(pieces)-1][0] != &body[len(body)-len(pieces[len(pieces)-1])] {
		t.Error("the rest of the body was copied")
	}
}

// drawJSON draws the text of a value, with space between its tokens.
func drawJSON(t *rapid.T, depth int) string {
	space := rapid.SampledFrom([]string{"", "", " ", "\n\t"})
	kinds := []string{`null`, `true`, `-1.50e+7`, `12345678901234567890`, `"model"`, `"a\"},{\\"`, `"\u006dodel"`, `""`, "object", "list"}
	if depth == 0 {
		kinds = kinds[:8]
	}
	switch kind := rapid.SampledFrom(kinds).Draw(t, "kind"); kind {
	case "object":
		return drawObject(t, depth-1)
	case "list":
		text := "["
		for i := range rapid.IntRange(0, 3).Draw(t, "values") {
			if i > 0 {
				text += ","
			}
			text += space.Draw(t, "space") + drawJSON(t, depth-1)
		}
		return text + space.Draw(t, "space") + "]"
	default:
		return kind
	}
}

func drawObject(t *rapid.T, depth int) string {
	space := rapid.SampledFrom([]string{"", "", " ", "\r\n"})
	name := rapid.SampledFrom([]string{`"model"`, `"mod\u0065l"`, `"stream"`, `"stream_options"`, `"include_usage"`, `"other"`, `""`, `"\\"`, `"{\"model\":"`})
	text := "{"
	for i := range rapid.IntRange(0, 5).Draw(t, "members") {
		if i > 0 {
			text += ","
		}
		text += space.Draw(t, "space") + name.Draw(t, "name") + space.Draw(t, "space") + ":" + space.Draw(t, "space") + drawJSON(t, depth) + space.Draw(t, "space")
	}
	return text + space.Draw(t, "space") + "}"
}

// expected is what has to become of a body, as a reader sees it for whom the last of several
// members of a name counts.
func expected(t *rapid.T, c asis.Change, body string) map[string]any {
	fields := decoded(t, []byte(body))
	if _, ok := fields["model"]; ok || !c.Named {
		fields["model"] = "m"
	}
	if _, ok := fields["stream"]; c.Streams && (ok || c.Stream) {
		fields["stream"] = c.Stream
	}
	options, there := fields["stream_options"]
	switch {
	case c.Streams && !c.Stream && there:
		fields["stream_options"] = nil
	case c.Usage && options == nil:
		fields["stream_options"] = map[string]any{"include_usage": true}
	case c.Usage:
		if object, ok := options.(map[string]any); ok {
			object["include_usage"] = true
		}
	}
	return fields
}

func decoded(t interface{ Fatalf(string, ...any) }, body []byte) map[string]any {
	var fields map[string]any
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if err := decoder.Decode(&fields); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return fields
}

func TestApplyChangesNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		change := rapid.SampledFrom([]asis.Change{whole, stream, usage, named}).Draw(t, "change")
		body := drawObject(t, 3)
		pieces, added, err := change.Apply([]byte(body))
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		got := decoded(t, bytes.Join(pieces, nil))
		if want := expected(t, change, body); !reflect.DeepEqual(got, want) {
			t.Fatalf("%s became %s, want %v", body, bytes.Join(pieces, nil), want)
		}
		if again, more, err := change.Apply(bytes.Join(pieces, nil)); err != nil || more || !bytes.Equal(bytes.Join(again, nil), bytes.Join(pieces, nil)) {
			t.Fatalf("once more: %s, %v, %v, %v", bytes.Join(again, nil), added, more, err)
		}
	})
}

func FuzzApply(f *testing.F) {
	f.Add([]byte(`{"model":"x","stream_options":{"include_usage":false}}`))
	f.Add([]byte(`{"a":"\\\"","b":[{}],"c"`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, change := range []asis.Change{whole, stream, usage, named} {
			pieces, _, err := change.Apply(body)
			if !json.Valid(body) {
				continue
			}
			if object := bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")); object != (err == nil) {
				t.Fatalf("%s: %v", body, err)
			}
			if err == nil && !json.Valid(bytes.Join(pieces, nil)) {
				t.Fatalf("%s became %s", body, bytes.Join(pieces, nil))
			}
		}
	})
}

func TestFrom(t *testing.T) {
	x := &asis.Exchange{}
	//lint:ignore SA1012 callers of a model may give it none
	if asis.From(nil) != nil || asis.From(context.Background()) != nil || asis.From(asis.With(context.Background(), x)) != x {
		t.Error("not what With was given")
	}
}

func BenchmarkApply(b *testing.B) {
	body := []byte(`{"model":"x","messages":[{"role":"user","content":"` + strings.Repeat("a", 1000) + `"}],"temperature":0.5}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := whole.Apply(body); err != nil {
			b.Fatal(err)
		}
	}
}
