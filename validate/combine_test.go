package validate_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"llmcall/validate"
)

func TestAllTellsTheComplaintsOfAll(t *testing.T) {
	s := parse(t, `all:["length:3..5", {"type": "contains", "params": {"required_text": "x"}}, "json"]`)
	report := check(t, s, "12")
	wantLines(t, "all", report.Complaints,
		`length: too few characters: expected at least 3, got 2 (make it at least 3 characters long)`,
		`contains: the text "x" is missing (include the text "x")`)
	if !report.Decoded || report.Text != "12" {
		t.Errorf("the decoded value is lost: %+v", report)
	}
}

func TestAnyTellsTheBranchesAsAlternatives(t *testing.T) {
	s := parse(t, `any:["length:3..5", {"type": "all", "params": {"checks": ["contains:x", "contains:y"]}}, {"type": "not", "params": {"check": "not_empty"}}]`)
	wantLines(t, "any", check(t, s, "12").Complaints,
		`any: none of the alternatives passed: too few characters: expected at least 3, got 2; `+
			`or the text "x" is missing, and the text "y" is missing; or the answer passes the check "not_empty", which it must not `+
			`(do one of these: make it at least 3 characters long; or include the text "x", and include the text "y")`)
	for _, text := range []string{"123", "xy", ""} {
		wantLines(t, text, check(t, s, text).Complaints)
	}
	one := parse(t, `any:["schema:{\"items\": {\"type\": \"null\"}}"]`)
	wantLines(t, "one branch", check(t, one, "[1]").Complaints,
		`any: none of the alternatives passed: at /0: expected null, got the number 1 (at /0 put null there)`)
}

func TestAnyCountsTheComplaintsThatItDoesNotTell(t *testing.T) {
	s := parse(t, `any:[{"type": "contains", "params": {"required_text": ["a", "b", "c", "d", "e", "f", "g"]}}]`)
	if got := check(t, s, "").Complaints; len(got) != 1 || !strings.HasSuffix(got[0].Problem, `, and the text "e" is missing, and 2 more`) {
		t.Errorf("%v", got)
	}
}

func TestAnyGivesTheValueOfTheBranchThatPasses(t *testing.T) {
	report := check(t, parse(t, `any:["regex:^none$", "json", "schema:{}"]`), "```\n[1]\n```")
	if len(report.Complaints) > 0 || !report.Decoded || report.Text != "[1]" {
		t.Errorf("%+v", report)
	}
}

func TestNotComplainsOfWhatPasses(t *testing.T) {
	s := validate.Must(validate.Not(validate.Must(validate.Contains("sorry")), "it is an excuse", "answer the question"))
	wantLines(t, "passes", check(t, s, "Berlin").Complaints)
	wantLines(t, "complains", check(t, s, "Sorry, no").Complaints, "not: it is an excuse (answer the question)")
	wantLines(t, "without words", check(t, parse(t, "not:contains:sorry"), "sorry").Complaints,
		`not: the text "sorry" is there, and must not be (leave out the text "sorry")`)
	// The advice of a complaint that is wanted is no advice.
	advice := validate.Must(validate.Not(outcome{name: "x", verdict: validate.Verdict{Advice: validate.Human}}, "", ""))
	if report := check(t, advice, ""); len(report.Complaints) > 0 || report.Advice != validate.Again {
		t.Errorf("%+v", report)
	}
}

func TestCombinationsWeighAdvice(t *testing.T) {
	stop := outcome{name: "stop", verdict: validate.Verdict{Complaints: []validate.Complaint{{Problem: "a"}}, Advice: validate.Stop}}
	human := outcome{name: "human", verdict: validate.Verdict{Complaints: []validate.Complaint{{Problem: "b"}}, Advice: validate.Human}}
	for _, test := range []struct {
		name  string
		check validate.Strategy
		want  validate.Advice
	}{
		{"all: the weightiest", validate.Must(validate.All(complains("x", "c"), stop, human)), validate.Human},
		{"any: the lightest, since one branch is enough", validate.Must(validate.Any(human, complains("x", "c"), stop)), validate.Again},
		{"any: of two", validate.Must(validate.Any(human, stop)), validate.Stop},
	} {
		if got := check(t, test.check, "").Advice; got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestCombinationsRefuseToBeEmpty(t *testing.T) {
	var bad *validate.ParamError
	for name, err := range map[string]error{
		"all":         second(validate.All()),
		"any":         second(validate.Any()),
		"all of nil":  second(validate.All(validate.JSON(), nil)),
		"any of nil":  second(validate.Any(nil)),
		"not nothing": second(validate.Not(nil, "", "")),
	} {
		if !errors.As(err, &bad) || !strings.HasPrefix(bad.Param, "check") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second(_ validate.Strategy, err error) error { return err }

// truth is what is known of an answer: that it is right, that it is wrong, or,
// if a check can't be made, neither.
type truth int

const (
	wrong truth = iota
	unknown
	right
)

func leaf(v truth) validate.Strategy {
	switch v {
	case right:
		return passes("leaf")
	case wrong:
		return complains("leaf", "wrong")
	}
	return outcome{name: "leaf", panicked: "out of order"}
}

func truthOf(t rapid.TB, s validate.Strategy) truth {
	t.Helper()
	report := validate.Run(context.Background(), []validate.Strategy{s}, &validate.Answer{}, 0)
	switch {
	case len(report.Failed) > 0 && len(report.Complaints) > 0:
		t.Fatalf("both failed and wrong: %+v", report)
	case len(report.Failed) > 0:
		return unknown
	case len(report.Complaints) > 0:
		return wrong
	}
	return right
}

// With a check that can't be made as the unknown, the combinations are the
// three-valued logic of Kleene: All is the minimum, Any the maximum.
func TestCombinationsAgreeWithLogic(t *testing.T) {
	var tree func(t *rapid.T, depth int) (validate.Strategy, truth)
	tree = func(t *rapid.T, depth int) (validate.Strategy, truth) {
		kind := "leaf"
		if depth > 0 {
			kind = rapid.SampledFrom([]string{"leaf", "all", "any", "not"}).Draw(t, "kind")
		}
		switch kind {
		case "leaf":
			v := rapid.SampledFrom([]truth{wrong, unknown, right}).Draw(t, "truth")
			return leaf(v), v
		case "not":
			inner, v := tree(t, depth-1)
			return validate.Must(validate.Not(inner, "", "")), right - v
		}
		n := rapid.IntRange(1, 3).Draw(t, "members")
		members := make([]validate.Strategy, n)
		least, most := right, wrong
		for i := range n {
			var v truth
			members[i], v = tree(t, depth-1)
			least, most = min(least, v), max(most, v)
		}
		if kind == "all" {
			return validate.Must(validate.All(members...)), least
		}
		return validate.Must(validate.Any(members...)), most
	}
	rapid.Check(t, func(t *rapid.T) {
		s, want := tree(t, 3)
		if got := truthOf(t, s); got != want {
			t.Fatalf("%v, want %v", got, want)
		}
	})
}

func TestAFailedCheckWithinACombinationIsNamed(t *testing.T) {
	cause := errors.New("down")
	s := validate.Must(validate.Any(complains("x", "no"), outcome{name: "judge", err: cause}, outcome{name: "second judge", err: cause}))
	report := validate.Run(context.Background(), []validate.Strategy{s}, nil, 0)
	if len(report.Failed) != 1 || !errors.Is(report.Failed[0], cause) {
		t.Fatalf("%+v", report)
	}
	if got, want := report.Failed[0].Error(), `check "any" could not be made: check "judge" could not be made: down; check "second judge" could not be made: down`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
