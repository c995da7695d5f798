package sample_test

import (
	"testing"

	"llmcall/bench/sample"
	"llmcall/validate"
)

func TestTheAnswerFitsTheSchemaAndNoOther(t *testing.T) {
	for _, n := range []int{0, 1, 10, 11, 1000} {
		check, err := validate.JSONSchema([]byte(sample.Schema(n)))
		if err != nil {
			t.Fatalf("%d fields: %v", n, err)
		}
		checks := []validate.Strategy{check}
		if r := validate.Run(t.Context(), checks, &validate.Answer{Text: sample.Answer(n)}, 0); len(r.Complaints)+len(r.Failed) > 0 {
			t.Errorf("%d fields: %v", n, r)
		}
		if r := validate.Run(t.Context(), checks, &validate.Answer{Text: sample.Answer(n + 1)}, 0); len(r.Complaints) == 0 {
			t.Errorf("%d fields: an answer of %d passes", n, n+1)
		}
	}
}
