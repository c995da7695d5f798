package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"llmcall/internal/npm"
)

// The table is what the generator writes, and nothing was changed in it by hand.
func TestTheTableIsGenerated(t *testing.T) {
	unavailable := t.Skipf
	if os.Getenv("LLMCALL_REAL") == "1" {
		unavailable = t.Fatalf
	}
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			unavailable("%s is missing: %v (with LLMCALL_REAL=1 this is an error)", program, err)
		}
	}
	args := []string{"install", source + "@" + version}
	if os.Getenv("LLMCALL_REAL") != "1" {
		args = append(args, "--fetch-retries=0") // nobody waits a minute to hear that it is skipped
	}
	dir, err := npm.Install(t, "genai-prices-"+version, nil, args...)
	if err != nil {
		unavailable("the source can't be installed from npm: %v", err)
	}
	dumped, err := dump(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	committed, err := os.ReadFile("../../price/known/table.json")
	if err != nil {
		t.Fatal(err)
	}
	var head struct{ Date string }
	if err := json.Unmarshal(committed, &head); err != nil {
		t.Fatal(err)
	}
	want, err := table(dumped, head.Date)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(committed, want) {
		t.Error("price/known/table.json is not what the generator writes: go generate ./price/known")
	}
}

func TestPatterns(t *testing.T) {
	for text, want := range map[string]string{
		`{"equals": "GPT-4"}`:                                            "gpt-4",
		`{"starts_with": "a"}`:                                           "a*",
		`{"ends_with": "a"}`:                                             "*a",
		`{"contains": "a"}`:                                              "*a*",
		`{"regex": "^a\\.1-\\d{4}-\\d{2}-\\d$"}`:                         "a.1-####-##-#",
		`{"regex": "a-\\d"}`:                                             "*a-#*",
		`{"or": [{"equals": "a"}, {"or": [{"contains": "b"}]}]}`:         "a *b*",
		`{"and": [{"starts_with": "a"}, {"regex": "` + noSpeech + `"}]}`: "a* !*-tts !*-tts-*",
		`{"or": [{"equals": "b"}, {"and": [{"starts_with": "a"}, {"regex": "` + noSpeech + `"}]}]}`:      "b a* !*-tts !*-tts-*",
		`{"or": [{"starts_with": "b"}, {"and": [{"starts_with": "a"}, {"regex": "` + noSpeech + `"}]}]}`: "error: an exclusion would be that of another pattern too",
		`{"and": [{"regex": "` + noSpeech + `"}, {"starts_with": "a"}]}`:                                 "error: what must be true together is one pattern, and then what is excluded",
		`{"and": [{"starts_with": "a"}, {"ends_with": "b"}]}`:                                            "error: what must be true together is one pattern, and then what is excluded",
		`{"regex": "^a+$"}`:        `error: the regular expression ^a+$ has "+"`,
		`{"regex": "^a.b$"}`:       `error: the regular expression ^a.b$ has "."`,
		`{"regex": "^\\d{2,3}$"}`:  `error: the regular expression ^\d{2,3}$ has {2,3}`,
		`{"later": "a"}`:           "error: the rule is not one that is known",
		`{"or": [{"later": "a"}]}`: "error: the rule is not one that is known",
	} {
		var r rule
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatal(err)
		}
		patterns, err := r.patterns()
		got := strings.Join(patterns, " ")
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestPriceOf(t *testing.T) {
	for text, want := range map[string]string{
		`{"input_mtok": 0.1, "output_mtok": 7e-3, "web_searches_kcount": 10}`:                                                                                                   `{"input":0.1,"output":0.007}`,
		`{"input_mtok": 1, "output_mtok": 2, "cache_read_mtok": 0, "input_audio_mtok": 3}`:                                                                                      `{"input":1,"output":2,"cached_input":0,"audio":3}`,
		`{"input_mtok": {"base": 1, "tiers": [{"start": 200, "price": 3}, {"start": 100, "price": 2}]}, "output_mtok": 5}`:                                                      `{"input":1,"output":5,"tiers":[{"above":100,"input":2,"output":5},{"above":200,"input":3,"output":5}]}`,
		`[{"prices": {"input_mtok": 1, "output_mtok": 2}}, {"constraint": {"type": "start_date", "start_date": "2026-06-01"}, "prices": {"input_mtok": 3, "output_mtok": 4}}]`:  `{"input":1,"output":2,"dated":[{"from":"2026-06-01","input":3,"output":4}]}`,
		`[{"prices": {"input_mtok": 1, "output_mtok": 2}}, {"constraint": {"type": "time_of_date", "start_time": "00:00:00Z"}, "prices": {"input_mtok": 3, "output_mtok": 4}}]`: "none",
		`[{"prices": {"input_mtok": 1, "output_mtok": 2}}, {"constraint": {"type": "start_date", "start_date": "2026-06-01"}, "prices": {"input_mtok": 3, "output_mtok": 4}}, {"constraint": {"type": "start_date", "start_date": "2026-05-01"}, "prices": {"input_mtok": 3, "output_mtok": 4}}]`: "error: the dates are not in order",
		`{}`:                "none",
		`{"input_mtok": 1}`: "none",
		`{"input_mtok": 1, "output_mtok": 2, "output_image_mtok": 30}`: "none",
		`{"input_mtok": -1, "output_mtok": 2}`:                         "error: input: must be dollars per million tokens, a number >= 0, got -1",
	} {
		p, err := priceOf(model{Prices: json.RawMessage(text)})
		got := "none"
		switch {
		case err != nil:
			got = "error: " + err.Error()
		case p != nil:
			written, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			got = string(written)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestProvidersWithoutModelsAreAnError(t *testing.T) {
	for text, want := range map[string]string{
		`[]`:                          "there are 0 providers, want 4",
		`[{"models": []},{},null,{}]`: "openai has no models",
		`[null,null,null,null]`:       "openai has no models",
		`[{"models": [{"id": "m", "match": {"later": "a"}, "prices": {}}]},{},{},{}]`: "openai/m: the rule is not one that is known",
	} {
		if _, err := table([]byte(text), "2026-05-06"); err == nil || err.Error() != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}
