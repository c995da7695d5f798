package phrase

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/quick"
)

// samples are values for each kind of place.
var samples = map[string][]string{
	"n": {"3", "0", "12345"}, "number": {"3", "-0.5", "1e9", "2.50"}, "literal": {"true", "null"},
	"quoted":  {"a", `say "hi"`, "it's\n\tünïcode; or, and more"},
	"pattern": {"^a+$", `^\d{3} "km"$`, "a`b\\w"},
	"json":    {`"a; b"`, `{"a":[1,null]}`, "[1,2]", "-3.5", "false"},
	"text":    {"an integer", `"a", "b;c" (one of "x, y")`},
}

func places(p *Phrase) (kinds []string, optional []bool) {
	for _, part := range p.compiled().parts {
		if part.place != "" {
			kinds, optional = append(kinds, part.place), append(optional, part.optional)
		}
	}
	return kinds, optional
}

// What Of writes, Read reads, with each of the values and with those left out that
// may be.
func TestWhatIsWrittenIsRead(t *testing.T) {
	for _, p := range fixes {
		kinds, optional := places(p)
		for i := range 3 {
			var values []any
			var want []string
			for _, kind := range kinds {
				v := samples[kind][i%len(samples[kind])]
				values, want = append(values, v), append(want, v)
			}
			check := func() {
				text := p.Of(values...)
				got, ok := p.Read(text)
				if !ok || !slices.Equal(got, want) {
					t.Errorf("%s: wrote %s, read %q %v, want %q", p, text, got, ok, want)
				}
			}
			check()
			if n := len(optional); n > 0 && optional[n-1] {
				values, want[n-1] = values[:n-1], ""
				check()
			}
		}
	}
}

// No fix is taken for another, but for those whose place can hold it.
func TestNoFixIsReadAsAnother(t *testing.T) {
	may := map[string]bool{PutObject.template + " as " + Put.template: true} // an object is a value too
	for _, p := range fixes {
		kinds, _ := places(p)
		var values []any
		for _, kind := range kinds {
			values = append(values, samples[kind][0])
		}
		text := p.Of(values...)
		for _, other := range fixes {
			if _, ok := other.Read(text); ok && other != p && !may[p.template+" as "+other.template] {
				t.Errorf("%q is read as %s", text, other)
			}
		}
	}
}

func TestAFixMayGoOnAfterASemicolon(t *testing.T) {
	for text, c := range map[string]struct {
		phrase *Phrase
		want   []string
	}{
		`leave it out; allowed are "c"`:                                     {LeaveOut, []string{}},
		"give it at least 1 item; hold to the rules":                        {LeastItems, []string{"1", ""}},
		`write the name as "a"; more`:                                       {RenameTo, []string{"a", ""}},
		`add the property "a;b" (a "c"), with the value "d; e"`:             {AddProperty, []string{`"a;b" (a "c")`, `"d; e"`}},
		"answer with the whole Go code; make it shorter if it does not fit": {WholeCode, []string{"Go"}},
		"leave it outside":                                                  {LeaveOut, nil},
		"give it 3 items":                                                   {LeastItems, nil},
		`include the text "`:                                                {Include, nil},
		`include the text "\q"`:                                             {Include, nil},
	} {
		got, ok := c.phrase.Read(text)
		if ok != (c.want != nil) || ok && !slices.Equal(got, c.want) {
			t.Errorf("%s: %q %v, want %q", text, got, ok, c.want)
		}
	}
}

func TestABoundIsFoundInAText(t *testing.T) {
	text := "answer with an integer of " + AtLeast.Of("1") + " and " + LessThan.Of("1e3") + " in digits."
	for _, c := range []struct {
		bound Bound
		want  string
	}{{AtLeast, "1"}, {LessThan, "1e3"}, {AtMost, ""}, {MultipleOf, ""}} {
		if got, ok := c.bound.Find(text); got != c.want || ok != (c.want != "") {
			t.Errorf("%q, %v; want %q", got, ok, c.want)
		}
	}
	if got, ok := MultipleOf.Find(MultipleOf.Make("5")); got != "5" || !ok {
		t.Errorf("%q, %v", got, ok)
	}
}

func TestStepsAreTakenApart(t *testing.T) {
	for _, c := range []struct {
		text string
		want []Step
	}{
		{"use double quotes", []Step{{"", "use double quotes"}}},
		{Choice([]string{Together([]string{At("/x", Put.Of("null")), AddProperty.Of(`"b"`)}), Put.Of("an array")}), []Step{{"/x", "put null there"}, {"", `add the property "b"`}}},
		{Choice([]string{"write x, and do it"}), []Step{{"", "write x, and do it"}}},
		{AddAs(Example.Of("a date", "2026-01-31")), []Step{{"", "write a date and nothing else, like 2026-01-31"}}},
		{At("/a", AddAs(Text.Of())), []Step{{"/a", "answer with text"}}},
		{"", nil},
	} {
		if got := Steps(c.text); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q, want %q", c.text, got, c.want)
		}
	}
}

// Any text in quotes comes back as it was.
func TestAnyTextIsQuoted(t *testing.T) {
	if err := quick.Check(func(text string) bool {
		got, ok := Include.Read(Include.Of(text))
		pattern, ok2 := Match.Read(Match.Of(text))
		return ok && (text == "" || strings.ToValidUTF8(text, "") != text || got[0] == text) && ok2 && (text == "" || strings.ToValidUTF8(text, "") != text || pattern[0] == text)
	}, nil); err != nil {
		t.Error(err)
	}
}

func TestAPlaceIsReadAsItIsWritten(t *testing.T) {
	for text, place := range map[string]Place{
		"":                            {},
		"At /a/0":                     {Pointer: "/a/0"},
		"Line 3":                      {Line: 3},
		"Line 3, column 14":           {Line: 3, Column: 14},
		"Column 14":                   {Column: 14},
		"At /a~1b: Line 3, column 14": {Pointer: "/a~1b", Line: 3, Column: 14},
		"At /a b: Column 14":          {Pointer: "/a b", Column: 14},
	} {
		if got := place.String(); got != text {
			t.Errorf("%+v is written as %q, want %q", place, got, text)
		}
		if text != "" {
			text += ": "
		}
		if got, rest := CutPlace(text + "it is wrong"); got != place || rest != "it is wrong" {
			t.Errorf("%q is read as %+v and %q", text, got, rest)
		}
	}
}

func TestAFixIsCutFromItsProblem(t *testing.T) {
	for _, indent := range []string{"", "   "} {
		problem, fix, ok := CutFix("it is wrong\n" + indent + FixLabel + "leave it out\nor not")
		if problem != "it is wrong" || fix != "leave it out\nor not" || !ok {
			t.Errorf("%q, %q, %v", problem, fix, ok)
		}
	}
	if problem, fix, ok := CutFix("say Fix: it"); problem != "say Fix: it" || fix != "" || ok {
		t.Errorf("%q, %q, %v", problem, fix, ok)
	}
}
