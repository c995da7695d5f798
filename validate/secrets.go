package validate

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"llmcall/internal/nearest"
	"llmcall/internal/phrase"
	"llmcall/internal/say"
	"llmcall/validate/internal/jsontext"
)

// The groups of secrets that [NoSecrets] looks for.
const (
	SecretCredential = "credential" // API keys, access tokens, private keys
	SecretCard       = "card"       // payment card numbers (ISO/IEC 7812)
	SecretIBAN       = "iban"       // bank account numbers (ISO 13616)
)

// NoSecrets returns a check, named "no_secrets", that passes a text without secrets of
// the given groups ([SecretCredential], [SecretCard], [SecretIBAN]). Default: all
// groups. The complaints name the kind and the place of a secret, and never repeat it.
//
// It finds what its form distinguishes from other text:
//
//   - a private key in PEM or PGP armour; keys and tokens of AWS, Anthropic,
//     GitHub, GitLab, Google, Hugging Face, npm, OpenAI, Slack and Stripe, by
//     their prefixes and lengths; JSON Web Tokens that decode. GitHub's and npm's
//     tokens must have a valid checksum;
//   - a payment card number of a known issuer, of the issuer's length, with a valid
//     checksum (Luhn), in one piece or in the usual groups. One in ten other numbers
//     of that length and beginning has a valid checksum too;
//   - an IBAN of a known country, of the country's length, with a valid checksum (ISO
//     7064, MOD 97-10).
//
// It does not find passwords, or secrets in another encoding.
//
// The error is a *[ParamError]: a group is unknown.
func NoSecrets(groups ...string) (Strategy, error) {
	all := []string{SecretCredential, SecretCard, SecretIBAN}
	for i, g := range groups {
		if !slices.Contains(all, g) {
			return nil, &ParamError{
				Check: "no_secrets", Param: fmt.Sprintf("groups[%d]", i), Got: nearest.Shown(g, all), Takes: "one of " + nearest.List(g, all),
			}
		}
	}
	if len(groups) == 0 {
		groups = all
	}
	return noSecrets{groups}, nil
}

type noSecrets struct{ groups []string }

func (noSecrets) Name() string { return "no_secrets" }

func (c noSecrets) Check(ctx context.Context, a *Answer) (Verdict, error) {
	var found []secret
	for _, g := range c.groups {
		if err := ctx.Err(); err != nil {
			return Verdict{}, err
		}
		switch g {
		case SecretCredential:
			found = append(found, credentials(a.Text)...)
		case SecretCard:
			found = append(found, cards(a.Text)...)
		case SecretIBAN:
			found = append(found, ibans(a.Text)...)
		}
	}
	slices.SortFunc(found, func(a, b secret) int { return cmp.Or(a.start-b.start, b.end-a.end) })
	var complaints []Complaint
	n, end := 0, 0
	for _, s := range found {
		if s.start < end { // a part of the one before
			continue
		}
		end = s.end
		if n++; n > say.MaxListed {
			continue
		}
		complaint := Complaint{
			Problem:    "there is " + s.kind,
			Suggestion: phrase.Placeholder.Of(),
		}
		complaint.Line, complaint.Column = jsontext.Position(a.Text, s.start)
		complaints = append(complaints, complaint)
	}
	return Verdict{Complaints: append(complaints, more(n-say.MaxListed, "secret", "secrets")...)}, nil
}

type secret struct {
	kind       string
	start, end int
}

// credentialKinds is our own table, since those of scanners for repositories (the
// largest is that of gitleaks, MIT) are made for code: they guess at what follows a
// word such as "key", do not verify checksums, and come with a whole program. The
// forms are those that the issuers document, or that gitleaks has collected
// (https://github.com/gitleaks/gitleaks).
var credentialKinds = []struct {
	kind    string
	marks   []string                // every text that the pattern matches contains one of them
	pattern func() *regexp.Regexp   // compiled when a text has a mark: they are large
	valid   func(match string) bool // nil: every match is valid
}{
	{
		"a private key", []string{"PRIVATE KEY"},
		whenNeeded(`(?s)-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----.{0,300}?[A-Za-z0-9+/]{40}`), nil,
	},
	{
		// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
		"an AWS access key ID", []string{"AKIA", "ASIA"},
		whenNeeded(`\b(?:AKIA|ASIA)[A-Z2-7]{16}\b`), noExample,
	},
	{
		"an AWS secret access key", []string{"secret", "SECRET", "Secret"},
		whenNeeded(`(?i)aws_?secret_?(?:access_?)?key\W{1,8}[A-Za-z0-9/+]{40}\b`), noExample,
	},
	{
		"an Anthropic API key", []string{"sk-ant-"},
		whenNeeded(`\bsk-ant-[a-z]{3,5}[0-9]{2}-[A-Za-z0-9_-]{80,120}`), nil,
	},
	{
		// The middle is "OpenAI" in Base64.
		"an OpenAI API key", []string{"T3BlbkFJ"},
		whenNeeded(`\bsk-[A-Za-z0-9_-]{20,120}T3BlbkFJ[A-Za-z0-9_-]{20,120}`), nil,
	},
	{
		// https://cloud.google.com/docs/authentication/api-keys
		"a Google API key", []string{"AIza"},
		whenNeeded(`\bAIza[0-9A-Za-z_-]{35,60}`), func(match string) bool { return len(match) == len("AIza")+35 },
	},
	{
		// https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/
		"a GitHub token", []string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_"},
		whenNeeded(`\bgh[pousr]_[0-9A-Za-z]{36,255}\b`), func(match string) bool { return checksummed(match[len("ghp_"):]) },
	},
	{
		"a GitHub token", []string{"github_pat_"},
		whenNeeded(`\bgithub_pat_[0-9A-Za-z]{22}_[0-9A-Za-z]{59}\b`), nil,
	},
	{
		// https://docs.gitlab.com/security/tokens/#token-prefixes
		"a GitLab token", []string{"glpat-"},
		whenNeeded(`\bglpat-[0-9A-Za-z_-]{20,255}`), nil,
	},
	{
		"a Hugging Face token", []string{"hf_"},
		whenNeeded(`\bhf_[A-Za-z]{34}\b`), nil,
	},
	{
		// https://github.blog/changelog/2021-09-23-npm-has-a-new-access-token-format/
		"an npm token", []string{"npm_"},
		whenNeeded(`\bnpm_[0-9A-Za-z]{36}\b`), func(match string) bool { return checksummed(match[len("npm_"):]) },
	},
	{
		// https://docs.slack.dev/authentication/tokens
		"a Slack token", []string{"xox"},
		whenNeeded(`\bxox[abeoprs](?:-[0-9]{8,14}){1,3}-[0-9A-Za-z]{20,64}\b`), nil,
	},
	{
		// https://docs.stripe.com/keys
		"a Stripe secret key", []string{"k_live_"},
		whenNeeded(`\b[sr]k_live_[0-9A-Za-z]{24,247}\b`), nil,
	},
	{
		"a JSON Web Token", []string{"eyJ"},
		whenNeeded(`\beyJ[A-Za-z0-9_-]{6,}\.eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+`), isJWT,
	},
}

// whenNeeded compiles an expression when it is first used.
func whenNeeded(text string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
}

func credentials(text string) (found []secret) {
	for _, k := range credentialKinds {
		if !slices.ContainsFunc(k.marks, func(mark string) bool { return strings.Contains(text, mark) }) {
			continue
		}
		for _, at := range k.pattern().FindAllStringIndex(text, -1) {
			if k.valid == nil || k.valid(text[at[0]:at[1]]) {
				found = append(found, secret{k.kind, at[0], at[1]})
			}
		}
	}
	return found
}

// noExample reports whether a key is not one of those in AWS's documentation.
func noExample(match string) bool {
	return !strings.HasSuffix(match, "EXAMPLE") && !strings.HasSuffix(match, "EXAMPLEKEY")
}

// checksummed reports whether the last six characters are the CRC-32 of those before
// them, in Base62.
func checksummed(token string) bool {
	const alphabet, digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", 6
	random, sum := token[:len(token)-digits], token[len(token)-digits:]
	value := uint64(0)
	for _, c := range []byte(sum) {
		value = value*62 + uint64(strings.IndexByte(alphabet, c))
	}
	return value == uint64(crc32.ChecksumIEEE([]byte(random)))
}

// isJWT reports whether the first two parts are JSON objects, and the first names the
// signature's algorithm (RFC 7515).
func isJWT(match string) bool {
	parts := strings.Split(match, ".")
	object := func(part string) map[string]any {
		data, err := base64.RawURLEncoding.DecodeString(part)
		var m map[string]any
		if err != nil || json.Unmarshal(data, &m) != nil {
			return nil
		}
		return m
	}
	_, ok := object(parts[0])["alg"].(string)
	return ok && object(parts[1]) != nil
}

// digitWord matches digits in one piece, or in groups with hyphens between them.
var digitWord = regexp.MustCompile(`[0-9]+(?:-[0-9]+)*`)

// cardGroups are the usual lengths of the groups of a card number.
var cardGroups = [][]int{{4, 4, 4, 4}, {4, 4, 4, 4, 3}, {4, 6, 5}, {4, 6, 4}}

func cards(text string) (found []secret) {
	words := digitWord.FindAllStringIndex(text, -1)
	word := func(i int) string { return text[words[i][0]:words[i][1]] }
	take := func(from, to int, digits string) {
		start, end := words[from][0], words[to][1]
		if !partOfLonger(text, start, end) && issued(digits) && luhn(digits) {
			found = append(found, secret{"a payment card number", start, end})
		}
	}
	// next reports whether only a space is between word i and the one before it.
	next := func(i int) bool {
		return i > 0 && i < len(words) && text[words[i-1][1]:words[i][0]] == " "
	}
	for i := range words {
		groups := strings.Split(word(i), "-")
		if len(groups) > 1 || len(groups[0]) > 4 {
			if len(groups) == 1 || slices.ContainsFunc(cardGroups, func(usual []int) bool { return slices.Equal(usual, lengths(groups)) }) {
				take(i, i, strings.Join(groups, ""))
			}
			continue
		}
		if next(i) && len(word(i-1)) == 4 { // in the middle of a number
			continue
		}
		for _, usual := range cardGroups {
			last := i + len(usual) - 1
			groups = groups[:1]
			for j := i + 1; j <= last && next(j); j++ {
				groups = append(groups, word(j))
			}
			if slices.Equal(lengths(groups), usual) && !(next(last+1) && len(word(last+1)) == 4) {
				take(i, last, strings.Join(groups, ""))
			}
		}
	}
	return found
}

func lengths(groups []string) []int {
	n := make([]int, len(groups))
	for i, g := range groups {
		n[i] = len(g)
	}
	return n
}

// partOfLonger reports whether text[start:end] is part of something longer: a word, a
// decimal, a UUID, a path, a telephone number, an order number.
func partOfLonger(text string, start, end int) bool {
	before, _ := utf8.DecodeLastRuneInString(text[:start])
	after, size := utf8.DecodeRuneInString(text[end:])
	if partOfWord(before) && !unicode.In(before, unspaced...) || strings.ContainsRune("-+/.#", before) {
		return true
	}
	if partOfWord(after) && !unicode.In(after, unspaced...) {
		return true
	}
	rest := text[end+size:]
	return strings.ContainsRune("-/.,", after) && rest != "" && '0' <= rest[0] && rest[0] <= '9'
}

// issuers are the first digits of card numbers, with their lengths
// (https://en.wikipedia.org/wiki/Payment_card_number, after ISO/IEC 7812). Lengths
// that are out of use are left out, since each makes more other numbers look like a
// card's.
var issuers = []struct {
	from, to string // first digits, of equal length
	lengths  []int
}{
	{"4", "4", []int{16, 19}}, // Visa
	{"51", "55", []int{16}},   // Mastercard
	{"2221", "2720", []int{16}},
	{"34", "34", []int{15}}, // American Express
	{"37", "37", []int{15}},
	{"6011", "6011", []int{16, 19}}, // Discover
	{"644", "659", []int{16, 19}},
	{"3528", "3589", []int{16, 19}}, // JCB
	{"300", "305", []int{14}},       // Diners Club
	{"36", "36", []int{14}},
	{"38", "39", []int{14}},
	{"62", "62", []int{16, 17, 18, 19}}, // UnionPay
	{"5018", "5018", []int{16}},         // Maestro
	{"5020", "5020", []int{16}},
	{"5038", "5038", []int{16}},
	{"6304", "6304", []int{16}},
	{"6759", "6759", []int{16}},
	{"6761", "6763", []int{16}},
}

func issued(digits string) bool {
	for _, i := range issuers {
		if len(digits) < len(i.from) {
			continue
		}
		begins := digits[:len(i.from)]
		if i.from <= begins && begins <= i.to && slices.Contains(i.lengths, len(digits)) {
			return true
		}
	}
	return false
}

// luhn reports whether the last digit is the check digit of the others (ISO/IEC
// 7812-1, annex B).
func luhn(digits string) bool {
	sum := 0
	for i := range len(digits) {
		n := int(digits[len(digits)-1-i] - '0')
		if i%2 == 1 {
			if n *= 2; n > 9 {
				n -= 9
			}
		}
		sum += n
	}
	return sum%10 == 0
}

var ibanStart = regexp.MustCompile(`\b[A-Z]{2}[0-9]{2}[ 0-9A-Z]`)

func ibans(text string) (found []secret) {
	for _, at := range ibanStart.FindAllStringIndex(text, -1) {
		start := at[0]
		length := ibanLengths[text[start:start+2]]
		if length == 0 {
			continue
		}
		compact := make([]byte, 0, length)
		end := start
		for ; end < len(text) && len(compact) < length; end++ {
			c := text[end]
			if c == ' ' && text[end-1] != ' ' {
				continue
			}
			if (c < '0' || '9' < c) && (c < 'A' || 'Z' < c) {
				break
			}
			compact = append(compact, c)
		}
		after, _ := utf8.DecodeRuneInString(text[end:])
		longer := partOfWord(after) && !unicode.In(after, unspaced...)
		if len(compact) == length && !longer && mod97(string(compact)) {
			found = append(found, secret{"an IBAN", start, end})
		}
	}
	return found
}

// mod97 reports whether the check digits of an IBAN are correct (ISO 13616, which uses
// ISO 7064, MOD 97-10).
func mod97(iban string) bool {
	rest := 0
	for _, c := range []byte(iban[4:] + iban[:4]) {
		if c <= '9' {
			rest = (rest*10 + int(c-'0')) % 97
			continue
		}
		rest = (rest*100 + int(c-'A') + 10) % 97
	}
	return rest == 1
}

// ibanLengths are those of SWIFT's IBAN registry
// (https://www.swift.com/standards/data-standards/iban-international-bank-account-number).
var ibanLengths = map[string]int{
	"AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
	"BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
	"ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
	"HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20,
	"LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19,
	"MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29,
	"PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24,
	"SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
	"YE": 30,
}

func noSecretsDefinition() Definition {
	return Definition{
		Info: Info{
			Name: "no_secrets", Example: "no_secrets",
			Summary: "the answer has no API keys, tokens, private keys, card or account numbers",
			Params: []Param{{
				Name: "groups", Type: "list of strings", Default: "all",
				Meaning: "what to look for: credential (keys and tokens), card (payment cards), iban (bank accounts)",
			}},
			Main: "the groups, with commas between them",
		},
		Build: func(p Params) (Strategy, error) {
			if p.Value("groups") == nil {
				return NoSecrets()
			}
			groups, err := p.Texts("groups")
			if err != nil {
				return nil, err
			}
			if len(groups) == 0 {
				return nil, p.Bad("groups", "an empty list", "at least one group")
			}
			return NoSecrets(groups...)
		},
		FromMain: func(text string) (map[string]any, error) {
			groups := strings.Split(text, ",")
			for i, g := range groups {
				groups[i] = strings.TrimSpace(g)
			}
			return map[string]any{"groups": groups}, nil
		},
	}
}
