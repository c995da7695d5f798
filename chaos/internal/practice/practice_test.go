package practice

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"llmcall/chaos/internal/schemagen"
)

func chance(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func TestComplaintsAreReadTolerantly(t *testing.T) {
	for _, c := range []struct {
		feedback string
		want     demands
	}{
		{`include the text "Berlin"`, demands{contain: []string{"Berlin"}}},
		{`the text "Berlin" is missing: include the text "Berlin"`, demands{contain: []string{"Berlin"}}},
		{"The answer does not contain 'Berlin'.", demands{contain: []string{"Berlin"}}},
		{"It must mention “Berlin”, and `Rome`", demands{contain: []string{"Berlin", "Rome"}}},
		{`It should include "a", "b" and "c".`, demands{contain: []string{"a", "b", "c"}}},
		{`include the text "say \"hi\""`, demands{contain: []string{`say "hi"`}}},
		{`It contains "foo". Leave out "foo".`, demands{exclude: []string{"foo"}}},
		{"The answer must not contain the word `foo`", demands{exclude: []string{"foo"}}},
		{"Don't mention 'it's me'", demands{exclude: []string{"it's me"}}},
		{`answer with text that matches the regular expression "^A\\d+"`, demands{match: []string{`^A\d+`}}},
		{`It must match "^A\d+$"`, demands{match: []string{`^A\d+$`}}},
		{"nothing in the answer matches the pattern `[a-z]\"`", demands{match: []string{`[a-z]"`}}},
		{"It must not match `^A`", demands{mismatch: []string{"^A"}}},
		{`It must match "("`, demands{}},
		{"too few characters: expected at least 3, got 2: make it at least 3 characters long", demands{least: 3}},
		{"make it at most 200 characters long", demands{most: 200}},
		{"Use no more than 1,000 characters and no fewer than 20.", demands{least: 20, most: 1000}},
		{"between 3 and 200 characters", demands{least: 3, most: 200}},
		{"exactly 7 characters", demands{least: 7, most: 7}},
		{"at least 5 words, at most 3 items, between 1 and 2 lines", demands{words: span{least: 5}}},
		{"between 2 and 4 sentences", demands{sentences: span{2, 4}}},
		{"answer with JSON alone", demands{json: true}},
		{"The answer is not valid JSON.", demands{json: true}},
		{"The answer must not be JSON.", demands{}},
		{"And what about Rome?", demands{}},
		{"1. include the text \"Berlin\"\n2. make it at most 50 characters long", demands{contain: []string{"Berlin"}, most: 50}},
		{`"unclosed`, demands{}},
		{"", demands{}},
	} {
		if c.want.most == 0 {
			c.want.most = schemagen.Unbounded
		}
		got := demandsIn(c.feedback)
		for _, list := range []*[]string{&got.contain, &got.exclude, &got.match, &got.mismatch} {
			if len(*list) == 0 {
				*list = nil
			}
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q:\n got %+v\nwant %+v", c.feedback, got, c.want)
		}
	}
}

func TestAComplaintIsReadPointByPoint(t *testing.T) {
	feedback := "1. At /a b/0: Line 3, column 7: the text \"Berlin\" is missing\nFix: include the text \"Berlin\"\n" +
		"2. Line 4: it is odd\n" +
		"3. none holds\nFix: do one of these: at /x put null there, and add the property \"b\"; or put an array there\n" +
		"4. At /c: there is nothing here\nFix: add it: write a date and nothing else, like 2026-01-31\n" +
		"5. At /d: Column 9: it is odd too\n\n" +
		"These checks passed, and must still pass: json.\nTry again."
	want := []point{
		{[]string{"a b", "0"}, 3, 7, `the text "Berlin" is missing`, `include the text "Berlin"`},
		{nil, 4, 0, "it is odd", "it is odd"},
		{[]string{"x"}, 0, 0, "none holds", "put null there"},
		{nil, 0, 0, "none holds", `add the property "b"`},
		{[]string{"c"}, 0, 0, "there is nothing here", "write a date and nothing else, like 2026-01-31"},
		{[]string{"d"}, 1, 9, "it is odd too", "it is odd too"},
	}
	if got := pointsOf(feedback); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	alone := "Column 7: it has a comma too many\nFix: leave out the comma\n\nIMPORTANT: use the tool \"look\".\nTry again."
	if got := pointsOf(alone); !reflect.DeepEqual(got, []point{{nil, 1, 7, "it has a comma too many", "leave out the comma"}}) {
		t.Errorf("%+v", got)
	}
	if got := pointsOf("It must mention \"Berlin\".\nThe original request was:\nx"); len(got) != 1 || got[0].fix != "It must mention \"Berlin\".\n" {
		t.Errorf("%+v", got)
	}
}

// What the complaint does not speak of stays as it was, and what it says of one
// place is done there alone.
func TestJSONIsFixedWhereTheComplaintSays(t *testing.T) {
	for _, c := range []struct{ previous, points, want string }{
		{`{"a": {"b": 1}, "c": 2.50}`, "1. At /a/b: 1 is less than 3\n   Fix: make it at least 3", `{"a":{"b":3},"c":2.50}`},
		{`{"a": [1, 2, 3]}`, "1. At /a/0: x\n   Fix: leave it out\n\n2. At /a/2: x\n   Fix: leave it out", `{"a":[2]}`},
		{`{"a": 1, "b": 2}`, "1. the properties \"a\", \"b\" are not allowed\n   Fix: leave them out; allowed are \"c\"", `{}`},
		{`{"a": "x"}`, "1. At /a: x\n   Fix: use one of \"a, b\", 3", `{"a":"a, b"}`},
		{`{"homeTown": 1}`, "1. the object has no property \"home_town\", but has \"homeTown\"\n   Fix: write the name as \"home_town\"", `{"home_town":1}`},
		{`{"a": 8, "b": "8"}`, "1. At /a: x\n   Fix: make it a multiple of 5", `{"a":5,"b":"8"}`},
		{`{"a": 7}`, "1. At /a: x\n   Fix: make it less than 7", `{"a":6}`},
		{`{"a": 1e999999999}`, "1. At /a: x\n   Fix: make it at most 3", `{"a":0}`},
		{"{\"a\": \"it's // 'so'\", 'b': 2, // x\n}", "1. Line 1, column 23: x\n   Fix: use double quotes\n\n2. Line 1, column 31: x\n   Fix: leave comments out: JSON has none",
			"{\"a\": \"it's // 'so'\", \"b\": 2, \n}"},
	} {
		if got, ok := Answer(c.previous, c.points, false, chance(1)); !ok || got != c.want {
			t.Errorf("%s, %s:\n got %s\nwant %s", c.previous, c.points, got, c.want)
		}
	}
}

func TestAFixedAnswerIsAsTheComplaintAsks(t *testing.T) {
	for _, c := range []struct{ previous, feedback string }{
		{"An answer about Rome.", `include the text "Berlin"`},
		{"", `include the text "Berlin"`},
		{"An answer.", `include "Berlin", "Rome" and "Paris"; make it at most 20 characters long`},
		{"An answer about Rome.", "leave out \"Rome\""},
		{"x", "make it at least 300 characters long"},
		{strings.Repeat("long ", 100), "make it at most 17 characters long"},
		{"x", "between 12 and 12 characters"},
		{"x", "make it at most 0 characters long"},
		{"x", "answer with text that matches the regular expression \"^[A-Z]{3}-[0-9]+$\"; make it at least 20 characters long"},
		{"x", "match `Berlin|Rome`, mention \"capital\""},
		{"Certainly!", "answer with JSON alone"},
		{"Here: ```json\n{\"a\": 1}\n```", "answer with JSON alone"},
		{"x", "answer with JSON; include the text \"Berlin\"; at least 100 characters"},
		{`{"a":1}`, `include the text "Berlin"`},
		{"\xff\xfe", "make it at least 5 characters long"},
	} {
		for seed := range uint64(20) {
			answer, ok := Answer(c.previous, c.feedback, false, chance(seed))
			if !ok || !demandsIn(c.feedback).met(answer) {
				t.Errorf("%q after %q: %q, %v", c.feedback, c.previous, answer, ok)
			}
		}
	}
	if answer, _ := Answer("Here: {\"a\": 1}", "it must be valid JSON", false, chance(1)); answer != `{"a": 1}` {
		t.Errorf("JSON in prose was not taken out of it: %s", answer)
	}
}

func TestAFixKeepsWhatWasRightBefore(t *testing.T) {
	previous := strings.Repeat("x", 80)
	answer, _ := Answer(previous, `include the text "Berlin"`, false, chance(1))
	if utf8.RuneCountInString(answer) != 80 {
		t.Errorf("the length changed from 80: %q", answer)
	}
	answer, _ = Answer("Berlin is a city in Germany, with a long history", "make it at most 20 characters long", false, chance(1))
	if !strings.HasPrefix(answer, "Berlin") {
		t.Errorf("the text that was there is gone: %q", answer)
	}
	if answer, _ := Answer("x", `include the text "Berlin"`, true, chance(1)); !json.Valid([]byte(answer)) {
		t.Errorf("the request asks for JSON, and got %q", answer)
	}
}

// Each complaint speaks of what fails now, and not of what was fixed before.
func TestComplaintsComeToAnEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := demands{most: schemagen.Unbounded, json: rapid.Bool().Draw(t, "json")}
		if rapid.Bool().Draw(t, "contain") {
			want.contain = []string{"Berlin", "Rome"}[:rapid.IntRange(1, 2).Draw(t, "texts")]
		}
		if rapid.Bool().Draw(t, "exclude") {
			want.exclude = []string{"invented"}
		}
		want.least = rapid.IntRange(0, 300).Draw(t, "least")
		if rapid.Bool().Draw(t, "limit") {
			want.most = max(want.least, 60) + rapid.IntRange(0, 200).Draw(t, "more")
		}
		r := chance(rapid.Uint64().Draw(t, "seed"))
		answer := rapid.SampledFrom([]string{"", Prose(r), `{"answer":"Rome"}`, "Certainly! Rome."}).Draw(t, "first")
		for rounds := 0; !want.met(answer); rounds++ {
			if rounds == 5 {
				t.Fatalf("%+v: still %q", want, answer)
			}
			var complaint strings.Builder
			for _, s := range want.contain {
				if !strings.Contains(answer, s) {
					fmt.Fprintf(&complaint, "the text %[1]q is missing\n   Fix: include the text %[1]q\n", s)
				}
			}
			for _, s := range want.exclude {
				if strings.Contains(answer, s) {
					fmt.Fprintf(&complaint, "leave out %q\n", s)
				}
			}
			n := utf8.RuneCountInString(answer)
			if n < want.least {
				fmt.Fprintf(&complaint, "make it at least %d characters long\n", want.least)
			}
			if n > want.most {
				fmt.Fprintf(&complaint, "make it at most %d characters long\n", want.most)
			}
			if want.json && !json.Valid([]byte(answer)) {
				complaint.WriteString("answer with JSON alone\n")
			}
			var ok bool
			if answer, ok = Answer(answer, complaint.String(), false, r); !ok {
				t.Fatalf("not understood: %s", complaint.String())
			}
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add("An answer.", `include the text "Berlin"; make it at most 20 characters long`, false)
	f.Add("x", "match `(a*)*b{3,}`, at least 16000 characters, valid JSON", true)
	f.Add("“", "‘contain “x", false)
	f.Add(`{"a": [1]}`, "1. At /a: x\n   Fix: add 9 items that fit the schema {\"type\": \"object\"}", false)
	f.Add(`{"a": 1}`, "1. At /a: x\n   Fix: make it more than 1e9, and at /b/c add the properties \"d\" (an object), \"e\"", false)
	f.Add("", "between 99999999999999999999 and 1", false)
	f.Fuzz(func(t *testing.T, previous, feedback string, mustJSON bool) {
		start := time.Now()
		Answer(previous, feedback, mustJSON, chance(1))
		if d := time.Since(start); d > 30*time.Second {
			t.Errorf("took %v", d)
		}
	})
}
