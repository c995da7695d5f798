package protocol

import (
	"testing"

	"pgregory.net/rapid"
)

// The short way to write a value is the encoder's.
func TestValuesAreWrittenAsTheEncoderWritesThem(t *testing.T) {
	texts := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ -~\x00-\x7f]*`), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
	rapid.Check(t, func(t *rapid.T) {
		for _, v := range []any{texts.Draw(t, "text"), rapid.Int().Draw(t, "int"), rapid.Int64().Draw(t, "int64"), nil, true, 0.5} {
			if got, want := appendJSON(nil, v), marshal(v); string(got) != string(want) {
				t.Fatalf("got %s, want %s", got, want)
			}
		}
	})
}
