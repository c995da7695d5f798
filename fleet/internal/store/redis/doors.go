package redis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"llmcall/backoff"
)

// errHeld is the error of a connection that is not tried yet, as the last one failed.
var errHeld = errors.New("the server was not reached just now, and is not tried again yet")

// unreachedError is the error of a connection that could not be made, in a time of its own.
type unreachedError struct {
	address, what string // what was not done in time
	within        time.Duration
	err           error
}

func (e *unreachedError) Error() string {
	if !errors.Is(e.err, context.DeadlineExceeded) {
		return e.err.Error()
	}
	return fmt.Sprintf("%s: %s within %v", e.address, e.what, e.within)
}

func (e *unreachedError) Unwrap() error { return e.err }

// quick is how long a connection lasts at least that was of use, if the first answer was an
// error: that of a wrong password, or of a server that does not know the newest greeting.
const quick = time.Second

var pause = backoff.Exponential{Initial: 100 * time.Millisecond, Max: 2 * time.Second, Jitter: backoff.EqualJitter}

// doors makes connections, and holds them back where they fail: rueidis itself dials for each
// call.
type doors struct {
	dial  func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error)
	mu    sync.Mutex
	shut  bool
	at    map[string]*door
	conns map[*conn]struct{}
}

// door is one address.
type door struct {
	failures int // in a row
	opens    time.Time
}

func newDoors(o *rueidis.ClientOption) *doors {
	d := &doors{dial: o.DialCtxFn, at: map[string]*door{}, conns: map[*conn]struct{}{}}
	if d.dial == nil {
		d.dial = overTCP
	}
	o.DialCtxFn = d.open
	return d
}

func overTCP(ctx context.Context, address string, dialer *net.Dialer, secure *tls.Config) (net.Conn, error) {
	made, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil || secure == nil {
		return made, err
	}
	c := tls.Client(made, eitherName(secure, address))
	if err := c.HandshakeContext(ctx); err != nil {
		made.Close()
		return nil, &unreachedError{address, "no answer in TLS (a server without it takes redis://)", dialer.Timeout, err}
	}
	return c, nil
}

// eitherName returns a configuration in which a certificate may be for the host of an address or
// for that of the URL: the nodes of a Cluster, and the servers of a Sentinel, have addresses that
// they announce, with certificates of their own or one for all.
func eitherName(secure *tls.Config, address string) *tls.Config {
	host, _, err := net.SplitHostPort(address)
	if err != nil || secure.InsecureSkipVerify || host == secure.ServerName {
		return secure
	}
	either := secure.Clone()
	if net.ParseIP(host) == nil {
		either.ServerName = host
	}
	either.InsecureSkipVerify = true // VerifyConnection does it
	either.VerifyConnection = func(state tls.ConnectionState) error {
		chain := x509.VerifyOptions{Roots: secure.RootCAs, Intermediates: x509.NewCertPool(), DNSName: host}
		for _, c := range state.PeerCertificates[1:] {
			chain.Intermediates.AddCert(c)
		}
		_, err := state.PeerCertificates[0].Verify(chain)
		if errors.As(err, new(x509.HostnameError)) {
			chain.DNSName = secure.ServerName
			_, err = state.PeerCertificates[0].Verify(chain)
		}
		return err
	}
	return either
}

func (d *doors) open(ctx context.Context, address string, dialer *net.Dialer, secure *tls.Config) (net.Conn, error) {
	if err := d.ask(address); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialer.Timeout)
	defer cancel()
	made, err := d.dial(ctx, address, dialer, secure)
	if err != nil {
		d.failed(address)
		if !errors.As(err, new(*unreachedError)) {
			err = &unreachedError{address, "no connection", dialer.Timeout, err}
		}
		return nil, err
	}
	c := &conn{Conn: made, doors: d, address: address, began: time.Now()}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shut {
		made.Close()
		return nil, ErrClosed
	}
	d.conns[c] = struct{}{}
	return c, nil
}

// ask says whether an address may be tried.
func (d *doors) ask(address string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch at := d.at[address]; {
	case d.shut:
		return ErrClosed
	case at != nil && time.Now().Before(at.opens):
		return errHeld
	}
	return nil
}

func (d *doors) failed(address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail(address)
}

// fail shuts a door for a while. d.mu is held.
func (d *doors) fail(address string) {
	at := d.at[address]
	if at == nil {
		at = &door{}
		d.at[address] = at
	}
	at.opens = time.Now().Add(pause.Delay(at.failures))
	at.failures++
}

func (d *doors) ended(c *conn, failed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.conns, c)
	if failed {
		d.fail(c.address)
	} else {
		delete(d.at, c.address)
	}
}

// leave ends all connections, so that others are made.
func (d *doors) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.conns {
		c.left.Store(true)
		c.Conn.Close()
	}
}

// close ends all connections, and makes no more.
func (d *doors) close() {
	d.mu.Lock()
	d.shut = true
	conns := d.conns
	d.conns = nil
	d.mu.Unlock()
	for c := range conns {
		c.Conn.Close()
	}
}

// conn is a connection that tells its door how it ended.
type conn struct {
	net.Conn
	doors   *doors
	address string
	began   time.Time
	first   atomic.Int32 // byte that was read: '-' begins an error
	left    atomic.Bool  // it was of no use
	once    sync.Once
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.first.CompareAndSwap(0, int32(b[0]))
	}
	return n, err
}

func (c *conn) Close() error {
	c.once.Do(func() {
		first := c.first.Load()
		c.doors.ended(c, c.left.Load() || first == 0 || first == '-' && time.Since(c.began) < quick)
	})
	return c.Conn.Close()
}
