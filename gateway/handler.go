package gateway

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"llmcall/gateway/internal/clients"
	"llmcall/gateway/internal/page"
	"llmcall/internal/body"
	"llmcall/internal/nearest"
	"llmcall/internal/protocol"
	"llmcall/internal/say"
)

// leftStatus is how a request is counted whose client left before it got a status, after
// nginx.
const leftStatus = 499

// Handler returns the handler for clients: the protocols, /healthz and /readyz, and, if no
// address of its own is configured for them, /ui and /metrics without a way to change
// anything.
func (g *Gateway) Handler() http.Handler {
	return bounded(func(w http.ResponseWriter, r *http.Request) {
		s := g.state.Load()
		if why := g.stranger(s, r); why != nil {
			g.refuse(w, r, protocol.Likely(r.URL.Path, r.Header), newIDs(), why)
			return
		}
		if g.health(w, r) {
			return
		}
		if s.cfg.Admin.Listen == "" && operators(r.URL.Path) {
			g.operator(w, r, !loopback(s.listen()) || foreign(r))
			return
		}
		g.serve(w, r, s)
	})
}

// Admin returns the handler for operators: /ui, where circuits can be forced and reset with
// the key whose hash is configured, /metrics, /healthz and /readyz.
func (g *Gateway) Admin() http.Handler {
	return bounded(func(w http.ResponseWriter, r *http.Request) {
		s := g.state.Load()
		switch {
		case loopback(s.cfg.Admin.Listen) && foreign(r):
			http.Error(w, "the host or the origin of the request is not this machine", http.StatusForbidden)
		case g.health(w, r):
		case operators(r.URL.Path):
			g.operator(w, r, !loopback(s.cfg.Admin.Listen))
		default:
			http.NotFound(w, r)
		}
	})
}

func (s *state) listen() string {
	if s.cfg.Listen == "" {
		return DefaultListen
	}
	return s.cfg.Listen
}

// operators reports whether a path is for operators.
func operators(path string) bool {
	return path == "/" || path == "/metrics" || path == "/ui" || strings.HasPrefix(path, "/ui/")
}

func (g *Gateway) operator(w http.ResponseWriter, r *http.Request, locked bool) {
	if locked && !g.operates(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="llmcall"`)
		http.Error(w, "the operator's key is needed: as a bearer token, or as the password", http.StatusUnauthorized)
		return
	}
	switch {
	case r.URL.Path == "/":
		http.Redirect(w, r, "ui/", http.StatusFound)
	case r.URL.Path == "/metrics" && g.options.Metrics != nil:
		g.options.Metrics.ServeHTTP(w, r)
	case r.URL.Path == "/metrics":
		http.NotFound(w, r)
	case r.URL.Path == "/ui":
		http.Redirect(w, r, "ui/", http.StatusMovedPermanently)
	default:
		http.StripPrefix("/ui", g.ui).ServeHTTP(w, r)
	}
}

// operates reports whether a request has the operator's key, on an address of the
// operator's own.
func (g *Gateway) operates(r *http.Request) bool {
	s := g.state.Load()
	if s.admin == "" {
		return false
	}
	key := keyOf(r)
	if _, password, ok := r.BasicAuth(); ok {
		key = password
	}
	sum := sha256.Sum256([]byte(key))
	return subtle.ConstantTimeCompare([]byte(hex.EncodeToString(sum[:])), []byte(s.admin)) == 1
}

// health answers /healthz and /readyz.
func (g *Gateway) health(w http.ResponseWriter, r *http.Request) bool {
	switch r.URL.Path {
	case "/healthz":
	case "/readyz":
		g.mu.Lock()
		draining := g.draining
		g.mu.Unlock()
		if draining {
			http.Error(w, "shutting down", http.StatusServiceUnavailable)
			return true
		}
	default:
		return false
	}
	_, _ = io.WriteString(w, "ok\n")
	return true
}

// stranger refuses requests that a web page has made a browser send, where no client needs
// a key.
func (g *Gateway) stranger(s *state, r *http.Request) *refusal {
	if s.book != nil || !foreign(r) {
		return nil
	}
	return &refusal{status: http.StatusForbidden, code: "foreign_origin", final: true,
		message: "the Host or the Origin of the request is not this machine: without clients in its configuration, the gateway answers programs of this machine alone"}
}

// foreign reports whether the host or the origin of a request is not this machine. A
// request of HTTP/1.0 may have no host, such as those by which HAProxy looks whether a
// server lives; that of a browser always has one.
func foreign(r *http.Request) bool {
	bare := r.Host == "" && !r.ProtoAtLeast(1, 1)
	if host := r.Host; !bare && !loopback(host) && !loopback(net.JoinHostPort(strings.Trim(host, "[]"), "80")) {
		return true
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	return err != nil || !loopback(net.JoinHostPort(u.Hostname(), "80"))
}

// serve serves a request in one of the protocols.
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request, s *state) {
	ids := newIDs()
	to, found := protocol.At(r.URL.Path)
	spoken := protocol.Likely(r.URL.Path, r.Header)
	if found && !to.Shared() {
		spoken = to.Protocol
	}
	client, why := s.client(r)
	switch {
	case why != nil:
	case !found:
		why = &refusal{status: http.StatusNotFound, code: "unknown_path", final: true, message: fmt.Sprintf("%s %s: there is nothing here", r.Method, say.Short(r.URL.Path, 100))}
	case !to.Allows(r.Method) && !(r.Method == http.MethodHead && to.Allows(http.MethodGet)):
		w.Header().Set("Allow", to.Method)
		why = &refusal{status: http.StatusMethodNotAllowed, code: "method_not_allowed", final: true, message: fmt.Sprintf("%s must be used here, got %s", to.Method, r.Method)}
	}
	if why != nil {
		g.refuse(w, r, spoken, ids, why)
		return
	}
	switch to.For {
	case protocol.Answers:
		g.ask(w, r, s, client, spoken, ids)
	case protocol.TokenCount:
		why = g.count(w, r, s, client, spoken)
	case protocol.ModelList:
		g.models(w, r, s, client, spoken)
	case protocol.ModelInfo:
		why = g.model(w, s, client, spoken, to.Name)
	default:
		why = &refusal{status: http.StatusNotImplemented, code: "not_served", final: true, message: "the gateway serves answers, lists of models and counts of tokens, and nothing else of this API"}
	}
	if why != nil {
		g.refuse(w, r, spoken, ids, why)
	}
}

// client returns who asks.
func (s *state) client(r *http.Request) (*clients.Client, *refusal) {
	if s.book == nil {
		return nil, nil
	}
	key := keyOf(r)
	if c, ok := s.book.Find(key); ok {
		return c, nil
	}
	message := "the gateway does not know this API key"
	if key == "" {
		message = "the gateway needs an API key: Authorization: Bearer …, X-Api-Key or X-Goog-Api-Key"
	}
	return nil, &refusal{status: http.StatusUnauthorized, code: "invalid_api_key", message: message, final: true}
}

// keyOf returns the API key of a request, wherever an SDK puts it.
func keyOf(r *http.Request) string {
	if key, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return strings.TrimSpace(key)
	}
	for _, name := range []string{"X-Api-Key", "X-Goog-Api-Key", "Api-Key"} {
		if key := r.Header.Get(name); key != "" {
			return key
		}
	}
	return r.URL.Query().Get("key")
}

// refuse writes an error in the words of a protocol.
func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, p protocol.Protocol, ids protocol.IDs, why *refusal) {
	h := w.Header()
	for name, values := range p.Header(ids) {
		h[name] = values
	}
	if why.status >= http.StatusBadRequest {
		why.header(h)
	}
	h.Set("Content-Type", "application/json")
	w.WriteHeader(why.status)
	text := why.text
	if text == nil {
		text = p.ErrorBody(why.inProtocol(p), ids)
	}
	_, _ = w.Write(text) // a client that is gone hears nothing
}

// newIDs returns the identifiers of a request.
func newIDs() protocol.IDs {
	known := map[string]string{}
	return func(prefix string) string {
		id, ok := known[prefix]
		if !ok {
			id = prefix + strings.ToLower(rand.Text()[:24])
			known[prefix] = id
		}
		return id
	}
}

// admit admits a request of a client that has room for it, before its body is read: the
// memory that a client can use is bounded by its limits, and not by its connections. The
// ticket is nil where no clients are configured.
func admit(w http.ResponseWriter, r *http.Request, s *state, client *clients.Client) (*clients.Ticket, *refusal) {
	if client == nil {
		return nil, nil
	}
	ticket, refused := client.Admit()
	if refused == nil {
		return ticket, nil
	}
	if r.Header.Get("Expect") == "" {
		// Many clients look at an answer only after they have sent all, and the server cuts
		// off what is longer than 256 KiB.
		_, _ = io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, s.maxBody()))
	}
	return nil, limited(refused)
}

func (s *state) maxBody() int64 { return cmp.Or(s.cfg.MaxBody, DefaultMaxBody) }

// read reads the body of a request.
func (g *Gateway) read(w http.ResponseWriter, r *http.Request, s *state) ([]byte, *refusal) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" && !strings.HasSuffix(t, "+json") {
		return nil, &refusal{status: http.StatusUnsupportedMediaType, code: "not_json", final: true, message: fmt.Sprintf("the Content-Type must be application/json, got %q", say.Short(r.Header.Get("Content-Type"), 60))}
	}
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, &refusal{status: http.StatusUnsupportedMediaType, code: "encoded", final: true, message: fmt.Sprintf("the body must not be compressed, got Content-Encoding %q", say.Short(e, 60))}
	}
	most := s.maxBody()
	if r.ContentLength > most {
		return nil, tooLarge(most)
	}
	var text bytes.Buffer
	text.Grow(int(min(max(r.ContentLength, 0), likelyBody)) + bytes.MinRead)
	_, err := text.ReadFrom(http.MaxBytesReader(w, r.Body, most))
	if err == nil {
		// From now on a read can only tell that the client has left. A test's writer has no
		// deadlines.
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	}
	switch _, large := errors.AsType[*http.MaxBytesError](err); {
	case large:
		return nil, tooLarge(most)
	case err != nil:
		return nil, &refusal{status: http.StatusRequestTimeout, code: "body_incomplete", message: "the body of the request did not arrive whole"}
	}
	return text.Bytes(), nil
}

// likelyBody is how much memory is taken for a body whose length is told, before it has come.
const likelyBody = 64 << 10

// wanted reads what a request asks for, and finds its route.
func (g *Gateway) wanted(r *http.Request, s *state, client *clients.Client, p protocol.Protocol, raw []byte) (*body.Body, *served, *refusal) {
	b, err := body.Read(p.Name(), raw)
	if err != nil {
		why := &refusal{status: http.StatusBadRequest, code: "invalid_request", message: err.Error(), final: true}
		if e, ok := errors.AsType[*body.Error](err); ok {
			why.param = e.Field
		}
		return nil, nil, why
	}
	if p.Name() == "gemini" {
		var method string
		b.Model, method = geminiModel(r.URL.Path)
		b.Stream = method == "streamGenerateContent"
	}
	if b.Model == "" {
		return nil, nil, &refusal{status: http.StatusBadRequest, code: "invalid_request", param: "model", message: "model must be the name of a route, got nothing", final: true}
	}
	if len(b.Model) > maxName {
		return nil, nil, &refusal{status: http.StatusNotFound, code: "model_not_found", param: "model", message: fmt.Sprintf("model must have at most %d bytes, got %d", maxName, len(b.Model)), final: true}
	}
	unknown := func(message string) *refusal {
		return &refusal{status: http.StatusNotFound, code: "model_not_found", param: "model", message: message, final: true}
	}
	if client != nil && !client.Allows(b.Model) {
		known := s.names(client)
		return nil, nil, unknown(fmt.Sprintf("model %q is not one that %s may ask for (%s)%s", say.Short(b.Model, 100), client.Name(), strings.Join(known, ", "), nearest.Question(b.Model, known)))
	}
	route, err := s.find(g, b.Model)
	switch {
	case err != nil:
		return nil, nil, unknown(err.Error())
	case route == nil:
		known := s.names(client)
		return nil, nil, unknown(fmt.Sprintf("model must be %s, got %q%s", s.takes(known), say.Short(b.Model, 100), nearest.Question(b.Model, known)))
	}
	return b, route, nil
}

// maxName is the size of the longest name of a model, which is kept, shown, and compared
// with those that are known.
const maxName = 256

// takes says what the name of a model may be.
func (s *state) takes(known []string) string {
	full := "the full name of a model, such as openai/gpt-6-luna"
	switch {
	case len(known) == 0:
		return full
	case s.cfg.Routes[AnyModel] == nil:
		return "the name of a route (" + strings.Join(known, ", ") + ")"
	}
	return "the name of a route (" + strings.Join(known, ", ") + ") or " + full
}

// names are the routes that a client may ask for.
func (s *state) names(client *clients.Client) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(s.routes)) {
		if client == nil || client.Allows(name) {
			names = append(names, name)
		}
	}
	return names
}

// geminiModel returns the model and the method of a path of Gemini's.
func geminiModel(path string) (model, method string) {
	_, rest, ok := strings.Cut(path, "/models/")
	if !ok { // the SDKs of Vercel leave it out before a name with a slash
		rest = strings.TrimPrefix(path, "/v1beta/")
	}
	at := strings.LastIndex(rest, ":")
	if at < 0 {
		return rest, ""
	}
	return rest[:at], rest[at+1:]
}

// ask serves a request for an answer.
func (g *Gateway) ask(w http.ResponseWriter, r *http.Request, s *state, client *clients.Client, p protocol.Protocol, ids protocol.IDs) {
	start := time.Now()
	a := &asked{g: g, w: w, r: r, protocol: p, ids: ids, client: client}
	ctx, finish := g.begin(a)
	why := g.unlessPanics(func() *refusal { return g.answer(ctx, a, s) })
	if why != nil {
		a.status, a.code, a.limit = why.status, why.code, why.limit
		if r.Context().Err() != nil {
			a.status, a.code = leftStatus, "client_left"
		} else {
			a.tell(w.Header(), a.trace, "")
			if why.text == nil || a.stream && why.status == http.StatusOK {
				why.text = p.ErrorBody(why.inProtocol(p), ids)
				why.status = max(why.status, http.StatusBadRequest)
			}
			if a.trace != nil && a.wantsTrace() {
				why.text = withTrace(why.text, a.trace)
			}
			g.refuse(w, r, p, ids, why)
		}
	}
	finish(a.status)
	if g.options.OnRequest != nil {
		end := Served{Route: a.route, Protocol: p.Name(), Stream: a.stream, Status: a.status, Code: a.code, Limit: a.limit, Duration: time.Since(start)}
		if client != nil {
			end.Client = client.Name()
		}
		if !a.first.IsZero() {
			end.FirstByte = a.first.Sub(start)
		}
		g.options.OnRequest(end)
	}
}

// unlessPanics answers, and turns a panic into an error: the program goes on.
func (g *Gateway) unlessPanics(answer func() *refusal) (why *refusal) {
	defer func() {
		if v := recover(); v != nil {
			why = g.panicked(v)
		}
	}()
	return answer()
}

// panicked logs a panic, and returns what its client hears of it.
func (g *Gateway) panicked(v any) *refusal {
	g.options.Log.Error("llmcall: a call panicked", "panic", v, "stack", string(debug.Stack()))
	return &refusal{status: http.StatusInternalServerError, code: "internal", message: "the gateway could not make the call", final: true}
}

// begin gives a request its context and the identifier of its trace.
func (g *Gateway) begin(a *asked) (context.Context, func(status int)) {
	if g.options.Begin != nil {
		ctx, id, end := g.options.Begin(a.r)
		if a.traceID = id; id != "" {
			return ctx, end
		}
		a.traceID = a.ids("")
		return ctx, end
	}
	a.traceID = a.ids("")
	return a.r.Context(), func(int) {}
}

// answer asks for an answer. What it returns was not written.
func (g *Gateway) answer(ctx context.Context, a *asked, s *state) *refusal {
	ticket, why := admit(a.w, a.r, s, a.client)
	if why != nil {
		return why
	}
	defer ticket.Back()
	raw, why := g.read(a.w, a.r, s)
	if why != nil {
		return why
	}
	b, route, why := g.wanted(a.r, s, a.client, a.protocol, raw)
	if why != nil {
		return why
	}
	base := *b.Request
	base.Extra = nil // what models of the protocol get of it, their seats know
	a.body, a.raw, a.base, a.stream, a.route = b, raw, &base, b.Stream, route.name
	a.array = a.protocol.Name() == "gemini" && b.Stream && a.r.URL.Query().Get("alt") != "sse"
	caller := page.Caller{Route: b.Model, ID: a.traceID, Prompt: &base}
	if a.client != nil {
		caller.Client = a.client.Name()
	}
	ctx, leave, ok := g.enter(page.With(ctx, caller), Asking{Route: caller.Route, Client: caller.Client, TraceID: caller.ID})
	if !ok {
		return shuttingDown()
	}
	defer leave()
	if ticket != nil {
		if refused := ticket.Expect(estimate(a.base)); refused != nil {
			return limited(refused)
		}
		defer func() { ticket.Done(a.tokens()) }()
	}
	return a.answer(ctx, route)
}

// count says about how many tokens a request has.
func (g *Gateway) count(w http.ResponseWriter, r *http.Request, s *state, client *clients.Client, p protocol.Protocol) *refusal {
	ticket, why := admit(w, r, s, client)
	if why != nil {
		return why
	}
	defer ticket.Back() // a count costs nothing, but its body takes memory
	raw, why := g.read(w, r, s)
	if why != nil {
		return why
	}
	counter, ok := p.(protocol.Counter)
	if !ok {
		return &refusal{status: http.StatusNotImplemented, code: "not_served", message: "this protocol has no counts of tokens", final: true}
	}
	if p.Name() == "gemini" {
		raw = geminiCounted(raw)
	}
	b, _, why := g.wanted(r, s, client, p, raw)
	if why != nil {
		return why
	}
	counted := *b.Request
	counted.MaxTokens = 0
	warn(w.Header(), []string{"the number of tokens is an estimate of the gateway's"})
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(counter.Count(int(estimate(&counted))))
	return nil
}

// models lists the routes.
func (g *Gateway) models(w http.ResponseWriter, r *http.Request, s *state, client *clients.Client, p protocol.Protocol) {
	var all []protocol.Model
	for _, name := range s.names(client) {
		all = append(all, protocol.Model{ID: name, Name: name, Created: g.started})
	}
	text, refused := p.ModelList(all, r.URL.Query())
	if refused != nil {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(refused.HTTPStatus())
		_, _ = w.Write(p.ErrorBody(refused, newIDs()))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text)
}

// model describes a route.
func (g *Gateway) model(w http.ResponseWriter, s *state, client *clients.Client, p protocol.Protocol, name string) *refusal {
	known := s.names(client)
	allowed := len(name) <= maxName && (client == nil || client.Allows(name))
	var found *served
	if allowed {
		found, _ = s.find(g, name) // a name that can't be opened is one that is not known
	}
	if found == nil {
		name = say.Short(name, maxName)
		return &refusal{status: http.StatusNotFound, code: "model_not_found", param: "model", final: true,
			message: fmt.Sprintf("there is no model %q (%s)%s", say.Short(name, 100), strings.Join(known, ", "), nearest.Question(name, known))}
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(p.ModelInfo(protocol.Model{ID: name, Name: name, Created: g.started}))
	return nil
}
