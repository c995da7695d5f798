package classify

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// span reads how long a value asks to wait, counted from when its response was
// sent. It is the only reader of times, so that no header and no body takes a
// form that another refuses:
//
//   - a plain decimal number, fractions allowed, of the header's unit. One of
//     31 years or more is not a wait but a Unix time, in seconds or milliseconds:
//     servers send these where seconds are meant, and do so with each response;
//   - a Go duration, "1m0s", "20ms" (OpenAI, Groq, Gemini);
//   - an HTTP date in any of its three forms (RFC 9110, section 5.6.7);
//   - a time of RFC 3339 (Anthropic).
//
// A time that has passed is a wait of 0. What is of no known form, negative, or
// too long for a time.Duration (292 years), is not told: a provider means
// nothing by it.
func span(s string, unit time.Duration, sent sending) (time.Duration, bool) {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "-") {
		return 0, false
	}
	if n, ok := number(s); ok {
		return spanOf(n, unit, sent)
	}
	if d, err := time.ParseDuration(s); err == nil {
		return d, true
	}
	if t, ok := date(s, sent.came); ok {
		return sent.until(t)
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return 0, false
	}
	return sent.until(t)
}

// The numbers that are Unix times: seconds and milliseconds from the year 2001
// on. More than lastUnixMilli is not a plausible time.
const (
	firstUnix      = 1e9
	firstUnixMilli = 1e12
	lastUnixMilli  = 1e14
)

func spanOf(n float64, unit time.Duration, sent sending) (time.Duration, bool) {
	switch {
	case n*unit.Seconds() < firstUnix:
		return time.Duration(math.Round(n * float64(unit))), true
	case n < firstUnixMilli:
		whole, part := math.Modf(n)
		return sent.until(time.Unix(int64(whole), int64(part*1e9)))
	case n < lastUnixMilli:
		return sent.until(time.UnixMilli(int64(n)))
	}
	return 0, false
}

// number reads a plain decimal number of 0 or more. strconv.ParseFloat alone
// would also take "inf", "nan", "0x1p4" and "1_000".
func number(s string) (float64, bool) {
	if strings.Trim(s, "0123456789.eE+-") != "" || strings.HasPrefix(s, "-") {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

// The forms of an HTTP date (RFC 9110, section 5.6.7), and two that servers
// send instead of the first.
const (
	imfFixdate = "Mon, 2 Jan 2006 15:04:05 GMT"
	imfUTC     = "Mon, 2 Jan 2006 15:04:05 UTC"
	imfOffset  = "Mon, 2 Jan 2006 15:04:05 -0700"
	rfc850     = "Monday, 02-Jan-06 15:04:05 GMT"
	asctime    = time.ANSIC
)

// date reads an HTTP date. A year of two digits is of the century that is near
// to now.
func date(s string, now time.Time) (time.Time, bool) {
	for _, layout := range []string{imfFixdate, rfc850, asctime, imfUTC, imfOffset} {
		t, err := time.Parse(layout, s)
		if err != nil {
			continue
		}
		if layout == rfc850 {
			t = century(t, now)
		}
		return t, true
	}
	return time.Time{}, false
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

// maxSkew is how far two clocks may differ with no doubt about either: a clock that is set
// to the time of the wrong zone is 14 hours off at most.
const maxSkew = 24 * time.Hour

// sending is when a response was sent, by two clocks.
type sending struct {
	date time.Time // by its own Date, the clock by which its absolute times are told; zero: it has none
	came time.Time // by the clock here, when it came
}

// sentAt returns when a response that came at a time was sent.
func sentAt(h http.Header, came time.Time) sending {
	s := sending{came: came}
	if values := valuesOf(h, "Date"); len(values) > 0 {
		s.date, _ = date(strings.TrimSpace(values[0]), came)
	}
	return s
}

// until returns how long it was from the sending to a time that the response tells. It is
// held against the response's own Date: held against the clock here, a machine that is ten
// minutes late would wait ten minutes too long, and one that is early not at all. Where the
// two are more than maxSkew apart, one of them is absurd, and the time itself tells which:
// the one that is farther from it.
func (s sending) until(t time.Time) (time.Duration, bool) {
	from := s.date
	if from.IsZero() || from.Sub(s.came).Abs() > maxSkew && t.Sub(s.came).Abs() < t.Sub(from).Abs() {
		from = s.came
	}
	d := t.Sub(from) // which stops at the longest
	if d == math.MaxInt64 {
		return 0, false
	}
	return max(0, d), true
}

// retryAfter reads how long a header asks to stay away, counted from when its
// response was sent, and whether it asks at all. Retry-After-Ms, which some
// providers send because it is more precise, wins over Retry-After (RFC 9110,
// section 10.2.3).
func retryAfter(h http.Header, sent sending) (time.Duration, bool) {
	if d, ok := longest(valuesOf(h, "Retry-After-Ms"), time.Millisecond, sent); ok {
		return d, true
	}
	return longest(valuesOf(h, "Retry-After"), time.Second, sent)
}

// valuesOf returns the values of the header with the canonical name. A header
// that was read from a file may hold another spelling.
func valuesOf(h http.Header, name string) []string {
	if v, ok := h[name]; ok {
		return v
	}
	var found []string
	for key, v := range h {
		if strings.EqualFold(key, name) {
			found = append(found, v...)
		}
	}
	return found
}

// longest returns the longest wait that values tell, of a header that may be
// repeated or joined by commas: to come too early costs more than to come late.
func longest(values []string, unit time.Duration, sent sending) (wait time.Duration, told bool) {
	keep := func(s string) bool {
		d, ok := span(s, unit, sent)
		if ok {
			wait, told = max(wait, d), true
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
