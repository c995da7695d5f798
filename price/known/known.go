// Package known has the public prices of OpenAI, Anthropic, Gemini and Groq, for
// programs that import it:
//
//	import _ "llmcall/price/known"
//
//	p, ok := price.Known("openai/gpt-6-luna")
//
// The prices are those of the npm package @pydantic/genai-prices (MIT), which pricegen
// has made into a table; [Source] says of which version and day. They have tiers of
// long prompts, reads and writes of caches, sound as input, and the changes that were
// told with a date. They are the list prices of the provider's own address, at its
// standard service tier, and age from the day of the table on: a program with a ceiling
// of money should have the prices that it depends on in its own [price.Table], which
// counts first.
//
// A model is found by its full name, as the source finds it: by the name of the
// provider for one model ("gpt-6-luna"), for its dated snapshots
// ("gpt-6-luna-2026-08-06"), or for all models whose names begin alike
// ("gemini-3.8-flash-preview"), in upper or lower case; "openai-responses/…" costs what
// "openai/…" does. The price of a model that is not in the table is unknown, and not 0.
//
// A model is left out if its price depends on more than a usage tells: on which part of
// the output is sound or pictures, for instance, or on how long a recording is. So are
// models whose price is not known to the source, and Gemma, which is free of charge
// only within limits.
//
// There is no Azure: a model there has the name that the owner of a deployment gave it,
// which does not say what it costs. There is no DeepSeek: its price depends on the hour,
// and the sources do not agree. OpenRouter and Together resell models, and change their
// prices with those who serve them.
//
// The package and package price add 0.1 MB to a program; the table has 21 kB of it. The
// file testdata/README.md has how the table compares to another source.
package known

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"llmcall/price"
)

//go:generate go run ../../internal/pricegen -o table.json

//go:embed table.json
var file []byte

type table struct {
	Source, Version, Date, Licence string
	Providers                      map[string][]row
}

// row is a model: the patterns of its names, and its price, or nil if a usage does not
// tell what it costs. In a pattern "*" is any text and "#" a digit; a name that fits a
// pattern after "!" does not fit the row.
type row struct {
	Match []string
	Price *price.Price
}

// read reads the table when it is needed first.
var read = sync.OnceValue(func() (t table) {
	if err := json.Unmarshal(file, &t); err != nil {
		panic(fmt.Sprintf("price/known: table.json: %v", err)) // a test reads it
	}
	return t
})

func init() { price.Register(find) }

// Source says where the prices are from and which day's they are:
// "@pydantic/genai-prices 0.1.8, 2026-09-23".
func Source() string {
	t := read()
	return fmt.Sprintf("%s %s, %s", t.Source, t.Version, t.Date)
}

func find(model string) (price.Price, bool) {
	provider, name, _ := strings.Cut(strings.ToLower(strings.TrimSpace(model)), "/")
	rows := read().Providers[strings.TrimSuffix(provider, "-responses")]
	matches := func(r row) bool { return r.fits(name) }
	i := slices.IndexFunc(rows, matches)
	if i < 0 {
		name = dashed(name)
		i = slices.IndexFunc(rows, matches)
	}
	if i < 0 || rows[i].Price == nil {
		return price.Price{}, false
	}
	return *rows[i].Price, true
}

// day is the day of a snapshot without dashes.
var day = regexp.MustCompile(`-20\d{6}(?:-|:|$)`)

// dashed returns the name with dashes in the day of its snapshot: the source knows some
// only so.
func dashed(name string) string {
	return day.ReplaceAllStringFunc(name, func(found string) string {
		digits := found[1:9]
		if _, err := time.Parse("20060102", digits); err != nil {
			return found
		}
		return "-" + digits[:4] + "-" + digits[4:6] + "-" + digits[6:] + found[9:]
	})
}

func (r row) fits(name string) (found bool) {
	for _, pattern := range r.Match {
		excluded, no := strings.CutPrefix(pattern, "!")
		if no && fits(excluded, name) {
			return false
		}
		found = found || !no && fits(pattern, name)
	}
	return found
}

func fits(pattern, name string) bool {
	for pattern != "" {
		if pattern[0] == '*' {
			for i := range len(name) + 1 {
				if fits(pattern[1:], name[i:]) {
					return true
				}
			}
			return false
		}
		if name == "" || pattern[0] != name[0] && (pattern[0] != '#' || name[0] < '0' || name[0] > '9') {
			return false
		}
		pattern, name = pattern[1:], name[1:]
	}
	return name == ""
}
