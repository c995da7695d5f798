// Package conformance_test records and replays with all that is around package record: the
// official SDKs, package transport, the calls of the root, and plans of package chaos. It is
// apart from the package, whose own tests then link no SDK.
package conformance_test

import (
	"context"
	"flag"
	"iter"
	"testing"

	"go.uber.org/goleak"

	"llmcall/llm"
	"llmcall/record"
)

var update = flag.Bool("update", false, "write testdata/plan.yaml")

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start")) // Gemini's SDK starts it when it is imported
}

const name = "test/model"

// recorder returns a Recorder whose reports fail the test.
func recorder(t *testing.T, dir string) *record.Recorder {
	t.Helper()
	r, err := record.New(record.Config{Dir: dir, Report: func(err error) { t.Errorf("reported: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func open(t *testing.T, dir string) *record.Player {
	t.Helper()
	p, err := record.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// recordings returns those of a directory.
func recordings(t *testing.T, dir string) []*record.Recording {
	t.Helper()
	var all []*record.Recording
	for r, err := range record.All(dir) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// answers is a model that gives one answer after another.
func answers(all ...func() (*llm.Response, error)) llm.Model {
	n := 0
	return llm.Func(name, func(context.Context, *llm.Request) (*llm.Response, error) {
		n++
		return all[n-1]()
	})
}

func says(text string) func() (*llm.Response, error) {
	return func() (*llm.Response, error) { return llm.Reply(text), nil }
}

func fails(err error) func() (*llm.Response, error) {
	return func() (*llm.Response, error) { return nil, err }
}

// breaks is a stream that ends with an error after some pieces.
func breaks(pieces []llm.Chunk, end error) llm.Streamer {
	return llm.StreamFunc(name, func(context.Context, *llm.Request) iter.Seq2[llm.Chunk, error] {
		return func(yield func(llm.Chunk, error) bool) {
			for _, c := range pieces {
				if !yield(c, nil) {
					return
				}
			}
			yield(llm.Chunk{}, end)
		}
	})
}
