package schemagen

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Unbounded means no limit on a length. It is far above any length that occurs here, and
// small enough to be multiplied.
const Unbounded = 1 << 20

// Longest is the length of the longest text that is made, in runes.
const Longest = 1 << 14

// Matching makes a text of lo to hi runes that the regular expression matches
// anywhere in it, as JSON Schema's pattern does.
//
// It computes how long the matches of each part of the expression can be, and distributes
// a suitable length among the parts. It ignores assertions (^, $, \b) and gaps in the
// possible lengths: a text is tried against the expression, and drawn again if it does
// not match. So it does not match an expression whose assertions contradict what is next
// to them.
func Matching(expr string, lo, hi int, r *rand.Rand) (string, error) {
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return "", err
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		return "", err
	}
	p := &patternText{r: r, lengths: map[*syntax.Regexp]length{}}
	own := p.length(tree)
	if own.min > hi || own.min >= Unbounded || lo > Longest {
		return "", fmt.Errorf("no text of %s matches %s", lengthRange(lo, hi), quoted(expr))
	}
	from := min(max(lo, own.min), own.max)
	to := max(from, min(hi, own.max, from+12))
	for tries, written := 0, 0; tries < 60 && written < 8*Longest; tries++ {
		p.out.Reset()
		p.steps = 0
		p.write(tree, from+r.IntN(to-from+1))
		text := p.out.String()
		written += len(text)
		for _, t := range []string{text, text + p.filler(lo-utf8.RuneCountInString(text)), p.filler(lo-utf8.RuneCountInString(text)) + text} {
			if n := utf8.RuneCountInString(t); n >= lo && n <= hi && re.MatchString(t) && utf8.ValidString(t) {
				return t, nil
			}
		}
	}
	return "", fmt.Errorf("found no text of %s that matches %s", lengthRange(lo, hi), quoted(expr))
}

func lengthRange(lo, hi int) string {
	if hi >= Unbounded {
		return fmt.Sprintf("%d or more characters", lo)
	}
	return fmt.Sprintf("%d to %d characters", lo, hi)
}

func quoted(expr string) string { return "/" + expr + "/" }

// length is how many runes a part of an expression can match.
type length struct{ min, max int }

type patternText struct {
	r       *rand.Rand
	lengths map[*syntax.Regexp]length
	out     strings.Builder
	steps   int
}

// maxSteps bounds the work on one text: repetitions of repetitions multiply.
const maxSteps = 1 << 16

func (p *patternText) length(re *syntax.Regexp) length {
	if l, ok := p.lengths[re]; ok {
		return l
	}
	var l length
	switch re.Op {
	case syntax.OpNoMatch:
		l = length{Unbounded, Unbounded}
	case syntax.OpLiteral:
		l = length{len(re.Rune), len(re.Rune)}
	case syntax.OpCharClass:
		l = length{1, 1}
		if len(re.Rune) == 0 {
			l = length{Unbounded, Unbounded}
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		l = length{1, 1}
	case syntax.OpCapture:
		l = p.length(re.Sub[0])
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			s := p.length(sub)
			l = length{l.min + s.min, l.max + s.max}
		}
	case syntax.OpAlternate:
		l = length{Unbounded, 0}
		for _, sub := range re.Sub {
			s := p.length(sub)
			l = length{min(l.min, s.min), max(l.max, s.max)}
		}
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		from, to := repeats(re)
		s := p.length(re.Sub[0])
		l = length{from * s.min, to * s.max}
		if s.min >= Unbounded { // can't match, not even as nothing repeated
			l = length{0, 0}
			if from > 0 {
				l = length{Unbounded, Unbounded}
			}
		}
	}
	l = length{min(l.min, Unbounded), min(l.max, Unbounded)}
	p.lengths[re] = l
	return l
}

// repeats returns how often the part of a repetition comes.
func repeats(re *syntax.Regexp) (from, to int) {
	switch re.Op {
	case syntax.OpStar:
		return 0, Unbounded
	case syntax.OpPlus:
		return 1, Unbounded
	case syntax.OpQuest:
		return 0, 1
	}
	if re.Max < 0 {
		return re.Min, Unbounded
	}
	return re.Min, re.Max
}

// write writes a match of re of n runes, or about n if that is not possible.
func (p *patternText) write(re *syntax.Regexp, n int) {
	if p.steps++; p.steps > maxSteps {
		return
	}
	switch re.Op {
	case syntax.OpLiteral:
		for _, c := range re.Rune {
			p.out.WriteRune(c)
		}
	case syntax.OpCharClass:
		p.out.WriteRune(p.oneOf(re.Rune))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		p.out.WriteString(p.filler(1))
	case syntax.OpCapture:
		p.write(re.Sub[0], n)
	case syntax.OpConcat:
		p.share(re.Sub, n)
	case syntax.OpAlternate:
		var fit, possible []*syntax.Regexp
		for _, sub := range re.Sub {
			l := p.length(sub)
			if l.min < Unbounded {
				possible = append(possible, sub)
			}
			if l.min <= n && n <= l.max {
				fit = append(fit, sub)
			}
		}
		if len(fit) == 0 {
			fit = possible
		}
		if len(fit) > 0 {
			p.write(fit[p.r.IntN(len(fit))], n)
		}
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		p.repeat(re, n)
	}
}

func (p *patternText) repeat(re *syntax.Regexp, n int) {
	from, to := repeats(re)
	l := p.length(re.Sub[0])
	switch {
	case l.min >= Unbounded || n == 0 && from == 0:
		return
	case l.max == 0:
		to = from
	default:
		from = min(max(from, (n+l.max-1)/l.max), to)
		switch {
		case l.min > 0:
			to = max(from, min(to, n/l.min))
		case n > 0:
			to = min(to, from+2)
		default:
			to = from
		}
	}
	copies := make([]*syntax.Regexp, from+p.r.IntN(to-from+1))
	for i := range copies {
		copies[i] = re.Sub[0]
	}
	p.share(copies, n)
}

// share writes the parts one after the other, n runes in all. Each part gets its minimum,
// and the rest is distributed at random.
func (p *patternText) share(parts []*syntax.Regexp, n int) {
	rest, room := n, 0
	for _, part := range parts {
		l := p.length(part)
		rest -= l.min
		room += l.max - l.min
	}
	rest = min(max(rest, 0), room)
	for _, part := range parts {
		l := p.length(part)
		room -= l.max - l.min
		least := max(0, rest-room) // what the later parts can't take
		more := least + p.r.IntN(max(1, min(rest, l.max-l.min)-least+1))
		rest -= more
		p.write(part, l.min+more)
	}
}

const letters = "abcdefghijklmnopqrstuvwxyz"

// filler returns n letters.
func (p *patternText) filler(n int) string {
	b := make([]byte, max(0, n))
	for i := range b {
		b[i] = letters[p.r.IntN(len(letters))]
	}
	return string(b)
}

// preferred are the runes to draw from a class, best first: plain ones, visible ones,
// any.
var preferred = [][][2]rune{
	{{'a', 'z'}, {'0', '9'}, {'A', 'Z'}},
	{{'!', '~'}},
	{{' ', ' '}},
	{{0xa1, 0xd7ff}},
	{{0, unicode.MaxRune}},
}

// oneOf draws a rune from a class, given as pairs of bounds.
func (p *patternText) oneOf(class []rune) rune {
	for _, wanted := range preferred {
		var ranges [][2]rune
		total := 0
		for i := 0; i+1 < len(class); i += 2 {
			for _, w := range wanted {
				if lo, hi := max(class[i], w[0]), min(class[i+1], w[1]); lo <= hi {
					ranges = append(ranges, [2]rune{lo, hi})
					total += int(hi-lo) + 1
				}
			}
		}
		if total == 0 {
			continue
		}
		at := p.r.IntN(total)
		for _, b := range ranges {
			n := int(b[1]-b[0]) + 1
			if at < n {
				return b[0] + rune(at)
			}
			at -= n
		}
	}
	return utf8.RuneError // an empty class, which length rules out
}
