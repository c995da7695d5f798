package validate_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"llmcall/llm"
	"llmcall/validate"
)

const speech = `Four score and seven years ago our fathers brought forth, upon this continent, a new nation,
conceived in liberty — and dedicated to the "proposition" that all men are created equal.
It isn’t well-known that 3.5 % of the naïve co-authors left.`

func TestQuotes(t *testing.T) {
	s := validate.Must(validate.Quotes(validate.QuoteConfig{Sources: []string{speech, "我喜欢猫和狗。"}}))
	const nowhere, advice = "is in none of the sources", "quote word for word, or say it in your own words without quotation marks"
	for _, test := range []struct {
		name, text string
		wrong      []string // the quotations that are complained of
	}{
		{"no quotation", "He spoke of a nation of bold men.", nil},
		{"word for word", `He said "our fathers brought forth, upon this continent, a new nation".`, nil},
		{"over the end of a line", "He said “a new nation, conceived in liberty”.", nil},
		{"another case, other dashes and marks", "“A NEW nation conceived in liberty - and dedicated to the “proposition” that all”", nil},
		{"a comma that the quotation brings", `"our fathers brought forth," he said.`, nil},
		{"words that are not there", `He said "a new nation conceived in slavery".`, []string{"a new nation conceived in slavery"}},
		{"words in another order", `"forth brought fathers our"`, []string{"forth brought fathers our"}},
		{"the end of a longer word", `"fore and seven years"`, []string{"fore and seven years"}},
		{"too few words to be a quotation", `the so-called "bold men" of "Moby Dick"`, nil},
		{"German marks", "„our fathers brought forth“ und »a new nation of men«", []string{"a new nation of men"}},
		{"French marks", "« our fathers brought forth » et « une nouvelle nation libre »", []string{" une nouvelle nation libre "}},
		{"Swedish marks", "Han sade ”our fathers sent forth”.", []string{"our fathers sent forth"}},
		{"Chinese", "他说「喜欢猫和狗」和「喜欢猫和鱼」", []string{"喜欢猫和鱼"}},
		{"an ellipsis", `"our fathers brought forth … a new nation"`, nil},
		{"three dots", `"our fathers ... created equal"`, nil},
		{"an omission in brackets", `"our fathers brought forth [...] liberty" and "[t]hat all men are created [the] equal"`, nil},
		{"omissions in the wrong order", `"a new nation … our fathers brought forth"`, []string{"a new nation … our fathers brought forth"}},
		{"an omission over two sources", `"our fathers … 喜欢猫"`, []string{"our fathers … 喜欢猫"}},
		{"apostrophes and hyphens", `"it isn't well known that 3.5% of the NAI` + "\u0308" + `VE coauthors"`, []string{"it isn't well known that 3.5% of the NAI\u0308VE coauthors"}},
		{"the form of a letter", `"of the nai` + "\u0308" + `ve co-authors"`, nil},
		{"an apostrophe alone", `"It isnt well-known that"`, nil},
		{"emphasis", `"our **fathers** _brought_ forth"`, nil},
		{"an inch", `A 5" disk and a 3" one of bold men.`, nil},
		{"not closed", `He said "our fathers sent forth`, nil},
		{"over two paragraphs", "He said \"our fathers\n\nsent forth a nation\" then", nil},
		{"in code", "Use `print(\"hello bold new world\")` here.\n```go\nx := \"hello bold new world\"\n```\n", nil},
		{"in code that is not closed", "```\n\"hello bold new world\"", nil},
		{"single quotation marks", "He said 'a nation of bold men'.", nil},
		{"a block quote", "As he said:\n> our fathers brought forth,\n> upon this continent, a new nation\n\nGood.", nil},
		{"a wrong block quote", "As he said:\n> our fathers sent\n> forth a nation\nand more", []string{"> our fathers sent\n> forth a nation\n"}},
		{"a block quote at the end", "> our fathers sent forth", []string{"> our fathers sent forth"}},
		{"one within another", `“our fathers said ‘bold men’ and "so on"”`, []string{`our fathers said ‘bold men’ and "so on"`}},
		{"one of the same marks within another", "“our fathers “sent men” and so on”", []string{"our fathers “sent men"}},
		{"nothing between the marks", `an "" and a “” and "our fathers sent forth"`, []string{"our fathers sent forth"}},
		{"two of them", "\"our fathers sent forth\" and\n\"a nation of men\"", []string{"our fathers sent forth", "a nation of men"}},
	} {
		got := check(t, s, test.text).Complaints
		if len(got) != len(test.wrong) {
			t.Errorf("%s: %v, want %q", test.name, got, test.wrong)
			continue
		}
		for i, c := range got {
			if c.Problem != "the quotation "+goQuote(test.wrong[i])+" "+nowhere || !strings.HasPrefix(c.Suggestion, advice) {
				t.Errorf("%s: %s", test.name, c)
			}
		}
	}
}

func goQuote(s string) string {
	return strings.ReplaceAll(`"`+strings.ReplaceAll(strings.ReplaceAll(s, `"`, `\"`), "\u0308", `̈`)+`"`, "\n", `\n`)
}

func TestQuotesNamesThePlaceAndTheNearestPassage(t *testing.T) {
	s := validate.Must(validate.Quotes(validate.QuoteConfig{Sources: []string{"Nothing of it.", speech}}))
	wantLines(t, "near", check(t, s, "First.\nHe said “our fathers brought a new nation”.").Complaints,
		`quotes: line 2, column 10: the quotation "our fathers brought a new nation" is in none of the sources `+
			`(quote word for word, or say it in your own words without quotation marks; the nearest passage is "our fathers brought forth, upon this")`)
	wantLines(t, "far", check(t, s, "“something else entirely here”").Complaints,
		`quotes: line 1, column 2: the quotation "something else entirely here" is in none of the sources `+
			`(quote word for word, or say it in your own words without quotation marks)`)
	got := check(t, s, strings.Repeat("\"a bold new word\"\n\n", 50)).Complaints
	if len(got) != 21 || !strings.HasPrefix(got[20].Problem, "and 30 more quotations") {
		t.Errorf("%d: %v", len(got), got[len(got)-1])
	}
}

// The quotation marks of JSON are none.
func TestQuotesLooksIntoTheStringsOfJSON(t *testing.T) {
	s := parse(t, `quotes:{"sources": `+quote(speech)+`}`)
	got := check(t, s, `{"answer": "a nation of bold men", "why": ["he said \"our fathers brought forth\"", "and “our fathers sent forth”"]}`).Complaints
	if len(got) != 1 || got[0].Pointer != "/why/1" || got[0].Line != 0 {
		t.Errorf("%v", got)
	}
	whole := parse(t, `at:{"pointer": "/quote", "check": {"type": "quotes", "params": {"whole": true, "sources": [`+quote(speech)+`]}}}`)
	wantLines(t, "right", check(t, whole, `{"quote": "our fathers brought forth"}`).Complaints)
	if got := check(t, whole, `{"quote": "our sons"}`).Complaints; len(got) != 1 || got[0].Pointer != "/quote" {
		t.Errorf("%v", got)
	}
}

func TestQuotesTakesTheUsersMessagesForSources(t *testing.T) {
	s := parse(t, `quotes:{"from_request": true, "sources": ["one two three four"]}`)
	req := &llm.Request{Messages: []llm.Message{
		llm.System("the system says so"), llm.User("our fathers brought forth"),
		{Role: llm.RoleUser, Parts: []llm.Part{llm.Text("and a picture"), llm.Image{URL: "x"}, llm.Text("of a horse")}}, llm.Assistant("no source of mine"),
	}}
	answer := func(text string) *validate.Answer { return &validate.Answer{Text: text, Request: req} }
	for text, want := range map[string]int{
		`"fathers brought forth"`: 0, `"one two three"`: 0, `"a picture of a horse"`: 0, `"the system says so"`: 1, `"source of mine"`: 1,
	} {
		if got := checkAnswer(t, s, answer(text)).Complaints; len(got) != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	report := validate.Run(context.Background(), []validate.Strategy{s}, &validate.Answer{Text: `"x y z"`}, 0)
	if len(report.Failed) != 1 || !strings.Contains(report.Failed[0].Error(), "there is no request") {
		t.Errorf("%+v", report)
	}
}

func TestQuotesRefusesWhatWouldCheckNothing(t *testing.T) {
	for param, cfg := range map[string]validate.QuoteConfig{
		"sources": {}, "sources[1]": {Sources: []string{"a", " - "}}, "min_words": {Sources: []string{"a"}, MinWords: -1},
	} {
		_, err := validate.Quotes(cfg)
		var bad *validate.ParamError
		if !errors.As(err, &bad) || bad.Param != param {
			t.Errorf("%s: %v", param, err)
		}
	}
	for spec, want := range map[string]string{
		`quotes:{"sources": [1]}`: "sources[0] must be a string, got 1", `quotes:{"from_request": 1}`: "from_request must be true or false, got 1", `quotes:{"from_request": true, "min_words": 0}`: "min_words must be a whole number of at least 1, got 0",
		`quotes:{"from_request": true, "whole": "yes"}`: `whole must be true or false, got "yes"`, "quotes:x": `arguments must be left out, or a JSON object of parameters, got "x"`,
	} {
		if _, err := validate.Parse(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", spec, err)
		}
	}
	s := parse(t, `quotes:{"sources": "one two three", "min_words": 1}`)
	if got := check(t, s, `the "four" and the "two"`).Complaints; len(got) != 1 {
		t.Errorf("%v", got)
	}
}

// Whatever passage of a source is quoted, however its spaces and its case are
// changed, it occurs in it; with a word that the source does not have, it does
// not.
func TestEachPassageOfASourceCanBeQuoted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringMatching(`[a-zäöß1-9]{1,5}`), 3, 30).Draw(t, "words")
		from := rapid.IntRange(0, len(words)-3).Draw(t, "from")
		to := rapid.IntRange(from+3, len(words)).Draw(t, "to")
		s := validate.Must(validate.Quotes(validate.QuoteConfig{Sources: []string{strings.Join(words, rapid.SampledFrom([]string{" ", ", ", "\n", " – "}).Draw(t, "space"))}}))
		passage := words[from:to]
		quoted := strings.Join(passage, rapid.SampledFrom([]string{" ", "  ", ". ", "\n"}).Draw(t, "other space"))
		if got := check(t, s, "He said “"+strings.ToTitle(quoted)+"”.").Complaints; len(got) > 0 && !strings.Contains(quoted, "ß") {
			t.Fatalf("%v", got)
		}
		if got := check(t, s, "He said “"+quoted+"”.").Complaints; len(got) > 0 {
			t.Fatalf("%v", got)
		}
		if got := check(t, s, "He said “"+quoted+" never”.").Complaints; len(got) != 1 {
			t.Fatalf("%v", got)
		}
	})
}

// A row of marks that nothing closes must not take the square of its length.
func TestQuotesTakesLinearTime(t *testing.T) {
	s := validate.Must(validate.Quotes(validate.QuoteConfig{Sources: []string{speech}}))
	for _, text := range []string{"“", `"a `, "«»", "“a”", "> a\n\n", "`", "```\n"} {
		begun := time.Now()
		check(t, s, strings.Repeat(text, 200_000))
		if took := time.Since(begun); took > 20*time.Second { // the square would take hours
			t.Errorf("%q takes %v", text, took)
		}
	}
}

func FuzzQuotes(f *testing.F) {
	for _, seed := range [][2]string{
		{speech, `"our fathers … [t]hat [x] all [`}, {"a", "> a\n>b\n```\n\"c\"\n~~~\n```"}, {"\xff\xfe", "“\xff”"}, {"ﬁ ½ É", "“fi É ½”"}, {"我", `["「我」", {"a": "\"x\""}]`},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, source, text string) {
		s, err := validate.Quotes(validate.QuoteConfig{Sources: []string{source}, MinWords: 1})
		if err != nil {
			return
		}
		for _, c := range check(t, s, text).Complaints {
			if c.Problem == "" || c.Line > strings.Count(text, "\n")+1 {
				t.Fatalf("%+v", c)
			}
		}
		whole := validate.Must(validate.Quotes(validate.QuoteConfig{Sources: []string{source}, Whole: true}))
		if strings.ContainsAny(source, "[]….") {
			return
		}
		if got := check(t, whole, source).Complaints; len(got) > 0 {
			t.Fatalf("a source is not in itself: %v", got)
		}
	})
}
