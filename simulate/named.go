package simulate

import (
	"embed"
	"slices"
	"strings"

	"llmcall/internal/nearest"
	"llmcall/internal/say"
)

//go:embed scenarios/*.yaml
var files embed.FS

// Names returns the names of the scenarios that come with the package, sorted.
func Names() []string {
	entries, err := files.ReadDir("scenarios")
	if err != nil {
		panic(err) // the folder is embedded
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	slices.Sort(names)
	return names
}

// Source returns the file of a scenario that comes with the package, with its comments, to
// be copied and changed. The error of an unknown name is a [*ScenarioError] with the
// nearest known one.
func Source(name string) ([]byte, error) {
	if names := Names(); !slices.Contains(names, name) {
		question := nearest.Question(name, names)
		if question == "" {
			question = "; there are " + say.List(names, len(names))
		}
		return nil, &ScenarioError{Reason: "no scenario is called " + nearest.Shown(name, nil) + question}
	}
	return files.ReadFile("scenarios/" + name + ".yaml")
}

// Named returns a scenario that comes with the package. The error of an unknown name is a
// [*ScenarioError].
func Named(name string) (*Scenario, error) {
	text, err := Source(name)
	if err != nil {
		return nil, err
	}
	return ParseScenario(name+".yaml", text)
}

// Must returns the scenario, and panics if there is an error.
func Must(s *Scenario, err error) *Scenario {
	if err != nil {
		panic(err)
	}
	return s
}
