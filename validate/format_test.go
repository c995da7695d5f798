package validate_test

import (
	"errors"
	"strings"
	"testing"

	"llmcall/validate"
)

func TestFormat(t *testing.T) {
	for _, test := range []struct {
		format       string
		right, wrong []string
	}{
		{
			"date", []string{"2026-01-31", " 2024-02-29\n", "0001-01-01"},
			[]string{"2026-02-30", "2025-02-29", "2026-13-01", "2026-1-31", "31.01.2026", "2026-01-31T00:00:00Z", "20260131", "", "2026-01-31."},
		},
		{
			"time", []string{"09:30:00", "23:59:59.999", "09:30:00Z", "09:30:00+02:00"},
			[]string{"24:00:00", "9:30:00", "09:60:00", "09:30", "09:30:60", "09:30:00 Uhr", "09:30:00+2", "", "09:30:00ZZ"},
		},
		{
			"date-time", []string{"2026-01-31T09:30:00Z", "2026-01-31T09:30:00.123456+02:00"},
			[]string{"2026-01-31 09:30:00Z", "2026-01-31T09:30:00", "2026-02-30T09:30:00Z", "2026-01-31T9:30:00Z", "2026-01-31T09:30:00,5Z", "2026-01-31T09:30:00+25:00", "2026-01-31t09:30:00z", "2016-12-31T23:59:60Z"},
		},
		{
			"url", []string{"https://example.org", "http://example.org:8080/a/b?c=d#e", "https://[2001:db8::1]/", "https://192.0.2.1/x", "https://de.wikipedia.org/wiki/Köln", "https://bücher.example/", "HTTPS://EXAMPLE.ORG/", "http://localhost/"},
			[]string{"example.org", "/path", "ftp://example.org", "https://", "https:///path", "https://exa mple.org", "https://example.org/a b", "https://example.org:99999/", "https://example..org", "https://-a.org", "https://example.org/<x>", "[x](https://example.org)", "https://example.org/\x07", "mailto:a@example.org", "https://%zz/", ""},
		},
		{
			"email", []string{"name@example.org", "first.last+tag@sub.example.org", "o'neil@example.org", "name@localhost", "name@[192.0.2.1]"},
			[]string{"name", "Name <name@example.org>", "<name@example.org>", "name@", "@example.org", "a@b@c", "name@example..org", "name@-example.org", ".name@example.org", "na me@example.org", "name@example.org, other@example.org", "name@exam_ple.org", strings.Repeat("a", 65) + "@example.org", ""},
		},
		{
			"uuid", []string{"123e4567-e89b-12d3-a456-426614174000", "123E4567-E89B-12D3-A456-426614174000", "00000000-0000-0000-0000-000000000000"},
			[]string{"123e4567e89b12d3a456426614174000", "123e4567-e89b-12d3-a456-42661417400", "123e4567-e89b-12d3-a456-42661417400g", "{123e4567-e89b-12d3-a456-426614174000}", "123e4567-e89b-12d3-a456+426614174000", ""},
		},
		{"ipv4", []string{"192.0.2.1", "0.0.0.0", "255.255.255.255"}, []string{"192.0.2.256", "192.0.2", "192.0.02.1", "192.0.2.1/24", "::1", "192.0.2.1:80", ""}},
		{"ipv6", []string{"2001:db8::1", "::", "::ffff:192.0.2.1"}, []string{"2001:db8:::1", "192.0.2.1", "fe80::1%eth0", "[::1]", "12345::", ""}},
		{
			"hostname", []string{"www.example.org", "localhost", "a-b.c3", "xn--bcher-kva.example"},
			[]string{"-a.org", "a-.org", "a..b", "exa_mple.org", "192.0.2.1", "a.org.", strings.Repeat("a", 64) + ".org", strings.Repeat("a.", 127) + "org", "bücher.example", "a b", ""},
		},
	} {
		s := parse(t, "format:"+test.format)
		for _, text := range test.right {
			wantLines(t, test.format+" "+text, check(t, s, text).Complaints)
		}
		for _, text := range test.wrong {
			got := check(t, s, text).Complaints
			if len(got) != 1 || !strings.Contains(got[0].Suggestion, "and nothing else, like ") {
				t.Errorf("%s takes %q: %v", test.format, text, got)
				continue
			}
			// The example is one.
			_, example, _ := strings.Cut(got[0].Suggestion, ", like ")
			wantLines(t, "the example", check(t, s, example).Complaints)
		}
	}
	wantLines(t, "in words", check(t, parse(t, "format:date"), "2026-02-30").Complaints,
		`format: "2026-02-30" is not a date of the calendar (write a date of the calendar and nothing else, like 2026-01-31)`)
}

func TestFormatListsTheFormats(t *testing.T) {
	_, err := validate.Format("iban")
	var bad *validate.ParamError
	if !errors.As(err, &bad) || bad.Takes != "one of date, time, date-time, url, email, uuid, ipv4, ipv6, hostname" {
		t.Error(err)
	}
}

func FuzzFormat(f *testing.F) {
	names := []string{"date", "time", "date-time", "url", "email", "uuid", "ipv4", "ipv6", "hostname"}
	checks := map[string]validate.Strategy{}
	for _, name := range names {
		checks[name] = validate.Must(validate.Format(name))
	}
	for _, seed := range []string{"2026-01-31T09:30:00Z", "https://user@[::1]:80/ä?#", "\"a b\"@[x]", "123e4567-e89b-12d3-a456-426614174000", "\xff", "::ffff:1.2.3.4%x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, name := range names {
			if got := check(t, checks[name], text).Complaints; len(got) > 1 || len(got) == 1 && len(got[0].String()) > 1000 {
				t.Fatalf("%s of %q: %v", name, text, got)
			}
		}
	})
}
