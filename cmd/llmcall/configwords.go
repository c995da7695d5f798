package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"llmcall"
	"llmcall/failure"
	"llmcall/internal/place"
	"llmcall/internal/say"
	"llmcall/internal/yamlfile"
	"llmcall/provider"
	"llmcall/retry"
	"llmcall/validate"

	"go.yaml.in/yaml/v4"
)

// sayConfig says in words what a configuration does. judged are the models that its checks
// name, "" for the one that judges by default, and given the arguments of the checks.
func sayConfig(cfg *llmcall.RetryConfig, checks []validate.Strategy, given, judged []string) []section {
	var all []section
	for _, s := range []section{
		{"Models", sayModels(cfg)},
		{"Request", sayRequest(cfg)},
		{"Stages", sayStages(cfg)},
		{"Checks", sayChecks(cfg, checks, given, judged)},
		{"Waits", sayWaits(cfg)},
		{"Limits", sayLimits(cfg)},
		{"Circuit breaker", sayCircuit(cfg)},
		{"Fleet", sayFleet(cfg)},
		{"Hedge", sayHedge(cfg)},
		{"Tools", sayTools(cfg)},
		{"Person", sayPerson(cfg)},
		{"Failures", sayDecisions(cfg)},
	} {
		if len(s.Says) > 0 {
			all = append(all, s)
		}
	}
	return all
}

func sayModels(cfg *llmcall.RetryConfig) []string {
	names := cfg.AllModels()
	if len(names) == 0 {
		return []string{"The file names none: it is that of --model, $LLMCALL_MODEL, or of the provider whose key is in the environment."}
	}
	var says []string
	several := len(names) > 1
	for _, name := range names {
		prefix, _, _ := strings.Cut(name, "/")
		own, mine := cfg.Providers[prefix]
		keys := keysOf(cfg, prefix)
		several = several || len(keys) > 1
		text := name
		if mine && own.Protocol != "" && own.Protocol != prefix {
			text += ", in the protocol of " + own.Protocol
		}
		if own.BaseURL != "" {
			text += " at " + own.BaseURL
		}
		var from []string
		for _, k := range keys {
			from = append(from, k.String())
		}
		if len(keys) == 1 {
			text += ", with the key of " + from[0]
		} else if len(keys) > 1 {
			text += fmt.Sprintf(", with %d keys, each an alternative: %s", len(keys), strings.Join(from, ", "))
		}
		says = append(says, text+".")
	}
	if several {
		says = append(says, fmt.Sprintf("Another one of the stage is asked at once if a model can't serve (key, quota, unknown model, open circuit) or would have to be waited for longer than %s, and after %s that may pass; never after a wrong answer.",
			span(cmp.Or(cfg.FallbackAfter, retry.DefaultFallbackAfter)), say.Count(cmp.Or(cfg.AttemptsPerModel, retry.DefaultAttemptsPerTarget), "failure", "failures")))
	}
	return says
}

// keySource is where a key is.
type keySource struct {
	where string
	there bool
}

func (k keySource) String() string {
	if k.there {
		return k.where
	}
	return k.where + " (not there now)"
}

// keysOf returns where the keys of a provider are.
func keysOf(cfg *llmcall.RetryConfig, name string) []keySource {
	own := cfg.Providers[name]
	if slices.Equal(own.Keys, []string{"none"}) {
		return nil
	}
	var keys []keySource
	for _, source := range own.Keys {
		kind, where, _ := strings.Cut(source, ":")
		if kind == "env" {
			keys = append(keys, keySource{"$" + where, strings.TrimSpace(os.Getenv(where)) != ""})
			continue
		}
		info, err := os.Stat(where)
		keys = append(keys, keySource{"the file " + where, err == nil && !info.IsDir()})
	}
	if len(keys) > 0 {
		return keys
	}
	protocol := cmp.Or(own.Protocol, name)
	all := provider.All()
	at := slices.IndexFunc(all, func(p provider.Provider) bool { return p.Name == protocol })
	if at < 0 || all[at].KeyOptional || own.BaseURL != "" && !all[at].HasKey(os.Getenv) {
		return nil
	}
	return []keySource{{"$" + all[at].KeyVariable, all[at].HasKey(os.Getenv)}}
}

func sayRequest(cfg *llmcall.RetryConfig) []string {
	var says []string
	if cfg.System != "" {
		says = append(says, fmt.Sprintf("The system message is %q.", say.Short(strings.Join(strings.Fields(cfg.System), " "), 60)))
	}
	if text := settingsOf(cfg.MaxTokens, cfg.Temperature, cfg.Seed, cfg.Stop, cfg.Extra); text != "" {
		says = append(says, "It has "+text+".")
	}
	return says
}

// settingsOf lists the settings of requests.
func settingsOf(maxTokens int, temperature *float64, seed *int64, stop []string, extra map[string]any) string {
	var set []string
	if maxTokens > 0 {
		set = append(set, fmt.Sprintf("at most %d tokens", maxTokens))
	}
	if temperature != nil {
		set = append(set, fmt.Sprintf("the temperature %v", *temperature))
	}
	if seed != nil {
		set = append(set, fmt.Sprintf("the seed %d", *seed))
	}
	if len(stop) > 0 {
		set = append(set, fmt.Sprintf("an end at %q", stop))
	}
	if len(extra) > 0 {
		text, _ := json.Marshal(extra) // it came from a file
		set = append(set, "the provider's own fields "+say.Short(string(text), 80))
	}
	return strings.Join(set, ", ")
}

func sayStages(cfg *llmcall.RetryConfig) []string {
	stages := cfg.Stair()
	var says []string
	total := 0
	for i, s := range stages {
		if s.Human {
			says = append(says, "Then a person.")
			continue
		}
		total += s.Attempts
		text := "Stage " + s.Name
		if len(stages) == 1 {
			text = "One stage"
		}
		text += ": " + say.Count(s.Attempts, "attempt", "attempts")
		if models := modelsOf(cfg, s); len(models) > 0 {
			text += " of " + strings.Join(models, ", else ")
		}
		if len(s.Tools) > 0 {
			text += ", with " + toolsOf(cfg, s.Tools)
		}
		if own := settingsOf(s.MaxTokens, s.Temperature, s.Seed, s.Stop, s.Extra); own != "" && len(cfg.Stages) > 0 {
			text += ", with " + own
		}
		if i > 0 {
			text = "Then " + strings.ToLower(text[:1]) + text[1:]
		}
		says = append(says, text+".")
	}
	says = append(says, fmt.Sprintf("That is %s at most; failures of a provider and wrong answers count, waits for a rate limit do not.", say.Count(total, "attempt", "attempts")))
	if len(stages) > 1 {
		says = append(says, "A stage is left when its attempts are used up, when the model gives the same wrong answer again, or when none of its models can serve.")
	}
	if cfg.StopOnNoProgress {
		says = append(says, "The call ends when a wrong answer comes again.")
	}
	return says
}

// toolsOf names the tools of a stage, of which some are all tools of a server.
func toolsOf(cfg *llmcall.RetryConfig, names []string) string {
	var tools, all []string
	for _, name := range names {
		if _, isServer := cfg.MCPServers[name]; isServer {
			all = append(all, "the tools of "+name)
		} else {
			tools = append(tools, name)
		}
	}
	switch len(tools) {
	case 0:
	case 1:
		all = append(all, "the tool "+tools[0])
	default:
		all = append(all, "the tools "+strings.Join(tools, ", "))
	}
	return strings.Join(all, " and ")
}

// argumentsShown is how much is shown of the arguments of a check.
const argumentsShown = 60

// givenTo returns the arguments of the checks of a file that can be used, as they are
// there; "" for a check without.
func givenTo(file []byte) []string {
	root, err := yamlfile.Parse(file)
	if err != nil || root == nil {
		return nil
	}
	checks := yamlfile.Resolved(root)
	for i := 0; checks.Kind == yaml.MappingNode && i+1 < len(checks.Content); i += 2 {
		if checks.Content[i].Value == "checks" {
			checks = yamlfile.Resolved(checks.Content[i+1])
		}
	}
	if checks.Kind != yaml.SequenceNode {
		return nil
	}
	var all []string
	for _, item := range checks.Content {
		item = yamlfile.Resolved(item)
		_, text, _ := strings.Cut(item.Value, ":")
		if item.Kind == yaml.MappingNode {
			text = argumentsIn(item)
		}
		all = append(all, say.Short(strings.Join(strings.Fields(text), " "), argumentsShown))
	}
	return all
}

// argumentsIn returns the arguments of a check that is a mapping: name: arguments, or
// type: name with params or with parameters beside it.
func argumentsIn(check *yaml.Node) string {
	rest := &yaml.Node{Kind: yaml.MappingNode}
	for i := 0; i+1 < len(check.Content); i += 2 {
		switch name := check.Content[i].Value; {
		case len(check.Content) == 2 && name != "type", name == "params":
			rest = yamlfile.Resolved(check.Content[i+1])
		case name != "type":
			rest.Content = append(rest.Content, check.Content[i], check.Content[i+1])
		}
	}
	return inline(rest)
}

// inline returns a value of a file that was read without error on one line, without marks
// around its lists and mappings.
func inline(n *yaml.Node) string {
	n = yamlfile.Resolved(n)
	if n.Kind == yaml.ScalarNode {
		return n.Value
	}
	var items []string
	for i := 0; i < len(n.Content); i++ {
		text := inline(n.Content[i])
		if n.Kind == yaml.MappingNode {
			i++
			text += ": " + inline(n.Content[i])
		}
		items = append(items, text)
	}
	return strings.Join(items, ", ")
}

// sayChecks says what is checked. given are the arguments of the checks.
func sayChecks(cfg *llmcall.RetryConfig, checks []validate.Strategy, given, judged []string) []string {
	if len(checks) == 0 {
		return []string{"There are none: an answer passes that is not empty, unless --check or --schema asks for more."}
	}
	known := validate.Checks()
	var says []string
	for i, c := range checks {
		text := c.Name()
		at := slices.IndexFunc(known, named([]string{text}))
		if i < len(given) && given[i] != "" {
			text += " (" + given[i] + ")"
		}
		if at >= 0 {
			text += ": " + known[at].Summary
		}
		says = append(says, text+".")
	}
	for _, name := range judged {
		if name == "" {
			name = "$LLMCALL_JUDGE, or else the call's own model"
		}
		says = append(says, "A judge is asked: "+name+".")
	}
	if cfg.Feedback != nil {
		says = append(says, "What is wrong with an answer is told to the model by the file's template.")
	} else {
		says = append(says, "What is wrong with an answer is told to the model.")
	}
	return says
}

// backoffAfter returns the wait after so many failures, without chance.
func backoffAfter(cfg *llmcall.RetryConfig, failures int) time.Duration {
	if cfg.Backoff != nil {
		return 0 // a file can say no more than that
	}
	d := float64(cmp.Or(cfg.InitialDelay, llmcall.DefaultInitialDelay))
	most := float64(cmp.Or(cfg.MaxDelay, llmcall.DefaultMaxDelay))
	for range failures - 1 {
		d = min(most, d*cmp.Or(cfg.BackoffFactor, llmcall.DefaultBackoffFactor))
	}
	return time.Duration(min(most, d))
}

// waitsShown is how many waits are listed.
const waitsShown = 5

// attemptsOf returns the most attempts of a call.
func attemptsOf(cfg *llmcall.RetryConfig) int {
	n := 0
	for _, s := range cfg.Stair() {
		if !s.Human {
			n += s.Attempts
		}
	}
	return n
}

func sayWaits(cfg *llmcall.RetryConfig) []string {
	var says []string
	switch n := attemptsOf(cfg) - 1; {
	case n == 0:
	case cfg.Backoff != nil:
		says = append(says, "A failure is tried again at once.")
	default:
		var waits []string
		for i := range min(n, waitsShown) {
			waits = append(waits, span(backoffAfter(cfg, i+1)))
		}
		text := "After failures that may pass: " + strings.Join(waits, ", ")
		if n > waitsShown {
			text += fmt.Sprintf(" and so on, at most %s", span(cmp.Or(cfg.MaxDelay, llmcall.DefaultMaxDelay)))
		}
		jitter := llmcall.DefaultJitterRange
		if cfg.JitterRange != nil {
			jitter = *cfg.JitterRange
		}
		if jitter > 0 && (cfg.UseJitter == nil || *cfg.UseJitter) {
			text += fmt.Sprintf(", each up to %.4g %% longer or shorter", 100*jitter)
		}
		says = append(says, text+".")
		if cfg.BackoffOnInvalidAnswer {
			says = append(says, "The same after a wrong answer.")
		} else {
			says = append(says, "After a wrong answer the model is asked again at once.")
		}
	}
	return append(says, fmt.Sprintf("A provider may ask for a wait of up to %s; those and the waits for a turn take up to %s together.",
		span(cmp.Or(cfg.MaxRetryAfter, retry.DefaultMaxRetryAfter)), span(cmp.Or(cfg.MaxRateLimitWait, retry.DefaultMaxRateLimitWait))))
}

func sayLimits(cfg *llmcall.RetryConfig) []string {
	var says []string
	for _, l := range []struct {
		what string
		time time.Duration
	}{
		{"The whole call", cfg.MaxTime}, {"An attempt", cfg.AttemptTimeout}, {"A check", cfg.CheckTimeout},
		{"The first piece of a stream", cfg.FirstPieceTimeout}, {"A pause in a stream", cfg.IdleTimeout},
	} {
		if l.time > 0 {
			says = append(says, fmt.Sprintf("%s may take %s.", l.what, span(l.time)))
		}
	}
	if cfg.MaxTime == 0 {
		says = append(says, "The whole call has no time limit but that of --timeout.")
	}
	for _, l := range []struct {
		what string
		n    float64
	}{{"requests a minute", cfg.RequestsPerMinute}, {"tokens a minute", cfg.TokensPerMinute}, {"requests at the same time", float64(cfg.MaxConcurrent)}} {
		if l.n > 0 {
			says = append(says, fmt.Sprintf("All calls of a process to an endpoint together have %.6g %s.", l.n, l.what))
		}
	}
	if cfg.MaxCost > 0 {
		says = append(says, fmt.Sprintf("A call costs at most %v dollars.", cfg.MaxCost))
	}
	if cfg.MaxTokensTotal > 0 {
		says = append(says, fmt.Sprintf("A call uses at most %d tokens, of requests and answers.", cfg.MaxTokensTotal))
	}
	if cfg.DisablePacing {
		says = append(says, "Calls do not wait for each other when a provider limits their rate.")
	}
	return says
}

func sayCircuit(cfg *llmcall.RetryConfig) []string {
	if !cfg.EnableCircuitBreaker {
		return nil
	}
	circuit, err := cfg.CircuitBreakerConfig.Filled()
	if err != nil {
		return nil // New would have found it
	}
	says := []string{fmt.Sprintf("After %d failures within %s a model is not asked for %s; then one request looks whether it answers again.",
		circuit.FailureThreshold, span(circuit.FailureWindow), span(circuit.RecoveryTimeout))}
	if cfg.WaitForCircuit {
		return append(says, "A call waits until then.")
	}
	return append(says, "A call without another model fails at once, with exit code 4.")
}

func sayHedge(cfg *llmcall.RetryConfig) []string {
	h := cfg.Hedge
	if h == nil {
		return nil
	}
	after := span(h.After)
	if h.Quantile > 0 {
		after = fmt.Sprintf("the time in which %.4g %% of the model's last answers came", 100*h.Quantile)
	}
	whom := "the next model of the stage, or else the same"
	if h.SameModel {
		whom = "the same model"
	}
	says := []string{fmt.Sprintf("After %s a second request goes to %s, for at most %.4g %% of the requests. The first valid answer counts; the other request is cancelled.",
		after, whom, 100*cmp.Or(h.Extra, llmcall.DefaultHedgeExtra))}
	switch extra := cmp.Or(h.Extra, llmcall.DefaultHedgeExtra); {
	case h.Quantile > 0:
		says = append(says, "That time is known after 50 answers in one process: never in a single llmcall call.")
	case extra < 1:
		says = append(says, fmt.Sprintf("Each request earns %.4g of a second one: too little in a single llmcall call, for which extra is 1.", extra))
	}
	return says
}

func sayTools(cfg *llmcall.RetryConfig) []string {
	var says []string
	for _, name := range slices.Sorted(maps.Keys(cfg.MCPServers)) {
		server := cfg.MCPServers[name]
		where := "the command " + strings.Join(server.Command, " ")
		if server.URL != "" {
			address, _, _ := strings.Cut(server.URL, "?") // what follows may be a key
			where = "the MCP server at " + address
		}
		which := "all of its tools"
		if len(server.Tools) > 0 {
			which = "its tools " + strings.Join(server.Tools, ", ")
		}
		says = append(says, fmt.Sprintf("%s is %s, with %s. It is connected before the call.", name, where, which))
	}
	if cfg.Tool != nil {
		says = append(says, fmt.Sprintf("%s is offered after %s. llmcall call does not run it: a call of it is the answer that is checked.",
			cfg.Tool.Name, say.Count(cfg.MaxAttemptsBeforeToolUse, "attempt", "attempts")))
	}
	if len(cfg.MCPServers) > 0 {
		says = append(says, fmt.Sprintf("An attempt has up to %d rounds and %d calls of tools; each may take %s, and its result %d bytes.",
			cmp.Or(cfg.MaxToolRounds, llmcall.DefaultMaxToolRounds), cmp.Or(cfg.MaxToolCalls, llmcall.DefaultMaxToolCalls),
			span(cmp.Or(cfg.ToolTimeout, llmcall.DefaultToolTimeout)), cmp.Or(cfg.MaxToolResult, llmcall.DefaultMaxToolResult)))
	}
	return says
}

// asksPerson reports whether the last stage is a person.
func asksPerson(cfg *llmcall.RetryConfig) bool {
	stages := cfg.Stair()
	return stages[len(stages)-1].Human
}

func sayFleet(cfg *llmcall.RetryConfig) []string {
	f := cfg.Fleet
	if f.Address == "" {
		return nil
	}
	which := "All endpoints"
	if len(f.Only) > 0 {
		which = "The endpoints of " + strings.Join(f.Only, ", ")
	}
	what := "pace"
	if cfg.EnableCircuitBreaker {
		what = "circuit and pace"
	}
	says := []string{fmt.Sprintf("%s share their %s with other processes through %s. No call waits for it for more than 5ms; without it the process goes on alone.", which, what, f)}
	if cfg.EnableCircuitBreaker {
		least := "two processes, or a tenth of those that were seen if that is more"
		if f.MinReporters > 0 {
			least = say.Count(f.MinReporters, "process", "processes")
		}
		says = append(says, fmt.Sprintf("The circuit of all opens by failures of at least %s; of all, if they are fewer.", least))
	}
	if f.Secret != "" {
		says = append(says, fmt.Sprintf("Their keys are recognised by the secret of %s.", f.Secret))
	}
	return says
}

func sayPerson(cfg *llmcall.RetryConfig) []string {
	if !asksPerson(cfg) {
		return []string{"Nobody is asked, unless a check wants it or --human is given."}
	}
	return []string{
		"A call that no stage could answer ends with exit code 5, and waits in a file for llmcall resume.",
		"With --human terminal the person is asked at once; with --human and an address, that is told.",
	}
}

func sayDecisions(cfg *llmcall.RetryConfig) []string {
	if cfg.Decisions == nil {
		return nil
	}
	var says []string
	usual := failure.Decisions()
	for kind := range failure.DeadlineExceeded + 1 {
		if d := cfg.Decisions.For(kind); d != usual.For(kind) {
			says = append(says, fmt.Sprintf("%s: again %s, elsewhere %s, for the circuit breaker %s.", kind, d.Again, d.Elsewhere, d.Breaker))
		}
	}
	return says
}

// span returns a time in the units that it has.
func span(d time.Duration) string {
	text := d.String()
	for _, none := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, none) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// warnings names what is likely a mistake. judging are the models that checks ask; "": the one
// that judges by default.
func warnings(cfg *llmcall.RetryConfig, checks int, judging []string) []string {
	var found []string
	warn := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	stages := cfg.Stair()
	if checks == 0 && len(stages) > 1 {
		warn("checks: there are none, so no answer is wrong, and the later stages are for failures alone")
	}
	if cfg.Fleet.Address != "" && !cfg.EnableCircuitBreaker {
		warn("fleet: enable_circuit_breaker is not true, so that no circuit is shared, and the pace alone is")
	}
	if models := cfg.AllModels(); len(models) > 0 { // else --model names one
		found = append(found, unfit(cfg.Fleet.Only, append(models, judging...))...)
	}
	for _, f := range [][2]string{{"fleet", cfg.Fleet.Address}, {"fleet_secret", cfg.Fleet.Secret}} {
		if _, err := place.Read(f[1], "it"); place.Is(f[1]) && err != nil {
			warn("%s: it is looked for in %s, where none is now", f[0], f[1])
		}
	}
	used := map[string]bool{}
	for _, name := range cfg.AllModels() {
		prefix, _, _ := strings.Cut(name, "/")
		if !used[prefix] {
			for _, k := range keysOf(cfg, prefix) {
				if !k.there {
					warn("%s: its key is looked for in %s, where none is now", name, k.where)
				}
			}
		}
		used[prefix] = true
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Providers)) {
		if !used[name] {
			warn("providers.%s: no model of it is named", name)
		}
	}
	asked := map[string]bool{}
	for _, s := range stages {
		for _, name := range modelsOf(cfg, s) {
			asked[name] = true
		}
	}
	for i, name := range cfg.Models {
		if slices.Index(cfg.Models, name) < i {
			warn("models: %s is named twice, and is one model", name)
		} else if !asked[name] {
			warn("models: %s is asked in no stage, because each stage has its own models", name)
		}
	}
	for i, s := range cfg.Stages {
		if n := max(1, s.Attempts); !s.Human && stages[i].Attempts < n {
			warn("max_attempts: %d leaves stage %s %s of its %d", cfg.MaxAttempts, stages[i].Name, say.Count(stages[i].Attempts, "attempt", "attempts"), n)
		}
		if i > 0 && !s.Human && sameStage(cfg, cfg.Stages[i-1], s) {
			warn("stages[%d]: it asks as the stage before does: more attempts there do the same", i)
		}
	}
	if cfg.MaxTime > 0 {
		waited := time.Duration(0)
		for i := range attemptsOf(cfg) - 1 {
			waited += backoffAfter(cfg, i+1)
		}
		switch {
		case cfg.AttemptTimeout >= cfg.MaxTime:
			warn("attempt_timeout: %s is not less than max_time (%s): an attempt that hangs leaves no time for another", span(cfg.AttemptTimeout), span(cfg.MaxTime))
		case waited >= cfg.MaxTime:
			warn("max_time: %s is used up by the waits between %d attempts (%s)", span(cfg.MaxTime), attemptsOf(cfg), span(waited))
		}
		if cfg.MaxRetryAfter > cfg.MaxTime {
			warn("max_retry_after: %s is longer than max_time (%s)", span(cfg.MaxRetryAfter), span(cfg.MaxTime))
		}
		if circuit, err := cfg.CircuitBreakerConfig.Filled(); err == nil && cfg.WaitForCircuit && circuit.RecoveryTimeout >= cfg.MaxTime {
			warn("wait_for_circuit: a circuit is open for %s, and max_time is %s: nobody can wait for it", span(circuit.RecoveryTimeout), span(cfg.MaxTime))
		}
	}
	if cfg.Tool == nil && len(cfg.MCPServers) == 0 && (cfg.MaxToolRounds != 0 || cfg.MaxToolCalls != 0 || cfg.ToolTimeout != 0 || cfg.MaxToolResult != 0) {
		warn("max_tool_rounds, max_tool_calls, tool_timeout and max_tool_result: there are no tools")
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.MCPServers)) {
		if len(cfg.Stages) > 0 && !namesServer(cfg, name) {
			warn("mcp_servers.%s: no stage names it or a tool of it, so it is connected and not used", name)
		}
	}
	return found
}

// namesServer reports whether a stage names a server, or what may be a tool of it.
func namesServer(cfg *llmcall.RetryConfig, name string) bool {
	for _, s := range cfg.Stages {
		for _, tool := range s.Tools {
			_, server := cfg.MCPServers[tool]
			ofItsOwn := slices.Contains(cfg.MCPServers[name].Tools, tool) || strings.HasPrefix(tool, name+"_")
			if tool == name || ofItsOwn || !server && len(cfg.MCPServers[name].Tools) == 0 {
				return true
			}
		}
	}
	return false
}

// sameStage reports whether a stage asks as another does.
func sameStage(cfg *llmcall.RetryConfig, one, other llmcall.Stage) bool {
	one.Name, other.Name, one.Attempts, other.Attempts = "", "", 0, 0
	one.Models, other.Models = modelsOf(cfg, one), modelsOf(cfg, other)
	return reflect.DeepEqual(one, other)
}
