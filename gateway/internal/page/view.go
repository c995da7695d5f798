package page

import (
	"bytes"
	"cmp"
	"fmt"
	"html/template"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"llmcall/breaker"
	"llmcall/endpoint"
	"llmcall/pace"
)

// maxEndpoints bounds the endpoints that are shown.
const maxEndpoints = 100

// frame makes the page as it is now. What has not changed since the last frame is the
// same string, so that it is quickly compared.
func (h *handler) frame(now time.Time, writable bool, last *frame) *frame {
	old := map[string]string{}
	if last != nil {
		for _, l := range last.Lists {
			for _, r := range l.Rows {
				old[r.ID] = r.HTML
			}
		}
	}
	render := func(name, id string, data any) row {
		var b bytes.Buffer
		if err := templates.ExecuteTemplate(&b, name, data); err != nil {
			h.Log.Error("a row of the page can't be written", "row", name, "error", err)
		}
		text := strings.TrimSpace(b.String())
		if before := old[id]; before == text {
			text = before
		}
		return row{id, text}
	}
	stats := h.Calls.recentOf(now, &h.Table)
	changes := h.Calls.changed()
	endpoints, hidden := h.endpoints(now, writable, stats, changes)
	running, ended, left := h.Calls.calls()

	f := &frame{writable: writable}
	add := func(name string, rows []row) { f.Lists = append(f.Lists, list{name, rows}) }
	summary := summarize(endpoints, hidden, stats, len(running)+left)
	if h.frames.fleet != nil {
		fleet := newFleetView(h.frames.fleet)
		summary.Fleet = &fleet
	}
	add("summary", []row{render("summary", "now", summary)})
	var rows []row
	for _, e := range endpoints {
		rows = append(rows, render("endpoint", e.ID, e))
	}
	if hidden > 0 {
		rows = append(rows, render("hidden", "hidden", hidden))
	}
	add("endpoints", rows)
	rows = nil
	if h.Clients != nil {
		for i, c := range h.Clients() {
			rows = append(rows, render("client", "client"+strconv.Itoa(i), newClientView(i, c)))
		}
	}
	add("clients", rows)
	rows = nil
	keys := map[string]int{} // the number of endpoints of a name
	for _, e := range endpoints {
		keys[e.Provider+e.Model]++
	}
	for _, c := range slices.Backward(changes[max(0, len(changes)-8):]) {
		rows = append(rows, render("change", "change"+strconv.FormatUint(c.number, 10), h.newChangeView(c, keys)))
	}
	add("changes", rows)
	add("underway", []row{render("underway", "underway-now", newUnderway(running, left))})
	rows = nil
	for i := range running[:min(len(running), maxRunning)] {
		c := &running[i]
		rows = append(rows, render("call", "call"+strconv.FormatUint(c.number, 10), h.newCallView(c)))
	}
	add("running", rows)
	add("calls", h.endedRows(ended, render))
	rows = nil
	if fleet := h.frames.fleet; fleet != nil {
		rows = append(rows, render("fleet", "fleet-now", newFleetView(fleet)))
		for _, v := range h.elsewhere(fleet, endpoints, writable) {
			rows = append(rows, render("elsewhere", v.ID, v))
		}
	}
	add("fleet", rows)
	return f
}

// maxRunning bounds the calls under way that are listed.
const maxRunning = 25

// underwayView sums up the calls under way.
type underwayView struct {
	Calls, Waiting, NotListed int
	Left                      int // of which it is not known what they do
	Oldest                    time.Time
}

func newUnderway(running []callRow, left int) underwayView {
	v := underwayView{Calls: len(running) + left, Left: left, NotListed: max(0, len(running)-maxRunning) + left}
	for _, c := range running {
		if c.waiting != "" {
			v.Waiting++
		}
	}
	if len(running) > 0 {
		v.Oldest = running[0].start
	}
	return v
}

// endedRows are the rows of calls that have ended, which do not change.
func (h *handler) endedRows(ended []*callRow, render func(string, string, any) row) (rows []row) {
	fresh := make(map[uint64]string, len(ended))
	for _, c := range ended {
		id := "call" + strconv.FormatUint(c.number, 10)
		text, known := h.frames.ended[c.number]
		if !known {
			text = render("call", id, h.newCallView(c)).HTML
		}
		fresh[c.number] = text
		rows = append(rows, row{id, text})
	}
	h.frames.ended = fresh
	return rows
}

// summaryView is the page in one line.
type summaryView struct {
	Endpoints, Closed, HalfOpen, Open, Forced int
	Waiting, Running                          int
	PerMinute                                 string
	Answered                                  string // percent of those that ended in the last five minutes
	Cost                                      string
	Fleet                                     *fleetView // nil without one
	Title                                     string
}

func summarize(all []endpointView, hidden int, stats map[string]*recent, running int) summaryView {
	s := summaryView{Endpoints: len(all) + hidden, Running: running}
	for _, e := range all {
		s.Waiting += e.Queue
		switch e.Tone {
		case "open":
			s.Open++
		case "half":
			s.HalfOpen++
		case "forced":
			s.Forced++
		default:
			s.Closed++
		}
	}
	s.Closed += hidden
	attempts, answered := 0, 0
	total := recent{}
	for _, m := range stats {
		attempts += m.answered + m.wrong + m.limited + m.failed + m.other
		answered += m.answered
		total.cost = total.cost.Add(m.cost)
	}
	s.PerMinute = rate(float64(attempts) / span.Minutes())
	s.Answered = percent(answered, attempts)
	s.Cost = cost(total.cost)
	switch {
	case s.Open+s.Forced > 0:
		s.Title = fmt.Sprintf("%d open · llmcall", s.Open+s.Forced)
	default:
		s.Title = "llmcall"
	}
	return s
}

// percent writes a share: "99.4 %"; "" of nothing. What is not all is not 100 %.
func percent(part, whole int) string {
	if whole == 0 {
		return ""
	}
	p := float64(part) / float64(whole) * 100
	if part < whole {
		p = min(p, 99.9)
	}
	if p == math.Trunc(p) {
		return strconv.Itoa(int(p)) + " %"
	}
	return strconv.FormatFloat(p, 'f', 1, 64) + " %"
}

// endpointView is a row of the endpoints.
type endpointView struct {
	ID, Provider, Model string
	Where               []string
	Label               string // of the whole key, for those who hear the page
	Tone                string // of the worst circuit: "closed", "half", "open", "forced"
	Circuits            []circuitView
	Fleet               []fleetCircuitView
	Strip               stripView
	Own                 bool // the statistics are shown in this row
	Attempts            string
	Answered            string
	P50, P95            string
	Kinds               []kindCount
	MoreKinds           int
	Tokens, Cost        string
	Rate, RateWhy       string
	PaceNotes           []string
	Told                time.Time
	Queue               int
	PassedOver          []endpoint.PassedOver
	Control             *controlView // nil: no form
	key                 string       // that of [endpoint.Key.String]
}

type circuitView struct {
	Tone   string
	State  string
	Cause  string
	Notes  []string
	Until  time.Time
	worst  int
	forced bool
}

// endpoints returns the rows of the endpoints by name, and how many are not shown: those
// in the best state.
func (h *handler) endpoints(now time.Time, writable bool, stats map[string]*recent, changes []change) (views []endpointView, hidden int) {
	type known struct {
		endpoint.Snapshot
		names []string
	}
	var all []known
	for e := range h.Registry.All() {
		all = append(all, known{e.Snapshot(), h.names(e.Key())})
	}
	byName := func(a, b known) int {
		return cmp.Or(strings.Compare(a.names[0], b.names[0]), strings.Compare(a.Key.Address, b.Key.Address), cmp.Compare(a.Key.Credential, b.Key.Credential))
	}
	if len(all) > maxEndpoints {
		slices.SortFunc(all, func(a, b known) int {
			return cmp.Or(cmp.Compare(trouble(b.Snapshot), trouble(a.Snapshot)), byName(a, b))
		})
		hidden = len(all) - maxEndpoints
		all = all[:maxEndpoints]
	}
	slices.SortFunc(all, byName)
	shown := map[string]bool{}
	for _, k := range all {
		v := h.newEndpointView(k.Snapshot, k.names[0], now)
		// Of several keys of a model, the first has what is known of the model.
		var own *recent
		for _, name := range k.names {
			if !shown[name] && own == nil && stats[name] != nil {
				own = stats[name]
				v.show(own)
			}
			shown[name] = true
		}
		v.Strip = newStrip(own, k.Snapshot, changes, now)
		if writable {
			v.Control = h.control(v.ID, v.Label, true, len(v.Fleet))
		}
		views = append(views, v)
	}
	for _, name := range slices.Sorted(maps.Keys(stats)) {
		if !shown[name] && len(views) < maxEndpoints {
			views = append(views, h.newModelView(name, stats[name], now))
		}
	}
	return views, hidden
}

// newModelView is the row of a model that was called, and whose endpoint is not known.
func (h *handler) newModelView(name string, s *recent, now time.Time) endpointView {
	v := endpointView{ID: "m" + h.digest("model", name), Label: name, Tone: "none", Strip: newStrip(s, endpoint.Snapshot{}, nil, now)}
	v.Provider, v.Model = split(name)
	v.show(s)
	return v
}

// split cuts a full name after the provider.
func split(name string) (provider, model string) {
	if i := strings.IndexByte(name, '/'); i >= 0 && i < len(name)-1 {
		return name[:i+1], name[i+1:]
	}
	return "", name
}

// names returns the names under which an endpoint's models are called, at least one.
func (h *handler) names(k endpoint.Key) []string {
	if h.Names != nil {
		if names := h.Names(k); len(names) > 0 {
			return names
		}
	}
	return []string{cmp.Or(k.Name, k.Model)}
}

// trouble orders endpoints by how much they need to be looked at.
func trouble(s endpoint.Snapshot) int {
	worst := 0
	for _, c := range s.Circuits {
		worst = max(worst, troubleOf(c))
	}
	if worst == 0 && (!s.Pace.Free || s.Pace.Queue > 0) {
		return 1
	}
	return worst * 2
}

func troubleOf(c breaker.Snapshot) int {
	switch {
	case c.Forced:
		return 4
	case c.State == breaker.Open:
		return 3
	case c.State == breaker.HalfOpen:
		return 2
	case c.Failures > 0:
		return 1
	}
	return 0
}

func (h *handler) newEndpointView(s endpoint.Snapshot, name string, now time.Time) endpointView {
	v := endpointView{ID: h.id(s.Key), Where: where(s.Key), Label: strings.Join(append([]string{name}, where(s.Key)...), " "), Tone: "closed", Queue: s.Pace.Queue, PassedOver: s.PassedOver}
	v.Provider, v.Model = split(name)
	worst := -1
	for i, c := range s.Circuits {
		view := newCircuitView(c, s.Recent[i])
		v.Circuits = append(v.Circuits, view)
		if view.worst > worst {
			worst, v.Tone = view.worst, view.Tone
		}
	}
	v.pace(s.Pace, now)
	v.key = s.Key.String()
	for _, c := range circuitsOf(h.frames.fleet, v.key) {
		shared := newFleetCircuitView(c, h.frames.looked)
		if slices.ContainsFunc(v.Circuits, func(own circuitView) bool { return own.Cause == shared.Cause }) {
			shared.Cause = "" // it is said above
		}
		v.Fleet = append(v.Fleet, shared)
	}
	return v
}

// where tells endpoints of a model apart: the address, and four digits for the key.
func where(k endpoint.Key) (parts []string) {
	if k.Address != "" {
		parts = append(parts, strings.TrimPrefix(k.Address, "https://"))
	}
	if k.Credential != 0 {
		parts = append(parts, fmt.Sprintf("key %04x", uint16(k.Credential)))
	}
	return parts
}

func newCircuitView(s breaker.Snapshot, r breaker.Recent) circuitView {
	v := circuitView{worst: troubleOf(s), forced: s.Forced, Until: r.Until}
	if s.State != breaker.Closed && s.Cause != (breaker.Cause{}) {
		v.Cause = s.Cause.String()
	}
	switch s.State {
	case breaker.Open:
		v.Tone, v.State = "open", "open"
		if s.Openings > 1 {
			v.Notes = append(v.Notes, fmt.Sprintf("opened %d times in a row", s.Openings))
		}
	case breaker.HalfOpen:
		v.Tone, v.State = "half", "half-open"
		v.Notes = append(v.Notes, fmt.Sprintf("%d of %d probes passed", s.Passed, r.Config.SuccessThreshold))
		if s.Probes > 0 {
			v.Notes = append(v.Notes, fmt.Sprintf("%d under way", s.Probes))
		}
	default:
		v.Tone, v.State = "closed", "closed"
		switch {
		case s.Failures >= r.Config.FailureThreshold: // the rate keeps it closed
			v.Notes = append(v.Notes, fmt.Sprintf("%d failures among many answers", s.Failures))
		case s.Failures > 0:
			v.Notes = append(v.Notes, fmt.Sprintf("%d of %d failures", s.Failures, r.Config.FailureThreshold))
		}
	}
	if s.Forced {
		v.Tone, v.State = "forced", "forced "+v.State
	}
	if s.Waiting > 0 {
		v.Notes = append(v.Notes, thousands(int64(s.Waiting))+" waiting for it")
	}
	return v
}

// pace says what the endpoint's pacer allows.
func (v *endpointView) pace(p pace.Snapshot, now time.Time) {
	configured := p.Limits.RequestsPerMinute / 60
	switch {
	case p.Rate > 0:
		v.Rate, v.RateWhy = rate(p.Rate), "learned"
		if p.SlowStart {
			v.RateWhy = "finding the rate"
		}
		if configured > 0 && configured < p.Rate {
			v.Rate, v.RateWhy = rate(configured), "configured"
		}
	case configured > 0:
		v.Rate, v.RateWhy = rate(configured), "configured"
	}
	if p.Until.After(now) {
		v.Told = p.Until
	}
	if p.Limits.TokensPerMinute > 0 {
		v.PaceNotes = append(v.PaceNotes, "at most "+thousands(int64(p.Limits.TokensPerMinute))+" tokens a minute")
	}
	switch {
	case p.Concurrency > 0:
		v.PaceNotes = append(v.PaceNotes, fmt.Sprintf("%d of %d in flight", p.InFlight, p.Concurrency))
	case p.InFlight > 0:
		v.PaceNotes = append(v.PaceNotes, fmt.Sprintf("%d in flight", p.InFlight))
	}
}

// maxKinds bounds the kinds of failure of a row.
const maxKinds = 4

// show takes in the statistics of the endpoint's model.
func (v *endpointView) show(s *recent) {
	v.Own = true
	n := s.answered + s.wrong + s.limited + s.failed + s.other
	if n > 0 {
		v.Attempts, v.Answered = thousands(int64(n)), percent(s.answered, n)
	}
	if s.p50 > 0 {
		v.P50, v.P95 = took(s.p50), took(s.p95)
	}
	v.Kinds = s.kinds[:min(maxKinds, len(s.kinds))]
	v.MoreKinds = len(s.kinds) - len(v.Kinds)
	if s.wrong > 0 {
		v.Kinds = slices.Insert(slices.Clone(v.Kinds), 0, kindCount{"wrong answer", s.wrong, "wrong"})
	}
	if s.tokens > 0 {
		v.Tokens = thousands(s.tokens)
	}
	v.Cost = cost(s.cost)
}

// clientView is a row of the clients.
type clientView struct {
	ID string
	ClientRow
	Spent, Limit, Share string
}

func newClientView(i int, c ClientRow) clientView {
	v := clientView{ID: "client" + strconv.Itoa(i), ClientRow: c, Spent: dollars(c.SpentToday)}
	if c.LimitToday > 0 {
		v.Limit = dollars(c.LimitToday)
		v.Share = strconv.FormatFloat(min(1, float64(c.SpentToday)/float64(c.LimitToday)), 'f', 3, 64)
	}
	return v
}

// changeView is a row of the changes of state.
type changeView struct {
	ID              string
	At              time.Time
	Endpoint, Where string
	From, To, Tone  string
	Cause           string
}

func (h *handler) newChangeView(c change, keys map[string]int) changeView {
	v := changeView{At: c.at, Endpoint: h.names(c.key)[0], From: stateName(c.from), To: stateName(c.to), Tone: toneOfState(c.to), Cause: c.cause}
	v.ID = "change" + strconv.FormatUint(c.number, 10)
	if keys[v.Endpoint] > 1 {
		v.Where = strings.Join(where(c.key), " ")
	}
	if c.forced {
		v.To = "forced " + v.To
		v.Tone = "forced"
	}
	return v
}

func stateName(s breaker.State) string {
	return strings.ReplaceAll(strings.ToLower(s.String()), "_", "-")
}

func toneOfState(s breaker.State) string {
	switch s {
	case breaker.Open:
		return "open"
	case breaker.HalfOpen:
		return "half"
	}
	return "closed"
}

// Safe marks the HTML of a row, which a template has written.
func (r row) Safe() template.HTML { return template.HTML(r.HTML) }
