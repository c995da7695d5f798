package account

import (
	"testing"
	"time"

	"llmcall/endpoint"
)

// A daily account of which 1 is spent at each time of the clock, in order: what is spent
// on the day then, and whether a new one has begun.
func TestTheDayOfAClockThatJumps(t *testing.T) {
	for _, c := range []struct {
		name, place string
		clock       []string // by the place's own time, or with the offset
		spent       []int64
	}{
		{"days", "UTC", []string{"2026-11-26 10:00 +0000", "2026-11-26 23:59 +0000", "2026-11-27 00:00 +0000", "2026-12-27 00:00 +0000"}, []int64{1, 2, 1, 1}},
		{"a minute back over midnight, and on", "UTC", []string{"2026-11-26 23:59 +0000", "2026-11-27 00:00 +0000", "2026-11-26 23:59 +0000", "2026-11-27 00:00 +0000", "2026-11-28 00:00 +0000"}, []int64{1, 1, 2, 3, 1}},
		{"a year ahead, and corrected", "UTC", []string{"2026-11-26 10:00 +0000", "2027-11-26 10:00 +0000", "2026-11-26 10:01 +0000", "2026-11-26 23:59 +0000", "2026-11-27 00:00 +0000"}, []int64{1, 1, 3, 4, 1}},
		{"a month behind, and corrected", "UTC", []string{"2026-11-26 10:00 +0000", "2026-10-26 10:00 +0000", "2026-11-26 10:01 +0000", "2026-11-26 23:59 +0000", "2026-11-27 00:00 +0000"}, []int64{1, 2, 3, 4, 1}},
		{"a month behind, and corrected on the next day", "UTC", []string{"2026-11-26 10:00 +0000", "2026-10-26 10:00 +0000", "2026-11-27 00:01 +0000"}, []int64{1, 2, 1}},
		{"ahead twice", "UTC", []string{"2026-11-26 10:00 +0000", "2027-11-26 10:00 +0000", "2026-11-26 10:01 +0000", "2027-11-26 10:01 +0000", "2026-11-26 10:02 +0000", "2026-11-27 00:00 +0000"}, []int64{1, 1, 3, 4, 5, 1}},
		{"before 1970", "UTC", []string{"1969-12-31 23:59 +0000", "1970-01-01 00:00 +0000"}, []int64{1, 1}},
		{"west of Greenwich", "America/New_York", []string{"2026-11-26 23:59 -0500", "2026-11-27 00:00 -0500"}, []int64{1, 1}},
		{"a day of 23 hours", "Europe/Berlin", []string{"2026-03-29 00:00 +0100", "2026-03-29 23:59 +0200", "2026-03-30 00:00 +0200"}, []int64{1, 2, 1}},
		{"a day of 25 hours", "Europe/Berlin", []string{"2026-10-25 00:00 +0200", "2026-10-25 23:59 +0100", "2026-10-26 00:00 +0100"}, []int64{1, 2, 1}},
		{"a day without a midnight", "Africa/Cairo", []string{"2026-04-23 23:59 +0200", "2026-04-24 01:00 +0300", "2026-04-24 23:59 +0300", "2026-04-25 00:00 +0300"}, []int64{1, 1, 2, 1}},
		{"a midnight that comes twice", "America/Havana", []string{"2026-10-31 23:59 -0400", "2026-11-01 00:00 -0400", "2026-11-01 00:00 -0500", "2026-11-02 00:00 -0500"}, []int64{1, 1, 2, 1}},
		{"an hour before midnight that comes twice", "America/Sao_Paulo", []string{"2018-02-17 23:59 -0200", "2018-02-17 23:00 -0300", "2018-02-17 23:59 -0300", "2018-02-18 00:00 -0300"}, []int64{1, 2, 3, 1}},
		{"a minute of the next day that comes twice", "America/St_Johns", []string{"2010-11-06 23:59 -0230", "2010-11-07 00:00 -0230", "2010-11-06 23:01 -0330", "2010-11-07 00:00 -0330"}, []int64{1, 1, 2, 3}},
		{"a day that is left out", "Pacific/Apia", []string{"2011-12-29 23:59 -1000", "2011-12-31 00:00 +1400"}, []int64{1, 1}},
	} {
		place, err := time.LoadLocation(c.place)
		if err != nil {
			t.Fatal(err)
		}
		a := Daily(endpoint.Amount{Nanos: 1000}, place)
		for i, text := range c.clock {
			now, err := time.Parse("2006-01-02 15:04 -0700", text)
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				a.today, a.before.day = dayOf(now, place), dayOf(now, place)
			}
			a.turnTo(now)
			a.spent.Nanos++
			if a.spent.Nanos != c.spent[i] {
				t.Errorf("%s: %s: spent %d, want %d", c.name, text, a.spent.Nanos, c.spent[i])
			}
			if y, m, d := now.In(place).Date(); dayOf(now, place) != time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix()/86_400 {
				t.Errorf("%s: %s is day %d", c.name, text, dayOf(now, place))
			}
		}
	}
}
