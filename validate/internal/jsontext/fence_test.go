package jsontext

import (
	"reflect"
	"strings"
	"testing"
)

func TestBlocksAreThoseOfMarkdown(t *testing.T) {
	for _, test := range []struct {
		text string
		want []string // their content
	}{
		{"", nil},
		{"prose", nil},
		{"a\n```json\n1\n```\nb", []string{"1\n"}},
		{"```\n1\n```\n~~~ My Label\n2\n~~~", []string{"1\n", "2\n"}},
		{"````\n```\n1\n```\n````\n", []string{"```\n1\n```\n"}},
		{"  ```go\n1\n\t```\n", []string{"1\n"}},
		{"```\r\n1\r\n```\r\n", []string{"1\r\n"}},
		{"```\n1", []string{"1"}},
		{"```\n", []string{""}},
		{"```x``` is code\n```\n1\n```", []string{"1\n"}},
		{"```json {\"a\": 1}```", nil},
	} {
		var got []string
		for _, b := range blocks(test.text) {
			got = append(got, test.text[b.inner:b.innerEnd])
		}
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%q: %q, want %q", test.text, got, test.want)
		}
	}
}

func FuzzBlocks(f *testing.F) {
	for _, seed := range []string{"a\n```json\n{}\n```\nb", "~~~\n````\n~~~~", "```", "``` `\n", "```\n```\n```"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at := 0
		for _, b := range blocks(text) {
			if b.start < at || b.inner <= b.start || b.innerEnd < b.inner || b.end < b.innerEnd || b.end > len(text) {
				t.Fatalf("%q: %+v", text, b)
			}
			opening := strings.TrimLeft(text[b.start:b.inner], " \t")
			if Fence(opening) == "" || b.end < len(text) && Fence(strings.TrimLeft(text[b.innerEnd:b.end], " \t")) == "" {
				t.Fatalf("%q: %+v has no fences", text, b)
			}
			at = b.end
		}
	})
}
