// Package redact prepares texts of calls for logs and traces: keys in them are hidden, and
// long texts are cut.
package redact

import (
	"cmp"
	"os"
	"regexp"
	"slices"
	"strings"

	"llmcall/internal/say"
	"llmcall/provider"
)

// DefaultMax is how many characters of a text are kept by default.
const DefaultMax = 4_000

// Filter hides keys and cuts texts. It is safe for use from many goroutines.
type Filter struct {
	keys []string
	max  int
}

// New returns a [Filter] that keeps at most limit characters of a text; 0 is
// [DefaultMax]. It hides the given keys, the keys that are in the environment of the
// process at this moment, and whatever has the form of a key.
func New(keys []string, limit int) *Filter {
	all := slices.Clone(keys)
	var variables []string
	for _, p := range provider.All() {
		variables = append(variables, p.KeyVariable)
	}
	for _, assignment := range os.Environ() {
		name, value, _ := strings.Cut(assignment, "=")
		if slices.Contains(variables, name) || strings.HasSuffix(strings.ToUpper(name), "_API_KEY") {
			all = append(all, value)
		}
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) }) // a key may begin with another
	return &Filter{slices.Compact(all), cmp.Or(limit, DefaultMax)}
}

// Text returns a text without keys, and without its middle if it is long. Keys are hidden
// first: half a key that was cut would not be found.
func (f *Filter) Text(s string) string { return say.Middle(f.Hide(s), f.max) }

// Hide returns a text without keys, and without bytes that are not UTF-8, each run of which
// is U+FFFD: the formats of logs and traces have none.
func (f *Filter) Hide(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	for _, key := range f.keys {
		s = say.Hide(s, key)
	}
	if len(s) < shortest {
		return s
	}
	return forms.ReplaceAllString(s, "${1}[key]")
}

// shortest is the length of the shortest text that [forms] matches.
const shortest = 16

// forms are the forms of credentials. The check no_secrets has a table of its own, which is
// strict since whoever gets a complaint must change the answer; here a text that only looks
// like a key may be hidden too.
var forms = regexp.MustCompile(strings.Join([]string{
	`(?i:(\b(?:bearer|basic)\s+))[A-Za-z0-9+/_.~=-]{16,}`,
	`(?s:-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|$))`,
	`\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,}`, // OpenAI, Anthropic, OpenRouter, Stripe
	`\b(?:gsk|hf|npm|xai|llmcall|gh[pousr]|github_pat)_[A-Za-z0-9_-]{16,}`,
	`\b(?:xai|glpat)-[A-Za-z0-9_-]{16,}`,
	`\bxox[a-z]-[A-Za-z0-9-]{10,}`,
	`\bAIza[0-9A-Za-z_-]{30,}`,
	`\b(?:AKIA|ASIA)[A-Z2-7]{16}\b`,
	`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*`, // a JSON Web Token
}, "|"))
