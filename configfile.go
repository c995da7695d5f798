package llmcall

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"llmcall/backoff"
	"llmcall/failure"
	"llmcall/internal/nearest"
	"llmcall/internal/say"
	"llmcall/internal/yamlfile"
	"llmcall/price"
	"llmcall/validate"

	"go.yaml.in/yaml/v4"
)

// maxConfigSize limits the size of a configuration file in bytes, so that a wrong
// path does not fill the memory.
const maxConfigSize = 1 << 20

// LoadConfig reads a configuration file of at most 1 MiB and returns its settings
// and its checks; see [ParseConfig] for the format. The error is a [*ConfigError]
// with the path in File; if the file can't be read, it wraps the cause, such as
// [fs.ErrNotExist].
func LoadConfig(path string) (RetryConfig, []validate.Strategy, error) {
	return LoadConfigWith(path, validate.Builder{})
}

// LoadConfigWith is [LoadConfig] with a builder for the checks; see
// [ParseConfigWith].
func LoadConfigWith(path string, builder validate.Builder) (RetryConfig, []validate.Strategy, error) {
	data, err := readConfig(path)
	if err != nil {
		if e, ok := errors.AsType[*fs.PathError](err); ok { // the ConfigError has the path
			err = e.Err
		}
		return RetryConfig{}, nil, &ConfigError{File: path, Err: err}
	}
	return ParseConfigWith(path, data, builder)
}

func readConfig(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfigSize+1))
	if err == nil && len(data) > maxConfigSize {
		err = errors.New("the file is larger than 1 MiB")
	}
	return data, err
}

// ParseConfig reads a configuration in YAML or JSON. name is the name of the file,
// for errors.
//
// The fields have the names in the comments of [RetryConfig]. `checks` is a list
// of checks, each in one of the forms of [validate.Builder.FromValue]: a string as for
// `llmcall call --check` ("length:3..200"), or a mapping such as {length: {max: 200}},
// {contains: Berlin} or {type: length, max_length: 200}. Times are seconds as numbers,
// or Go durations as strings ("30s"). A number must not be 0, since a field that is left
// out has its default. Exceptions are temperature and seed; hang, jitter_range,
// failure_rate, per_success and per_second, where 0 means none; and initial_delay, where
// it means no wait. A program whose files may have a feedback_template must import
// [llmcall/feedbacktemplate].
//
// The error is a [*ConfigError] with the line, the field, what it must be and what
// it is; for an unknown field, with the nearest known one, or a list if none is
// near.
func ParseConfig(name string, data []byte) (RetryConfig, []validate.Strategy, error) {
	return ParseConfigWith(name, data, validate.Builder{})
}

// ParseConfigWith is [ParseConfig] with a builder for the checks, which opens the
// models that they name as judges.
func ParseConfigWith(name string, data []byte, builder validate.Builder) (RetryConfig, []validate.Strategy, error) {
	cfg, checks, err := parseConfig(data, builder)
	return ofFile(name, cfg, checks, err)
}

// ParseConfigNode is [ParseConfigWith] for a configuration that is a part of a larger
// file, which the program has parsed itself: n is the mapping with the configuration's
// fields. Lines in errors are those of the larger file, and fields have their names
// within n.
func ParseConfigNode(name string, n *yaml.Node, builder validate.Builder) (RetryConfig, []validate.Strategy, error) {
	cfg, checks, err := parseNode(n, builder)
	return ofFile(name, cfg, checks, err)
}

// ofFile returns what was read from a file; an error has the file's name.
func ofFile(name string, cfg RetryConfig, checks []validate.Strategy, err error) (RetryConfig, []validate.Strategy, error) {
	if err != nil {
		if e, ok := errors.AsType[*ConfigError](err); ok {
			e.File = name
		}
		return RetryConfig{}, nil, err
	}
	return cfg, checks, nil
}

func parseConfig(data []byte, builder validate.Builder) (cfg RetryConfig, checks []validate.Strategy, err error) {
	root, err := readNode(data)
	if err != nil || root == nil {
		return cfg, nil, err
	}
	return parseNode(root, builder)
}

func parseNode(root *yaml.Node, builder validate.Builder) (cfg RetryConfig, checks []validate.Strategy, err error) {
	known := append(slices.Clone(settings), setting{name: "checks", takes: `a list of checks, each on a line with "- " before it`, set: func(_ *RetryConfig, n *yaml.Node) error {
		var err error
		checks, err = parseChecks(n, builder)
		return err
	}})
	if err = setAll(known, &cfg, root, ""); err == nil {
		err = cfg.Validate()
	}
	if err == nil && lineOf(root, "model") > 0 && lineOf(root, "models") > 0 {
		err = &ConfigError{Field: "model", Err: errors.New("must not be set together with models")}
	}
	if e, ok := errors.AsType[*ConfigError](err); ok && e.Line == 0 {
		e.Line = lineOf(root, e.Field)
		e.Takes = inFile(e.Field, e.Takes)
	}
	return cfg, checks, err
}

// inFile returns what a field of a mapping must be in a file, where the number that
// means none may differ from the struct's.
func inFile(field, takes string) string {
	outer, inner, _ := strings.Cut(field, ".")
	for _, s := range map[string][]setting{"circuit_breaker_config": breakerSettings, "retry_budget": budgetSettings}[outer] {
		if s.name == inner {
			return s.takes
		}
	}
	return takes
}

// readNode reads JSON or YAML. It returns nil if there is nothing but comments.
func readNode(data []byte) (*yaml.Node, error) {
	root, err := yamlfile.Parse(data)
	if e, ok := errors.AsType[*yamlfile.Error](err); ok {
		return nil, &ConfigError{Line: e.Line, Err: e}
	}
	return root, err
}

// lineOf returns the line of a field, or of the mapping that it belongs in; 0 if
// the file has neither.
func lineOf(n *yaml.Node, field string) int {
	line := 0
	for name := range strings.SplitSeq(field, ".") {
		n = yamlfile.Resolved(n)
		name, index, inList := strings.Cut(strings.TrimSuffix(name, "]"), "[")
		at := -1
		for i := 0; i+1 < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
			if n.Content[i].Value == name {
				at = i
			}
		}
		if at < 0 {
			break
		}
		line, n = n.Content[at].Line, n.Content[at+1]
		if i, err := strconv.Atoi(index); inList && err == nil && i < len(yamlfile.Resolved(n).Content) {
			n = yamlfile.Resolved(n).Content[i]
			line = n.Line
		}
	}
	return line
}

// Set sets a field by its name and value in a configuration file:
// Set("initial_delay", "1.5"). A mapping or a list is given as JSON:
// Set("stop", `["END"]`). It sets every field but `checks`. The error is a
// [*ConfigError]; then nothing has changed.
func (c *RetryConfig) Set(name, value string) error {
	for _, s := range settings {
		if s.name == name {
			next := *c
			if err := s.apply(&next, valueNode(value), ""); err != nil {
				return err
			}
			*c = next
			return nil
		}
	}
	return unknownSetting(settings, name, 0, "")
}

// valueNode returns the node of a value that is not in a file.
func valueNode(value string) *yaml.Node {
	if text := strings.TrimSpace(value); strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") {
		if n, err := readNode([]byte(text)); err == nil && n != nil && json.Valid([]byte(text)) {
			n.Line = 0 // there is no file
			return n
		}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Value: value}
}

// setting is a field of a configuration, in a file and in the struct.
type setting struct {
	name  string
	takes string
	// set may leave the configuration half set if it fails: whoever calls it has a copy.
	set func(*RetryConfig, *yaml.Node) error
	// wrong returns the field's value, and whether it is out of range. It is nil if
	// any value is possible, or if another package checks the range.
	wrong func(*RetryConfig) (got any, wrong bool)
}

var settings = slices.Concat(callSettings, fleetSettings)

var callSettings = []setting{
	{name: "model", takes: takesModel, set: func(c *RetryConfig, n *yaml.Node) error {
		names, err := parseStrings(n)
		if n.Kind != yaml.ScalarNode {
			err = errForm
		}
		c.Models = names
		return err
	}},
	nameList("models", takesModels, func(c *RetryConfig) *[]string { return &c.Models }),
	{name: "providers", takes: takesProviders, set: setProviders},
	textSetting("system", func(c *RetryConfig) *string { return &c.System }),
	count("max_tokens", takesCount, func(c *RetryConfig) *int { return &c.MaxTokens }),
	optional("temperature", takesDegree, math.MaxFloat64, func(c *RetryConfig) **float64 { return &c.Temperature }),
	wholeNumber("seed", func(c *RetryConfig) **int64 { return &c.Seed }),
	textList("stop", func(c *RetryConfig) *[]string { return &c.Stop }),
	fieldMap("extra", func(c *RetryConfig) *map[string]any { return &c.Extra }),
	count("max_attempts", takesCount, func(c *RetryConfig) *int { return &c.MaxAttempts }),
	{name: "initial_delay", takes: takesTime, set: func(c *RetryConfig, n *yaml.Node) error {
		d, err := parseDuration(n)
		if err == nil && d == 0 { // the struct's zero is the default
			c.Backoff = backoff.Constant{}
		} else if err == nil {
			c.InitialDelay, c.Backoff = d, nil
		}
		return err
	}, wrong: func(c *RetryConfig) (any, bool) { return c.InitialDelay, c.InitialDelay < 0 }},
	amount("backoff_factor", takesFactor, 1, func(c *RetryConfig) *float64 { return &c.BackoffFactor }),
	timeSetting("max_delay", func(c *RetryConfig) *time.Duration { return &c.MaxDelay }),
	truth("use_jitter", func(c *RetryConfig, v bool) { c.UseJitter = &v }),
	optional("jitter_range", takesRatio, 1, func(c *RetryConfig) **float64 { return &c.JitterRange }),
	truth("backoff_on_invalid_answer", func(c *RetryConfig, v bool) { c.BackoffOnInvalidAnswer = v }),
	timeSetting("max_time", func(c *RetryConfig) *time.Duration { return &c.MaxTime }),
	timeSetting("attempt_timeout", func(c *RetryConfig) *time.Duration { return &c.AttemptTimeout }),
	timeSetting("first_piece_timeout", func(c *RetryConfig) *time.Duration { return &c.FirstPieceTimeout }),
	timeSetting("idle_timeout", func(c *RetryConfig) *time.Duration { return &c.IdleTimeout }),
	truth("restart_streams", func(c *RetryConfig, v bool) { c.RestartStreams = v }),
	timeSetting("check_timeout", func(c *RetryConfig) *time.Duration { return &c.CheckTimeout }),
	timeSetting("max_retry_after", func(c *RetryConfig) *time.Duration { return &c.MaxRetryAfter }),
	timeSetting("max_rate_limit_wait", func(c *RetryConfig) *time.Duration { return &c.MaxRateLimitWait }),
	truth("enable_circuit_breaker", func(c *RetryConfig, v bool) { c.EnableCircuitBreaker = v }),
	{name: "circuit_breaker_config", takes: takesSettings, set: func(c *RetryConfig, n *yaml.Node) error {
		return setAll(breakerSettings, c, n, "circuit_breaker_config.")
	}},
	truth("count_invalid_answers", func(c *RetryConfig, v bool) { c.CountInvalidAnswers = v }),
	truth("wait_for_circuit", func(c *RetryConfig, v bool) { c.WaitForCircuit = v }),
	{name: "hang", takes: takesTime, set: func(c *RetryConfig, n *yaml.Node) error {
		d, err := parseDuration(n)
		switch {
		case err == nil && d < 0:
			return errForm
		case d == 0: // the struct's zero is the default
			d = -1
		}
		c.Hang = d
		return err
	}},
	timeSetting("fallback_after", func(c *RetryConfig) *time.Duration { return &c.FallbackAfter }),
	{name: "retry_budget", takes: takesSettings, set: func(c *RetryConfig, n *yaml.Node) error {
		return setAll(budgetSettings, c, n, "retry_budget.")
	}},
	amount("requests_per_minute", takesAbove0, math.SmallestNonzeroFloat64, func(c *RetryConfig) *float64 { return &c.RequestsPerMinute }),
	amount("tokens_per_minute", takesAbove0, math.SmallestNonzeroFloat64, func(c *RetryConfig) *float64 { return &c.TokensPerMinute }),
	count("max_concurrent", takesCount, func(c *RetryConfig) *int { return &c.MaxConcurrent }),
	truth("disable_pacing", func(c *RetryConfig, v bool) { c.DisablePacing = v }),
	truth("disable_retry_budget", func(c *RetryConfig, v bool) { c.DisableRetryBudget = v }),
	count("max_attempts_before_tool_use", takesCount, func(c *RetryConfig) *int { return &c.MaxAttemptsBeforeToolUse }),
	{name: "tool", takes: takesSettings, set: func(c *RetryConfig, n *yaml.Node) error {
		c.Tool = new(Tool)
		return setAll(toolSettings, c, n, "tool.")
	}},
	textSetting("debug_tool_name", func(c *RetryConfig) *string { return &c.DebugToolName }),
	{name: "debug_tool_mcp_config", takes: takesServers, set: addServers},
	{name: "mcp_servers", takes: takesServers, set: addServers},
	count("max_attempts_before_human", takesCount, func(c *RetryConfig) *int { return &c.MaxAttemptsBeforeHuman }),
	{name: "stages", takes: takesStages, set: func(c *RetryConfig, n *yaml.Node) error {
		if n.Kind != yaml.SequenceNode {
			return errForm
		}
		c.Stages = nil
		for i, item := range n.Content {
			c.Stages = append(c.Stages, Stage{})
			if item = yamlfile.Resolved(item); item.Kind == yaml.ScalarNode && item.Value == "human" {
				c.Stages[i].Human = true
				continue
			}
			field := fmt.Sprintf("stages[%d]", i)
			err := error(&ConfigError{Line: item.Line, Field: field, Got: gotText(item), Takes: takesStage})
			if at := fieldOf(item, "human"); at != nil {
				err = &ConfigError{Line: at.Line, Field: field + ".human", Err: errors.New("unknown field: a person is a stage of its own, the word `human`")}
			} else if item.Kind == yaml.MappingNode {
				err = setAll(stageSettings, c, item, field+".")
			}
			if err != nil {
				return err
			}
		}
		return nil
	}},
	count("attempts_per_model", takesCount, func(c *RetryConfig) *int { return &c.AttemptsPerModel }),
	count("max_tool_rounds", takesCount, func(c *RetryConfig) *int { return &c.MaxToolRounds }),
	count("max_tool_calls", takesCount, func(c *RetryConfig) *int { return &c.MaxToolCalls }),
	timeSetting("tool_timeout", func(c *RetryConfig) *time.Duration { return &c.ToolTimeout }),
	count("max_tool_result", takesCount, func(c *RetryConfig) *int { return &c.MaxToolResult }),
	amount("max_cost", takesDollars, 1e-9, func(c *RetryConfig) *float64 { return &c.MaxCost }),
	{name: "max_tokens_total", takes: takesCount, set: func(c *RetryConfig, n *yaml.Node) error {
		v, err := strconv.ParseInt(n.Value, 10, 64)
		if err != nil || n.Kind != yaml.ScalarNode || v == 0 {
			return errForm
		}
		c.MaxTokensTotal = v
		return nil
	}, wrong: func(c *RetryConfig) (any, bool) { return c.MaxTokensTotal, c.MaxTokensTotal < 0 }},
	count("min_output_tokens", takesCount, func(c *RetryConfig) *int { return &c.MinOutputTokens }),
	{name: "reserve", takes: takesReserve, set: func(c *RetryConfig, n *yaml.Node) error {
		c.Reserve = Reserve(n.Value)
		if n.Kind != yaml.ScalarNode || c.Reserve != ReserveStrict && c.Reserve != ReserveExpected {
			return errForm
		}
		return nil
	}},
	{name: "prices", takes: takesPrices, set: func(c *RetryConfig, n *yaml.Node) error {
		if err := checkMapping(n); err != nil {
			return err
		}
		text, err := yamlfile.JSON(n)
		if err != nil {
			return err
		}
		var table price.Table
		if err := json.Unmarshal(text, &table); err != nil {
			return &ConfigError{Line: n.Line, Field: "prices", Err: err}
		}
		c.Prices = table
		return nil
	}},
	{name: "hedge", takes: takesHedge, set: func(c *RetryConfig, n *yaml.Node) error {
		c.Hedge = new(Hedge)
		if err := setAll(hedgeSettings, c, n, "hedge."); err != nil {
			return err
		}
		return c.Hedge.validate()
	}},
	{name: "quality_memory", takes: takesQuality, set: func(c *RetryConfig, n *yaml.Node) error {
		c.QualityMemory = new(QualityMemory)
		if err := setAll(qualitySettings, c, n, "quality_memory."); err != nil {
			return err
		}
		return c.QualityMemory.validate()
	}},
	truth("stop_on_no_progress", func(c *RetryConfig, v bool) { c.StopOnNoProgress = v }),
	{name: "feedback_template", takes: takesTemplate, set: func(c *RetryConfig, n *yaml.Node) error {
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			return errForm
		}
		if compileTemplate == nil {
			return &ConfigError{Line: n.Line, Field: "feedback_template", Err: errors.New(noTemplates)}
		}
		write, err := compileTemplate(n.Value)
		c.Feedback = write
		return err
	}},
	{name: "decisions", takes: "a mapping of kinds of failure, each to again, elsewhere and breaker", set: setDecisions},
}

// addServers reads a mapping of MCP servers, or one that has it under mcpServers, as other
// programs do.
func addServers(c *RetryConfig, n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return errForm
	}
	if len(n.Content) == 2 && n.Content[0].Value == "mcpServers" {
		if n = yamlfile.Resolved(n.Content[1]); n.Kind != yaml.MappingNode {
			return errForm
		}
	}
	servers := maps.Clone(c.MCPServers)
	if servers == nil {
		servers = map[string]MCPServer{}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], yamlfile.Resolved(n.Content[i+1])
		field := "mcp_servers." + key.Value
		if _, ok := servers[key.Value]; ok {
			return &ConfigError{Line: key.Line, Field: field, Err: errors.New("is in both mcp_servers and debug_tool_mcp_config")}
		}
		s, err := readServer(value, field)
		if err != nil {
			return err
		}
		servers[key.Value] = s
	}
	c.MCPServers = servers
	return nil
}

const takesCommand = "a list of a program and its arguments, such as [npx, -y, server-memory]"

var serverFields = []string{"command", "args", "env", "dir", "url", "headers", "tools"}

// fieldOf returns the name of a field of a mapping, nil if n is none or does not have it.
func fieldOf(n *yaml.Node, name string) *yaml.Node {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i]
		}
	}
	return nil
}

// readServer reads the settings of one MCP server.
func readServer(n *yaml.Node, field string) (s MCPServer, err error) {
	if n.Kind != yaml.MappingNode {
		return s, &ConfigError{Line: n.Line, Field: field, Got: gotText(n), Takes: takesSettings}
	}
	var arguments []string
	var text string // a command that is not a list, on a line
	var line int
	for j := 0; j+1 < len(n.Content); j += 2 {
		name, value := n.Content[j], yamlfile.Resolved(n.Content[j+1])
		takes, err := "a list of strings", error(nil)
		switch name.Value {
		case "command":
			takes = takesCommand
			if s.Command, err = parseStrings(value); value.Kind == yaml.ScalarNode {
				line, text = value.Line, value.Value
			}
		case "args":
			if arguments, err = parseStrings(value); len(value.Content) == 0 && value.Kind == yaml.SequenceNode {
				err = nil
			}
		case "tools":
			s.Tools, err = parseStrings(value)
		case "dir", "url":
			takes = takesName
			list, e := parseStrings(value)
			if err = e; value.Kind != yaml.ScalarNode {
				err = errForm
			}
			if err == nil && name.Value == "dir" {
				s.Dir = list[0]
			} else if err == nil {
				s.URL = list[0]
			}
		case "env":
			takes = takesTexts
			s.Env, err = parseTexts(value)
		case "headers":
			takes = takesTexts
			s.Headers, err = parseTexts(value)
		default:
			return s, unknownField(serverFields, field+"."+name.Value, name.Value, name.Line)
		}
		if err != nil { // a value may be a key
			return s, &ConfigError{Line: value.Line, Field: field + "." + name.Value, Got: gotKind(value), Takes: takes}
		}
	}
	if arguments == nil && strings.ContainsAny(text, " \t\n") { // no shell reads it
		return s, &ConfigError{Line: line, Field: field + ".command", Got: "a text with spaces", Takes: takesCommand}
	}
	s.Command = append(s.Command, arguments...)
	if (len(s.Command) > 0) == (s.URL != "") {
		return s, &ConfigError{Line: n.Line, Field: field, Err: errors.New("must have either a command or a url")}
	}
	return s, nil
}

// parseTexts reads a mapping of names to strings.
func parseTexts(n *yaml.Node) (map[string]string, error) {
	if n.Kind != yaml.MappingNode {
		return nil, errForm
	}
	all := map[string]string{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		value := yamlfile.Resolved(n.Content[i+1])
		if value.Kind != yaml.ScalarNode || value.Tag == "!!null" {
			return nil, errForm
		}
		all[n.Content[i].Value] = value.Value
	}
	return all, nil
}

// setProviders reads the mapping of the user's own names for providers.
func setProviders(c *RetryConfig, n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return errForm
	}
	own := map[string]OwnProvider{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], yamlfile.Resolved(n.Content[i+1])
		field := "providers." + key.Value
		if key.Value == "" || strings.Contains(key.Value, "/") {
			return &ConfigError{Line: key.Line, Field: "providers", Got: gotText(key), Takes: "names without a slash"}
		}
		if value.Kind != yaml.MappingNode {
			return &ConfigError{Line: value.Line, Field: field, Got: gotText(value), Takes: takesSettings}
		}
		var p OwnProvider
		for j := 0; j+1 < len(value.Content); j += 2 {
			name, set := value.Content[j], yamlfile.Resolved(value.Content[j+1])
			at := field + "." + name.Value
			list, err := parseStrings(set)
			takes := takesName
			switch {
			case name.Value == "protocol" && err == nil && set.Kind == yaml.ScalarNode:
				p.Protocol = set.Value
			case name.Value == "base_url" && err == nil && set.Kind == yaml.ScalarNode:
				p.BaseURL = set.Value
			case name.Value == "key" && set.Kind == yaml.ScalarNode || name.Value == "keys" && set.Kind == yaml.SequenceNode:
				if p.Keys != nil {
					return &ConfigError{Line: name.Line, Field: at, Err: errors.New("must not be set together with the other of key and keys")}
				}
				for _, source := range list {
					if !strings.HasPrefix(source, "env:") && !strings.HasPrefix(source, "file:") && source != "none" {
						err = errForm
					}
				}
				if err != nil { // what was given may be the key
					return &ConfigError{Line: set.Line, Field: at, Got: "something else, which is not shown because it may be a key", Takes: takesKey}
				}
				p.Keys = list
			case !slices.Contains(ownFields, name.Value):
				return unknownField(ownFields, at, name.Value, name.Line)
			default:
				if name.Value == "keys" {
					takes = "a list of " + takesKey
				}
				return &ConfigError{Line: set.Line, Field: at, Got: gotKind(set), Takes: takes}
			}
		}
		own[key.Value] = p
	}
	c.Providers = own
	return nil
}

var ownFields = []string{"protocol", "base_url", "key", "keys"}

// gotKind describes a value that may be a key.
func gotKind(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode && n.Value != "" {
		return "a text"
	}
	return gotText(n)
}

// setDecisions changes the columns of the table that the mapping has.
func setDecisions(c *RetryConfig, n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return errForm
	}
	table := failure.Decisions()
	if c.Decisions != nil {
		table = *c.Decisions
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, row := n.Content[i], yamlfile.Resolved(n.Content[i+1])
		field := "decisions." + key.Value
		var kind failure.Kind
		if err := readName(&kind, key.Value, failure.DeadlineExceeded); err != nil {
			return &ConfigError{Line: key.Line, Field: "decisions", Got: gotText(key), Err: err}
		}
		if row.Kind != yaml.MappingNode {
			return &ConfigError{Line: row.Line, Field: field, Got: gotText(row), Takes: "a mapping of again, elsewhere and breaker"}
		}
		d := table.For(kind)
		for j := 0; j+1 < len(row.Content); j += 2 {
			name, value := row.Content[j], yamlfile.Resolved(row.Content[j+1])
			var err error
			switch name.Value {
			case "again":
				err = readName(&d.Again, value.Value, failure.OnceLarger)
			case "elsewhere":
				err = readName(&d.Elsewhere, value.Value, failure.ElsewhereAfterRetries)
			case "breaker":
				err = readName(&d.Breaker, value.Value, failure.Limit)
			default:
				return unknownField([]string{"again", "elsewhere", "breaker"}, field+"."+name.Value, name.Value, name.Line)
			}
			if err != nil {
				return &ConfigError{Line: name.Line, Field: field, Got: gotText(value), Err: err}
			}
		}
		table.Set(kind, d)
	}
	c.Decisions = &table
	return nil
}

// readName reads a name that package failure knows, of which last is the last; the error
// has the nearest one.
func readName[T interface {
	~uint8
	fmt.Stringer
}, P interface {
	*T
	encoding.TextUnmarshaler
}](to P, name string, last T) error {
	err := to.UnmarshalText([]byte(name))
	if err == nil {
		return nil
	}
	var known []string
	for one := range last + 1 {
		known = append(known, one.String())
	}
	return fmt.Errorf("%w%s", err, nearest.Question(name, known))
}

var budgetSettings = []setting{
	amount("saved", "a number from 1 to 1,000,000", 1, func(c *RetryConfig) *float64 { return &c.RetryBudget.Saved }),
	orNone("per_success", takesRatio, func(c *RetryConfig) *float64 { return &c.RetryBudget.PerSuccess }),
	orNone("per_second", "a number from 0 to 1,000", func(c *RetryConfig) *float64 { return &c.RetryBudget.PerSecond }),
}

var breakerSettings = []setting{
	count("failure_threshold", takesThreshold, func(c *RetryConfig) *int { return &c.CircuitBreakerConfig.FailureThreshold }),
	timeSetting("recovery_timeout", func(c *RetryConfig) *time.Duration { return &c.CircuitBreakerConfig.RecoveryTimeout }),
	timeSetting("failure_window", func(c *RetryConfig) *time.Duration { return &c.CircuitBreakerConfig.FailureWindow }),
	orNone("failure_rate", takesRate, func(c *RetryConfig) *float64 { return &c.CircuitBreakerConfig.FailureRate }),
	count("half_open_probes", takesThreshold, func(c *RetryConfig) *int { return &c.CircuitBreakerConfig.HalfOpenProbes }),
	count("success_threshold", takesThreshold, func(c *RetryConfig) *int { return &c.CircuitBreakerConfig.SuccessThreshold }),
	timeSetting("probe_lease", func(c *RetryConfig) *time.Duration { return &c.CircuitBreakerConfig.ProbeLease }),
	timeSetting("slow_call", func(c *RetryConfig) *time.Duration { return &c.CircuitBreakerConfig.SlowCall }),
	amount("recovery_factor", "a number from 1 to 1000", 1, func(c *RetryConfig) *float64 { return &c.CircuitBreakerConfig.RecoveryFactor }),
	timeSetting("trip_timeout", func(c *RetryConfig) *time.Duration { return &c.CircuitBreakerConfig.TripTimeout }),
	timeSetting("max_open", func(c *RetryConfig) *time.Duration { return &c.CircuitBreakerConfig.MaxOpen }),
	{name: "excluded_exceptions", takes: "a list of kinds of failure", set: func(c *RetryConfig, n *yaml.Node) error {
		if n.Kind != yaml.SequenceNode {
			return errForm
		}
		c.CircuitBreakerConfig.ExcludedExceptions = nil
		for _, item := range n.Content {
			var kind failure.Kind
			if err := readName(&kind, yamlfile.Resolved(item).Value, failure.DeadlineExceeded); err != nil {
				return &ConfigError{Line: item.Line, Field: "circuit_breaker_config.excluded_exceptions", Got: gotText(yamlfile.Resolved(item)), Err: err}
			}
			c.CircuitBreakerConfig.ExcludedExceptions = append(c.CircuitBreakerConfig.ExcludedExceptions, kind)
		}
		return nil
	}},
}

var toolSettings = []setting{
	textSetting("name", func(c *RetryConfig) *string { return &c.Tool.Name }),
	textSetting("description", func(c *RetryConfig) *string { return &c.Tool.Description }),
	textSetting("instruction", func(c *RetryConfig) *string { return &c.Tool.Instruction }),
	{name: "parameters", takes: "a JSON Schema of the tool's arguments, as a mapping", set: func(c *RetryConfig, n *yaml.Node) error {
		if err := checkMapping(n); err != nil {
			return err
		}
		data, err := yamlfile.JSON(n)
		c.Tool.Parameters = data
		return err
	}},
}

var hedgeSettings = []setting{
	{name: "after", takes: takesAfter, set: func(c *RetryConfig, n *yaml.Node) error {
		if n.Kind != yaml.ScalarNode {
			return errForm
		}
		percent, quantile := strings.CutPrefix(n.Value, "p")
		if p, err := strconv.ParseFloat(percent, 64); quantile && err == nil && p >= 50 && p <= 99.9 {
			c.Hedge.After, c.Hedge.Quantile = 0, p/100
			return nil
		}
		d, err := parseDuration(n)
		if err != nil || d == 0 {
			return errForm
		}
		c.Hedge.After, c.Hedge.Quantile = d, 0
		return nil
	}},
	amount("extra", takesMore, 0.001, func(c *RetryConfig) *float64 { return &c.Hedge.Extra }),
	truth("same_model", func(c *RetryConfig, v bool) { c.Hedge.SameModel = v }),
}

var qualitySettings = []setting{
	count("answers", takesAnswers, func(c *RetryConfig) *int { return &c.QualityMemory.Answers }),
	amount("share", takesShare, 0.1, func(c *RetryConfig) *float64 { return &c.QualityMemory.Share }),
	timeSetting("for", func(c *RetryConfig) *time.Duration { return &c.QualityMemory.For }),
}

// stageSettings are the fields of the last of the stages.
var stageSettings = []setting{
	textSetting("name", func(c *RetryConfig) *string { return &c.lastStage().Name }),
	count("attempts", takesThreshold, func(c *RetryConfig) *int { return &c.lastStage().Attempts }),
	nameList("models", takesModels, func(c *RetryConfig) *[]string { return &c.lastStage().Models }),
	nameList("tools", "a list of names of tools", func(c *RetryConfig) *[]string { return &c.lastStage().Tools }),
	count("max_tokens", takesCount, func(c *RetryConfig) *int { return &c.lastStage().MaxTokens }),
	optional("temperature", takesDegree, math.MaxFloat64, func(c *RetryConfig) **float64 { return &c.lastStage().Temperature }),
	wholeNumber("seed", func(c *RetryConfig) **int64 { return &c.lastStage().Seed }),
	textList("stop", func(c *RetryConfig) *[]string { return &c.lastStage().Stop }),
	fieldMap("extra", func(c *RetryConfig) *map[string]any { return &c.lastStage().Extra }),
}

func (c *RetryConfig) lastStage() *Stage { return &c.Stages[len(c.Stages)-1] }

// checkMapping returns an error for what is not a mapping of a sane size.
func checkMapping(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return errForm
	}
	if !bounded(n) {
		return errAliases
	}
	return nil
}

// parseStrings reads a string or a list of strings, none of them empty.
func parseStrings(n *yaml.Node) ([]string, error) {
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		items = n.Content
	}
	var texts []string
	for _, item := range items {
		item = yamlfile.Resolved(item)
		if item.Kind != yaml.ScalarNode || item.Tag == "!!null" || item.Value == "" {
			return nil, errForm
		}
		texts = append(texts, item.Value)
	}
	if len(texts) == 0 {
		return nil, errForm
	}
	return texts, nil
}

// bounded reports whether a part of a file is of a sane size when its aliases are
// expanded. A few lines of aliases of aliases can expand to gigabytes.
func bounded(n *yaml.Node) bool {
	const deepest = 1000
	left := maxConfigSize
	var take func(n *yaml.Node, depth int) bool
	take = func(n *yaml.Node, depth int) bool {
		n = yamlfile.Resolved(n)
		left -= len(n.Value) + 1
		return left > 0 && depth < deepest &&
			!slices.ContainsFunc(n.Content, func(child *yaml.Node) bool { return !take(child, depth+1) })
	}
	return take(n, 0)
}

var errAliases = errors.New("its aliases expand to too much data")

// errForm says that a value is not what the setting takes.
var errForm = errors.New("wrong form")

func (s setting) apply(c *RetryConfig, n *yaml.Node, prefix string) error {
	err := s.set(c, n)
	if err == nil && s.wrong != nil {
		if _, wrong := s.wrong(c); wrong {
			err = errForm
		}
	}
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*ConfigError](err); ok {
		return err
	}
	e := &ConfigError{Line: n.Line, Field: prefix + s.name, Got: gotText(n), Takes: s.takes}
	if err != errForm {
		e.Err = err
	}
	if at, ok := errors.AsType[*yamlfile.Error](err); ok { // the line within a long value
		e.Line = at.Line
	}
	return e
}

// setAll sets every field of a mapping.
func setAll(known []setting, c *RetryConfig, n *yaml.Node, prefix string) error {
	n = yamlfile.Resolved(n)
	if n.Tag == "!!null" && n.Value == "" { // empty
		return nil
	}
	if n.Kind != yaml.MappingNode {
		return &ConfigError{Line: n.Line, Field: strings.TrimSuffix(prefix, "."), Got: gotText(n), Takes: takesSettings}
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if first, ok := seen[key.Value]; ok {
			return &ConfigError{
				Line: key.Line, Field: prefix + key.Value, Err: fmt.Errorf("appears twice, first on line %d", first),
			}
		}
		seen[key.Value] = key.Line
		at := slices.IndexFunc(known, func(s setting) bool { return s.name == key.Value })
		if at < 0 {
			return unknownSetting(known, key.Value, key.Line, prefix)
		}
		if err := known[at].apply(c, yamlfile.Resolved(value), prefix); err != nil {
			return err
		}
	}
	return nil
}

func unknownSetting(known []setting, name string, line int, prefix string) error {
	names := make([]string, len(known))
	for i, s := range known {
		names[i] = s.name
	}
	return unknownField(names, prefix+name, name, line)
}

// maxKnown is the maximum number of known fields that an error lists.
const maxKnown = 12

// unknownField returns the error of an unknown field. It names the nearest known
// field or, if none is near, lists the known ones, the nearest first. Names are
// compared without case and underscores, so that the name of a field of the struct
// is near.
func unknownField(known []string, field, name string, line int) error {
	spelling := make(map[string]string, len(known))
	plain := make([]string, len(known))
	for i, k := range known {
		plain[i] = withoutCase(k)
		spelling[plain[i]] = k
	}
	plain, near := nearest.Sorted(withoutCase(name), plain)
	if other := elsewhere[withoutCase(name)]; spelling[other] != "" {
		plain, near = []string{other}, true
	}
	if near {
		return &ConfigError{Line: line, Field: field, Err: fmt.Errorf("unknown field, did you mean %s?", spelling[plain[0]])}
	}
	names := make([]string, min(len(plain), maxKnown))
	for i := range names {
		names[i] = spelling[plain[i]]
	}
	text := "unknown field: known are " + strings.Join(names, ", ")
	if more := len(plain) - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return &ConfigError{Line: line, Field: field, Err: errors.New(text)}
}

// elsewhere has names that other libraries give to a setting, as [withoutCase] has them.
var elsewhere = map[string]string{
	"maxretries": "maxattempts", "maxtries": "maxattempts", "retries": "maxattempts", "numretries": "maxattempts", "attempts": "maxattempts",
	"timeout": "maxtime", "deadline": "maxtime", "requesttimeout": "attempttimeout", "pertrytimeout": "attempttimeout",
	"basedelay": "initialdelay", "mindelay": "initialdelay", "initialbackoff": "initialdelay", "maxbackoff": "maxdelay", "multiplier": "backofffactor",
	"redis": "fleet", "redisurl": "fleet", "valkey": "fleet", "valkeyurl": "fleet",
	"fallbacks": "models", "fallbackmodels": "models", "maxbudget": "maxcost", "budget": "maxcost", "rpm": "requestsperminute", "tpm": "tokensperminute",
}

func withoutCase(name string) string {
	return strings.ToLower(strings.ReplaceAll(name, "_", ""))
}

// count is a setting that is a whole number. In the struct 0 means the default; a
// file can't have it.
func count(name, takes string, at func(*RetryConfig) *int) setting {
	return setting{
		name: name, takes: takes,
		set: func(c *RetryConfig, n *yaml.Node) error {
			v, err := strconv.Atoi(n.Value)
			if err != nil || n.Kind != yaml.ScalarNode || v == 0 {
				return errForm
			}
			*at(c) = v
			return nil
		},
		wrong: func(c *RetryConfig) (any, bool) { return *at(c), *at(c) < 0 },
	}
}

// amount is a setting that is a number of at least low. Like a count, it can't be 0
// in a file.
func amount(name, takes string, low float64, at func(*RetryConfig) *float64) setting {
	return setting{
		name: name, takes: takes,
		set: func(c *RetryConfig, n *yaml.Node) error {
			f, err := parseNumber(n)
			if err == nil && f == 0 {
				return errForm
			}
			*at(c) = f
			return err
		},
		wrong: func(c *RetryConfig) (any, bool) {
			f := *at(c)
			return f, f != 0 && !(f >= low && f <= math.MaxFloat64)
		},
	}
}

// orNone is a setting that is a number, or 0 for none. In the struct 0 means the
// default, and a negative number means none.
func orNone(name, takes string, at func(*RetryConfig) *float64) setting {
	return setting{name: name, takes: takes, set: func(c *RetryConfig, n *yaml.Node) error {
		f, err := parseNumber(n)
		if err != nil || !(f >= 0) {
			return errForm
		}
		if f == 0 {
			f = -1
		}
		*at(c) = f
		return nil
	}}
}

// optional is a setting that is a number from 0 to high. In the struct nil means the
// default.
func optional(name, takes string, high float64, at func(*RetryConfig) **float64) setting {
	return setting{
		name: name, takes: takes,
		set: func(c *RetryConfig, n *yaml.Node) error {
			f, err := parseNumber(n)
			*at(c) = &f
			return err
		},
		wrong: func(c *RetryConfig) (any, bool) {
			f := *at(c)
			if f == nil {
				return nil, false
			}
			return *f, !(*f >= 0 && *f <= high)
		},
	}
}

func parseNumber(n *yaml.Node) (float64, error) {
	f, err := strconv.ParseFloat(n.Value, 64)
	if err != nil || n.Kind != yaml.ScalarNode {
		return 0, errForm
	}
	return f, nil
}

// wholeNumber is a setting that is any whole number. In the struct nil means the default.
func wholeNumber(name string, at func(*RetryConfig) **int64) setting {
	return setting{name: name, takes: takesWhole, set: func(c *RetryConfig, n *yaml.Node) error {
		v, err := strconv.ParseInt(n.Value, 10, 64)
		if err != nil || n.Kind != yaml.ScalarNode {
			return errForm
		}
		*at(c) = &v
		return nil
	}}
}

// nameList is a setting that is a list of names.
func nameList(name, takes string, at func(*RetryConfig) *[]string) setting {
	return setting{name: name, takes: takes, set: func(c *RetryConfig, n *yaml.Node) error {
		list, err := parseStrings(n)
		if n.Kind != yaml.SequenceNode {
			err = errForm
		}
		*at(c) = list
		return err
	}, wrong: func(c *RetryConfig) (any, bool) { return *at(c), slices.Contains(*at(c), "") }}
}

// textList is a setting that is a string or a list of them.
func textList(name string, at func(*RetryConfig) *[]string) setting {
	return setting{name: name, takes: takesStop, set: func(c *RetryConfig, n *yaml.Node) error {
		list, err := parseStrings(n)
		*at(c) = list
		return err
	}, wrong: func(c *RetryConfig) (any, bool) { return *at(c), slices.Contains(*at(c), "") }}
}

// fieldMap is a setting that is a mapping of a provider's own fields.
func fieldMap(name string, at func(*RetryConfig) *map[string]any) setting {
	return setting{name: name, takes: takesExtra, set: func(c *RetryConfig, n *yaml.Node) error {
		if err := checkMapping(n); err != nil {
			return err
		}
		value, err := yamlfile.Value(n)
		*at(c), _ = value.(map[string]any)
		return err
	}}
}

// timeSetting is a setting that is a time. Like a count, it can't be 0 in a file.
func timeSetting(name string, at func(*RetryConfig) *time.Duration) setting {
	return setting{
		name: name, takes: takesPositive,
		set: func(c *RetryConfig, n *yaml.Node) error {
			d, err := parseDuration(n)
			if err != nil || d == 0 {
				return errForm
			}
			*at(c) = d
			return nil
		},
		wrong: func(c *RetryConfig) (any, bool) { return *at(c), *at(c) < 0 },
	}
}

func truth(name string, set func(*RetryConfig, bool)) setting {
	return setting{name: name, takes: takesTruth, set: func(c *RetryConfig, n *yaml.Node) error {
		if n.Kind != yaml.ScalarNode || n.Value != "true" && n.Value != "false" {
			return errForm
		}
		set(c, n.Value == "true")
		return nil
	}}
}

func textSetting(name string, at func(*RetryConfig) *string) setting {
	return setting{name: name, takes: "a string", set: func(c *RetryConfig, n *yaml.Node) error {
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			return errForm
		}
		*at(c) = n.Value
		return nil
	}}
}

// parseDuration reads a number of seconds or a Go duration, which must not be
// negative.
func parseDuration(n *yaml.Node) (time.Duration, error) {
	if n.Kind != yaml.ScalarNode {
		return 0, errForm
	}
	seconds, err := strconv.ParseFloat(n.Value, 64)
	if err != nil {
		d, err := time.ParseDuration(n.Value)
		if err != nil || d < 0 {
			return 0, errForm
		}
		return d, nil
	}
	if !(seconds >= 0 && seconds < float64(math.MaxInt64)/float64(time.Second)) {
		return 0, errForm
	}
	return time.Duration(math.Round(seconds * float64(time.Second))), nil
}

// gotText describes a value for an error.
func gotText(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		if n.Value == "" {
			return "nothing"
		}
		return quoted(n)
	}
	return "something else"
}

// maxShown limits how much of a value an error shows, in code points.
const maxShown = 80

// quoted returns a scalar as an error shows it: a string in quotes, and numbers,
// booleans and null as they are.
func quoted(n *yaml.Node) string {
	_, err := strconv.ParseFloat(n.Value, 64)
	switch {
	case err == nil && len(n.Value) <= maxShown, n.Value == "true", n.Value == "false", n.Value == "null":
		return n.Value
	}
	return strconv.Quote(say.Middle(n.Value, maxShown))
}

func parseChecks(n *yaml.Node, builder validate.Builder) ([]validate.Strategy, error) {
	if n.Kind != yaml.SequenceNode {
		return nil, errForm
	}
	var checks []validate.Strategy
	for i, item := range n.Content {
		check, err := parseCheck(yamlfile.Resolved(item), builder)
		if err != nil {
			line := item.Line
			if at, ok := errors.AsType[*yamlfile.Error](err); ok {
				line = at.Line
			}
			return nil, &ConfigError{Line: line, Field: fmt.Sprintf("checks[%d]", i), Got: gotText(yamlfile.Resolved(item)), Err: err}
		}
		checks = append(checks, check)
	}
	return checks, nil
}

// parseCheck reads a check in one of the forms of [validate.Builder.FromValue]. A text
// keeps the spelling that it has in the file: contains: 007.
func parseCheck(n *yaml.Node, builder validate.Builder) (validate.Strategy, error) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() != "!!null" {
		return builder.Parse(n.Value)
	}
	if !bounded(n) {
		return nil, errAliases
	}
	if n.Kind == yaml.MappingNode {
		n = withTexts(n)
	}
	value, err := yamlfile.Value(n)
	if err != nil {
		return nil, err
	}
	return builder.FromValue(value)
}

// withTexts returns a mapping of one name in which a number is a text.
func withTexts(n *yaml.Node) *yaml.Node {
	if len(n.Content) != 2 {
		return n
	}
	value := *yamlfile.Resolved(n.Content[1])
	if tag := value.ShortTag(); tag == "!!int" || tag == "!!float" {
		value.Tag = "!!str"
	}
	changed := *n
	changed.Content = []*yaml.Node{n.Content[0], &value}
	return &changed
}
