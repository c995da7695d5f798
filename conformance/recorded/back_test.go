package recorded

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"llmcall/llm"
)

// TestBack sends each recorded answer back with what its tools returned, as the
// next request of the same recording did. Whatever that client gave back of the
// answer, and the provider took, the adapter has to give back too: providers
// refuse a conversation that lacks what the model thought, or signed.
func TestBack(t *testing.T) {
	p := play(t)
	var conversation []llm.Message
	given := map[string]int{} // how many of each name were compared
	for _, x := range load(t) {
		by, _ := route(x.url)
		if by == nil || x.status != http.StatusOK || x.excused() >= 0 {
			continue
		}
		if strings.HasPrefix(x.source, "agents/") {
			continue // they give back arguments that they changed
		}
		if strings.HasSuffix(x.source, " #0") {
			conversation = []llm.Message{llm.User("x")}
		}
		got, err := p.ask(t, x, by, &llm.Request{Messages: conversation}, len(x.body), whole)
		if err != nil {
			t.Errorf("%s: %v", x.source, err)
			continue
		}
		want, sent := carried(t, x.asked), carried(t, p.asked.Load().body)
		for mark, n := range want {
			name, _, _ := strings.Cut(mark, " ")
			given[name] += n
			if sent[mark] < n {
				t.Errorf("%s: the recorded request gives back %d times %.300s, the adapter %d times: %v", x.source, n, mark, sent[mark], slices.Sorted(maps.Keys(sent)))
			}
		}
		conversation = append(conversation, got.Message)
		if calls := got.Message.ToolCalls(); len(calls) > 0 {
			results := llm.Message{Role: llm.RoleTool}
			for _, call := range calls {
				results.Parts = append(results.Parts, llm.ToolResult{CallID: call.ID, Content: "40 degrees"})
			}
			conversation = append(conversation, results)
		} else {
			conversation = append(conversation, llm.User("and then?"))
		}
	}
	for _, name := range []string{"tool_call_id", "arguments", "tool_use_id", "input", "signature", "thinking", "call_id", "encrypted_content", "args", "thoughtSignature"} {
		if given[name] == 0 {
			t.Errorf("no recorded request gives back any %s", name)
		}
	}
	t.Log("given back, and compared:", given)
}

// carried counts what a request gives back unchanged of earlier answers: each
// name with its value. Values that are JSON are the same however they are
// written.
func carried(t *testing.T, request []byte) map[string]int {
	t.Helper()
	var document any
	if err := json.Unmarshal(request, &document); err != nil {
		t.Fatalf("a request is no JSON: %v", err)
	}
	found := map[string]int{}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, item := range v {
				walk(item)
			}
		case map[string]any:
			for name, value := range v {
				switch name {
				case "tool_call_id", "tool_use_id", "call_id", "arguments", "args", "signature", "encrypted_content", "thoughtSignature", "thinking":
					if text, ok := value.(string); ok || name == "args" {
						found[name+" "+canonical(text, value)]++
						continue
					}
				case "input":
					if v["type"] == "tool_use" {
						found[name+" "+canonical("", value)]++
						continue
					}
				}
				walk(value)
			}
		}
	}
	walk(document)
	return found
}

func canonical(text string, value any) string {
	var inner any
	if json.Unmarshal([]byte(text), &inner) == nil {
		value = inner
	}
	return fmt.Sprint(value) // maps in the order of their keys
}
