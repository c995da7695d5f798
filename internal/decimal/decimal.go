// Package decimal writes amounts of money that are whole nano-dollars.
package decimal

import (
	"fmt"
	"strings"
)

// Places is how many decimals a number of dollars has: the last is a nano-dollar.
const Places = 9

const dollar = 1_000_000_000

// Dollars writes nano-dollars, at least 0, as dollars: with all digits, and no more than
// needed, but for at least so many decimals.
func Dollars(nanos int64, least int) string {
	decimals := strings.TrimRight(fmt.Sprintf("%0*d", Places, nanos%dollar), "0")
	for len(decimals) < least {
		decimals += "0"
	}
	if decimals == "" {
		return fmt.Sprint(nanos / dollar)
	}
	return fmt.Sprintf("%d.%s", nanos/dollar, decimals)
}
