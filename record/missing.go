package record

import (
	"fmt"
	"strings"

	"github.com/aymanbagabas/go-udiff"

	"llmcall/failure"
	"llmcall/internal/say"
	"llmcall/internal/yamlfile"
)

// MissingError is the error of a request that no recording is left for. Its kind is
// [failure.InvalidRequest], so that it is not tried again.
type MissingError struct {
	Of  string // the model's name, or the method and address
	Dir string
	// Used is how many recordings of an equal request there were, which earlier requests have
	// got. If it is above 0, Nearest and Diff are empty.
	Used int
	// Nearest is the path of the recording whose request is most like this one. "": there is
	// none of the same sort.
	Nearest string
	// Diff has the differences of its request and this one, as a unified diff. "": there are
	// none, and its caller cancelled it, so that it has no answer.
	Diff string
}

func (e *MissingError) Error() string {
	at := "record: " + e.Dir + " has no recording for a request to " + e.Of
	switch {
	case e.Used > 0:
		return fmt.Sprintf("record: %s has %s of this request to %s, and it was made %d times", e.Dir, say.Count(e.Used, "recording", "recordings"), e.Of, e.Used+1)
	case e.Nearest == "":
		return at + ", and none like it"
	case e.Diff == "":
		return at + " that was answered: the caller of " + e.Nearest + " cancelled it"
	}
	return at + ". The nearest is " + e.Nearest + ", and differs so:\n" + e.Diff
}

// FailureKind returns [failure.InvalidRequest].
func (e *MissingError) FailureKind() failure.Kind { return failure.InvalidRequest }

// maxDiff is how many code points of a diff an error shows.
const maxDiff = 4000

// missing returns the error of a request without a recording.
func (p *Player) missing(asked *Recording, used int) error {
	e := &MissingError{Of: asked.name(), Dir: p.dir, Used: used}
	if used > 0 {
		return e
	}
	wanted, err := asked.shown()
	if err != nil {
		return e
	}
	words, most, nearest := counted(wanted), -1.0, ""
	for _, path := range p.all {
		r, err := Read(path)
		if err != nil || (r.HTTP == nil) != (asked.HTTP == nil) {
			continue
		}
		has, err := r.shown()
		if err != nil {
			continue
		}
		if like := likeness(words, counted(has)); like > most {
			most, nearest, e.Nearest = like, has, path
		}
	}
	if e.Nearest != "" {
		e.Diff = say.Middle(strings.TrimSuffix(udiff.Unified("recorded", "asked", nearest, wanted), "\n"), maxDiff)
	}
	return e
}

// shown returns a request as a text whose lines can be compared.
func (r *Recording) shown() (string, error) {
	bare := *r
	if r.HTTP != nil {
		bare.HTTP = &Exchange{Method: r.HTTP.Method, URL: r.HTTP.URL, RequestBody: canonicalBody(r.HTTP.RequestBody)}
	} else {
		bare.Call = &Call{Model: r.Call.Model, Request: r.Call.Request}
	}
	var d document
	set := func() error {
		if bare.HTTP != nil {
			return d.setHTTP(bare.HTTP)
		}
		return d.setCall(bare.Call)
	}
	if err := set(); err != nil {
		return "", err
	}
	n, err := yamlfile.Parse(canonicalBody(d.Request))
	if err != nil {
		return "", err
	}
	return dumped(n)
}

// counted returns how often each word of a text is in it.
func counted(text string) map[string]int {
	words := map[string]int{}
	for word := range strings.FieldsSeq(text) {
		words[word]++
	}
	return words
}

// likeness returns the share of words that two texts have in common, from 0 to 1: Dice's
// coefficient of the bags of words.
func likeness(a, b map[string]int) float64 {
	common, all := 0, 0
	for word, n := range a {
		common += min(n, b[word])
		all += n
	}
	for _, n := range b {
		all += n
	}
	if all == 0 {
		return 1
	}
	return 2 * float64(common) / float64(all)
}
