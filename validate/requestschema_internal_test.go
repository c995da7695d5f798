package validate

import (
	"fmt"
	"testing"
)

// However many schemas a gateway or a batch sees, a bounded number is kept: those that were
// used last.
func TestABoundedNumberOfSchemasIsKept(t *testing.T) {
	c := &requestSchema{}
	for i := range 10 * maxCompiled {
		for _, n := range []int{i, 0} {
			if _, err := c.of(fmt.Sprintf(`{"const": %d}`, n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(c.compiled) != maxCompiled {
		t.Errorf("%d are kept", len(c.compiled))
	}
	if c.compiled[`{"const": 0}`] == nil || c.compiled[fmt.Sprintf(`{"const": %d}`, 10*maxCompiled-1)] == nil {
		t.Error("one that was used last is not kept")
	}
}
