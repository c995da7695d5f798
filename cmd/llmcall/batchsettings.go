package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"llmcall/endpoint"
	"llmcall/internal/yamlfile"
	"llmcall/llm"
)

// notOfTheAnswer are the settings that say how a row is asked, and not what: how often, how
// fast, for how long and for how much. A row that is done is not asked again when they
// change, so that a run which met a limit can go on with another one.
var notOfTheAnswer = []string{
	"model", "models", "providers", // see ofTheAnswer
	"max_attempts", "attempts_per_model", "fallback_after", "hedge", "quality_memory", "stop_on_no_progress",
	"initial_delay", "backoff_factor", "max_delay", "use_jitter", "jitter_range", "backoff_on_invalid_answer",
	"max_time", "attempt_timeout", "first_piece_timeout", "idle_timeout", "restart_streams", "check_timeout", "tool_timeout", "hang",
	"max_retry_after", "max_rate_limit_wait", "requests_per_minute", "tokens_per_minute", "max_concurrent", "disable_pacing",
	"enable_circuit_breaker", "circuit_breaker_config", "count_invalid_answers", "wait_for_circuit", "retry_budget", "disable_retry_budget", "decisions",
	"max_cost", "max_tokens_total", "min_output_tokens", "reserve", "prices",
	"fleet", "fleet_only", "fleet_secret", "fleet_min_reporters",
}

// answered is what decides, beside the row, what an answer is.
type answered struct {
	Models   []string        `json:"models"`
	Practice bool            `json:"practice"` // the answers are invented
	Settings map[string]any  `json:"settings"`
	Checks   []string        `json:"checks"`
	Schema   json.RawMessage `json:"schema,omitempty"`
	Judge    string          `json:"judge"`
	Prompt   string          `json:"prompt"`
	Images   []string        `json:"images"`
	Files    []string        `json:"files"`
}

// ofTheAnswer returns what decides, beside the row, what an answer is: a row whose line was
// written with another one is asked again.
func (f *batchFlags) ofTheAnswer(p *program, models []llm.Model, prompt string) ([]byte, error) {
	a := answered{Practice: p.Practice != nil, Checks: p.Checks, Schema: p.Schema, Judge: p.Judge, Prompt: prompt, Images: f.images, Files: f.files, Settings: map[string]any{}}
	for _, m := range models {
		key := endpoint.KeyOf(m)
		name := m.Name()
		if key.Address != "" && !a.Practice { // that of the practice model is another one in each run
			name += " at " + key.Address
		}
		a.Models = append(a.Models, name)
	}
	a.Models = slices.Compact(a.Models) // a model with several keys is several
	if p.Config != nil {
		if err := yamlValue([]byte(p.Config.Text), &a.Settings); err != nil {
			return nil, fmt.Errorf("--config: %w", err)
		}
	}
	for _, s := range rowSettings {
		text, given := p.Settings[s.flag]
		if !given {
			continue
		}
		var value any
		if s.flag == "system" || yamlValue([]byte(text), &value) != nil {
			value = text
		}
		a.Settings[s.field] = value
	}
	for _, name := range notOfTheAnswer {
		delete(a.Settings, name)
	}
	return json.Marshal(a)
}

// yamlValue decodes YAML or JSON as JSON is decoded, with numbers as they are written. Of a
// file without a value nothing is changed.
func yamlValue(text []byte, to any) error {
	root, err := yamlfile.Parse(text)
	if err != nil || root == nil {
		return err
	}
	data, err := yamlfile.JSON(root)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	return decoder.Decode(to)
}
