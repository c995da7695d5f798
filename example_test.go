package llmcall_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"slices"

	"llmcall"
	"llmcall/account"
	"llmcall/backoff"
	"llmcall/failure"
	"llmcall/llm"
	"llmcall/price"
	"llmcall/validate"
)

// scripted is a model that streams the same pieces to everyone.
type scripted []string

func (scripted) Name() string { return "scripted" }

func (s scripted) Complete(ctx context.Context, req *llm.Request) (*llm.Response, error) {
	var whole llm.Assembly
	for chunk := range s.Stream(ctx, req) {
		whole.Add(chunk)
	}
	return whole.Response(), nil
}

func (s scripted) Stream(context.Context, *llm.Request) iter.Seq2[llm.Chunk, error] {
	return func(yield func(llm.Chunk, error) bool) {
		for _, piece := range s {
			if !yield(llm.Chunk{Text: piece}, nil) {
				return
			}
		}
		yield(llm.Chunk{Finish: llm.FinishStop}, nil)
	}
}

// The models are alternatives in order: the second is asked where the first can't
// serve.
func ExampleNew() {
	first := llm.Func("acme/large", func(context.Context, *llm.Request) (*llm.Response, error) {
		return nil, &failure.Error{Kind: failure.Unauthorized, Model: "acme/large", Status: 401}
	})
	second := llm.Func("beta/large", func(context.Context, *llm.Request) (*llm.Response, error) { return llm.Reply("Berlin"), nil })
	client, err := llmcall.New([]llm.Model{first, second}, nil, llmcall.RetryConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	result, err := client.Do(context.Background(), llm.Prompt("Which city is the capital of Germany?"))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, a := range result.Attempts {
		fmt.Println(a.Model, a.Outcome)
	}
	// Output:
	// acme/large failed
	// beta/large valid
}

// What happens in a call goes into a log; no prompt and no answer is in it.
func ExampleObserver() {
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		switch a.Key {
		case slog.TimeKey, slog.LevelKey, "call", "start", "duration": // others each time
			return slog.Attr{}
		}
		return a
	}}))
	observer := func(ctx context.Context, e llmcall.Event) context.Context {
		if e.Type == llmcall.EventAttemptEnded || e.Type == llmcall.EventCallEnded {
			log.InfoContext(ctx, "llmcall", "event", e)
		}
		return ctx
	}
	model := llm.Func("acme/model", func(context.Context, *llm.Request) (*llm.Response, error) { return llm.Reply("Berlin"), nil })
	client, err := llmcall.New([]llm.Model{model}, nil, llmcall.RetryConfig{Observer: observer})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := client.Do(context.Background(), llm.Prompt("Which city is the capital of Germany?")); err != nil {
		fmt.Println(err)
	}
	// Output:
	// msg=llmcall event.event=attempt_ended event.attempt.number=1 event.attempt.model=acme/model event.attempt.stage=basic event.attempt.outcome=valid
	// msg=llmcall event.event=call_ended event.model=acme/model event.result.model=acme/model event.result.attempts=1
}

func ExampleClient_Do() {
	model := llm.Func("acme/model", func(_ context.Context, req *llm.Request) (*llm.Response, error) {
		if len(req.Messages) == 1 {
			return llm.Reply("It may be Bonn."), nil
		}
		return llm.Reply("It is Berlin."), nil // it was told what is wrong
	})
	checks := []validate.Strategy{validate.Must(validate.Contains("Berlin"))}
	client, err := llmcall.New([]llm.Model{model}, checks, llmcall.RetryConfig{MaxAttempts: 5})
	if err != nil {
		fmt.Println(err)
		return
	}
	result, err := client.Do(context.Background(), llm.Prompt("Which city is the capital of Germany?"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(result.Text, len(result.Attempts), "attempts")
	// Output: It is Berlin. 2 attempts
}

func ExampleClient_Start() {
	model := llm.Func("acme/model", func(context.Context, *llm.Request) (*llm.Response, error) { return llm.Reply("Berlin"), nil })
	client, err := llmcall.New([]llm.Model{model}, nil, llmcall.RetryConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	capital := client.Start(ctx, llm.Prompt("Which city is the capital of Germany?"))
	// …
	result, err := capital.Wait(ctx)
	fmt.Println(result.Text, err)
	// Output: Berlin <nil>
}

func ExampleClient_Stream() {
	client, err := llmcall.New([]llm.Model{scripted{"It is", " Berlin."}}, nil, llmcall.RetryConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for piece, err := range client.Stream(context.Background(), llm.Prompt("Which city is the capital of Germany?")) {
		switch {
		case err != nil:
			fmt.Println(err)
		case piece.Result != nil:
			fmt.Printf("\nchecked: %s\n", piece.Result.Text)
		default:
			fmt.Print(piece.Text)
		}
	}
	// Output:
	// It is Berlin.
	// checked: It is Berlin.
}

func ExampleAsk() {
	type City struct {
		Name       string `json:"name"`
		Population int    `json:"population" jsonschema:"minimum=1"`
	}
	model := llm.Func("acme/model", func(context.Context, *llm.Request) (*llm.Response, error) {
		return llm.Reply(`{"name": "Berlin", "population": 3700000}`), nil
	})
	client, err := llmcall.New([]llm.Model{model}, nil, llmcall.RetryConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	city, _, err := llmcall.Ask[City](context.Background(), client, llm.Prompt("Describe the capital of Germany"))
	fmt.Println(city.Name, city.Population, err)
	// Output: Berlin 3700000 <nil>
}

func ExampleAskStream() {
	type Recipe struct {
		Title  string   `json:"title"`
		Serves int      `json:"serves"`
		Steps  []string `json:"steps"`
	}
	model := scripted{`{"title": "Pan`, `cakes", "serves": 1`, `2, "steps": ["Mix`, ` all.", "Wait.`, `", "Fry."]`, `}`}
	client, err := llmcall.New([]llm.Model{model}, nil, llmcall.RetryConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for recipe, err := range llmcall.AskStream[Recipe](context.Background(), client, llm.Prompt("How do I make pancakes?")) {
		switch {
		case err != nil:
			fmt.Println(err)
		case recipe.Result != nil:
			fmt.Printf("checked: %+v\n", recipe.Value)
		default:
			fmt.Printf("%+v\n", recipe.Value)
		}
	}
	// Output:
	// {Title:Pancakes Serves:0 Steps:[]}
	// {Title:Pancakes Serves:12 Steps:[]}
	// {Title:Pancakes Serves:12 Steps:[Mix all.]}
	// {Title:Pancakes Serves:12 Steps:[Mix all. Wait. Fry.]}
	// checked: {Title:Pancakes Serves:12 Steps:[Mix all. Wait. Fry.]}
}

func ExampleRetryWithValidation() {
	model := llm.Func("acme/model", func(_ context.Context, req *llm.Request) (*llm.Response, error) {
		if len(req.Messages) == 1 {
			return llm.Reply("It may be Bonn."), nil
		}
		return llm.Reply("It is Berlin."), nil // it was told what is wrong
	})
	checks := []validate.Strategy{validate.Must(validate.Contains("Berlin"))}
	result, err := llmcall.RetryWithValidation(context.Background(), model,
		llm.Prompt("Which city is the capital of Germany?"), checks, llmcall.RetryConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(result.Text, len(result.Attempts), "attempts")
	// Output: It is Berlin. 2 attempts
}

type Cancellation struct {
	Order string `json:"order"`
}

type Complaint struct {
	About    string `json:"about"`
	Severity int    `json:"severity" jsonschema:"minimum=1,maximum=3"`
}

// Many rows, a bounded number at a time. What is not done is for the next run.
func ExampleEach() {
	model := llm.Func("acme/large", func(_ context.Context, req *llm.Request) (*llm.Response, error) {
		switch city := req.Messages[0].Text(); city {
		case "Atlantis":
			return nil, &failure.Error{Kind: failure.InvalidRequest, Model: "acme/large", Status: 400, Message: "no such city"}
		default:
			return llm.Reply("capital: " + city), nil
		}
	})
	client, err := llmcall.New([]llm.Model{model}, nil, llmcall.RetryConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	cities := []string{"Berlin", "Atlantis", "Paris"}
	request := func(city string) (*llm.Request, error) { return llm.Prompt(city), nil }
	for row, err := range llmcall.Each(context.Background(), client, slices.Values(cities), request, llmcall.EachConfig{}) {
		switch {
		case err != nil: // the last: not all rows are done
			fmt.Println(err)
		case row.NotDone:
			fmt.Println("later:", row.Row)
		case row.Err != nil:
			fmt.Println(row.Row, "can't be answered:", row.Err)
		default:
			fmt.Println(row.Result.Text)
		}
	}
	// Unordered output:
	// capital: Berlin
	// capital: Paris
	// Atlantis can't be answered: not retried after 1 attempt: acme/large: invalid_request (HTTP 400): no such city
}

// An answer of one of several types is told by its property "type".
func ExampleOneOf() {
	model := llm.Func("acme/large", func(context.Context, *llm.Request) (*llm.Response, error) {
		return llm.Reply(`{"value": {"type": "Complaint", "about": "the colour", "severity": 2}}`), nil
	})
	client, err := llmcall.New([]llm.Model{model}, nil, llmcall.RetryConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	letter := llm.Prompt("What does the customer want? \"I had ordered a blue one.\"")
	wish, _, err := llmcall.Ask[llmcall.OneOf[Cancellation, Complaint]](context.Background(), client, letter)
	if err != nil {
		fmt.Println(err)
		return
	}
	switch w := wish.Value.(type) {
	case Cancellation:
		fmt.Println("cancel", w.Order)
	case Complaint:
		fmt.Println("severity", w.Severity, "about", w.About)
	}
	// Output: severity 2 about the colour
}

// A ceiling of money lowers the token limit of a request for which little is left, and
// ends the call before a request for which nothing is.
func ExampleRetryConfig_maxCost() {
	model := llm.Func("acme/small", func(_ context.Context, req *llm.Request) (*llm.Response, error) {
		fmt.Println("asked for at most", req.MaxTokens, "tokens")
		answer := llm.Reply("Paris")
		answer.Usage = llm.Usage{InputTokens: 20, OutputTokens: 400}
		return answer, nil
	})
	checks := []validate.Strategy{validate.Must(validate.Contains("Berlin"))}
	_, err := llmcall.RetryWithValidation(context.Background(), model, llm.Prompt("Which city is the capital of Germany?"), checks, llmcall.RetryConfig{
		MaxCost: 0.01, MaxTokens: 700, MaxAttempts: 5, Backoff: backoff.Constant{},
		Prices: price.Table{"acme/small": {Rates: price.Rates{Input: 1 * account.Dollar, Output: 10 * account.Dollar}}}, // a million tokens
	})
	if e, ok := errors.AsType[*llmcall.Error](err); ok {
		fmt.Println(e.Reason, "after", e.Cost.Dollars(), "dollars")
	}
	// Output:
	// asked for at most 700 tokens
	// asked for at most 556 tokens
	// account_spent after 0.00804 dollars
}
