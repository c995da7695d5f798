package clients

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"llmcall"
	"llmcall/account"
	"llmcall/endpoint"
	"llmcall/llm"
	"llmcall/price"
	"llmcall/validate"
)

// A call of the library under a client's account: each attempt finds its reservation on the
// disk, and a call that the day's money, or the disk, does not allow ends with the client's
// own refusal, but not one that its own ceiling ends.
func TestACallUnderTheAccountOfADay(t *testing.T) {
	dir := t.TempDir()
	book := open(t, dir, Config{Name: "web", SHA256: hashOf("a"), MaxCostPerDay: 2})
	client := only(book)
	asked := 0
	model := llm.Func("acme/small", func(context.Context, *llm.Request) (*llm.Response, error) {
		asked++
		text, err := os.ReadFile(filepath.Join(dir, journalName))
		if got := bytes.Count(text, []byte(`"reserved"`)); err != nil || got != asked {
			t.Errorf("attempt %d is made with %d reservations on the disk, %v", asked, got, err)
		}
		answer := llm.Reply("wrong words")
		if asked == 3 {
			answer = llm.Reply("right")
		}
		answer.Usage = llm.Usage{InputTokens: 100, OutputTokens: 50}
		return answer, nil
	})
	oneWord, err := validate.WordCount(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	call := func(ceiling float64) error {
		rates := price.Rates{Input: 1000 * account.Dollar, Output: 1000 * account.Dollar} // 0.1 cents a token
		caller, err := llmcall.New([]llm.Model{model}, []validate.Strategy{oneWord}, llmcall.RetryConfig{
			Account: client.Account(), MaxCost: ceiling, Prices: price.Table{"acme/small": {Rates: rates}},
		})
		if err != nil {
			t.Fatal(err)
		}
		request := llm.Prompt("?")
		request.MaxTokens = 50
		_, err = caller.Do(t.Context(), request)
		return err
	}
	if err := call(0); err != nil || asked != 3 {
		t.Fatalf("%v after %d attempts", err, asked)
	}
	if s := book.All()[0]; s.Spent != 3*account.Dollar*150/1000 || s.Reserved != 0 {
		t.Errorf("%+v", s)
	}
	err = call(0.01)
	if e, ok := errors.AsType[*account.Error](err); !ok || client.Refused(err) != nil {
		t.Errorf("%v: %v", err, e)
	}
	client.Account().Settle(endpoint.Amount{}, endpoint.Amount{Nanos: 2*account.Dollar - 450_000_000})
	if r := client.Refused(call(0)); r == nil || r.Limit != LimitCost || r.Left != 0 || r.Allowed != 2 || r.RetryAfter <= time.Second || r.RetryAfter > 24*time.Hour {
		t.Errorf("%+v", r)
	}
	if err := book.Reload([]Config{{Name: "web", SHA256: hashOf("a"), MaxCostPerDay: 4}}); err != nil {
		t.Fatal(err)
	}
	if err := book.Close(); err != nil { // nothing can be written any more
		t.Fatal(err)
	}
	if r := client.Refused(call(0)); r == nil || r.Limit != LimitState || !errors.Is(r, errClosed) {
		t.Errorf("%+v", r)
	}
	if asked != 3 {
		t.Errorf("%d attempts", asked)
	}
}
