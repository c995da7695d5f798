package validate

import (
	"fmt"
	"hash/crc32"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// withCheckDigit appends the one digit that makes the number pass.
func withCheckDigit(t rapid.TB, digits string) string {
	t.Helper()
	for d := range 10 {
		if n := fmt.Sprint(digits, d); luhn(n) {
			return n
		}
	}
	t.Fatalf("%s has no check digit", digits)
	return ""
}

// ISO/IEC 7812-1, annex B: the checksum detects each change of one digit, and
// each swap of two neighbours but 09 and 90.
func TestLuhnDetectsSlips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := withCheckDigit(t, rapid.StringMatching(`[0-9]{1,18}`).Draw(t, "digits"))
		i := rapid.IntRange(0, len(n)-1).Draw(t, "place")
		for d := byte('0'); d <= '9'; d++ {
			if d != n[i] && luhn(n[:i]+string(d)+n[i+1:]) {
				t.Fatalf("%s passes with %c at %d", n, d, i)
			}
		}
		if i == 0 || n[i-1] == n[i] {
			return
		}
		blind := n[i-1] == '0' && n[i] == '9' || n[i-1] == '9' && n[i] == '0'
		if swapped := n[:i-1] + n[i:i+1] + n[i-1:i] + n[i+1:]; luhn(swapped) != blind {
			t.Fatalf("%s and %s", n, swapped)
		}
	})
}

// The numbers that the networks and processors give for tests.
func TestKnownCardNumbersAreIssued(t *testing.T) {
	for _, n := range []string{
		"4111111111111111", "4242424242424242", "4000056655665556", "5555555555554444", "2223003122003222", "5105105105105100",
		"378282246310005", "371449635398431", "6011111111111117", "6011000990139424", "30569309025904", "36227206271667",
		"3566002020360505", "6200000000000005", "6205500000000000004",
	} {
		if !issued(n) || !luhn(n) {
			t.Errorf("%s: issued %v, checksum %v", n, issued(n), luhn(n))
		}
	}
	for _, n := range []string{"1234567812345670", "0000000000000000", "411111111111", "41111111111111", "9999999999999995"} {
		if issued(n) {
			t.Errorf("%s is nobody's", n)
		}
	}
}

// ISO 7064, MOD 97-10, detects each change of one character.
func TestMod97DetectsSlips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body := rapid.StringMatching(`[0-9A-Z]{10,30}`).Draw(t, "body")
		iban := ""
		for sum := 2; sum <= 98 && iban == ""; sum++ {
			if s := fmt.Sprintf("DE%02d%s", sum, body); mod97(s) {
				iban = s
			}
		}
		if iban == "" {
			t.Fatalf("%s has no check digits", body)
		}
		i := rapid.IntRange(4, len(iban)-1).Draw(t, "place")
		for _, c := range "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ" {
			same := (c <= '9') == (iban[i] <= '9') // a letter is two digits, so that it shifts the others
			if byte(c) != iban[i] && same && mod97(iban[:i]+string(c)+iban[i+1:]) {
				t.Fatalf("%s passes with %c at %d", iban, c, i)
			}
		}
	})
}

// The examples of the registry.
func TestEveryCountryOfTheTableHasRoomForItsNumber(t *testing.T) {
	for _, iban := range []string{
		"AD1200012030200359100100", "AT611904300234573201", "BE68539007547034", "CH9300762011623852957", "DE89370400440532013000",
		"ES9121000418450200051332", "FR1420041010050500013M02606", "GB29NWBK60161331926819", "IT60X0542811101000000123456",
		"MT84MALT011000012345MTLCAST001S", "NL91ABNA0417164300", "NO9386011117947", "PL61109010140000071219812874", "SE4550000000058398257466",
		"SA0380000000608010167519", "TR330006100519786457841326", "BR1800360305000010009795493C1",
	} {
		if len(iban) != ibanLengths[iban[:2]] || !mod97(iban) {
			t.Errorf("%s: length %d, checksum %v", iban, ibanLengths[iban[:2]], mod97(iban))
		}
	}
	for country, n := range ibanLengths {
		if len(country) != 2 || n < 15 || n > 34 {
			t.Errorf("%s: %d", country, n)
		}
	}
}

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// withChecksum makes a token as GitHub does.
func withChecksum(random string) string {
	sum, digits := crc32.ChecksumIEEE([]byte(random)), ""
	for range 6 {
		digits = string(base62[sum%62]) + digits
		sum /= 62
	}
	return random + digits
}

func TestAChangedTokenHasNoRightChecksum(t *testing.T) {
	// A token of no account, in an article on the form:
	// https://gist.github.com/coolaj86/eb8cddfd3e4251258712dfed03e1f86d
	if !checksummed("zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ" + "0mLq17") {
		t.Error("a token that GitHub made")
	}
	rapid.Check(t, func(t *rapid.T) {
		token := withChecksum(rapid.StringMatching(`[0-9A-Za-z]{30}`).Draw(t, "random"))
		if !checksummed(token) {
			t.Fatalf("%s", token)
		}
		i := rapid.IntRange(0, len(token)-1).Draw(t, "place")
		c := base62[rapid.IntRange(0, 61).Draw(t, "character")]
		if changed := token[:i] + string(c) + token[i+1:]; changed != token && checksummed(changed) {
			t.Fatalf("%s and %s", token, changed)
		}
	})
	if checksummed(strings.Repeat("z", 36)) {
		t.Error("more than 32 bits are no checksum")
	}
}
