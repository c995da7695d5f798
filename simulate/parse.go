package simulate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"llmcall/chaos"
	"llmcall/internal/nearest"
	"llmcall/internal/yamlfile"
	"llmcall/price"
)

// ParseScenario reads a scenario in YAML or JSON. name is that of its file, for errors, and
// without its folder and extension that of a scenario without a name. The fields are those of
// [Scenario] and of what it has, in lower case with underscores. A time is a number of
// seconds or a Go duration ("1m30s"), a latency that is always the same a time alone, and a
// fault that has only a kind may be written as the kind:
//
//	duration: 5m
//	clients:
//	  - {name: web, processes: 20, calls_per_second: 0.5, deadline: 60s}
//	provider:
//	  latency: {median: 900ms, p99: 4s}
//	  network: 25ms
//	  limits: {requests_per_minute: 900, burst: 10}
//	phases:
//	  - from: 1m
//	    to: 2m
//	    faults: [{kind: status, error: overloaded, share: 0.5}]
//
// The error is a [*ScenarioError] with the line, the field, what it must be and what it got;
// that of an unknown field has the nearest known name.
func ParseScenario(name string, data []byte) (*Scenario, error) {
	s, lines, err := decode(data)
	if err == nil {
		if s.Name == "" {
			s.Name = nameOf(name)
		}
		err = s.Validate()
	}
	if e, ok := errors.AsType[*ScenarioError](err); ok {
		e.File = name
		if e.Line == 0 {
			e.Line = lines.of(e.Field)
		}
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// nameOf returns the name of a file without its folder and extension.
func nameOf(file string) string {
	file = file[strings.LastIndexAny(file, `/\`)+1:]
	if i := strings.LastIndexByte(file, '.'); i > 0 {
		file = file[:i]
	}
	return file
}

// linesOf has the line of each field, by its path: "clients[0].deadline".
type linesOf map[string]int

// of returns the line of a field, or of what it is in.
func (l linesOf) of(field string) int {
	for field != "" {
		if line, ok := l[field]; ok {
			return line
		}
		field = field[:max(0, strings.LastIndexAny(field, ".["))]
	}
	return 0
}

// setters are the functions of the fields of a mapping.
type setters map[string]func(*yaml.Node) error

// reader reads a scenario.
type reader struct{ lines linesOf }

func decode(data []byte) (*Scenario, linesOf, error) {
	root, err := yamlfile.Parse(data)
	if e, ok := errors.AsType[*yamlfile.Error](err); ok {
		return nil, nil, &ScenarioError{Line: e.Line, Reason: e.Reason}
	}
	s, r := new(Scenario), reader{linesOf{}}
	const takes = "a mapping with duration, clients and provider"
	if root == nil {
		return nil, nil, &ScenarioError{Reason: "the scenario must be " + takes + ", got nothing"}
	}
	err = r.fields(root, "", takes, setters{
		"name":     func(n *yaml.Node) error { return yamlfile.Text(n, "name", &s.Name) },
		"about":    func(n *yaml.Node) error { return yamlfile.Text(n, "about", &s.About) },
		"seed":     func(n *yaml.Node) error { return yamlfile.Seed(n, "seed", &s.Seed) },
		"duration": func(n *yaml.Node) error { return yamlfile.Duration(n, "duration", &s.Duration) },
		"clients": func(n *yaml.Node) error {
			return r.list(n, "clients", "a list of groups of clients", func(n *yaml.Node, path string) error {
				s.Clients = append(s.Clients, Clients{})
				return r.clients(n, path, &s.Clients[len(s.Clients)-1])
			})
		},
		"provider": func(n *yaml.Node) error { return r.provider(n, "provider", &s.Provider) },
		"models":   func(n *yaml.Node) (err error) { s.Models, err = r.models(n); return err },
		"phases": func(n *yaml.Node) error {
			return r.list(n, "phases", "a list of phases", func(n *yaml.Node, path string) error {
				s.Phases = append(s.Phases, Phase{})
				return r.phase(n, path, &s.Phases[len(s.Phases)-1])
			})
		},
	})
	if e, ok := errors.AsType[*yamlfile.FieldError](err); ok {
		text := *e
		if text.Field == "" {
			text.Field = "the scenario"
		}
		return nil, nil, &ScenarioError{Line: e.Line, Reason: text.Error()}
	}
	return s, r.lines, err
}

// fields reads the fields of a mapping, and notes their lines.
func (r reader) fields(n *yaml.Node, path, takes string, set setters) error {
	prefix := path
	if path != "" {
		prefix += "."
	}
	lines, err := yamlfile.Fields(n, prefix, takes, set)
	for name, line := range lines {
		if name != "" {
			r.lines[prefix+name] = line
		} else if path != "" {
			r.lines[path] = line
		}
	}
	return err
}

// list reads the items of a list.
func (r reader) list(n *yaml.Node, path, takes string, item func(n *yaml.Node, path string) error) error {
	if n.Kind != yaml.SequenceNode {
		return yamlfile.Impossible(n, path, takes)
	}
	for i, each := range n.Content {
		if err := item(yamlfile.Resolved(each), fmt.Sprintf("%s[%d]", path, i)); err != nil {
			return err
		}
	}
	return nil
}

// count reads a whole number of at least 1: in Go 0 is the default, in a file it looks like
// none.
func count(path string, to *int) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		if err := yamlfile.Whole(n, path, to); err != nil || *to < 1 {
			return yamlfile.Impossible(n, path, "a whole number of at least 1")
		}
		return nil
	}
}

func duration(path string, to *time.Duration) func(*yaml.Node) error {
	return func(n *yaml.Node) error { return yamlfile.Duration(n, path, to) }
}

func (r reader) clients(n *yaml.Node, path string, c *Clients) error {
	return r.fields(n, path, "a mapping with calls_per_second, workers or calls", setters{
		"name":      func(n *yaml.Node) error { return yamlfile.Text(n, path+".name", &c.Name) },
		"processes": count(path+".processes", &c.Processes),
		"calls_per_second": func(n *yaml.Node) error {
			return positive(n, path+".calls_per_second", &c.CallsPerSecond)
		},
		"workers":       count(path+".workers", &c.Workers),
		"pause":         duration(path+".pause", &c.Pause),
		"calls":         count(path+".calls", &c.Calls),
		"start":         duration(path+".start", &c.Start),
		"stop":          duration(path+".stop", &c.Stop),
		"deadline":      duration(path+".deadline", &c.Deadline),
		"key":           func(n *yaml.Node) error { return yamlfile.Text(n, path+".key", &c.Key) },
		"prompt_tokens": count(path+".prompt_tokens", &c.PromptTokens),
	})
}

// positive reads a number above 0.
func positive(n *yaml.Node, path string, to *float64) error {
	if err := yamlfile.Float(n, path, to); err != nil || !(*to > 0) {
		return yamlfile.Impossible(n, path, "a number above 0")
	}
	return nil
}

func (r reader) provider(n *yaml.Node, path string, p *Provider) error {
	return r.fields(n, path, "a mapping with latency and so on", setters{
		"latency":       func(n *yaml.Node) error { return r.latency(n, path+".latency", &p.Latency) },
		"network":       func(n *yaml.Node) error { return r.latency(n, path+".network", &p.Network) },
		"per_request":   duration(path+".per_request", &p.PerRequest),
		"keeps_working": func(n *yaml.Node) error { return yamlfile.Bool(n, path+".keeps_working", &p.KeepsWorking) },
		"limits":        func(n *yaml.Node) error { return limits(n, path, &p.Limits) },
		"faults":        func(n *yaml.Node) error { return r.faults(n, path+".faults", &p.Faults) },
		"answer_tokens": count(path+".answer_tokens", &p.AnswerTokens),
		"price": func(n *yaml.Node) error {
			text, err := yamlfile.JSON(n)
			p.Price = new(price.Price)
			if err == nil {
				err = p.Price.UnmarshalJSON(text)
			}
			if err != nil {
				return &yamlfile.FieldError{Line: n.Line, Field: path + ".price", Wrong: err.Error()}
			}
			return nil
		},
	})
}

func (r reader) models(n *yaml.Node) (map[string]Provider, error) {
	const path = "models"
	if n.Kind != yaml.MappingNode {
		return nil, yamlfile.Impossible(n, path, "a mapping of the names of models to how they behave")
	}
	all := map[string]Provider{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, field := n.Content[i].Value, path+"."+yamlfile.FieldName(n.Content[i])
		if _, twice := all[name]; twice {
			return nil, &yamlfile.FieldError{Line: n.Content[i].Line, Field: field, Wrong: "appears twice"}
		}
		var p Provider
		if err := r.provider(n.Content[i+1], field, &p); err != nil {
			return nil, err
		}
		all[name] = p
	}
	return all, nil
}

func (r reader) phase(n *yaml.Node, path string, p *Phase) error {
	return r.fields(n, path, "a mapping with from, to and what is different then", setters{
		"from": duration(path+".from", &p.From),
		"to":   duration(path+".to", &p.To),
		"models": func(n *yaml.Node) error {
			return r.list(n, path+".models", "a list of names of models", func(n *yaml.Node, path string) error {
				p.Models = append(p.Models, "")
				return yamlfile.Text(n, path, &p.Models[len(p.Models)-1])
			})
		},
		"load":        func(n *yaml.Node) error { return positive(n, path+".load", &p.Load) },
		"restart":     func(n *yaml.Node) error { return yamlfile.Bool(n, path+".restart", &p.Restart) },
		"latency":     func(n *yaml.Node) error { return r.latency(n, path+".latency", &p.Latency) },
		"per_request": duration(path+".per_request", &p.PerRequest),
		"limits":      func(n *yaml.Node) error { return limits(n, path, &p.Limits) },
		"faults":      func(n *yaml.Node) error { return r.faults(n, path+".faults", &p.Faults) },
	})
}

// latency reads a distribution, or a time.
func (r reader) latency(n *yaml.Node, path string, l *Latency) error {
	if n.Kind == yaml.ScalarNode {
		return yamlfile.Duration(n, path, &l.Constant)
	}
	return r.fields(n, path, "a time, {mean: TIME}, or {median: TIME, p99: TIME}", setters{
		"constant": duration(path+".constant", &l.Constant),
		"mean":     duration(path+".mean", &l.Mean),
		"median":   duration(path+".median", &l.Median),
		"p99":      duration(path+".p99", &l.P99),
	})
}

// limits reads the limits of a chaos plan.
func limits(n *yaml.Node, path string, to **chaos.Limits) error {
	*to = new(chaos.Limits)
	return within(path, (*to).UnmarshalYAML(n))
}

func (r reader) faults(n *yaml.Node, path string, to *[]Fault) error {
	*to = []Fault{}
	return r.list(n, path, "a list of faults", func(n *yaml.Node, path string) error {
		var f Fault
		r.lines[path] = n.Line
		rest := *n
		rest.Content = slices.Clone(n.Content)
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			switch key, value := n.Content[i], yamlfile.Resolved(n.Content[i+1]); key.Value {
			case "share":
				at := slices.Index(rest.Content, key)
				rest.Content = slices.Delete(rest.Content, at, at+2)
				r.lines[path+".share"] = key.Line
				if err := positive(value, path+".share", &f.Share); err != nil {
					return err
				}
			case "kind":
				if kind := chaos.Kind(value.Value); value.Kind == yaml.ScalarNode && !slices.Contains(faultKinds, kind) {
					return &yamlfile.FieldError{Line: value.Line, Field: path + ".kind", Takes: takesKind(kind), Got: nearest.Shown(kind, faultKinds)}
				}
			default:
				if nearest.Question(key.Value, []string{"share"}) != "" {
					return &yamlfile.FieldError{Line: key.Line, Field: path + "." + yamlfile.FieldName(key), Wrong: "unknown field, did you mean share?"}
				}
			}
		}
		err := f.Fault.UnmarshalYAML(&rest)
		*to = append(*to, f)
		return within(path, err)
	})
}

// within returns an error of package chaos as that of a field at a path.
func within(path string, err error) error {
	if e, ok := errors.AsType[*yamlfile.FieldError](err); ok {
		return e.Within(path)
	}
	return err
}
