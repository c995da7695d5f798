package classify

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// noon is when every response of these tests came.
var noon = time.Date(2026, time.November, 23, 12, 0, 0, 0, time.UTC)

const notTold = time.Duration(-1)

func TestRetryAfterReadsOneHeader(t *testing.T) {
	for _, step := range []struct {
		value string
		want  time.Duration
	}{
		{"0", 0},
		{"1", time.Second},
		{"120", 2 * time.Minute},
		{"0.25", 250 * time.Millisecond},
		{"34.4", 34400 * time.Millisecond},
		{".5", 500 * time.Millisecond},
		{"5.", 5 * time.Second},
		{"5e-05", 50 * time.Microsecond}, // how Python prints a small float
		{"007", 7 * time.Second},
		{"  3\t", 3 * time.Second},
		{"0.0000000001", 0},

		{"Mon, 23 Nov 2026 12:00:30 GMT", 30 * time.Second},
		{"Mon, 23 Nov 2026 12:00:30 UTC", 30 * time.Second},
		{"Mon, 23 Nov 2026 13:00:30 +0100", 30 * time.Second},
		{"Tue, 1 Dec 2026 12:00:00 GMT", 8 * 24 * time.Hour},
		{"Monday, 23-Nov-26 12:01:00 GMT", time.Minute},
		{"Mon Nov 23 12:02:00 2026", 2 * time.Minute},
		{"Tue Dec  1 12:00:00 2026", 8 * 24 * time.Hour},
		{" Mon, 23 Nov 2026 12:00:30 GMT ", 30 * time.Second},
		{"Mon, 23 Nov 2026 11:59:59 GMT", 0},
		{"Thu, 01 Jan 1970 00:00:00 GMT", 0},
		{"Mon, 01 Jan 0001 00:00:00 GMT", 0},
		{"Fri, 31 Dec 9999 23:59:59 GMT", notTold},     // longer than a time.Duration
		{"Sunday, 06-Nov-94 08:49:37 GMT", 0},          // RFC 9110's own example: 1994, not 2094
		{"Friday, 23-Nov-76 11:59:59 GMT", fiftyYears}, // 2076, less than 50 years ahead
		{"Tuesday, 24-Nov-76 12:00:00 GMT", 0},         // more than 50 years ahead: 1976

		// Durations, as in the other headers.
		{"30s", 30 * time.Second},
		{"1m0s", time.Minute},
		{"6m0.5s", 6*time.Minute + 500*time.Millisecond},
		{"12ms", 12 * time.Millisecond},
		{"-30s", notTold},
		{"999999999h", notTold},
		{"2026-11-23T12:00:30Z", 30 * time.Second},
		{"2026-11-23T13:00:30.5+01:00", 30500 * time.Millisecond},
		{"2026-11-23T11:00:30Z", 0},

		// A number that is a Unix time is one.
		{"1795435220", 20 * time.Second},
		{"1795435220.25", 20250 * time.Millisecond},
		{"1795435220500", 20500 * time.Millisecond},
		{"1795435180", 0},
		{"999999999", 999999999 * time.Second},
		{"1000000000", 0},
		{"99999999999", notTold},     // the year 5138
		{"999999999999", notTold},    // no time of ours
		{"1000000000000", 0},         // milliseconds: 2001
		{"100000000000000", notTold}, // no time of ours

		{"9223372036854775807", notTold},
		{"1e300", notTold},
		{"1e400", notTold},
		{strings.Repeat("9", 5000), notTold},

		{"", notTold},
		{"   ", notTold},
		{"-1", notTold},
		{"-0", notTold},
		{"-1e400", notTold},
		{"inf", notTold},
		{"+Inf", notTold},
		{"Infinity", notTold},
		{"NaN", notTold},
		{"0x1p4", notTold},
		{"0x10", notTold},
		{"1_000", notTold},
		{"1 000", notTold},
		{"s", notTold},
		{"e", notTold},
		{".", notTold},
		{"1.2.3", notTold},
		{"soon", notTold},
		{"٣", notTold},
		{"\x00", notTold},
		{"Mon, 32 Nov 2026 12:00:30 GMT", notTold},
		{"Mon, 23 Nov 2026 25:00:30 GMT", notTold},
		{"2026-11-23 12:00:30", notTold},

		{"1, 3, 2", 3 * time.Second},
		{"1,soon,", time.Second},
		{",,", notTold},
		{"-5, 2", 2 * time.Second},
		{"Mon, 23 Nov 2026 12:00:30 GMT, Mon, 23 Nov 2026 12:00:40 GMT", 40 * time.Second},
		{"50, Mon, 23 Nov 2026 12:00:30 GMT", 50 * time.Second},
		{"Mon, 23 Nov 2026 12:00:30 GMT, 20", 30 * time.Second},
	} {
		got, told := retryAfter(http.Header{"Retry-After": {step.value}}, sending{came: noon})
		if want := max(step.want, 0); got != want || told != (step.want != notTold) {
			t.Errorf("Retry-After: %.40q: got %v, %v; want %v, %v", step.value, got, told, want, step.want != notTold)
		}
	}
}

// fiftyYears is 50 years less a second, as a date of two digits can say it.
var fiftyYears = noon.AddDate(50, 0, 0).Add(-time.Second).Sub(noon)

func TestRetryAfterChoosesAmongHeaders(t *testing.T) {
	for _, step := range []struct {
		name   string
		header map[string][]string
		want   time.Duration
	}{
		{"nothing", nil, notTold},
		{"no value", map[string][]string{"Retry-After": {}}, notTold},
		{"milliseconds", map[string][]string{"Retry-After-Ms": {"1500"}}, 1500 * time.Millisecond},
		{"fractions of milliseconds", map[string][]string{"Retry-After-Ms": {"0.5"}}, 500 * time.Microsecond},
		{"milliseconds out of range", map[string][]string{"Retry-After-Ms": {"1e18"}}, notTold},
		{"milliseconds of twenty days are no Unix time in seconds", map[string][]string{"Retry-After-Ms": {"1800000000"}}, 1800000 * time.Second},
		{"a Unix time in milliseconds", map[string][]string{"Retry-After-Ms": {"1795435220500"}}, 20500 * time.Millisecond},
		{"milliseconds are more precise", map[string][]string{"Retry-After": {"2"}, "Retry-After-Ms": {"1500"}}, 1500 * time.Millisecond},
		{"nonsense milliseconds don't hide seconds", map[string][]string{"Retry-After": {"2"}, "Retry-After-Ms": {"-1"}}, 2 * time.Second},
		{"a date for milliseconds", map[string][]string{"Retry-After-Ms": {"Mon, 23 Nov 2026 12:00:30 GMT"}}, 30 * time.Second},
		{"repeated: the longest", map[string][]string{"Retry-After": {"1", "30", "5"}}, 30 * time.Second},
		{"repeated: the longest valid", map[string][]string{"Retry-After": {"nan", "", "5", "-60", "inf"}}, 5 * time.Second},
		{"repeated: a number and a date", map[string][]string{"Retry-After": {"7", "Mon, 23 Nov 2026 12:00:30 GMT"}}, 30 * time.Second},
		{"another spelling", map[string][]string{"retry-after": {"3"}}, 3 * time.Second},
		{"another spelling of milliseconds", map[string][]string{"retry-after-ms": {"300"}}, 300 * time.Millisecond},
		{"two other spellings", map[string][]string{"retry-after": {"3"}, "RETRY-AFTER": {"4"}}, 4 * time.Second},
		{"the canonical spelling first", map[string][]string{"Retry-After": {"3"}, "retry-after": {"9"}}, 3 * time.Second},
	} {
		got, told := retryAfter(step.header, sending{came: noon})
		if want := max(step.want, 0); got != want || told != (step.want != notTold) {
			t.Errorf("%s: got %v, %v; want %v, %v", step.name, got, told, want, step.want != notTold)
		}
	}
}

// A response's own clock is the one by which it tells a time of day.
func TestAbsoluteTimesAreHeldAgainstTheResponsesOwnDate(t *testing.T) {
	const date, unix = "Mon, 23 Nov 2026 12:00:30 GMT", "1795435230" // both half a minute after noon
	for _, step := range []struct {
		name, date string
		at         time.Time
		want       time.Duration
	}{
		{"our clock is right", "Mon, 23 Nov 2026 12:00:00 GMT", noon, 30 * time.Second},
		{"our clock is ten minutes late", "Mon, 23 Nov 2026 12:00:00 GMT", noon.Add(-10 * time.Minute), 30 * time.Second},
		{"our clock is ten minutes early", "Mon, 23 Nov 2026 12:00:00 GMT", noon.Add(10 * time.Minute), 30 * time.Second},
		{"our clock is of another zone", "Mon, 23 Nov 2026 12:00:00 GMT", noon.Add(14 * time.Hour), 30 * time.Second},
		{"our clock is a day early", "Mon, 23 Nov 2026 12:00:00 GMT", noon.Add(24*time.Hour + time.Millisecond), 30 * time.Second},
		{"our clock is a year late", "Mon, 23 Nov 2026 12:00:00 GMT", noon.AddDate(-1, 0, 0), 30 * time.Second},
		{"our clock is a year early", "Mon, 23 Nov 2026 12:00:00 GMT", noon.AddDate(1, 0, 0), 30 * time.Second},
		{"our clock begins with 1970", "Mon, 23 Nov 2026 12:00:00 GMT", time.Unix(0, 0), 30 * time.Second},
		{"in another form", "Monday, 23-Nov-26 12:00:00 GMT", noon.Add(time.Minute), 30 * time.Second},
		{"no Date", "", noon, 30 * time.Second},
		{"a Date of no form", "noon", noon, 30 * time.Second},
		{"a Date of long ago", "Thu, 01 Jan 1970 00:00:00 GMT", noon, 30 * time.Second},
		{"a Date of the day after tomorrow", "Wed, 25 Nov 2026 12:00:00 GMT", noon, 30 * time.Second},
	} {
		for _, told := range []string{date, unix, "2026-11-23T12:00:30Z"} {
			h := http.Header{"Retry-After": {told}, "Date": {step.date}}
			if step.date == "" {
				h.Del("Date")
			}
			got := Read(Reply{Status: 429, Header: h, At: step.at})
			if !got.Told || got.RetryAfter != step.want {
				t.Errorf("%s, %s: got %v, %v; want %v", step.name, told, got.RetryAfter, got.Told, step.want)
			}
		}
	}
}

// A stream may tell of its error minutes after its head was sent.
func TestAnErrorWithinAStreamCountsFromWhenItCame(t *testing.T) {
	h := http.Header{"Date": {"Mon, 23 Nov 2026 11:55:00 GMT"}}
	body := `{"error":{"code":429,"message":"Rate limit exceeded","metadata":{"headers":{"X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1795435226000"}}}}`
	got, _ := ReadError(Reply{Status: 200, Header: h, Body: []byte(body), At: noon})
	if !got.Told || got.RetryAfter != 26*time.Second {
		t.Errorf("got %v, %v", got.RetryAfter, got.Told)
	}
}

func TestRetryAfterReturnsWhatWasSent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ms := rapid.Int64Range(0, 1e12-1).Draw(t, "ms")
		want := time.Duration(ms) * time.Millisecond
		whole := want / time.Second * time.Second // what a date can say
		for name, test := range map[string]struct {
			header http.Header
			want   time.Duration
		}{
			"milliseconds": {http.Header{"Retry-After-Ms": {fmt.Sprint(ms)}}, want},
			"fractions":    {http.Header{"Retry-After": {fmt.Sprintf("%d.%03d", ms/1000, ms%1000)}}, want},
			"date":         {http.Header{"Retry-After": {noon.Add(want).Format(http.TimeFormat)}}, whole},
			"asctime":      {http.Header{"Retry-After": {noon.Add(want).Format(time.ANSIC)}}, whole},
		} {
			if got, told := retryAfter(test.header, sending{came: noon}); got.Round(time.Microsecond) != test.want || !told {
				t.Fatalf("%s %v: got %v, %v; want %v", name, test.header, got, told, test.want)
			}
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{
		"1", "0.5", "-1", "", " ", "inf", "nan", "0x1p4", "1_000", "1e400", "1,2", ",", "5, Mon, 23 Nov 2026 12:00:30 GMT",
		"Mon, 23 Nov 2026 12:00:30 GMT", "Monday, 23-Nov-26 12:01:00 GMT", "Mon Nov 23 12:02:00 2026",
		"Tuesday, 29-Feb-00 00:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT",
	} {
		f.Add(s, s, int64(noon.Unix()))
	}
	for _, s := range []string{"1m0s", "1795435220", "1795435220500", "2026-11-23T12:00:30Z"} {
		f.Add(s, s, int64(noon.Unix()))
	}
	f.Fuzz(func(t *testing.T, seconds, ms string, now int64) {
		for _, header := range []map[string][]string{
			{"Retry-After": {seconds}, "Retry-After-Ms": {ms}},
			{"Retry-After": {seconds, ms}},
			{"retry-after": {seconds + "," + ms}},
		} {
			wait, told := retryAfter(header, sentAt(http.Header{"Date": {ms}}, time.Unix(now, 0)))
			if wait < 0 || !told && wait != 0 {
				t.Errorf("%q at %d: got %v, %v", header, now, wait, told)
			}
		}
	})
}
