package failure

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// RetryAfter reads how long a response's header asks to wait, counted from
// now, and whether it asks at all. An http.Header can be passed as it is.
//
// Two headers are read: Retry-After-Ms (milliseconds, fractions allowed), which
// some providers send because it is more precise and which therefore wins, and
// Retry-After (RFC 9110, section 10.2.3): seconds, fractions allowed, or an
// HTTP date in any of its three forms (section 5.6.7). Of a header that is
// repeated, or joined by commas, the longest valid wait counts: to come too
// early costs more than to come late.
//
// The wait is never negative: a date in the past is 0. A number too large for a
// time.Duration is the largest one, not a wrapped one. Whatever is neither a
// date nor a plain decimal number of 0 or more counts as not told.
func RetryAfter(header map[string][]string, now time.Time) (time.Duration, bool) {
	if wait, ok := longest(values(header, "Retry-After-Ms"), func(s string) (time.Duration, bool) {
		return number(s, time.Millisecond)
	}); ok {
		return wait, true
	}
	return longest(values(header, "Retry-After"), func(s string) (time.Duration, bool) {
		if wait, ok := number(s, time.Second); ok {
			return wait, true
		}
		return date(s, now)
	})
}

// values returns the values of the header with the canonical name. A map that
// no HTTP package made may hold another spelling.
func values(header map[string][]string, name string) []string {
	if v, ok := header[name]; ok {
		return v
	}
	var found []string
	for key, v := range header {
		if strings.EqualFold(key, name) {
			found = append(found, v...)
		}
	}
	return found
}

// longest returns the longest wait that read finds in values.
func longest(values []string, read func(string) (time.Duration, bool)) (wait time.Duration, told bool) {
	keep := func(s string) bool {
		w, ok := read(strings.TrimSpace(s))
		if ok {
			wait, told = max(wait, w), true
		}
		return ok
	}
	for _, value := range values {
		if keep(value) {
			continue
		}
		// A date has a comma of its own, after the day's name.
		pieces := strings.Split(value, ",")
		for i := 0; i < len(pieces); i++ {
			if i+1 < len(pieces) && keep(pieces[i]+","+pieces[i+1]) {
				i++
				continue
			}
			keep(pieces[i])
		}
	}
	return wait, told
}

// number reads a plain decimal number. strconv.ParseFloat alone would also take
// "inf", "nan", "0x1p4" and "1_000".
func number(s string, unit time.Duration) (time.Duration, bool) {
	if s == "" || strings.Trim(s, "0123456789.eE+-") != "" || s[0] == '-' {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !math.IsInf(f, 1) { // infinite: valid, but out of range
		return 0, false
	}
	f = math.Round(f * float64(unit))
	if f >= math.MaxInt64 {
		return math.MaxInt64, true
	}
	return time.Duration(f), true
}

// The forms of an HTTP date (RFC 9110, section 5.6.7), and two that servers
// send in the place of the first.
const (
	imfFixdate = "Mon, 2 Jan 2006 15:04:05 GMT"
	imfUTC     = "Mon, 2 Jan 2006 15:04:05 UTC"
	imfOffset  = "Mon, 2 Jan 2006 15:04:05 -0700"
	rfc850     = "Monday, 02-Jan-06 15:04:05 GMT"
	asctime    = time.ANSIC
)

func date(s string, now time.Time) (time.Duration, bool) {
	for _, layout := range []string{imfFixdate, rfc850, asctime, imfUTC, imfOffset} {
		t, err := time.Parse(layout, s)
		if err != nil {
			continue
		}
		if layout == rfc850 {
			t = century(t, now)
		}
		return max(0, t.Sub(now)), true // Sub stops at the largest duration
	}
	return 0, false
}

// century gives t, read from a year of two digits, the century that RFC 9110
// asks for: a time more than 50 years ahead of now is one of the past.
func century(t, now time.Time) time.Time {
	t = t.AddDate(now.UTC().Year()/100*100-t.Year()/100*100, 0, 0)
	if t.After(now.AddDate(50, 0, 0)) {
		t = t.AddDate(-100, 0, 0)
	}
	return t
}
