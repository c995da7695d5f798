package fleet

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"math"
	"sync"
	"time"

	"llmcall/account"
	"llmcall/fleet/internal/store"
)

//go:embed meter.lua
var meterText string

var meterScript = &store.Script{Name: "meter", Text: meterText}

// meetEvery is how often a meter that is not used is reported, so that others know by how
// many it is shared.
const meetEvery = 10 * time.Second

// rounding is how much of a permit may be missing: sums of parts are not exact.
const rounding = 1e-6

// Meter returns the limit of a minute that all processes of the fleet share which made one
// of the same name. perMinute is more than 0. Like [Fleet.Account], Meter waits for the store.
//
// What a process needs in the next second it leases in advance, and what it has not used it
// gives back, so that in any time the processes use no more than a full meter and what has
// come in since two seconds before. While the store is slow, each may use a twentieth of what
// is left above that, divided by the processes. While it is lost each process uses the limit
// divided by the number of those that it has seen last, itself alone if it has never reached
// the store. If the store is restarted empty, the processes that come back say what was used.
func (f *Fleet) Meter(name string, perMinute float64) account.Meter {
	m := &meter{
		f: f, id: rand.Text()[:8], place: f.keyOf(tagOf("meter", name), "meter"), perMinute: perMinute, living: 1,
		adopted: make(chan struct{}),
	}
	m.adopt = sync.OnceFunc(func() { close(m.adopted) })
	if f.add(m) {
		f.wait(context.Background(), m.adopted, runTimeout)
	}
	return m
}

// meter is this process' part of a limit of a minute.
type meter struct {
	f       *Fleet
	id      string
	place   string
	adopted chan struct{} // closed when the store has answered for the first time
	adopt   func()

	mu        sync.Mutex
	perMinute float64
	closed    bool
	have      float64 // permits that are here; less than 0: owed
	taken     float64 // since the last look
	lowest    float64 // of what was here since then
	more      float64 // that the store is to count; less than 0: given back
	next      *fetch

	used     float64 // of what the meter holds, by all, as the store said
	usedAt   time.Time
	scarce   time.Time // when there was not as much as was asked for, or nothing after it
	living   int
	lost     bool
	filled   float64 // permits that are not from the store, since it was lost
	filledAt time.Time
	apart    float64 // that were used of them

	// of the worker alone
	seq      uint64
	sent     *meterUse // of which it is not known whether the store has counted it
	pace     float64   // what is taken in a second, at most what comes in
	lookedAt time.Time
}

// fetch is what requests wait for.
type fetch struct {
	done       chan struct{}
	sum, least float64
}

func (f *fetch) end() {
	if f != nil {
		close(f.done)
	}
}

// meterUse is what was used that the store has not counted.
type meterUse struct {
	Sequence uint64  `json:"seq"`
	Alone    float64 `json:"alone"`
	More     float64 `json:"more"`
}

type meterReport struct {
	meterUse
	Me        string  `json:"me"`
	PerMinute float64 `json:"per"`
	Known     float64 `json:"known"`
	Ask       float64 `json:"ask"`
	Least     float64 `json:"least"`
	Ahead     float64 `json:"ahead"`
}

type meterReply struct {
	Late   bool    `json:"late"`
	Got    float64 `json:"got"`
	Used   float64 `json:"used"`
	Living int     `json:"living"`
}

func (m *meter) SetLimit(perMinute float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fill()
	m.used, m.usedAt = m.missing(), time.Now()
	m.perMinute = perMinute
	if above := m.have - m.holds(); above > 0 { // it is not given back: the store lets a lower limit be used once at most
		m.have -= above
		m.filled = max(0, m.filled-above)
	}
}

func (m *meter) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
}

// holds returns how much a full meter has, or this process' part of it while it is alone.
// The caller holds the lock, as that of the following functions.
func (m *meter) holds() float64 {
	if m.lost {
		return math.Ceil(m.perMinute) / float64(m.living)
	}
	return math.Ceil(m.perMinute)
}

// speed is what comes in a second.
func (m *meter) speed() float64 {
	if m.lost {
		return m.perMinute / 60 / float64(m.living)
	}
	return m.perMinute / 60
}

// missing returns what is used of the meter at this moment.
func (m *meter) missing() float64 {
	return max(0, m.used-time.Since(m.usedAt).Seconds()*m.perMinute/60)
}

// fill lets permits come in while the store is lost.
func (m *meter) fill() {
	if !m.lost {
		return
	}
	now := time.Now()
	come := min(now.Sub(m.filledAt).Seconds()*m.speed(), max(0, m.holds()-m.have))
	m.have, m.filled, m.filledAt = m.have+come, m.filled+come, now
}

func (m *meter) Fetch(n float64) {
	m.mu.Lock()
	m.fill()
	if n = min(n, m.holds()); m.lost || m.closed || m.have+rounding >= n || time.Since(m.scarce) < againAfter {
		m.mu.Unlock()
		return
	}
	if m.next == nil {
		m.next = &fetch{done: make(chan struct{}), least: n}
	}
	l := m.next
	l.sum, l.least = l.sum+n, min(l.least, n)
	m.mu.Unlock()
	m.f.wake()
	m.f.wait(context.Background(), l.done, callWait)
}

func (m *meter) Wait(n float64) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fill()
	short := min(n, m.holds()) - m.have
	left := 0.0
	if !m.lost {
		left = m.holds() - m.missing()
	}
	switch late := m.f.slow.Load(); {
	case short <= rounding, late && short <= left/float64(stated*m.living): // the others hear of it
		return 0
	case short <= left:
		return againAfter // it was not fetched in time
	}
	short -= left
	nanos := math.Ceil(short / m.speed() * float64(time.Second))
	if nanos >= math.MaxInt64 {
		return math.MaxInt64
	}
	return max(time.Millisecond, time.Duration(nanos))
}

func (m *meter) Take(n float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fill()
	m.have -= n
	m.taken += max(0, n)
	m.lowest = min(m.lowest, m.have)
}

func (m *meter) Left() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fill()
	if m.lost {
		return min(m.holds(), m.have)
	}
	return min(m.holds(), m.have+m.holds()-m.missing()-m.more)
}

func (m *meter) gone() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed
}

func (m *meter) alone(yes bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if yes == m.lost {
		return
	}
	if yes {
		m.lost, m.filledAt = true, time.Now()
		m.filled = max(0, max(0, math.Ceil(m.perMinute)-m.missing())/float64(m.living)-m.untold())
		m.have += m.filled
		m.next.end()
		m.next = nil
		return
	}
	m.fill()
	m.lost = false
	kept := max(0, m.have-m.filled) // was leased before
	m.apart += m.filled - (m.have - kept)
	m.have, m.filled = kept, 0
}

// untold is what was used without the store before, and is not in what the store said.
func (m *meter) untold() float64 {
	if m.sent == nil {
		return m.apart
	}
	return m.apart + m.sent.Alone
}

func (m *meter) requests(tick bool) []request {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.next
	m.next = nil
	if l == nil && !tick {
		return nil
	}
	if tick {
		m.look()
	}
	r := meterReport{Me: m.id, PerMinute: m.perMinute, Known: m.missing()}
	if !m.lost {
		m.owe(min(0, m.have))
		r.Ahead = max(0, m.pace-m.have)
	}
	if l != nil {
		r.Ask, r.Least = max(0, l.sum-m.have), max(0, l.least-m.have)
	}
	if m.sent == nil {
		if !m.lost && l == nil && r.Ahead == 0 && m.apart == 0 && m.more == 0 && time.Since(m.usedAt) < meetEvery {
			return nil
		}
		m.seq++
		m.sent = &meterUse{Sequence: m.seq, Alone: m.apart, More: m.more}
		m.apart, m.more = 0, 0
	}
	r.meterUse = *m.sent
	return []request{m.request(&r, func(result store.Result) { m.answered(l, r.Ask, result) })}
}

// look measures what is taken in a second, and gives back what was not needed since the last
// look: not what somebody has just fetched.
func (m *meter) look() {
	elapsed := time.Since(m.lookedAt)
	if elapsed < exchangeEvery/2 {
		return
	}
	m.pace = min(m.perMinute/60, max(m.taken/elapsed.Seconds(), m.pace*4/5))
	if m.taken == 0 && m.pace < m.perMinute/60/100 { // less than a hundredth of the limit
		m.pace = 0
	}
	if !m.lost {
		m.owe(max(0, min(m.lowest, m.have)-m.pace))
	}
	m.taken, m.lowest, m.lookedAt = 0, m.have, time.Now()
}

// owe gives back so much of what is here to the store, or has it count what is owed here.
func (m *meter) owe(n float64) {
	m.more -= n
	m.have -= n
}

func (m *meter) request(r *meterReport, done func(store.Result)) request {
	return request{callOf(meterScript, m.place, r), done}
}

func (m *meter) answered(l *fetch, ask float64, result store.Result) {
	var answer meterReply
	defer l.end()
	if result.Err != nil || json.Unmarshal([]byte(result.Text), &answer) != nil || answer.Late {
		return
	}
	m.mu.Lock()
	m.sent = nil
	m.have += answer.Got
	m.used, m.usedAt, m.living = answer.Used, time.Now(), answer.Living
	if left := m.holds() - m.used; ask > 0 && (answer.Got < ask || left < m.speed()*againAfter.Seconds()) {
		m.scarce = m.usedAt
	}
	m.mu.Unlock()
	m.adopt()
}

// leave returns the last report, which gives back what was not used.
func (m *meter) leave() []request {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.next.end()
	m.next = nil
	m.owe(m.have)
	if m.more == 0 || m.sent != nil || m.lost {
		return nil
	}
	r := meterReport{Me: m.id, PerMinute: m.perMinute, Known: m.missing(), meterUse: meterUse{Sequence: m.seq + 1, More: m.more}}
	return []request{m.request(&r, func(store.Result) {})}
}
