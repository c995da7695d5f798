package validate_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"llmcall/validate"
)

// pythonic writes a value as Python does, with a comma behind the last one.
func pythonic(value any) string {
	switch v := value.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case string:
		text, err := json.Marshal(v)
		if err != nil {
			panic(err) // no string can't be written
		}
		inner := strings.ReplaceAll(string(text[1:len(text)-1]), `\"`, `"`)
		return "'" + strings.ReplaceAll(inner, "'", `\'`) + "'"
	case []any:
		var b strings.Builder
		for _, item := range v {
			b.WriteString(pythonic(item) + ", ")
		}
		return "[" + b.String() + "]"
	case map[string]any:
		var b strings.Builder
		for _, key := range slices.Sorted(maps.Keys(v)) {
			b.WriteString(pythonic(key) + ": " + pythonic(v[key]) + ", ")
		}
		return "{" + b.String() + "}"
	}
	return fmt.Sprint(value) // a json.Number
}

// objects draws objects, with numbers as json.Number.
func objects(t *rapid.T) map[string]any {
	text, err := json.Marshal(rapid.MapOfN(rapid.StringN(0, 5, -1), values(2), 1, 4).Draw(t, "object"))
	if err != nil {
		t.Skip(err)
	}
	return reference(t, string(text)).(map[string]any)
}

func TestWhatIsRepairedIsWhatWasMeant(t *testing.T) {
	repaired, all := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		want := objects(t)
		text := pythonic(want)
		if rapid.Bool().Draw(t, "prose") {
			text = "Here it is:\n```python\n" + text + "\n```\nDone."
		}
		report := check(t, validate.JSONWithRepair(), text)
		all++
		if !report.Decoded {
			return
		}
		repaired++
		if !reflect.DeepEqual(report.Value, any(want)) || !reflect.DeepEqual(reference(t, report.Text), any(want)) {
			t.Fatalf("%s\nrepaired to %s", text, report.Text)
		}
		if len(report.Repaired) == 0 {
			t.Fatalf("%s: nothing is said to be repaired", text)
		}
	})
	if repaired*2 < all {
		t.Errorf("%d of %d are repaired", repaired, all)
	}
}

func TestADamagedTextThatIsCutOffIsNeverRepaired(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := pythonic(objects(t))
		text = text[:rapid.IntRange(1, len(text)-1).Draw(t, "cut")]
		if rapid.Bool().Draw(t, "prose") {
			text = "Here it is: " + text
		}
		if report := check(t, validate.JSONWithRepair(), text); report.Decoded {
			t.Fatalf("%s\nrepaired to %s\n%v", text, report.Text, report.Repaired)
		}
	})
}

// Strings that look like the ends of strings, objects and arrays.
func TestADamagedTextThatIsCutOffWithinAStringIsNeverRepaired(t *testing.T) {
	tricky := rapid.StringOfN(rapid.SampledFrom([]rune(`}{][,:"'\ ab1`)), 0, 12, -1)
	damages := []func(string) string{
		func(text string) string { return "{ /* a comment */" + text[1:] },
		func(text string) string { return "{'first': 1, " + text[1:] },
		func(text string) string { return "{first: 1, " + text[1:] },
		func(text string) string { return `{"first": [1,], ` + text[1:] },
		func(text string) string { return `{"first": True, ` + text[1:] },
		func(text string) string { return `{"first": "say "hi" now", ` + text[1:] },
	}
	rapid.Check(t, func(t *rapid.T) {
		object, err := json.Marshal(rapid.MapOfN(tricky, rapid.OneOf(tricky.AsAny(), rapid.SliceOfN(tricky, 0, 3).AsAny()), 1, 4).Draw(t, "object"))
		if err != nil {
			t.Fatal(err)
		}
		text := rapid.SampledFrom(damages).Draw(t, "damage")(string(object))
		if report := check(t, validate.JSONWithRepair(), text); report.Decoded {
			want := reference(t, string(object)).(map[string]any)
			delete(want, "first")
			got := report.Value.(map[string]any)
			delete(got, "first")
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%s\nrepaired to %s", text, report.Text)
			}
		}
		text = text[:rapid.IntRange(len(text)-len(object)+1, len(text)-1).Draw(t, "cut")]
		if report := check(t, validate.JSONWithRepair(), text); report.Decoded {
			t.Fatalf("%s\nrepaired to %s\n%v", text, report.Text, report.Repaired)
		}
	})
}

func TestOneCheckThatRepairsDoesSoForAll(t *testing.T) {
	const text, mended = "{'n': 1,}", `{"n": 1}`
	var seen string
	own := validate.Func("own", func(_ context.Context, a *validate.Answer) error {
		_, got, err := a.JSON()
		seen = got
		return err
	})
	schema := parse(t, `schema:{"required": ["n"]}`)
	for name, checks := range map[string][]validate.Strategy{
		"last":       {own, schema, parse(t, "field_present:n"), parse(t, "json"), validate.JSONWithRepair()},
		"first":      {parse(t, `json:{"repair": true}`), own, schema},
		"the schema": {own, parse(t, `schema:{"schema": {"required": ["n"]}, "repair": true}`), schema},
		"within all": {own, parse(t, `all:[{"type": "json", "params": {"repair": true}}]`), schema},
	} {
		seen = ""
		report := validate.Run(t.Context(), checks, &validate.Answer{Text: text}, 0)
		wantLines(t, name, report.Complaints)
		if seen != mended || report.Text != mended || len(report.Failed) > 0 {
			t.Errorf("%s: the function saw %q, the report has %q, failed %v", name, seen, report.Text, report.Failed)
		}
		if len(report.Repaired) != 2 || report.Repaired[0].Was != "'n'" || report.Repaired[1].String() != `line 1, column 8: a comma too many: "," left out` {
			t.Errorf("%s: repaired %v", name, report.Repaired)
		}
	}
	for _, spec := range []string{`any:[{"type": "json", "params": {"repair": true}}]`, `not:{"check": {"type": "json", "params": {"repair": true}}}`} {
		report := validate.Run(t.Context(), []validate.Strategy{parse(t, spec), own}, &validate.Answer{Text: text}, 0)
		if !slices.ContainsFunc(report.Complaints, func(c validate.Complaint) bool { return c.Check == "own" }) {
			t.Errorf("%s repairs for others: %v", spec, report.Complaints)
		}
	}
	if report := check(t, parse(t, `any:[{"type": "json", "params": {"repair": true}}]`), text); report.Text != mended || len(report.Repaired) != 2 {
		t.Errorf("any: %+v", report)
	}
}

// A check may be made without Run.
func TestRepairNeedsNoRun(t *testing.T) {
	v, err := validate.JSONWithRepair().Check(t.Context(), &validate.Answer{Text: "{a: 1}"})
	if err != nil || v.Text != `{"a": 1}` || len(v.Repaired) != 1 {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestJSONThatIsRightIsLeftAsItIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, err := json.Marshal(values(3).Draw(t, "value"))
		if err != nil {
			t.Skip(err)
		}
		if report := check(t, validate.JSONWithRepair(), string(text)); report.Text != string(text) || report.Repaired != nil {
			t.Fatalf("%s: %s, %v", text, report.Text, report.Repaired)
		}
	})
}

func TestRepairCountsTheChangesThatItDoesNotList(t *testing.T) {
	report := check(t, validate.JSONWithRepair(), "["+strings.Repeat("'a', ", 29)+"'a']")
	if n := len(report.Repaired); !report.Decoded || n != 21 || report.Repaired[20].String() != "and 10 more changes" {
		t.Errorf("%d: %v", n, report.Repaired)
	}
}

func TestRepairNamesRepeatedPropertiesWhereTheyAre(t *testing.T) {
	report := check(t, validate.JSONWithRepair(), "Sure:\n{'a': 1, # no\n 'b': 2}")
	if report.Decoded {
		t.Errorf("a comment became %s", report.Text)
	}
	wantLines(t, "twice", check(t, validate.JSONWithRepair(), "Sure:\n{'a': 1, // one\n 'b': 2,\n 'a': 3}").Complaints,
		`json: at /a: line 4, column 2: the property "a" is there more than once (give each property once)`)
	wantLines(t, "twice, in prose", check(t, validate.JSONWithRepair(), "Sure:\n{\"a\": 1, \"a\": 3}").Complaints,
		`json: at /a: line 2, column 10: the property "a" is there more than once (give each property once)`)
}

// What is long is not repaired, and no damage takes long.
func TestWhatWouldTakeTooLongIsNotRepaired(t *testing.T) {
	fill := func(unit string) string { return strings.Repeat(unit, 30<<10/len(unit)) }
	for _, text := range []string{
		"{'a': [" + fill(`"a "`) + "]}", "{'a': [" + fill(`'a' b `) + "]}", "{'a': [" + fill(`["x`) + "]}", "{'a': [" + fill("[") + "]}",
		"{'a': [" + fill("“a” b ") + "]}", "{'a': '" + fill("xxxxxx") + strings.Repeat("x", 4<<10) + "'}", "{'a': {" + fill(`"b":{`) + "}}",
	} {
		report := check(t, validate.JSONWithRepair(), text)
		if report.Decoded || len(report.Complaints) != 1 {
			t.Errorf("%.30q: %v, %v", text, report.Decoded, report.Complaints)
		}
	}
	if text := "{'a': [" + fill("1, ") + "]}"; !check(t, validate.JSONWithRepair(), text).Decoded {
		t.Error("a long text with little damage is not repaired")
	}
}

func TestNoWatcherStopsWhatMayBeRepaired(t *testing.T) {
	repair := validate.JSONWithRepair()
	for _, checks := range [][]validate.Strategy{
		{repair}, {repair, parse(t, "json")}, {parse(t, "schema:true"), repair}, {parse(t, `all:["json"]`), repair}, {validate.Must(validate.All(repair, validate.JSON()))},
		{parse(t, `schema:{"schema": true, "repair": true}`)},
	} {
		if w := validate.Watch(checks, nil); w != nil {
			t.Errorf("%d checks: there is a watcher", len(checks))
		}
	}
	w := validate.Watch([]validate.Strategy{parse(t, `all:["json", "length:..3"]`), repair}, nil)
	if got, piece := watched(w, "{'", "a': 1}"); piece != 2 || !strings.HasPrefix(got, "length:") {
		t.Errorf("%q with piece %d", got, piece)
	}
}

func FuzzRepair(f *testing.F) {
	for _, test := range broken {
		if len(test.text) < 200 {
			f.Add(test.text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		report := check(t, validate.JSONWithRepair(), text)
		plain := check(t, validate.JSON(), text)
		if plain.Decoded && (plain.Text != report.Text || report.Repaired != nil) {
			t.Fatalf("%q is right, and was repaired to %q: %v", text, report.Text, report.Repaired)
		}
		if !report.Decoded {
			if len(report.Complaints) == 0 {
				t.Fatalf("%q: nothing is wrong with what is not decoded", text)
			}
			return
		}
		if !reflect.DeepEqual(report.Value, reference(t, report.Text)) {
			t.Fatalf("%q: repaired to %q, and the value is %v", text, report.Text, report.Value)
		}
		if !plain.Decoded && len(report.Repaired) == 0 {
			t.Fatalf("%q: repaired to %q, and nothing is said of it", text, report.Text)
		}
		for _, r := range report.Repaired {
			if r.Problem == "" || r.Line < 0 || r.Line > strings.Count(text, "\n")+1 || r.Line > 0 && r.Was == r.Is {
				t.Fatalf("%q: %+v", text, r)
			}
		}
	})
}
