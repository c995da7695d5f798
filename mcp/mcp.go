package mcp

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"llmcall"
)

// Server says how to reach an MCP server: by Command or by URL, not both. ${NAME} in a
// text of Command, Env, Dir, URL and Headers is the environment variable NAME at the time of
// [Connect].
type Server struct {
	// Name is the server's in errors, and before the name of a tool where two servers have
	// one of the same name. Letters, digits, _ and -, at most 32. Default: the name of the
	// program, or the host of the URL.
	Name string
	// Command is a program and its arguments, which speaks the protocol on its standard
	// input and output. A name without a slash is looked for in PATH.
	Command []string
	// Env has environment variables for the command, besides those that every program needs.
	Env map[string]string
	// Dir is the folder in which the command runs. Default: the caller's.
	Dir string
	// URL is the address of a server that speaks streamable HTTP: "https://…/mcp".
	URL string
	// Headers are sent with each request to the URL: "Authorization": "Bearer ${TOKEN}".
	Headers map[string]string
	// Tools are the names of the tools to offer, as the server has them. One that the
	// server does not have is an error of [Connect]. Default: all of them.
	Tools []string
	// Progress is called when the server tells how far a call is, in the order of its
	// messages; the last of them may come after the result. It must be safe for calls at the
	// same time, and return soon: the session waits for it. Default nil: servers are not asked to tell.
	Progress func(Progress)
}

// Servers returns those of a configuration, in the order of their names, for [Connect].
func Servers(configured map[string]llmcall.MCPServer) []Server {
	var all []Server
	for _, name := range slices.Sorted(maps.Keys(configured)) {
		s := configured[name]
		all = append(all, Server{Name: name, Command: s.Command, Env: s.Env, Dir: s.Dir, URL: s.URL, Headers: s.Headers, Tools: s.Tools})
	}
	return all
}

// Progress is how far a tool's call is, as its server tells it.
type Progress struct {
	Server, Tool string
	Done         float64 // in a unit of the server's; it grows
	Total        float64 // 0: not known
	Message      string
}

// Client has a session with each of its servers. It is safe for use from many goroutines.
type Client struct{ servers []*server }

// Connect opens a session with each server, at the same time, and asks for its tools. It
// returns when all have answered, or at the first error; then nothing is left running. ctx,
// and a minute for each session and each list, bound the connecting, and not the life of
// the sessions.
//
// The error is a [*llmcall.ConfigError] for a server that can't be: no command and no
// URL, an environment variable that is not set, a tool that it does not have. Otherwise it
// says which server did not answer, with the last lines of its standard error.
func Connect(ctx context.Context, servers ...Server) (*Client, error) {
	c := &Client{}
	named := map[string]bool{}
	for _, given := range servers {
		s, err := newServer(given)
		if err != nil {
			return nil, err
		}
		if named[s.name] {
			return nil, &llmcall.ConfigError{Field: "name", Got: s.name, Takes: "another one for each server"}
		}
		named[s.name] = true
		c.servers = append(c.servers, s)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	var once sync.Once
	var first error
	for _, s := range c.servers {
		all.Go(func() {
			its, err := s.tools(ctx)
			if err == nil {
				_, err = s.chosen(its)
			}
			if err != nil {
				once.Do(func() { first = err }) // those of the others may follow from it
				cancel()
			}
		})
	}
	all.Wait()
	if first != nil {
		return nil, errors.Join(first, c.Close())
	}
	return c, nil
}

// Tools returns the tools of all servers, in the order of the servers, as they last
// told it: they are asked again if they said that their tools have changed, or after a new
// session. The error says which server did not answer.
//
// A tool's name is the server's own, with _ for what providers refuse in names. Where two
// servers have a tool of one name, both have the name of their server before it:
// "memory_search". Group is the name of the server. ReadOnly is what the server says (readOnlyHint). Once is set where the
// server says that the tool destroys (destructiveHint) and does not say that it may be
// repeated (idempotentHint); where it says nothing Once is false. They are hints of the
// server: set the fields where you know better.
func (c *Client) Tools(ctx context.Context) ([]llmcall.Tool, error) {
	var all []tool
	for _, s := range c.servers {
		its, err := s.tools(ctx)
		if err != nil {
			return nil, err
		}
		its, _ = s.chosen(its) // one that is gone was there when the server was connected
		all = append(all, its...)
	}
	return offered(all), nil
}

// Close ends the sessions, and the calls under way in them. It returns when no process and
// no goroutine of them is left, after at most 5 s. Tools fail after it. Later calls do
// nothing.
func (c *Client) Close() error {
	var all sync.WaitGroup
	for _, s := range c.servers {
		all.Go(s.close)
	}
	all.Wait()
	return nil
}
