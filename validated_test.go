package llmcall_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"llmcall"
	"llmcall/validate"
)

// Purchase has parts that validate themselves, each in its own way.
type Purchase struct {
	Lines   []Line                        `json:"lines"`
	By      map[string]Line               `json:"by,omitempty"`
	Ship    *Floor                        `json:"ship"`
	Bill    Floor                         `json:"bill,omitzero"`
	Hidden  Floor                         `json:"hidden" jsonschema:"-"`
	Payment llmcall.OneOf[Card, Transfer] `json:"payment,omitzero"`
	Dated
	Signed
}

// Dated and Signed both have a Validate, so that Purchase has none of theirs.
type Dated struct {
	Year int `json:"year"`
}

func (d Dated) Validate() error { return atLeast("year", d.Year) }

type Signed struct {
	Pages int `json:"pages"`
}

func (s *Signed) Validate() error { return atLeast("pages", s.Pages) }

type Line struct {
	Count int `json:"count"`
}

func (l Line) Validate() error { return atLeast("count", l.Count) }

type Floor struct {
	N int `json:"floor"`
}

func (p *Floor) Validate() error { return atLeast("floor", p.N) }

type Card struct {
	Limits []Line `json:"limits"`
}

type Transfer struct {
	Days int `json:"days"`
}

func atLeast(name string, n int) error {
	if n < 1 {
		return validate.FailAt("/"+name, fmt.Errorf("%d is too few", n))
	}
	return nil
}

// Cart is valid only if its lines are, and looks at them itself.
type Cart struct {
	Lines []Line `json:"lines"`
	Total int    `json:"total"`
}

func (c Cart) Validate() error {
	for _, line := range c.Lines {
		if err := line.Validate(); err != nil {
			return fmt.Errorf("a line: %w", err)
		}
	}
	return atLeast("total", c.Total)
}

// As encoding/json calls UnmarshalJSON, wherever it is.
func TestWhatIsInAnAnswerIsValidatedToo(t *testing.T) {
	order := func(more string) string { return `{"lines":[],"ship":null,"year":1,"pages":1` + more + `}` }
	for _, c := range []struct {
		ask   func(reply string) error
		reply string
		want  []string
	}{
		{askedFor[Purchase](t), order(``), nil},
		{askedFor[Purchase](t), `{"lines":[{"count":1},{"count":0}],"ship":{"floor":0},"year":1,"pages":1}`, []string{"/lines/1/count", "/ship/floor"}},
		{askedFor[Purchase](t), order(`,"by":{"b":{"count":0},"a":{"count":0}}`), []string{"/by/a/count", "/by/b/count"}},
		{askedFor[Purchase](t), order(`,"bill":{"floor":-1}`), []string{"/bill/floor"}},
		{askedFor[Purchase](t), order(`,"payment":{"type":"Card","limits":[{"count":0}]}`), []string{"/payment/limits/0/count"}},
		{askedFor[Purchase](t), `{"lines":[],"ship":null,"year":0,"pages":0}`, []string{"/year", "/pages"}},
		{askedFor[[]*Purchase](t), `{"value":[` + order(`,"bill":{"floor":-1}`) + `]}`, []string{"/value/0/bill/floor"}},
		{askedFor[Cart](t), `{"lines":[{"count":0}],"total":0}`, []string{"/lines/0/count"}},
		{askedFor[Cart](t), `{"lines":[{"count":1}],"total":0}`, []string{"/total"}},
	} {
		var pointers []string
		if e, ok := errors.AsType[*llmcall.Error](c.ask(c.reply)); ok {
			for _, complaint := range e.Complaints {
				pointers = append(pointers, complaint.Pointer)
			}
		}
		if !slices.Equal(pointers, c.want) {
			t.Errorf("%s: complaints at %q, want %q", c.reply, pointers, c.want)
		}
	}
}

func askedFor[T any](t *testing.T) func(reply string) error {
	return func(reply string) error {
		_, _, err := asked[T](t, reply)
		return err
	}
}
