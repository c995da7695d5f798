package schemawords

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"llmcall/internal/phrase"
	"llmcall/internal/say"
)

// row is what is said of one kind of violation.
type row struct {
	kind reflect.Type
	tell func(w words, v violation) (problem, suggestion string)
}

// on makes a row of what is said of the kind K.
func on[K any](tell func(w words, v violation, k K) (problem, suggestion string)) row {
	return row{reflect.TypeFor[K](), func(w words, v violation) (problem, suggestion string) { return tell(w, v, v.kind.(K)) }}
}

// table has the rows by their kind. It is filled by init: some of what is said has
// a violation within it, and so refers to the table again.
var table = map[reflect.Type]row{}

func init() {
	for _, rows := range [][]row{ofAll(), ofObjects(), ofArrays(), ofTexts(), ofNumbers()} {
		for _, r := range rows {
			table[r.kind] = r
		}
	}
}

func (w words) say(v violation) (problem, suggestion string) {
	if r, ok := table[reflect.TypeOf(v.kind)]; ok {
		return r.tell(w, v)
	}
	if k, ok := v.kind.(jsonschema.ErrorKind); ok {
		return fmt.Sprintf("%s does not fit what the schema says of it in %q", w.describe(v.at), strings.Join(k.KeywordPath(), "/")), ""
	}
	return w.describe(v.at) + " does not fit the schema", ""
}

// ofAll has the rows of the keywords for values of any type.
func ofAll() []row {
	return []row{
		on(func(w words, v violation, k *kind.Type) (problem, suggestion string) { return w.sayType(v, k) }),
		on(func(w words, v violation, k *kind.Enum) (problem, suggestion string) {
			return w.describe(v.at) + " is not one of the allowed values", phrase.UseOneOf.Of(values(k.Want))
		}),
		on(func(w words, v violation, k *kind.Const) (problem, suggestion string) {
			return Expected(Show(k.Want), w.value, v.at), phrase.MakeIt.Of(Whole(k.Want))
		}),
		on(func(w words, v violation, _ *kind.FalseSchema) (problem, suggestion string) {
			return w.describe(v.at) + " is not allowed here", phrase.LeaveOut.Of()
		}),
		on(func(w words, v violation, _ *kind.Not) (problem, suggestion string) {
			problem = w.describe(v.at) + " is not allowed here"
			if forbidden, ok := w.keyword(v.schema, "not"); ok {
				return problem, phrase.UnlikeSchema.Of(Whole(forbidden))
			}
			return problem, "change it"
		}),
		on(func(w words, v violation, k *kind.OneOf) (problem, suggestion string) {
			return fmt.Sprintf("%s fits the alternatives %d and %d, but must fit exactly one", w.describe(v.at), k.Subschemas[0]+1, k.Subschemas[1]+1),
				w.sayJustOne(v.schema, k.Subschemas)
		}),
		on(func(w words, v violation, k alternatives) (problem, suggestion string) {
			return w.sayAlternatives(v.at, k)
		}),
	}
}

func ofObjects() []row {
	return []row{
		on(func(w words, v violation, k *kind.Required) (problem, suggestion string) {
			return plural(k.Missing, "the property %s is missing", "the properties %s are missing"), w.add(v.schema, k.Missing)
		}),
		on(func(w words, v violation, k *kind.Dependency) (problem, suggestion string) {
			return w.sayDependent(v.schema, k.Prop, k.Missing)
		}),
		on(func(w words, v violation, k *kind.DependentRequired) (problem, suggestion string) {
			return w.sayDependent(v.schema, k.Prop, k.Missing)
		}),
		on(func(w words, v violation, k *kind.AdditionalProperties) (problem, suggestion string) {
			names := slices.Sorted(slices.Values(k.Properties))
			suggestion = phrase.LeaveOut.Of()
			if len(names) > 1 {
				suggestion = phrase.LeaveThemOut.Of()
			}
			if allowed := w.allowed(v.schema); len(allowed) > 0 {
				suggestion += "; allowed are " + List(allowed)
			}
			if len(names) == 1 {
				return phrase.PropertyNotAllowed.Of(List(names)), suggestion
			}
			return phrase.PropertiesNotAllowed.Of(List(names)), suggestion
		}),
		on(func(w words, v violation, k *kind.PropertyNames) (problem, suggestion string) {
			return w.sayName(k.Property, v.within), phrase.RenameOrLeave.Of()
		}),
		on(func(_ words, _ violation, k *kind.MinProperties) (problem, suggestion string) {
			return TooFew("properties", k.Got, k.Want), phrase.LeastProperties.Of(k.Want)
		}),
		on(func(_ words, _ violation, k *kind.MaxProperties) (problem, suggestion string) {
			return TooMany("properties", k.Got, k.Want), phrase.MostProperties.Of(k.Want)
		}),
	}
}

func ofArrays() []row {
	return []row{
		on(func(w words, v violation, k *kind.MinItems) (problem, suggestion string) {
			inner, _ := w.keyword(v.schema, "items")
			return TooFew("items", k.Got, k.Want), phrase.LeastItems.Of(k.Want, w.kindOf(inner))
		}),
		on(func(_ words, _ violation, k *kind.MaxItems) (problem, suggestion string) {
			return TooMany("items", k.Got, k.Want), phrase.MostItems.Of(k.Want)
		}),
		on(func(_ words, _ violation, k *kind.UniqueItems) (problem, suggestion string) {
			return fmt.Sprintf("the items %d and %d, counted from 0, are equal", k.Duplicates[0], k.Duplicates[1]), phrase.DistinctItems.Of()
		}),
		on(func(_ words, _ violation, k *kind.AdditionalItems) (problem, suggestion string) {
			return "the array has " + say.Count(k.Count, "item", "items") + " too many", phrase.LeaveLast.Of(k.Count)
		}),
		on(func(w words, v violation, _ *kind.Contains) (problem, suggestion string) {
			return w.sayContains("no item fits, but at least 1 must", v.within), w.addSuch(v.schema, 1, "add such an item")
		}),
		on(func(w words, v violation, k *kind.MinContains) (problem, suggestion string) {
			return w.sayContains(fmt.Sprintf("only %s, but at least %d must", say.Count(len(k.Got), "item fits", "items fit"), k.Want), v.within),
				w.addSuch(v.schema, k.Want-len(k.Got), "add such items")
		}),
		on(func(w words, v violation, k *kind.MaxContains) (problem, suggestion string) {
			return fmt.Sprintf("%s, but at most %d may", say.Count(len(k.Got), "item fits", "items fit"), k.Want),
				w.such(v.schema, func(shown string) string { return phrase.LeaveItems.Of(len(k.Got)-k.Want, shown) }, "leave some of them out")
		}),
	}
}

func ofTexts() []row {
	return []row{
		on(func(_ words, _ violation, k *kind.Format) (problem, suggestion string) {
			problem = fmt.Sprintf("%s is not in the format %q", Show(k.Got), k.Want)
			if example := formats[k.Want]; example != "" {
				return problem, phrase.ExampleIn.Of(example)
			}
			if k.Want == "regex" {
				if beyond := beyondRE2(k.Got); beyond != "" {
					return Show(k.Got) + " has " + beyond + ", which regular expressions in Go's syntax (RE2) do not have", `write it without, or use "not", "anyOf" or "allOf" with simpler patterns`
				}
			}
			return problem + ": " + say.Short(k.Err.Error(), 100), phrase.InFormat.Of(k.Want)
		}),
		on(func(_ words, _ violation, k *kind.Pattern) (problem, suggestion string) {
			return Show(k.Got) + " does not match the regular expression " + phrase.Pattern(k.Want), phrase.MatchThere.Of(k.Want)
		}),
		on(func(_ words, _ violation, k *kind.MinLength) (problem, suggestion string) {
			return TooFew("characters", k.Got, k.Want), phrase.LeastCharacters.Of(k.Want)
		}),
		on(func(_ words, _ violation, k *kind.MaxLength) (problem, suggestion string) {
			return TooMany("characters", k.Got, k.Want), phrase.MostCharacters.Of(k.Want)
		}),
	}
}

// beyondRE2 returns what a regular expression has that ECMAScript's may have, and Go's may
// not; "" if there is nothing of that.
func beyondRE2(pattern any) string {
	text, _ := pattern.(string)
	for _, form := range []struct{ begin, name string }{
		{"(?=", "a lookahead (?=…)"}, {"(?!", "a lookahead (?!…)"}, {"(?<=", "a lookbehind (?<=…)"}, {"(?<!", "a lookbehind (?<!…)"},
		{`\1`, `a reference \1 to a group`}, {`\k<`, `a reference \k<…> to a group`}, {`\u`, `an escape \u (write \x{…})`},
	} {
		if strings.Contains(text, form.begin) {
			return form.name
		}
	}
	return ""
}

func ofNumbers() []row {
	return []row{
		on(func(_ words, _ violation, k *kind.Minimum) (problem, suggestion string) {
			return number(k.Got) + " is less than " + number(k.Want), phrase.AtLeast.Make(number(k.Want))
		}),
		on(func(_ words, _ violation, k *kind.Maximum) (problem, suggestion string) {
			return number(k.Got) + " is more than " + number(k.Want), phrase.AtMost.Make(number(k.Want))
		}),
		on(func(_ words, _ violation, k *kind.ExclusiveMinimum) (problem, suggestion string) {
			return number(k.Got) + " is not more than " + number(k.Want), phrase.MoreThan.Make(number(k.Want))
		}),
		on(func(_ words, _ violation, k *kind.ExclusiveMaximum) (problem, suggestion string) {
			return number(k.Got) + " is not less than " + number(k.Want), phrase.LessThan.Make(number(k.Want))
		}),
		on(func(_ words, _ violation, k *kind.MultipleOf) (problem, suggestion string) {
			return number(k.Got) + " is not a multiple of " + number(k.Want), phrase.MultipleOf.Make(number(k.Want))
		}),
	}
}
