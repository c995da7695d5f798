package validate

import (
	"context"
	"fmt"
	"net/mail"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"llmcall/internal/nearest"
	"llmcall/internal/phrase"
	"llmcall/internal/say"
)

// Format returns a check, named "format", that passes a text which is one valid value
// of a format, apart from white space around it: 2026-02-30 is not a date. The
// formats are
//
//   - date: 2026-01-31 (RFC 3339, full-date);
//   - time: 09:30:00, with or without a fraction and an offset (RFC 3339,
//     partial-time and full-time), without leap seconds;
//   - date-time: 2026-01-31T09:30:00Z (RFC 3339, with capital T and Z), without
//     leap seconds;
//   - url: an absolute http or https URL (RFC 3986, and non-ASCII letters);
//   - email: an address without a name (RFC 5322, addr-spec);
//   - uuid: 123e4567-e89b-12d3-a456-426614174000 (RFC 9562, section 4);
//   - ipv4, ipv6: an address (RFC 4291, section 2.2), without a zone;
//   - hostname: a name of ASCII labels (RFC 1123, section 2.1).
//
// Leap seconds are refused since most programs can't read them.
//
// The error is a *[ParamError]: the format is unknown.
func Format(name string) (Strategy, error) {
	i := slices.IndexFunc(textFormats, func(f textFormat) bool { return f.name == name })
	if i < 0 {
		var names []string
		for _, f := range textFormats {
			names = append(names, f.name)
		}
		return nil, &ParamError{
			Check: "format", Param: "format", Got: nearest.Shown(name, names), Takes: "one of " + nearest.List(name, names),
		}
	}
	return formatCheck{textFormats[i]}, nil
}

type formatCheck struct{ textFormat }

func (formatCheck) Name() string  { return "format" }
func (formatCheck) instant() bool { return true }

func (c formatCheck) Check(_ context.Context, a *Answer) (Verdict, error) {
	text := strings.TrimSpace(a.Text)
	if c.valid(text) {
		return Verdict{}, nil
	}
	return Verdict{Complaints: []Complaint{{
		Problem:    fmt.Sprintf("%q is not %s", say.Short(text, 60), c.what),
		Suggestion: phrase.Example.Of(c.what, c.example),
	}}}, nil
}

type textFormat struct {
	name, what, example string
	valid               func(string) bool
}

var textFormats = []textFormat{
	{"date", "a date of the calendar", "2026-01-31", func(s string) bool {
		_, err := time.Parse(time.DateOnly, s)
		return err == nil
	}},
	{"time", "a time of day", "09:30:00", func(s string) bool {
		return isDateTime("2000-01-01T"+s) || isDateTime("2000-01-01T"+s+"Z")
	}},
	{"date-time", "a date and time with an offset (RFC 3339)", "2026-01-31T09:30:00Z", isDateTime},
	{"url", "an http or https URL", "https://example.org/path", isURL},
	{"email", "an e-mail address", "name@example.org", isEmail},
	{"uuid", "a UUID", "123e4567-e89b-12d3-a456-426614174000", isUUID},
	{"ipv4", "an IPv4 address", "192.0.2.1", func(s string) bool {
		ip, err := netip.ParseAddr(s)
		return err == nil && ip.Is4()
	}},
	{"ipv6", "an IPv6 address", "2001:db8::1", func(s string) bool {
		ip, err := netip.ParseAddr(s)
		return err == nil && ip.Is6() && ip.Zone() == ""
	}},
	{"hostname", "a host name", "www.example.org", isHostname},
}

// dateTime is the form of RFC 3339, section 5.6. Package time, which checks the
// calendar, also accepts an hour of one digit and a decimal comma.
var dateTime = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$`)

func isDateTime(s string) bool {
	_, err := time.Parse(time.RFC3339, s)
	return err == nil && dateTime.MatchString(s)
}

func isURL(s string) bool {
	if strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r) || strings.ContainsRune("<>\"{}|\\^`", r)
	}) {
		return false
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return false
	}
	if port := u.Port(); port != "" {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return false
		}
	}
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	// The DNS encodes a non-ASCII name in ASCII, so any letter will do in its place.
	return isHostname(strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII && letterOrDigit(r) || unicode.Is(unicode.M, r) {
			return 'x'
		}
		return r
	}, host))
}

func isEmail(s string) bool {
	a, err := mail.ParseAddress(s)
	if err != nil || a.Name != "" || a.Address != s || len(s) > 254 {
		return false
	}
	at := strings.LastIndexByte(s, '@')
	domain := s[at+1:]
	// The lengths of RFC 5321, section 4.5.3.1.
	return at <= 64 && (strings.HasPrefix(domain, "[") || isHostname(domain))
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !strings.ContainsRune("0123456789abcdefABCDEF", rune(c)) {
				return false
			}
		}
	}
	return true
}

// isHostname refuses a last label that has only digits, since programs would read it
// as an IP address.
func isHostname(s string) bool {
	if len(s) > 253 {
		return false
	}
	labels := strings.Split(s, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if c != '-' && (c < '0' || '9' < c) && (c < 'a' || 'z' < c) && (c < 'A' || 'Z' < c) {
				return false
			}
		}
	}
	return strings.Trim(labels[len(labels)-1], "0123456789") != ""
}

func formatDefinition() Definition {
	return Definition{
		Info: Info{
			Name: "format", Example: "format:date",
			Summary: "the answer is one date, URL, e-mail address or the like",
			Params: []Param{{
				Name: "format", Type: "string", Required: true,
				Meaning: "date, time, date-time (RFC 3339), url (http or https), email, uuid, ipv4, ipv6 or hostname",
			}},
			Main: "the format",
		},
		Build: func(p Params) (Strategy, error) {
			name, err := p.Text("format", "the name of a format")
			if err != nil {
				return nil, err
			}
			return Format(name)
		},
		FromMain: func(text string) (map[string]any, error) {
			return map[string]any{"format": strings.TrimSpace(text)}, nil
		},
	}
}
