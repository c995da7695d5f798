package page

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"

	"llmcall/endpoint"
)

// The pace of the streams of events.
const (
	perFrame  = 500 * time.Millisecond
	keepAlive = 15 * time.Second
	// busy bounds the share of a core that making frames may take: the next is made this
	// many times as late as it took to make the last.
	busy = 20
	// writeTime is how long a reader may take for one event.
	writeTime = 10 * time.Second
	// maxStreams bounds the streams.
	maxStreams = 64
)

// frame is the page at one moment.
type frame struct {
	writable bool
	Lists    []list
}

// list is a part of the page whose rows are told apart.
type list struct {
	Name string
	Rows []row
}

// row is an element of the page; ID is its attribute.
type row struct {
	ID   string
	HTML string
}

// frames are the last frames, which all readers share: that for those who may only read,
// and that with forms.
type frames struct {
	mu      sync.Mutex
	last    [2]*frame
	until   [2]time.Time
	ended   map[uint64]string // the rows of calls that have ended, by number
	streams int
	fleet   *endpoint.FleetSnapshot // as it was at the last look; nil without one
	looked  time.Time
}

// now returns a frame that is at most as old as perFrame.
func (f *frames) now(h *handler, writable bool) *frame {
	which := 0
	if writable {
		which = 1
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	start := time.Now()
	if f.last[which] == nil || !start.Before(f.until[which]) {
		f.look(h)
		start = time.Now() // what the store takes is not work
		f.last[which] = h.frame(start, writable, f.last[which])
		// Half of it, so that a reader that comes as often gets one that was just made.
		f.until[which] = start.Add(max(perFrame/2, busy*time.Since(start)))
	}
	return f.last[which]
}

// enter counts a stream, if there is room for one.
func (f *frames) enter(n int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n > 0 && f.streams >= maxStreams {
		return false
	}
	f.streams += n
	return true
}

// update is what a frame has that a reader does not: in each list that changed the order
// of its rows, and those rows that changed.
type update map[string]*listUpdate

type listUpdate struct {
	Order []string          `json:"order"` // null: as before
	Rows  map[string]string `json:"rows"`
}

// seen is what a reader has.
type seen struct {
	orders map[string][]string
	rows   map[string]string
}

// take returns what the frame has that s does not, and adds it to s.
func (s *seen) take(f *frame) update {
	u := update{}
	rows := make(map[string]string, len(s.rows))
	orders := make(map[string][]string, len(f.Lists))
	for _, l := range f.Lists {
		changed := &listUpdate{Rows: map[string]string{}}
		order := make([]string, len(l.Rows))
		for i, r := range l.Rows {
			order[i] = r.ID
			if s.rows[r.ID] != r.HTML {
				changed.Rows[r.ID] = r.HTML
			}
			rows[r.ID] = r.HTML
		}
		before, known := s.orders[l.Name]
		sorted := !known || !slices.Equal(before, order)
		if sorted {
			changed.Order = order
		}
		if sorted || len(changed.Rows) > 0 {
			u[l.Name] = changed
		}
		orders[l.Name] = order
	}
	s.rows, s.orders = rows, orders
	return u
}

// stream sends what changes, at most twice a second, until the reader goes away.
func (h *handler) stream(w http.ResponseWriter, r *http.Request) {
	if !h.frames.enter(1) {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many pages are open", http.StatusServiceUnavailable)
		return
	}
	defer h.frames.enter(-1)
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold the events back
	if r.Method == http.MethodHead {
		return
	}
	control := http.NewResponseController(w)
	var s seen
	quiet := time.Now()
	out := bytes.NewBufferString("retry: 2000\n\n")
	tick := time.NewTicker(perFrame)
	defer tick.Stop()
	for {
		// Who may write is asked again: a key may have been taken back.
		if u := s.take(h.frames.now(h, h.writable(r))); len(u) > 0 {
			encodeEvent(out, u)
		} else if time.Since(quiet) >= keepAlive {
			out.WriteString(": still here\n\n")
		}
		if out.Len() > 0 {
			control.SetWriteDeadline(time.Now().Add(writeTime)) // not every writer can
			if _, err := w.Write(out.Bytes()); err != nil || control.Flush() != nil {
				return
			}
			out.Reset()
			quiet = time.Now()
		}
		select {
		case <-r.Context().Done():
			return
		case <-h.Done:
			return
		case <-tick.C:
		}
	}
}

// event is what is sent: an update, and the time, by which the script corrects the clock
// of its reader.
type event struct {
	At    int64  `json:"at"` // in milliseconds since 1970
	Lists update `json:"lists"`
}

// encodeEvent writes an update as an event.
func encodeEvent(out *bytes.Buffer, u update) {
	out.WriteString("data: ")
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	if err := e.Encode(event{time.Now().UnixMilli(), u}); err != nil { // impossible: it is all texts
		panic(err)
	}
	out.WriteString("\n") // after that of the encoder
}
