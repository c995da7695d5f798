package clients

import (
	"bytes"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestReadingAJournal(t *testing.T) {
	const day = 20783 // 2026-11-26
	entry := func(rest string) string { return `{"client":"web","day":"2026-11-26",` + rest + "}\n" }
	for _, c := range []struct {
		name  string
		text  string
		spent int64 // on the day, after the end of the process
		found found
	}{
		{"nothing", "", 0, found{}},
		{"the head alone", head, 0, found{}},
		{"a head that was cut off", head[:20], 0, found{cut: 20}},
		{"settled", head + entry(`"reserved":10`) + entry(`"settled":10,"used":3`), 3, found{}},
		{"not settled", head + entry(`"reserved":10`) + entry(`"reserved":10`) + entry(`"settled":10,"used":3`), 13, found{}},
		{"more used than reserved", head + entry(`"reserved":10`) + entry(`"settled":10,"used":30`), 30, found{}},
		{"settled without a reservation", head + entry(`"settled":0,"used":5`), 5, found{}},
		{"written as a whole", head + entry(`"reserved":10`) + entry(`"spent":90`) + entry(`"settled":10,"used":1`), 91, found{}},
		{"the last line was cut off", head + entry(`"reserved":10`) + `{"client":"web","day":"2026-11-26","res`, 10, found{cut: 39}},
		{"the last line lacks its end alone", head + entry(`"reserved":10`) + strings.TrimSpace(entry(`"reserved":7`)), 10, found{cut: 48}},
		{"zeros after a loss of power", head + entry(`"reserved":10`) + "{\"client\":\x00\x00\x00\n" + entry(`"reserved":7`) + "\x00\x00", 17, found{cut: 2, lost: 1}},
		{"of the day before", head + strings.ReplaceAll(entry(`"reserved":10`)+entry(`"spent":90`), "-26", "-25"), 0, found{}},
		{"reserved the day before, settled today", head + strings.ReplaceAll(entry(`"reserved":10`), "-26", "-25") + entry(`"settled":10,"used":4`), 4, found{}},
		{"reserved the day before, not settled", head + strings.ReplaceAll(entry(`"reserved":10`), "-26", "-25") + entry(`"reserved":20`) + entry(`"settled":20,"used":4`), 4, found{}},
		{"reserved long before, not settled, written as a whole", head + strings.ReplaceAll(entry(`"reserved":10`), "-26", "-20") + entry(`"spent":4`), 4, found{}},
		{"a clock that was set back over midnight", head + strings.ReplaceAll(entry(`"spent":90`), "-26", "-27") + entry(`"settled":0,"used":5`), 95, found{}},
		{"a clock that was wrong by a year", head + strings.ReplaceAll(entry(`"spent":90`), "2026", "2027") + entry(`"settled":0,"used":5`), 95, found{}},
		{"a clock that was ahead for a while", head + entry(`"spent":90`) + strings.ReplaceAll(entry(`"settled":0,"used":3`), "2026", "2027") + entry(`"settled":0,"used":5`), 98, found{}},
		{"a clock that was behind for a while", head + entry(`"spent":90`) + strings.ReplaceAll(entry(`"settled":0,"used":3`), "2026", "2025") + entry(`"settled":0,"used":5`), 98, found{}},
		{"too much", head + entry(`"spent":9223372036854775807`) + entry(`"reserved":9223372036854775807`), math.MaxInt64, found{}},
	} {
		all, f, err := read([]byte(c.text))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		all.of("web").close()
		all.of("web").turn(day)
		if got := all.of("web").spent; got != c.spent || f != c.found {
			t.Errorf("%s: spent %d, %+v, want %d, %+v", c.name, got, f, c.spent, c.found)
		}
	}
}

// Whatever is read: written as a whole, it is read as the same; and after each kill of a
// process that appends, what was there can be read.
func FuzzJournal(f *testing.F) {
	f.Add([]byte(head + `{"client":"web","day":"2026-11-26","reserved":10}` + "\n" + `{"client":"web","day":"2026-11-27","reserved":10}` + "\n" + `{"client":"web","day":"2026-11-26","settled":10,"used":3}` + "\n"))
	f.Add([]byte(head + `{"client":"a\"b","day":"2026-11-26","spent":10}` + "\n" + `{"client":"b","day":"2026-11-20","reserved":1}` + "\n" + `{"client":"b","day":"2026-11-29","reserved":1}` + "\n"))
	f.Add([]byte(head + "\x00\n{"))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, found, err := read(text)
		if err != nil {
			if all, found, err = read(append([]byte(head), text...)); err != nil {
				return
			}
		}
		if found.cut > len(text)+len(head) || found.lost > bytes.Count(text, []byte("\n")) {
			t.Fatalf("%+v", found)
		}
		whole := all.whole(math.MinInt64)
		again, none, err := read(whole)
		if err != nil || none != (struct{ cut, lost int }{}) {
			t.Fatalf("%v, %+v: %s", err, none, whole)
		}
		if !slices.Equal(slices.Sorted(maps.Keys(all)), slices.Sorted(maps.Keys(again))) {
			t.Fatalf("%v, then %v", all, again)
		}
		for name, s := range all {
			then := again[name]
			if s.spent != then.spent || s.day > then.day || !reflect.DeepEqual(s.sorted(), then.sorted()) {
				t.Fatalf("%q: %+v, then %+v", name, s, then)
			}
		}
		if cut := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 5; cut < len(whole) {
			if _, _, err := read(whole[:cut]); err != nil {
				t.Fatalf("%v: %s", err, whole[:cut])
			}
		}
	})
}
