package decimal_test

import (
	"math"
	"testing"

	"llmcall/internal/decimal"
)

func TestDollars(t *testing.T) {
	for _, row := range []struct {
		nanos int64
		least int
		want  string
	}{
		{0, 0, "0"}, {0, 2, "0.00"}, {1, 0, "0.000000001"}, {1, 2, "0.000000001"}, {150_000_000, 0, "0.15"}, {500_000_000, 2, "0.50"},
		{1_000_000_000, 0, "1"}, {1_000_000_000, 2, "1.00"}, {10_000_000_000, 0, "10"}, {math.MaxInt64, 0, "9223372036.854775807"},
	} {
		if got := decimal.Dollars(row.nanos, row.least); got != row.want {
			t.Errorf("%d with %d: got %s, want %s", row.nanos, row.least, got, row.want)
		}
	}
}
