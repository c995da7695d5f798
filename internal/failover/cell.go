package main

import (
	"cmp"
	"context"
	"encoding/json"

	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"time"

	"llmcall/chaos"
	"llmcall/internal/proxies"
)

// subject is what is asked: a proxy with a kind of route, or the provider itself.
type subject struct {
	proxy   *proxies.Proxy // nil: no proxy
	checked bool           // the route checks its answers
	alone   bool           // the route has no fallback
}

// cell is a subject's answer to a client at one fault.
type cell struct {
	subject subject
	client  client
	row     row
	stream  bool

	route    proxies.Route
	servers  [2]*chaos.Server // the primary and the fallback
	outcome  outcome
	reported error // of the SDK, for -v
}

func (c *cell) String() string {
	name := "no gateway"
	if c.subject.proxy != nil {
		name = c.subject.proxy.Name
	}
	if c.subject.checked {
		name += " with checks"
	}
	if c.subject.alone && c.subject.proxy != nil {
		name += " without a fallback"
	}
	form := "whole"
	if c.stream {
		form = "stream"
	}
	return strings.Join([]string{name, c.client.name, c.row.name, form}, ", ")
}

// verdict is how good what a client sees is.
type verdict int

const (
	answered verdict = iota // a whole and right answer
	refused                 // an error in the protocol's own form, and as such reported by the SDK
	broken                  // an error, but not the provider's or the protocol's: the connection breaks, or what came can't be read
	lied                    // no error, and no whole or no right answer
	hung                    // nothing more until the client went away
)

// outcome is what a client sees, who was asked, and how long it took.
type outcome struct {
	verdict verdict
	what    string // in a word
	asked   [2]int // requests to the primary and the fallback
	took    time.Duration
}

var marks = map[verdict]string{answered: "✓", refused: "–", broken: "✗", lied: "✗", hung: "✗"}

// String is the outcome as the page has it. What depends on the machine is left out: times
// are in whole patiences that have passed, and neither long ones nor many requests are counted.
func (o outcome) String() string {
	asked := fmt.Sprintf("%d+%d", o.asked[0], o.asked[1])
	if o.asked[0] > countable {
		asked = fmt.Sprintf("many+%d", o.asked[1])
	}
	text := fmt.Sprintf("%s %s, %s", marks[o.verdict], o.what, asked)
	switch n := int(o.took / patience); { // what is over is waits of a second or two, which differ from run to run
	case n == 0 || o.verdict == hung:
		return text
	case n > countable:
		return text + ", half a minute"
	default:
		return text + fmt.Sprintf(", %v", time.Duration(n)*patience)
	}
}

// countable is the largest number of requests, and of patiences, that a page says.
const countable = 5

// providers are the primaries and fallbacks of all cells: two servers, where a cell's have
// a folder of their own.
type providers struct {
	cells map[string]*cell
	which int
}

func (p providers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	c, ok := p.cells[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	http.StripPrefix("/"+name, c.servers[p.which]).ServeHTTP(w, r)
}

// measure finds the outcome of each cell. The proxies are started for all cells at once.
func measure(ctx context.Context, all []*cell, o proxies.Options) error {
	byName := map[string]*cell{}
	var hosts [2]*httptest.Server
	for i := range hosts {
		hosts[i] = httptest.NewServer(providers{byName, i})
		defer hosts[i].Close()
	}
	for i, c := range all {
		name := "c" + strconv.Itoa(i)
		for which, plan := range []*chaos.Plan{c.row.planned(), {Steps: []chaos.Fault{{Answer: right(fallback)}}, Repeat: true}} {
			s, err := chaos.New(chaos.Config{Plan: plan})
			if err != nil {
				return fmt.Errorf("%s: %w", c.row.name, err)
			}
			defer s.Close()
			c.servers[which] = s
		}
		c.route = proxies.Route{Name: name, Protocol: c.client.protocol, Primary: hosts[0].URL + "/" + name, Fallback: hosts[1].URL + "/" + name}
		if c.subject.checked {
			c.route.Schema = json.RawMessage(schema)
		}
		if c.subject.alone {
			c.route.Fallback = ""
		}
		byName[name] = c
	}
	running, err := startAll(ctx, all, o)
	defer func() {
		for _, r := range running {
			r.Stop()
		}
	}()
	if err != nil {
		return err
	}
	var wait sync.WaitGroup
	places := make(chan struct{}, 32) // most of them wait for something that does not come
	for _, c := range all {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			to := proxies.Direct(c.route)
			if c.subject.proxy != nil {
				to = running[c.subject.proxy].To(c.route)
			}
			c.outcome, c.reported = c.try(ctx, to)
		})
	}
	wait.Wait()
	return ctx.Err()
}

// startAll starts each proxy that a cell needs, with the routes of all its cells.
func startAll(ctx context.Context, all []*cell, o proxies.Options) (map[*proxies.Proxy]*proxies.Running, error) {
	routes := map[*proxies.Proxy][]proxies.Route{}
	for _, c := range all {
		if c.subject.proxy != nil {
			routes[c.subject.proxy] = append(routes[c.subject.proxy], c.route)
		}
	}
	running := map[*proxies.Proxy]*proxies.Running{}
	for p, its := range routes {
		o.Routes = its
		r, err := p.Start(ctx, o)
		if err != nil {
			return running, err
		}
		running[p] = r
	}
	return running, nil
}

// try asks once, and judges what comes.
func (c *cell) try(ctx context.Context, to proxies.Target) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, impatience)
	defer cancel()
	wire := &tee{RoundTripper: &http.Transport{DisableKeepAlives: true}}
	a := query{url: to.URL, model: to.Model, header: to.Header, wrong: c.row.wrong,
		http: &http.Client{Transport: wire, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	do := c.client.ask
	if c.stream {
		do = c.client.stream
	}
	start := time.Now()
	r := do(ctx, a)
	out := judge(r, wire, c.client.protocol, ctx.Err() != nil)
	out.took = time.Since(start)
	for i, s := range c.servers {
		out.asked[i] = len(s.Requests())
	}
	return out, r.err
}

// judge says what a client saw.
func judge(r reply, wire *tee, protocol string, gaveUp bool) outcome {
	switch {
	case gaveUp && r.text != "":
		return outcome{verdict: hung, what: "hangs in the middle"}
	case gaveUp:
		return outcome{verdict: hung, what: "hangs"}
	case r.err == nil:
		return judgeAnswer(r)
	}
	status, header, off := wire.response()
	switch {
	case status == 0:
		return outcome{verdict: broken, what: "no response"}
	case wire.failed(protocol) && status >= http.StatusBadRequest:
		what := "error " + strconv.Itoa(status)
		if cmp.Or(header.Get("Retry-After"), header.Get("Retry-After-Ms")) != "" {
			what += " with Retry-After"
		}
		return outcome{verdict: refused, what: what}
	case wire.failed(protocol) && r.text != "":
		return outcome{verdict: refused, what: "error event after text"}
	case wire.failed(protocol):
		return outcome{verdict: refused, what: "error event"}
	case status != http.StatusOK:
		return outcome{verdict: broken, what: "bare " + strconv.Itoa(status)}
	case r.text != "":
		return outcome{verdict: broken, what: "breaks off after text"}
	case off:
		return outcome{verdict: broken, what: "breaks off"}
	}
	return outcome{verdict: broken, what: "unreadable"}
}

// judgeAnswer says what an answer is that the SDK takes for one.
func judgeAnswer(r reply) outcome {
	var got content
	whole := json.Unmarshal([]byte(r.text), &got) == nil && (r.text == right(primary) || r.text == right(fallback))
	switch {
	case whole && r.ended:
		return outcome{verdict: answered, what: "answer"}
	case whole:
		return outcome{verdict: lied, what: "lie: no end"}
	case r.text == "":
		return outcome{verdict: lied, what: "lie: nothing"}
	case strings.HasPrefix(right(primary), r.text):
		return outcome{verdict: lied, what: "lie: half"}
	}
	return outcome{verdict: lied, what: "lie: wrong"}
}

// wrongUnchecked reports whether the cell is a wrong answer that nobody was asked to check.
func (c *cell) wrongUnchecked() bool { return c.row.name == "wrong answer" && !c.subject.checked }
