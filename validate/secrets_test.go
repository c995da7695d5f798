package validate_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"llmcall/validate"
)

// None is anybody's: the parts are put together here, so that no scanner takes
// this file for a leak.
func TestNoSecretsFindsEachKind(t *testing.T) {
	a := func(n int) string { return strings.Repeat("aB3x", n/4+1)[:n] }
	for _, test := range []struct{ kind, secret string }{
		{"a private key", "-----BEGIN RSA " + "PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n" + a(64) + "\n-----END"},
		{"a private key", `-----BEGIN ` + `PRIVATE KEY-----\n` + a(64)},
		{"a private key", "-----BEGIN PGP " + "PRIVATE KEY BLOCK-----\nVersion: x\n\n" + a(64)},
		{"a private key", "-----BEGIN OPENSSH " + "PRIVATE KEY-----\n" + a(70)},
		{"an AWS access key ID", "AKIA" + "2E3FGHIJKLMNOPQR"},
		{"an AWS secret access key", "aws_secret_access_key = " + `"` + a(40) + `"`},
		{"an AWS secret access key", "AWS_SECRET_KEY=" + a(40)},
		{"an Anthropic API key", "sk-ant-" + "api03-" + a(93) + "AA"},
		{"an OpenAI API key", "sk-" + a(20) + "T3Blbk" + "FJ" + a(20)},
		{"an OpenAI API key", "sk-proj-" + a(74) + "T3Blbk" + "FJ" + a(74)},
		{"a Google API key", "AIza" + "-" + a(34)},
		{"a GitHub token", "ghp_" + "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ" + "0mLq17"},
		{"a GitHub token", "github_" + "pat_" + a(22) + "_" + a(59)},
		{"a GitLab token", "glpat" + "-" + a(20)},
		{"a Hugging Face token", "hf" + "_" + strings.Repeat("aB", 17)},
		{"an npm token", "npm_" + "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ" + "0mLq17"},
		{"a Slack token", "xoxb" + "-1234567890-1234567890123-" + a(24)},
		{"a Stripe secret key", "sk_" + "live_" + a(24)},
		{"a JSON Web Token", "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"},
		{"a payment card number", "4111111111111111"},
		{"a payment card number", "4111 1111 1111 1111"},
		{"a payment card number", "5555-5555-5555-4444"},
		{"a payment card number", "3782 822463 10005"},
		{"a payment card number", "3622 720627 1667"},
		{"an IBAN", "DE89370400440532013000"},
		{"an IBAN", "DE89 3704 0044 0532 0130 00"},
		{"an IBAN", "GB29 NWBK 6016 1331 9268 19"},
		{"an IBAN", "NO93 8601 1117 947"},
	} {
		s := parse(t, "no_secrets")
		for _, around := range []string{"%s", "It is %s.", "ä, it is\n  (%s)", `{"it": "%s"}`, "号%s号", "it: %s 12/27", "it=%s, and more"} {
			text := fmt.Sprintf(around, test.secret)
			before := text[:strings.Index(text, test.secret)]
			line := strings.Count(before, "\n") + 1
			column := len([]rune(before[strings.LastIndex(before, "\n")+1:])) + 1
			got := check(t, s, text).Complaints
			want := fmt.Sprintf("no_secrets: line %d, column %d: there is %s (leave it out, or write a placeholder in angle brackets in its place)", line, column, test.kind)
			wantLines(t, text, got, want)
			for _, c := range got {
				if strings.Contains(c.String(), test.secret[len(test.secret)-8:]) {
					t.Errorf("the complaint repeats the secret: %s", c)
				}
			}
		}
	}
}

func TestNoSecretsPassesOrdinaryText(t *testing.T) {
	s := parse(t, "no_secrets")
	for _, text := range []string{
		"", "The private key is a file that begins with -----BEGIN PRIVATE KEY-----, so keep it safe.",
		"-----BEGIN PUBLIC KEY-----\nMIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDKjOdCXqvvoDUDLbqLHwNpJZ7q1pXr\n-----END PUBLIC KEY-----",
		"Use AKIAIOSFODNN7EXAMPLE and aws_secret_access_key=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY as the documentation does.",
		"export OPENAI_API_KEY=sk-your-key-here; ANTHROPIC_API_KEY=sk-ant-...; GITHUB_TOKEN=ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
		"The prefixes are ghp_, gho_, xoxb-, AIza, glpat- and hf_.",
		"a UUID 41111111-1111-4111-8111-111111111111 and a UUID of digits 12345678-1234-5678-1234-567812345678",
		"SHA-256 4111111111111111e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934c",
		"MD5 d41d8cd98f00b204e9800998ecf8427e, git 8f7e6d5c4b3a29181716151413121110090807ab",
		"order 2026-4111111111111111, order #4111111111111111, invoice 4111111111111112",
		"call +49 30 4111 1111, +1 (415) 555-2671 or 004915112345678901",
		"0.4111111111111111 and 4111111111111111.5 and 4111111111111111/2",
		"table: 4111 1111 1111 1111 1111 1111, 1111 4111 1111 1111 1111",
		"at 1690000000000 ms, or 1690000000000000 µs",
		"ISBN 978-3-16-148410-0, EAN 4006381333931, IMEI 490154203237518",
		"5 000 000 000 and 4,111,111,111,111,111",
		"DE89370400440532013001 has a wrong checksum, XX89370400440532013000 no country, DE8937040044053201300 a digit too few",
		"VAT DE123456789, BIC DEUTDEFF500, FLIGHT LH1234 TO NO93",
		"eyJub3QiOiAianNvbn0.eyJub3QiOiAianNvbn0.abc and eyJhIjoxfQ.eyJiIjoyfQ.c",
		"the hash of the request is sk-1234567890 and the sketch sk_test_1234567890abcdefghijklmnop",
		"https://example.org/4111111111111111/a?b=AKIA",
	} {
		wantLines(t, text, check(t, s, text).Complaints)
	}
}

func TestNoSecretsLooksForTheGivenGroups(t *testing.T) {
	const text = "4111111111111111 DE89370400440532013000 " + "glpat" + "-abcdefghijklmnopqrst"
	for spec, want := range map[string]int{
		"no_secrets": 3, "no_secrets:card": 1, "no_secrets: card, iban": 2, `no_secrets:{"groups": ["credential", "iban"]}`: 2, `no_secrets:{"groups": "card"}`: 1,
	} {
		if got := check(t, parse(t, spec), text).Complaints; len(got) != want {
			t.Errorf("%s: %v", spec, got)
		}
	}
	for _, spec := range []string{"no_secrets:password", `no_secrets:{"groups": []}`, "no_secrets:"} {
		var bad *validate.ParamError
		if _, err := validate.Parse(spec); !errors.As(err, &bad) || !strings.HasPrefix(bad.Param, "groups") {
			t.Errorf("%s: %v", spec, err)
		}
	}
}

func TestNoSecretsListsThemInTheirOrderAndCountsTheRest(t *testing.T) {
	got := check(t, parse(t, "no_secrets"), "DE89370400440532013000\n4111111111111111\n"+"glpat"+"-abcdefghijklmnopqrst\n").Complaints
	if len(got) != 3 || got[0].Line != 1 || got[1].Line != 2 || got[2].Line != 3 {
		t.Errorf("%v", got)
	}
	got = check(t, parse(t, "no_secrets"), strings.Repeat("4111111111111111\n", 50)).Complaints
	if len(got) != 21 || got[20].Problem != "and 30 more secrets" {
		t.Errorf("%d: %v", len(got), got[len(got)-1])
	}
}

// However a text is made of digits, spaces and hyphens: what is found is a card's
// number, and one that stands alone in the text is found.
func TestACardNumberAmongWordsIsFound(t *testing.T) {
	s := validate.Must(validate.NoSecrets(validate.SecretCard))
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.StringMatching(`([a-zA-Z]{1,8}[ ,.:;]{1,2}){0,5}`)
		number := rapid.SampledFrom([]string{"4111111111111111", "5555 5555 5555 4444", "3782-822463-10005", "6011 1111 1111 1117"}).Draw(t, "number")
		before, after := words.Draw(t, "before"), words.Draw(t, "after")
		if strings.HasSuffix(before, ".") {
			before += " " // a dot and digits are a decimal
		}
		if got := check(t, s, before+number+" "+after).Complaints; len(got) != 1 {
			t.Fatalf("%q: %v", before+number+" "+after, got)
		}
	})
}

func FuzzNoSecrets(f *testing.F) {
	for _, seed := range []string{
		"4111 1111 1111 1111 123", "3782-822463-10005", "DE89 3704 0044 0532 0130 00", "NO93", "ghp_", "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",
		"eyJhbGciOiJub25lIn0.eyJ9.x", "-----BEGIN PRIVATE KEY-----", "\xff4111111111111111\xff",
	} {
		f.Add(seed)
	}
	s := validate.Must(validate.NoSecrets())
	f.Fuzz(func(t *testing.T, text string) {
		for _, c := range check(t, s, text).Complaints {
			if c.Problem == "" || c.Line < 0 || c.Line > strings.Count(text, "\n")+1 {
				t.Fatalf("%q: %+v", text, c)
			}
		}
	})
}
