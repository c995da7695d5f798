package validate_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"llmcall/validate"
)

// Answers of which a repair once made values that nobody had written. Each is refused, or
// becomes what was meant.
func TestNoRepairInventsLosesOrMovesAValue(t *testing.T) {
	for _, test := range []struct{ name, text, meant string }{
		{"an item invented", `["say "hi"", "x"]`, `["say \"hi\"", "x"]`},
		{"an item invented within an object", `{"k": ["he said "no"", "ok"], "n": 1}`, `{"k": ["he said \"no\"", "ok"], "n": 1}`},
		{"an item invented after a bracket too many", `[[1, 2]", "x", 3.5]`, ""},
		{"a name with a colon, before an array", `{"tags: ["a", "b"], "n": 1}`, ""},
		{"a name with a colon, before an object", `{"x": 1, "n: {"y": "b", "z": 2}}`, ""},
		{"a string split at its comma", `["O'Neil, J., {"n": 1}]`, ""},
		{"a property moved into another object", `[3, {"u": {"s": "a b}, "f": 1}]`, ""},
		{"a backslash lost", `{"p": 'C:\dir'}`, `{"p": "C:\\dir"}`},
		{"a quote too many", `{"city": "Oslo"n"}`, ""},

		// Others of the kind.
		{"a member moved by a brace that is missing", `[{"a": {"b": 1, "c": 2}]`, ""},
		{"an item moved by a bracket that is missing", `{"a": [1, [2, 3]}`, ""},
		{"an array lost with its opening bracket", `[1]]`, ""},
		{"an array lost around an object", `{"a": 1}]`, ""},
		{"the object around lost with its brace", `"x": 1, "y": {"b": 2}}`, ""},
		{"a member lost after a brace too many", `{"a": {"x": 1}} "c": 2}`, ""},
		{"a string split in an array without quotes", `{"a": [x, y z]}`, ""},
		{"two strings made one", `["a""b"]`, ""},
		{"a member swallowed by a string", `{"k": "v, n": "w"}`, ""},
		{"a line break that was a directory", `{"p": "C:\new\dir"}`, ""},
		{"a letter that was an escape of another language", `{"p": 'caf\xe9'}`, ""},
		{"an item before the first comma lost", `[, 1]`, ""},
		{"an address cut at its slashes", "{\"u\": http://x.org,\n\"n\": 1}", ""},
		{"a comment that was the end of a string", "{\"u\": x // y,\n\"n\": 1}", ""},

		// Those that a generator of other damage found: characters lost, swapped,
		// replaced and doubled anywhere, and texts put in.
		{"a literal with a slip made a string", `{"a": 1, "b": fasle}`, ""},
		{"a literal cut off made a string", `{"a": tru, "b": 1}`, ""},
		{"not a number made a string", `{"a": nan}`, ""},
		{"a number split at its thousands", `[1 583, 2 000]`, ""},
		{"a range split", `[1 -2]`, ""},
		{"a comma moved into a string", `["Bonn," "Oslo"]`, ""},
		{"a comma moved into a string of an object", "{\"a\": \"x,\"\n\"b\": 2}", ""},
		{"a bracket moved into a string", `{"a": ["b]"}`, ""},
		{"an empty object invented", `[{]`, ""},
		{"an empty array invented", `{"a": [}`, ""},
		{"an empty string invented", "[\"“a”\",\n”\",\n1]", ""},
		{"an escape that has lost digits made a directory", `{"a": "caf\u0e9"}`, ""},
		{"a backslash that has lost its quote", `{"a": "say \hi\""}`, ""},
		{"backslashes left before quotes", `{"a": "\“hi\”"}`, ""},
		{"backslashes left before single quotes", `{"a": "he said \'hi\' to me"}`, ""},

		// What still is repaired.
		{"an apostrophe with a backslash", `{"a": "the dogs\' tails"}`, `{"a": "the dogs' tails"}`},
		{"numbers in lines", "[1\n 583]", `[1, 583]`},
		{"a word without quotes", `{"a": yes}`, `{"a": "yes"}`},
		{"an attribute of HTML", `{"html": "<a href="x">y</a>"}`, `{"html": "<a href=\"x\">y</a>"}`},
		{"speech in a list", `["she said, "go", and left", "x"]`, ""},
		{"speech in a property", `{"a": "she said, "go", and left", "b": 1}`, `{"a": "she said, \"go\", and left", "b": 1}`},
		{"a regular expression", `{"re": "^\d+\.\d+$"}`, `{"re": "^\\d+\\.\\d+$"}`},
		{"a brace that is missing in an array", `[{"a": 1, "b": [2]]`, `[{"a": 1, "b": [2]}]`},
	} {
		report := check(t, validate.JSONWithRepair(), test.text)
		switch {
		case test.meant == "" && report.Decoded:
			t.Errorf("%s: %s\nbecame %s", test.name, test.text, report.Text)
		case test.meant != "" && !reflect.DeepEqual(report.Value, reference(t, test.meant)):
			t.Errorf("%s: %s\nbecame %s, %v", test.name, test.text, report.Text, lines(report.Complaints))
		}
	}
}

// marks are what JSON's structure is made of; damage loses or doubles one of them.
const marks = `"[]{},:\`

// damage loses or doubles one mark of a text.
func damage(t *rapid.T, text string) string {
	var at []int
	for i := range len(text) {
		escaped := text[i] == '"' && i > 0 && text[i-1] == '\\' // loses its backslash, or nothing
		if strings.IndexByte(marks, text[i]) >= 0 && !escaped {
			at = append(at, i)
		}
	}
	if len(at) == 0 {
		return text
	}
	i := rapid.SampledFrom(at).Draw(t, "mark")
	if rapid.Bool().Draw(t, "doubled") {
		return text[:i] + text[i:i+1] + text[i:]
	}
	return text[:i] + text[i+1:]
}

// documents draws objects and arrays that models would write, and their text as models
// would write it.
func documents(t *rapid.T, words *rapid.Generator[string]) string {
	var value func(depth int) *rapid.Generator[any]
	value = func(depth int) *rapid.Generator[any] {
		scalars := []*rapid.Generator[any]{
			words.AsAny(), words.AsAny(), rapid.IntRange(-5, 2000).AsAny(), rapid.Just(any(2.5)), rapid.Bool().AsAny(), rapid.Just[any](nil),
		}
		if depth > 0 {
			scalars = append(scalars,
				rapid.SliceOfN(rapid.Deferred(func() *rapid.Generator[any] { return value(depth - 1) }), 0, 3).AsAny(),
				rapid.MapOfN(words, rapid.Deferred(func() *rapid.Generator[any] { return value(depth - 1) }), 0, 3).AsAny())
		}
		return rapid.OneOf(scalars...)
	}
	var top any = rapid.MapOfN(words, value(3), 1, 3).Draw(t, "object")
	if rapid.Bool().Draw(t, "whether it is a list") {
		top = rapid.SliceOfN(value(3), 1, 4).Draw(t, "list")
	}
	var text []byte
	var err error
	if rapid.Bool().Draw(t, "indented") {
		text, err = json.MarshalIndent(top, "", "  ")
	} else {
		text, err = json.Marshal(top)
	}
	if err != nil {
		t.Fatal(err)
	}
	if rapid.Bool().Draw(t, "spaced") {
		return spaced(string(text))
	}
	return string(text)
}

// spaced writes a space after each comma and colon between values, as Python does.
func spaced(text string) string {
	var b strings.Builder
	within := false
	for i := range len(text) {
		c := text[i]
		b.WriteByte(c)
		if c == '"' && (i == 0 || text[i-1] != '\\' || strings.HasSuffix(text[:i], `\\`)) {
			within = !within
		}
		if !within && (c == ',' || c == ':') {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// natural are texts as people write them, and identifiers.
var natural = rapid.SampledFrom([]string{
	"", "a", "Bonn", "city", "a b", "O'Neil, J.", `say "hi"`, `"no"`, `he said "no", then left`, `C:\dir\new`, "one\ntwo", "x: y", "tags", "n",
	"https://example.org/a?b=c", `5" wide`, "[see note]", "{x}", "…", `^\d+$`, "e.g. this", "dc:title", "12", "true", "it's", "see // it", `<a href="x">y</a>`,
})

// structural are texts of JSON's own marks. None is a comment or a string of another
// language once it has lost both quotes.
var structural = rapid.StringOfN(rapid.SampledFrom([]rune(`}{][,:"\ ab1`)), 0, 8, -1)

// A damaged document is refused, or becomes the document that it was. Where two damages
// would have made the same text of another document, that one is as right: it is no
// further from the text than the first.
func damagedIsNeverMadeAnother(words *rapid.Generator[string], repaired, all *int) func(*rapid.T) {
	return func(t *rapid.T) {
		whole := documents(t, words)
		damages := rapid.IntRange(1, 2).Draw(t, "damages")
		text := whole
		for range damages {
			text = damage(t, text)
		}
		if rapid.IntRange(0, 19).Draw(t, "whether it is cut") == 0 { // and nothing else
			damages, text = 1, whole[:rapid.IntRange(0, len(whole)).Draw(t, "cut")]
		}
		if json.Valid([]byte(text)) {
			return // nothing is to be repaired
		}
		*all++
		report := check(t, validate.JSONWithRepair(), text)
		if !report.Decoded {
			return
		}
		*repaired++
		if len(report.Repaired) == 0 {
			t.Fatalf("%s\nbecame\n%s\nand nothing is said of it", text, report.Text)
		}
		if reflect.DeepEqual(report.Value, reference(t, whole)) {
			return
		}
		if d := distance(report.Text, strings.TrimSpace(text)); damages == 1 || d > damages {
			t.Fatalf("%s\ndamaged %d times:\n%s\nbecame, %d away:\n%s\n%v", whole, damages, text, d, report.Text, report.Repaired)
		}
	}
}

func TestADamagedDocumentIsNeverMadeAnother(t *testing.T) {
	for name, words := range map[string]*rapid.Generator[string]{"natural": natural, "structural": structural, "both": rapid.OneOf(natural, structural)} {
		repaired, all := 0, 0
		rapid.Check(t, damagedIsNeverMadeAnother(words, &repaired, &all))
		t.Logf("%s: %d of %d are repaired", name, repaired, all)
	}
}

func FuzzDamage(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(damagedIsNeverMadeAnother(rapid.OneOf(natural, structural), new(int), new(int))))
}

// distance is how many marks are to be put in or left out to make one text of the other; a
// large number if that is not enough.
func distance(a, b string) int {
	const far = 1 << 20
	row := make([]int, len(b)+1)
	cost := func(c byte) int {
		if strings.IndexByte(marks, c) >= 0 {
			return 1
		}
		return far
	}
	for j := range len(b) {
		row[j+1] = row[j] + cost(b[j])
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] += cost(a[i])
		for j := range len(b) {
			best := min(row[j+1]+cost(a[i]), row[j]+cost(b[j]))
			if a[i] == b[j] {
				best = min(best, diagonal)
			}
			diagonal, row[j+1] = row[j+1], best
		}
	}
	return row[len(b)]
}
