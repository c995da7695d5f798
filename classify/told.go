package classify

import (
	"cmp"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"llmcall/pace"
)

// Told returns what the headers of a response, an answer or a refusal, say about the
// provider's limits. It returns nil if they say nothing, without an allocation. provider
// says whose protocol they are in, as in [Reply]; at is when the response came, which
// absolute times are compared with if it has no Date.
//
// Its Wait is Retry-After or Retry-After-Ms. Its Windows, of requests and of
// tokens, are read from
//
//   - x-ratelimit-limit-, -remaining- and -reset-, with requests, tokens, a
//     period or nothing after it (OpenAI, Azure, Groq, OpenRouter, Cerebras,
//     Mistral), and x-tokenlimit- (Together);
//   - anthropic-ratelimit-requests-, -tokens-, -input-tokens- and
//     -output-tokens-, and -unified-, which is a window with nothing left while
//     its status is "rejected" and no overage is allowed. They are read for
//     [Anthropic] alone: another provider that passes them on has its own account
//     in them;
//   - RateLimit and RateLimit-Policy, and the fields RateLimit-Limit, -Remaining
//     and -Reset of earlier drafts (draft-ietf-httpapi-ratelimit-headers).
//
// A window without a remaining count, or with a limit of 0, is left out. Of a repeated
// header, the least count and the longest wait are taken.
func Told(provider string, header http.Header, at time.Time) *pace.Told {
	if !speaks(header) {
		return nil
	}
	sent := sentAt(header, at)
	told := new(pace.Told)
	told.Wait, told.HasWait = retryAfter(header, sent)
	for _, l := range limitsOf(provider, header, sent) {
		if l.left >= 0 && l.size != 0 {
			told.Windows = append(told.Windows, pace.Window{
				Tokens: l.tokens, Limit: max(0, l.size), Remaining: l.left, Reset: l.reset,
			})
		}
	}
	if !told.HasWait && told.Windows == nil {
		return nil
	}
	return told
}

// The beginnings of the headers that tell of limits.
const (
	ofOpenAI    = "x-ratelimit-"
	ofTogether  = "x-tokenlimit-"
	ofAnthropic = "anthropic-ratelimit-"
	ofDraft     = "ratelimit"
)

// speaks reports whether a header may tell of limits. Most tell nothing.
func speaks(h http.Header) bool {
	for name := range h {
		for _, begin := range [...]string{ofOpenAI, ofTogether, ofAnthropic, ofDraft, "retry-after"} {
			if len(name) >= len(begin) && strings.EqualFold(name[:len(begin)], begin) {
				return true
			}
		}
	}
	return false
}

// limit is one limit as headers tell of it.
type limit struct {
	name       string // of the headers without what they say, lower case
	tokens     bool
	size, left int64 // -1: not said
	reset      time.Duration
	timed      bool // reset is said
}

// maxLimits is how many limits of one response are looked at. Providers tell of
// four; a server that tells of thousands is not to cost as much.
const maxLimits = 16

// limitsOf returns the limits that a header tells of, in the order of their
// names.
func limitsOf(provider string, h http.Header, sent sending) []limit {
	var all limits
	for key, values := range h {
		name, what := limitField(provider, strings.ToLower(key))
		if what == "" {
			continue
		}
		l := all.named(name)
		if l == nil {
			continue
		}
		switch what {
		case "limit":
			l.size = least(values)
		case "remaining":
			l.left = least(values)
		case "reset":
			l.reset, l.timed = longest(values, time.Second, sent)
		}
	}
	all.unified(h)
	all = append(all, draftLimits(valuesOf(h, "Ratelimit"), valuesOf(h, "Ratelimit-Policy"), sent)...)
	slices.SortStableFunc(all, func(a, b limit) int { return cmp.Compare(a.name, b.name) })
	return all
}

type limits []limit

// named returns the limit with that name, made if need be; nil if there are too
// many.
func (all *limits) named(name string) *limit {
	for i := range *all {
		if (*all)[i].name == name {
			return &(*all)[i]
		}
	}
	if len(*all) == maxLimits {
		return nil
	}
	*all = append(*all, newLimit(name))
	return &(*all)[len(*all)-1]
}

func newLimit(name string) limit {
	return limit{name: name, tokens: strings.Contains(name, "token"), size: -1, left: -1}
}

const unified = ofAnthropic + "unified"

// unified completes the limit of an Anthropic subscription, which has a status
// instead of counts: "allowed", "allowed_warning", "rejected".
func (all *limits) unified(h http.Header) {
	i := slices.IndexFunc(*all, func(l limit) bool { return l.name == unified })
	if i < 0 {
		return
	}
	switch status := h.Get("Anthropic-Ratelimit-Unified-Status"); {
	case strings.HasPrefix(status, "allowed"), strings.HasPrefix(h.Get("Anthropic-Ratelimit-Unified-Overage-Status"), "allowed"):
		*all = slices.Delete(*all, i, i+1) // nothing is used up, or what is beyond is served and paid for
	case status == "rejected":
		(*all)[i].left = 0
	}
}

// limitField splits a header's name, in lower case, into the limit that it is
// about, "x-ratelimit-tokens", and what it says of it: "limit", "remaining" or
// "reset"; "" if it is about none of requests or tokens.
func limitField(provider, key string) (name, what string) {
	family, rest := "", ""
	for _, begin := range [...]string{ofOpenAI, ofTogether, ofAnthropic, ofDraft + "-"} {
		if after, ok := strings.CutPrefix(key, begin); ok {
			family, rest = begin, after
		}
	}
	if family == "" || family == ofAnthropic && provider != Anthropic {
		return "", ""
	}
	first, others, _ := strings.Cut(rest, "-")
	if isSaid(first) {
		what, rest = first, others
	} else if i := strings.LastIndexByte(rest, '-'); i >= 0 && isSaid(rest[i+1:]) {
		what, rest = rest[i+1:], rest[:i]
	}
	if !countable(rest) && family+rest != unified {
		return "", ""
	}
	return family + rest, what
}

func isSaid(word string) bool { return word == "limit" || word == "remaining" || word == "reset" }

// countable reports whether a limit is of requests or of tokens: "requests",
// "req-minute", "tokens-minute", "day", "". There are others, of images, of
// seconds of speech, that say nothing about our calls.
func countable(what string) bool {
	switch what {
	case "", "second", "minute", "hour", "day", "month":
		return true
	}
	return strings.HasPrefix(what, "req") || strings.Contains(what, "token")
}

// least returns the least count of a header that may be repeated, joined by
// commas, or have the window's length beside it ("100, 100;w=60"); -1 if there
// is none.
func least(values []string) int64 {
	n := int64(-1)
	for _, value := range values {
		for piece := range strings.SplitSeq(value, ",") {
			piece, _, _ = strings.Cut(piece, ";")
			if f, ok := number(strings.TrimSpace(piece)); ok && f < math.MaxInt64 && (n < 0 || int64(f) < n) {
				n = int64(f)
			}
		}
	}
	return n
}

// draftLimits reads the field RateLimit, "default";r=50;t=30, or, in the form of
// drafts 6 and 7, limit=100, remaining=50, reset=30. Its policies tell the size
// and the unit, "default";q=100;w=60;qu="requests", of the limit with their name.
func draftLimits(values, policies []string, sent sending) []limit {
	var all []limit
	for _, member := range items(values) {
		if strings.Contains(member.name, "=") { // an earlier draft: the fields of one limit
			if len(all) == 0 {
				all = append(all, newLimit(ofDraft))
			}
			all[0].read([]string{member.name}, sent)
			all[0].read(member.fields, sent)
			continue
		}
		l := newLimit(ofDraft + " " + member.name)
		l.read(member.fields, sent)
		all = append(all, l)
	}
	for _, member := range items(policies) {
		i := slices.IndexFunc(all, func(l limit) bool { return l.name == ofDraft+" "+member.name })
		if i < 0 {
			continue
		}
		for _, field := range member.fields {
			switch name, value, _ := strings.Cut(field, "="); name {
			case "q":
				all[i].size = least([]string{value})
			case "qu":
				unit := strings.Trim(value, `"`)
				all[i].tokens = strings.Contains(unit, "token")
				if !countable(unit) {
					all[i].left, all[i].timed = -1, false // bytes, calls in flight
				}
			}
		}
	}
	return all
}

// read fills in what fields, r=50 and t=30 or remaining=50 and reset=30, say.
func (l *limit) read(fields []string, sent sending) {
	for _, field := range fields {
		name, value, _ := strings.Cut(field, "=")
		switch strings.TrimSpace(name) {
		case "limit":
			l.size = least([]string{value})
		case "r", "remaining":
			l.left = least([]string{value})
		case "t", "reset":
			l.reset, l.timed = longest([]string{value}, time.Second, sent)
		}
	}
}

// item is a member of a list of structured fields (RFC 9651, section 3.1): a
// name with parameters.
type item struct {
	name   string
	fields []string // "r=50"
}

// items returns the first members of the list that values are.
func items(values []string) []item {
	var all []item
	for _, value := range values {
		for _, member := range splitUnquoted(value, ',') {
			if len(all) == maxLimits {
				return all
			}
			parts := splitUnquoted(member, ';')
			all = append(all, item{strings.ToLower(strings.Trim(parts[0], `"`)), parts[1:]})
		}
	}
	return all
}

// splitUnquoted splits s at each sep that is not within quotes, and trims the
// pieces.
func splitUnquoted(s string, sep byte) []string {
	var pieces []string
	quoted, from := false, 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == sep && !quoted:
			pieces, from = append(pieces, strings.TrimSpace(s[from:i])), i+1
		}
	}
	return append(pieces, strings.TrimSpace(s[from:]))
}

// wholeAgain returns when limits that a refusal tells of are whole again: the
// longest wait of those that are used up, or, if none is said to be, of those that
// may have been: of requests one that has something left has not refused. Of
// Anthropic's no limit has that has something left: they come with every response,
// whatever it was refused for.
func wholeAgain(provider string, all []limit) (wait time.Duration, told bool) {
	used := false
	for _, l := range all {
		switch {
		case !l.timed || l.left > 0 && (provider == Anthropic || !l.tokens):
		case l.left == 0 && !used:
			wait, told, used = l.reset, true, true
		case (l.left == 0) == used:
			wait, told = max(wait, l.reset), true
		}
	}
	return wait, told
}
