package redis

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"llmcall/internal/nearest"
)

// Times of connections, unless the URL has others.
const (
	dialTimeout  = 2 * time.Second // to connect, and to be greeted
	writeTimeout = 3 * time.Second // until a connection without an answer is closed
	pingAfter    = 2 * time.Second // without an answer to anything
	topology     = 5 * time.Second // between two looks at who is the master, of Sentinels
)

var (
	schemes    = []string{"redis", "rediss", "unix", "valkey", "valkeys"}
	parameters = []string{
		"addr", "ca_file", "cert_file", "client_name", "db", "dial_timeout", "key_file", "master_set", "protocol",
		"skip_verify", "write_timeout",
	}
)

// errUnreadable shows nothing of the URL: where its parts end is not known.
var errUnreadable = errors.New("the URL can't be read, it must be redis://user:password@host:port/db, " +
	"or rediss:// with TLS; in a password, / ? # @ : and % are written %2F %3F %23 %40 %3A and %25")

// options reads a URL. Errors don't show its password.
func options(address string) (rueidis.ClientOption, error) {
	u, err := url.Parse(address)
	if err != nil || strings.Contains(u.Path+u.RawQuery, "@") || u.Fragment != "" {
		return rueidis.ClientOption{}, errUnreadable
	}
	if !slices.Contains(schemes, u.Scheme) {
		return rueidis.ClientOption{}, fmt.Errorf("the URL's scheme must be one of %s, got %s",
			strings.Join(schemes, ", "), nearest.Shown(u.Scheme, schemes))
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return rueidis.ClientOption{}, errors.New("the URL's parameters can't be read")
	}
	for name := range query {
		if !slices.Contains(parameters, name) {
			return rueidis.ClientOption{}, fmt.Errorf("the URL's parameters may be %s, got %s",
				strings.Join(parameters, ", "), nearest.Shown(name, parameters))
		}
	}
	if u.Scheme != "unix" && u.Path == "/" { // as some write an address without a database
		u.Path = ""
	}
	if err := database(u, query); err != nil {
		return rueidis.ClientOption{}, err
	}
	o, err := rueidis.ParseURL(u.String())
	if err != nil {
		return o, fmt.Errorf("the URL: %s", strings.TrimPrefix(err.Error(), "redis: "))
	}
	if err := certificates(&o, query); err != nil {
		return o, err
	}
	fill(&o)
	return o, nil
}

// database checks the number of a database.
func database(u *url.URL, query url.Values) error {
	given := strings.TrimPrefix(u.Path, "/")
	if u.Scheme == "unix" {
		given = ""
	}
	for _, text := range []string{given, query.Get("db")} {
		if n, err := strconv.Atoi(text); text != "" && (err != nil || n < 0) {
			return fmt.Errorf("the URL's database must be a whole number >= 0, got %q", text)
		}
	}
	return nil
}

// fill sets what no URL says.
func fill(o *rueidis.ClientOption) {
	o.DisableCache = true // the state of endpoints is kept by package breaker and its kin
	o.DisableRetry = true // a fleet's worker asks again, with a context of its own
	o.ClientSetInfo = rueidis.DisableClientSetInfo
	if o.ClientName == "" {
		o.ClientName = "llmcall"
	}
	if o.Dialer.Timeout <= 0 {
		o.Dialer.Timeout = dialTimeout
	}
	o.Dialer.KeepAlive = pingAfter
	if o.ConnWriteTimeout <= 0 {
		o.ConnWriteTimeout = writeTimeout
	}
	o.PipelineMultiplex = -1 // one connection
	o.BlockingPipeline = -1  // and no second one for long exchanges
	o.RingScaleEachConn = 8
	o.ReadBufferEachConn, o.WriteBufferEachConn = 1<<16, 1<<16
	o.Sentinel.Dialer, o.Sentinel.TLSConfig, o.Sentinel.ClientName = o.Dialer, o.TLSConfig, o.ClientName
	o.Sentinel.TopologyRefreshInterval = topology
	o.ClusterOption.MaxMovedRedirections = 3
}

// certificates reads the files of ca_file, cert_file and key_file.
func certificates(o *rueidis.ClientOption, query url.Values) error {
	ca, cert, key := query.Get("ca_file"), query.Get("cert_file"), query.Get("key_file")
	if o.TLSConfig == nil {
		if ca+cert+key != "" {
			return errors.New("the URL's ca_file, cert_file and key_file need TLS: rediss://")
		}
		return nil
	}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return fmt.Errorf("the URL's ca_file: %w", err)
		}
		o.TLSConfig.RootCAs = x509.NewCertPool()
		if !o.TLSConfig.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("the URL's ca_file %s has no certificate in PEM", ca)
		}
	}
	if cert+key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return fmt.Errorf("the URL's cert_file and key_file: %w", err)
		}
		o.TLSConfig.Certificates = []tls.Certificate{pair}
	}
	return nil
}
