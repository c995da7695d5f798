package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"llmcall"
	"llmcall/internal/nearest"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// connecting is how long it may take to open a session, and to list the tools.
const connecting = time.Minute

// maxTools bounds the list of a server that never ends it.
const maxTools = 1_000

// beforeDiscover is the last version of the protocol that begins with "initialize".
const beforeDiscover = "2025-11-25"

// notSent is the code of the SDK's own error of a request that the server's HTTP refused.
const notSent = -32005

// server is one that has been connected.
type server struct {
	settings

	life context.Context // ends with close
	end  context.CancelFunc
	turn chan struct{} // held by whoever opens a session, or lists the tools

	mu      sync.Mutex
	now     *session // nil: none
	version string   // of the protocol; "": the newest
	closed  bool
	stale   bool // the list has changed
	listed  []tool

	tokens atomic.Int64   // of progress
	left   sync.WaitGroup // sessions that are being ended
}

// tool is a tool of a server.
type tool struct {
	server         *server
	name           string
	description    string
	schema         json.RawMessage
	once, readOnly bool
}

func newServer(given Server) (*server, error) {
	checked, err := newSettings(given)
	if err != nil {
		return nil, err
	}
	s := &server{settings: checked, turn: make(chan struct{}, 1), stale: true}
	s.life, s.end = context.WithCancel(context.Background())
	return s, nil
}

func clientVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

func (s *server) clientOptions() *sdk.ClientOptions {
	return &sdk.ClientOptions{
		Capabilities: &sdk.ClientCapabilities{}, // no folders to show, nobody to ask
		ToolListChangedHandler: func(context.Context, *sdk.ToolListChangedRequest) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.stale = true
		},
		ProgressNotificationHandler: s.hearProgress,
	}
}

func (s *server) hearProgress(_ context.Context, req *sdk.ProgressNotificationClientRequest) {
	p := req.Params
	if _, name, ours := strings.Cut(fmt.Sprint(p.ProgressToken), "/"); ours && s.progress != nil {
		s.progress(Progress{Server: s.name, Tool: name, Done: p.Progress, Total: p.Total, Message: s.hide(p.Message)})
	}
}

// told is an error of the server for whoever called it, without keys.
func (s *server) told(text string) *serverError {
	return &serverError{text: fmt.Sprintf("MCP server %q: %s", s.name, lastOf(s.hide(text), maxTold))}
}

// toldIn is told, where the cause may be that the context has ended.
func (s *server) toldIn(ctx context.Context, text string) error {
	e := s.told(text)
	e.cause = ctx.Err()
	return e
}

// serverError keeps of its cause only that a context has ended: other errors may show a key.
type serverError struct {
	text  string
	cause error
}

func (e *serverError) Error() string { return e.text }
func (e *serverError) Unwrap() error { return e.cause }

// take waits for the turn.
func (s *server) take(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return s.toldIn(ctx, "another call waits for it: "+context.Cause(ctx).Error())
	}
}

// session returns the open session, or opens one. The turn must be held.
func (s *server) session(ctx context.Context) (*session, error) {
	s.mu.Lock()
	now, closed, version := s.now, s.closed, s.version
	s.mu.Unlock()
	if closed {
		return nil, s.told("it was closed")
	}
	if now != nil {
		if now.lives(ctx) {
			return now, nil
		}
		s.drop(now)
	}
	ctx, cancel := context.WithTimeout(ctx, connecting)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	made, err := openSession(ctx, s, version)
	if err != nil && version == "" && ctx.Err() == nil {
		// Some servers end, or hang up, at a first message that they do not know.
		version = beforeDiscover
		if second, again := openSession(ctx, s, version); again == nil {
			made, err = second, nil
		}
	}
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		s.left.Go(func() { made.end(true) })
		return nil, s.told("it was closed")
	}
	s.now, s.version, s.stale = made, version, true
	return made, nil
}

// drop forgets a session, and ends it.
func (s *server) drop(n *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == n {
		s.now = nil
		s.left.Go(func() { n.end(true) })
	}
}

func (s *server) close() {
	s.mu.Lock()
	now := s.now
	s.now, s.closed = nil, true
	s.mu.Unlock()
	s.end()
	if now != nil {
		now.end(false)
	}
	s.turn <- struct{}{} // nobody is opening a session
	<-s.turn
	s.left.Wait()
}

// tools returns the list of the tools that are offered, as the server last told it.
func (s *server) tools(ctx context.Context) ([]tool, error) {
	if err := s.take(ctx); err != nil {
		return nil, err
	}
	defer func() { <-s.turn }()
	s.mu.Lock()
	listed, stale, closed := s.listed, s.stale, s.closed
	s.mu.Unlock()
	if !stale && !closed {
		return listed, nil
	}
	ctx, cancel := context.WithTimeout(ctx, connecting)
	defer cancel()
	var all []tool
	now, err := s.ask(ctx, s.session, func(ctx context.Context, now *session) error {
		s.mu.Lock()
		s.stale = false // a change from here on is seen the next time
		s.mu.Unlock()
		its, err := s.list(ctx, now)
		all = its // nobody looks at it where an error says that this came too late
		return err
	})
	if now == nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.stale = true
		return nil, s.toldIn(ctx, "its tools can't be listed: "+now.because(err))
	}
	s.listed = all
	return all, nil
}

func (s *server) list(ctx context.Context, now *session) ([]tool, error) {
	all := []tool{}
	if its := now.client.InitializeResult(); its != nil && its.Capabilities != nil && its.Capabilities.Tools == nil {
		return all, nil // it says that it has none
	}
	for each, err := range now.client.Tools(ctx, nil) {
		if err != nil {
			return nil, err
		}
		if len(all) == maxTools {
			return nil, fmt.Errorf("it has more than %d", maxTools)
		}
		made := tool{server: s, name: each.Name, description: s.hide(each.Description)}
		if made.schema, err = json.Marshal(each.InputSchema); err != nil {
			return nil, err
		}
		if a := each.Annotations; a != nil {
			made.readOnly = a.ReadOnlyHint
			made.once = !a.ReadOnlyHint && !a.IdempotentHint && a.DestructiveHint != nil && *a.DestructiveHint
		}
		all = append(all, made)
	}
	return all, nil
}

// chosen returns those tools that the settings allow.
func (s *server) chosen(all []tool) ([]tool, error) {
	if len(s.allowed) == 0 {
		return all, nil
	}
	byName, names := map[string]tool{}, make([]string, len(all))
	for i, t := range all {
		byName[t.name], names[i] = t, t.name
	}
	var chosen []tool
	var missing error
	for _, name := range s.allowed {
		t, ok := byName[name]
		if !ok {
			missing = errors.Join(missing, &llmcall.ConfigError{
				Field: "mcp_servers." + s.name + ".tools", Got: nearest.Shown(name, names), Takes: "names of tools that the server has",
			})
			continue
		}
		chosen = append(chosen, t)
	}
	return chosen, missing
}

// run carries out a call of the tool.
func (t tool) run(ctx context.Context, arguments json.RawMessage) (string, error) {
	s := t.server
	if len(arguments) == 0 {
		arguments = json.RawMessage("{}")
	}
	if !json.Valid(arguments) {
		return "", s.told("the arguments are not JSON")
	}
	var result *sdk.CallToolResult
	now, err := s.ask(ctx, s.ready, func(ctx context.Context, now *session) error {
		params := &sdk.CallToolParams{Name: t.name, Arguments: arguments}
		if s.progress != nil { // its news may come after the result: the token itself says of which tool
			params.SetProgressToken(fmt.Sprintf("%d/%s", s.tokens.Add(1), t.name))
		}
		got, err := now.client.CallTool(ctx, params)
		result = got
		return err
	})
	switch {
	case now == nil:
		return "", err
	case err != nil:
		return "", s.failed(ctx, now, t, err)
	}
	return s.read(result)
}

// ask asks in a session, and once more in a new one where the server does not know the
// session: what was asked did not arrive. Without a session the error says why.
func (s *server) ask(ctx context.Context, open func(context.Context) (*session, error), f func(context.Context, *session) error) (*session, error) {
	for again := false; ; again = true {
		now, err := open(ctx)
		if err != nil {
			return nil, err
		}
		err = now.do(ctx, func(ctx context.Context) error { return f(ctx, now) })
		if again || !errors.Is(err, sdk.ErrSessionMissing) {
			return now, err
		}
		s.drop(now)
	}
}

// ready returns the open session, or opens one when it is its turn.
func (s *server) ready(ctx context.Context) (*session, error) {
	if err := s.take(ctx); err != nil {
		return nil, err
	}
	defer func() { <-s.turn }()
	return s.session(ctx)
}

// read is what a model reads of a result.
func (s *server) read(result *sdk.CallToolResult) (string, error) {
	text, err := textOf(result)
	if err != nil {
		return "", errors.New(s.hide(err.Error())) // no more than the loop lets through
	}
	return s.hide(text), nil
}

// failed is the error of a call that brought no result.
func (s *server) failed(ctx context.Context, now *session, t tool, err error) error {
	if ctx.Err() != nil {
		return s.toldIn(ctx, fmt.Sprintf("the tool %q did not answer in time: %v", t.name, context.Cause(ctx)))
	}
	if refused, ok := errors.AsType[*jsonrpc.Error](err); ok && refused.Code != notSent {
		return s.told(fmt.Sprintf("it refused the call of %q: %s", t.name, refused.Message))
	}
	ended := now.process != nil && now.process.endsWithin(leaving) // its end is the cause, and it says more
	text := fmt.Sprintf("the call of %q failed, and nobody knows whether it was carried out: %s", t.name, now.because(err))
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if !closed && (ended || now.isOver() || errors.Is(err, sdk.ErrConnectionClosed)) {
		s.drop(now)
		text += "; the next call connects again"
	}
	return s.told(text)
}

// keptOpen is a reader that its process closes.
type keptOpen struct{ io.Reader }

func (keptOpen) Close() error { return nil }
