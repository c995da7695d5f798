package mcp

import (
	"fmt"
	"strings"

	"llmcall"
	"llmcall/llm"
)

// maxName is how long providers let a tool's name be; see [llmcall.ToolFunc].
const maxName = 64

// plain returns a text with _ for each character that names can't have, and at most n of
// them.
func plain(text string, n int) string {
	name := strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '-' {
			return r
		}
		return '_'
	}, text)
	if name == "" {
		return "_"
	}
	return name[:min(n, len(name))]
}

// offered gives the tools of all servers their names.
func offered(all []tool) []llmcall.Tool {
	servers := map[string]map[string]bool{} // that have a name
	for _, t := range all {
		name := plain(t.name, maxName)
		if servers[name] == nil {
			servers[name] = map[string]bool{}
		}
		servers[name][t.server.name] = true
	}
	taken := map[string]bool{}
	for name, in := range servers { // a prefixed name does not take that of another tool
		taken[name] = len(in) == 1
	}
	first := map[string]bool{}
	var tools []llmcall.Tool
	for _, t := range all {
		name := plain(t.name, maxName)
		wanted := name
		if len(servers[name]) > 1 {
			wanted = plain(t.server.name+"_"+name, maxName)
			name = unused(wanted, taken)
		} else if first[name] { // two names of one server that are the same in plain letters
			name = unused(wanted, taken)
		}
		first[name], taken[name] = true, true
		tools = append(tools, llmcall.Tool{
			Tool:  llm.Tool{Name: name, Description: t.description, Parameters: t.schema},
			Group: t.server.name, Run: t.run, Once: t.once, ReadOnly: t.readOnly,
		})
	}
	return tools
}

func unused(name string, taken map[string]bool) string {
	if !taken[name] {
		return name
	}
	for i := 2; ; i++ {
		end := fmt.Sprintf("_%d", i)
		if numbered := plain(name, maxName-len(end)) + end; !taken[numbered] {
			return numbered
		}
	}
}
