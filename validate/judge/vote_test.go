package judge

import (
	"fmt"
	"slices"
	"testing"

	"llmcall/validate"

	"pgregory.net/rapid"
)

// naive decides a vote by trying out all that can still happen: a judge that is
// still at it may pass, fail or be lost, and a vote is decided when all ways end
// the same. What ends without judges that are at it passes, or fails, whatever
// those that are lost would have said; else there is no verdict.
func naive(said []string, agree int) result {
	if at := slices.Index(said, "open"); at >= 0 {
		return same(said, at, []string{"pass", "fail", "lost"}, undecided, agree)
	}
	if at := slices.Index(said, "lost"); at >= 0 {
		return same(said, at, []string{"pass", "fail"}, noVerdict, agree)
	}
	n := 0
	for _, s := range said {
		if s == "pass" {
			n++
		}
	}
	if n >= agree {
		return passes
	}
	return fails
}

// same returns how all ways end, or otherwise if they end in more than one.
func same(said []string, at int, ways []string, otherwise result, agree int) result {
	var ends []result
	for _, way := range ways {
		next := slices.Clone(said)
		next[at] = way
		ends = append(ends, naive(next, agree))
	}
	slices.Sort(ends)
	if ends = slices.Compact(ends); len(ends) == 1 {
		return ends[0]
	}
	return otherwise
}

func TestTheVoteIsThatOfANaiveOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		said := rapid.SliceOfN(rapid.SampledFrom([]string{"pass", "fail", "lost", "open"}), 1, 6).Draw(t, "said")
		agree := rapid.IntRange(1, len(said)).Draw(t, "agree")
		v := tally{judges: len(said), agree: agree}
		for _, s := range said {
			switch s {
			case "pass":
				v.passed++
			case "fail":
				v.failed++
			case "lost":
				v.lost++
			}
		}
		if got, want := v.result(), naive(said, agree); got != want {
			t.Errorf("%v, of which %d must pass: %d, want %d", said, agree, got, want)
		}
	})
}

// Once decided, a vote stays as it is, and it is decided when all have spoken.
func TestADecidedVoteStays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, maxJudges).Draw(t, "judges")
		v := tally{judges: n, agree: rapid.IntRange(1, n).Draw(t, "agree")}
		before := undecided
		for range n {
			switch rapid.IntRange(0, 2).Draw(t, "says") {
			case 0:
				v.passed++
			case 1:
				v.failed++
			default:
				v.lost++
			}
			now := v.result()
			if before != undecided && now != before {
				t.Fatalf("%d became %d: %+v", before, now, v)
			}
			before = now
		}
		if before == undecided {
			t.Errorf("all have spoken: %+v", v)
		}
	})
}

func TestComplaintsOfManyJudgesAreCutWithACount(t *testing.T) {
	ballots := make([]ballot, 3)
	for i := range ballots {
		for n := range 15 {
			ballots[i].complaints = append(ballots[i].complaints, validate.Complaint{Problem: fmt.Sprint("problem ", n%(10+5*i))})
		}
	}
	ballots[0].complaints[3].Suggestion = ""
	ballots[1].complaints[3].Suggestion = "mend it"
	ballots[2].complaints[3].Suggestion = "not this one"
	for n := range 20 {
		ballots[2].complaints = append(ballots[2].complaints, validate.Complaint{Problem: fmt.Sprint("other ", n%8)})
	}
	got := merge(ballots)
	if len(got) != maxReasons+1 || got[maxReasons].Problem != "and 3 more that the judges list" || got[3].Suggestion != "mend it" {
		t.Errorf("%d: %v", len(got), got)
	}
}
