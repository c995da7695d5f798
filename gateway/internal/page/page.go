package page

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/internal/redact"
	"llmcall/internal/say"
)

// Options configure the page. Registry and Calls must be set.
type Options struct {
	Registry *endpoint.Registry
	Calls    *Ring
	// Clients returns the gateway's clients, to be shown in this order. Default nil: none
	// are shown.
	Clients func() []ClientRow
	// Fleet returns what is known of the fleet that the endpoints belong to. It is called at
	// most once a second, while somebody looks, and must not take longer than its context.
	// Default nil: there is none.
	Fleet func(context.Context) endpoint.FleetSnapshot
	// FleetCircuits forces and resets the circuits of that fleet. Default nil: the page acts
	// on the gateway's own alone.
	FleetCircuits FleetCircuits
	// Names returns the names under which the models of an endpoint are called, where
	// these are not the key's own. Default nil: the key's model, or its name.
	Names func(endpoint.Key) []string
	// Writable says whose requests may force and reset endpoints. Default nil: nobody's.
	Writable func(*http.Request) bool
	// Contents shows the prompts, answers and complaints that Calls has kept. Default
	// false.
	Contents bool
	Version  string    // of the gateway. Default "": not shown
	Started  time.Time // when the gateway started. Default: not shown
	// Table says what a kind of failure means for its provider. Default:
	// [failure.Decisions].
	Table failure.Table
	// Done, once it is closed, ends the streams of events: a server that shuts down
	// would wait for them. Default nil: they end with their requests.
	Done <-chan struct{}
	// Log is told who forced or reset an endpoint. Default nil: [slog.Default].
	Log *slog.Logger
}

// FleetCircuits forces and resets circuits of a fleet by their [endpoint.SharedCircuit.ID].
// changed is false for what was so already.
type FleetCircuits interface {
	Force(ctx context.Context, id string, to breaker.State, why string) (changed bool, err error)
	Reset(ctx context.Context, id string) (changed bool, err error)
}

// ClientRow is a gateway's client, as the page shows it.
type ClientRow struct {
	Name       string
	Requests   int64 // since the gateway was started
	Refused    int64 // by the client's own limits, likewise
	InFlight   int
	SpentToday int64  // nano-dollars
	LimitToday int64  // nano-dollars; 0: none
	Limits     string // the other limits in words: "600 requests a minute"; "": none
}

//go:embed page.html page.css page.js icon.svg
var files embed.FS

var (
	templates = template.Must(template.New("").Funcs(template.FuncMap{
		"clock": clock, "stamp": stamp, "thousands": thousands, "took": took,
	}).ParseFS(files, "page.html"))
	assets = map[string]asset{
		"page.css": newAsset("page.css", "text/css; charset=utf-8"),
		"page.js":  newAsset("page.js", "text/javascript; charset=utf-8"),
		"icon.svg": newAsset("icon.svg", "image/svg+xml"),
	}
)

// asset is an embedded file.
type asset struct {
	data      []byte
	mediaType string
	tag       string
}

func newAsset(name, mediaType string) asset {
	data, err := files.ReadFile(name)
	if err != nil { // impossible: it is embedded
		panic(err)
	}
	sum := sha256.Sum256(data)
	return asset{data, mediaType, `"` + hex.EncodeToString(sum[:8]) + `"`}
}

// policy is the content security policy: this origin alone, and nothing within the page.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// handler serves the page.
type handler struct {
	Options
	secret [32]byte // of the token and of the endpoints' ids
	token  string
	frames frames
	origin *http.CrossOriginProtection
	hide   *redact.Filter // of contents
}

// Handler returns the handler of the page. It may be mounted at any path: it reads the
// last element alone, and its links are relative.
func Handler(o Options) http.Handler {
	if o.Table == (failure.Table{}) {
		o.Table = failure.Decisions()
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	h := &handler{Options: o, origin: http.NewCrossOriginProtection()}
	if o.Contents {
		h.hide = redact.New(nil, maxText)
	}
	rand.Read(h.secret[:])
	h.token = h.digest("token", "")
	return h
}

// digest returns a text that can't be guessed, and says nothing of its arguments.
func (h *handler) digest(purpose, text string) string {
	sum := sha256.Sum256([]byte(string(h.secret[:]) + purpose + "\x00" + text))
	return hex.EncodeToString(sum[:16])
}

// ServeHTTP serves the page, its stream of events, its files, and its one form.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Referrer-Policy", "same-origin") // with no-referrer a form has no origin
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Cache-Control", "no-store")
	name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	if name == "act" {
		h.act(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "the page is read by GET", http.StatusMethodNotAllowed)
		return
	}
	switch {
	case name == "events":
		h.stream(w, r)
	case assets[name].data != nil:
		serveAsset(w, r, assets[name])
	case strings.HasSuffix(r.URL.Path, "/"):
		h.page(w, r)
	case !strings.ContainsAny(strings.TrimPrefix(r.URL.Path, "/"), "./"):
		h.slash(w, r)
	default:
		http.NotFound(w, r)
	}
}

// slash redirects a path without a final slash to that with one, relative to which the
// links are. The path of the request may lack a prefix that was stripped from it.
func (h *handler) slash(w http.ResponseWriter, r *http.Request) {
	full, _, _ := strings.Cut(r.RequestURI, "?")
	last := full[strings.LastIndexByte(full, '/')+1:]
	if last == "" {
		h.page(w, r)
		return
	}
	w.Header().Set("Location", "./"+last+"/")
	w.WriteHeader(http.StatusMovedPermanently)
}

func serveAsset(w http.ResponseWriter, r *http.Request, a asset) {
	w.Header().Set("Content-Type", a.mediaType)
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", a.tag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.data))
}

// writable reports whether a request may change what the page shows.
func (h *handler) writable(r *http.Request) bool { return h.Writable != nil && h.Writable(r) }

func (h *handler) page(w http.ResponseWriter, r *http.Request) {
	var out bytes.Buffer
	f := h.frames.now(h, h.writable(r))
	if err := templates.ExecuteTemplate(&out, "page", struct {
		*frame
		Version  string
		Started  time.Time
		Writable bool
	}{f, h.Version, h.Started, f.writable}); err != nil {
		h.Log.Error("the page can't be written", "error", err)
		http.Error(w, "the page can't be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(out.Bytes()) // an error means that nobody reads it any more
}

// maxForm bounds the body of the form.
const maxForm = 4 << 10

// act forces or resets an endpoint.
func (h *handler) act(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		http.Error(w, "the form is sent by POST", http.StatusMethodNotAllowed)
		return
	}
	if !h.writable(r) {
		http.Error(w, "the page is read-only for you: forcing and resetting needs the admin key", http.StatusForbidden)
		return
	}
	if err := h.origin.Check(r); err != nil {
		http.Error(w, "the form was sent from another site", http.StatusForbidden)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the form can't be read: "+err.Error(), http.StatusBadRequest)
		return
	}
	if subtle.ConstantTimeCompare([]byte(r.PostForm.Get("token")), []byte(h.token)) != 1 {
		http.Error(w, "the form is of an earlier run of the gateway: load the page again", http.StatusForbidden)
		return
	}
	e, name := h.find(r.PostForm.Get("endpoint"))
	shown := name
	if e != nil {
		shown = e.Name()
	}
	do, why := r.PostForm.Get("do"), say.Line(r.PostForm.Get("why"), 100)
	var done string
	var err error
	ofFleet, forFleet := strings.CutPrefix(do, "fleet-")
	switch {
	case name == "" || e == nil && !forFleet:
		http.Error(w, "the endpoint is gone", http.StatusNotFound)
		return
	case forFleet && h.Fleet != nil && h.FleetCircuits != nil:
		if done, err = h.ofFleet(r.Context(), name, ofFleet, why); err != nil {
			h.Log.Warn("a circuit of the fleet was not changed on the page", "endpoint", shown, "asked", ofFleet, "by", r.RemoteAddr, "error", err)
		}
	default:
		done, err = carryOut(e, do, why)
	}
	if err != nil {
		http.Error(w, err.Error(), statusOf(err))
		return
	}
	h.Log.Warn("an endpoint was changed on the page", "endpoint", shown, "done", done, "by", r.RemoteAddr)
	if strings.HasPrefix(r.Header.Get("Accept"), "text/plain") {
		fmt.Fprintf(w, "%s was %s", shown, done)
		return
	}
	w.Header().Set("Location", "./")
	w.WriteHeader(http.StatusSeeOther)
}

// byDefault is the reason of who gives none.
const byDefault = "forced open by an operator"

// wrongForm is the error of a form that the page has not written.
type wrongForm struct{ prefix, got string }

func (e *wrongForm) Error() string {
	return fmt.Sprintf("do must be %q, %q or %q, got %q", e.prefix+"open", e.prefix+"closed", e.prefix+"reset", say.Line(e.prefix+e.got, 100))
}

// statusOf returns the status of an answer to a form that was not carried out.
func statusOf(err error) int {
	if _, ok := errors.AsType[*wrongForm](err); ok {
		return http.StatusBadRequest
	}
	return http.StatusBadGateway
}

// carryOut does what the form asks for in this gateway, and says what it was.
func carryOut(e *endpoint.Endpoint, do, why string) (done string, err error) {
	switch do {
	case "open":
		e.ForceOpen(cmp.Or(why, byDefault))
		return "forced open in this gateway", nil
	case "closed":
		e.ForceClosed()
		return "forced closed in this gateway", nil
	case "reset":
		e.Reset()
		return "reset in this gateway", nil
	}
	return "", &wrongForm{"", do}
}

// find returns the endpoint of an id, and its name; of one that the fleet alone has used, the
// name alone.
func (h *handler) find(id string) (e *endpoint.Endpoint, name string) {
	for e := range h.Registry.All() {
		if h.id(e.Key()) == id {
			return e, e.Key().String()
		}
	}
	return nil, h.frames.elsewhere(h, id)
}

// id returns what identifies an endpoint in the page.
func (h *handler) id(k endpoint.Key) string {
	return "e" + h.digest("endpoint", fmt.Sprintf("%q %q %q %x", k.Name, k.Model, k.Address, k.Credential))
}
