package page

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"llmcall"
	"llmcall/account"
)

// took writes a duration: "820 ms", "2.31 s", "1 min 5 s".
func took(d time.Duration) string {
	switch {
	case d < 50*time.Microsecond:
		return "< 0.1 ms"
	case d < 10*time.Millisecond:
		return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 1, 64) + " ms"
	case d < 995*time.Millisecond:
		return strconv.FormatInt((d+time.Millisecond/2).Milliseconds(), 10) + " ms"
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 2, 64) + " s"
	case d < time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}

// dollars writes nano-dollars with as many digits as a reader needs: "$12.30", "$0.0042".
func dollars(nanos int64) string {
	d := float64(nanos) / account.Dollar
	switch {
	case nanos <= 0:
		return "$0"
	case d < 0.0001:
		return "< $0.0001"
	case d < 1:
		return "$" + strconv.FormatFloat(d, 'f', 4, 64)
	case d < 1000:
		return "$" + strconv.FormatFloat(d, 'f', 2, 64)
	}
	return "$" + thousands(int64(d+0.5))
}

// cost writes what is known of a cost: "≥ $0.12" of a part; "" if that is next to nothing.
func cost(c llmcall.Cost) string {
	switch {
	case c.Known():
		return dollars(c.Nanos)
	case c.Nanos >= account.Dollar/10_000:
		return "≥ " + dollars(c.Nanos)
	}
	return ""
}

// thousands writes a number with separators: "1,204".
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// rate writes requests a second: "0.05", "2.4", "120".
func rate(r float64) string {
	switch {
	case r < 0.995:
		return strings.TrimRight(strings.TrimRight(strconv.FormatFloat(r, 'f', 2, 64), "0"), ".")
	case r < 9.95:
		return strconv.FormatFloat(r, 'f', 1, 64)
	}
	return thousands(int64(r + 0.5))
}

// clock writes the time of a day, in UTC.
func clock(t time.Time) string { return t.UTC().Format("15:04:05") }

// stamp writes a time for an attribute datetime.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
