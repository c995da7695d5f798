package chaos

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Whatever is added, replaced and removed, the size that is counted is that of what is
// kept, and the bounds hold.
func TestTheSizeOfWhatIsKeptIsCounted(t *testing.T) {
	text := make([]byte, maxKeptBytes+1)
	rapid.Check(t, func(t *rapid.T) {
		var k keptAnswers
		var added []string
		answer := func() keptAnswer {
			size := rapid.OneOf(rapid.IntRange(0, 10), rapid.IntRange(0, len(text))).Draw(t, "size")
			return keptAnswer{text: text[:size]}
		}
		known := func() string { return rapid.SampledFrom(append(added, "unknown")).Draw(t, "id") }
		t.Repeat(map[string]func(*rapid.T){
			"add": func(*rapid.T) {
				id := fmt.Sprint(len(added))
				added = append(added, id)
				k.add(id, answer())
			},
			"replace": func(*rapid.T) {
				id := known()
				_, before := k.get(id)
				k.replace(id, answer())
				if _, after := k.get(id); after && !before {
					t.Fatalf("%s is back", id)
				}
			},
			"remove": func(*rapid.T) { k.remove(known()) },
			"": func(t *rapid.T) {
				size := 0
				for id, a := range k.byID {
					if size += len(a.text); !slices.Contains(k.order, id) {
						t.Fatalf("%s is kept and has no place in the order", id)
					}
				}
				if size != k.bytes || len(k.byID) != len(k.order) {
					t.Fatalf("%d bytes and %d answers, counted %d and %d", size, len(k.byID), k.bytes, len(k.order))
				}
				if len(k.order) > maxKept || size > maxKeptBytes && len(k.order) > 1 {
					t.Fatalf("%d answers of %d bytes are kept", len(k.order), size)
				}
			},
		})
	})
}
