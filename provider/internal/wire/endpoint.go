// Package wire has what the adapters share, and does not depend on any SDK.
//
// An [Endpoint] is a model at an address with a key; [New] checks the settings for
// it. An [Exchange] is one request to it and the response; its methods make the
// errors, without the key and the prompt. [Client] returns the HTTP client to use.
package wire

import (
	"cmp"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"

	"llmcall/endpoint"
	"llmcall/internal/say"
)

// Endpoint is a model as one provider serves it.
type Endpoint struct {
	Provider string // the start of the full name: "groq"
	Protocol string // the protocol of requests and errors: classify.OpenAI, …
	Name     string // the model's full name: "groq/llama-4"
	Model    string // the model as the provider calls it: "llama-4"
	Base     *url.URL
	// Key returns the key under which the model's calls share a circuit breaker, a
	// pacer and a retry budget. It hashes the API key at its first call, so that a
	// secret given to [endpoint.Seed] after New still has an effect.
	Key func() endpoint.Key
	// Hide removes the API key from a text, unless the key has fewer than 8 bytes: some
	// servers quote it. No field has the API key itself, so that no %+v prints it.
	Hide func(text string) string

	habit *habit // how its answers begin; nil if nothing is kept of that
}

// Config has the settings of an [Endpoint].
type Config struct {
	Protocol string // classify.Anthropic
	Model    string // as the provider calls it
	Example  string // an example of Model for errors: "gpt-6-luna"
	Name     string // the full name; default: Provider/Model
	Provider string // the start of the default Name, and of the errors of New

	BaseURL, BaseURLVariable, DefaultBaseURL string
	// APIKey is the key. Default: the first of KeyVariables that is set. It may be
	// missing only if the host of the base URL is private, or if KeyOptional is set.
	APIKey       string
	KeyVariables []string
	KeyOptional  bool
	// Share is the option Endpoint of the adapters: the name under which calls share
	// a circuit breaker, a pacer and a retry budget. Default: model, address and key.
	Share string
	// AllowPlainHTTP allows a key to be sent over plain http to a host on the
	// internet.
	AllowPlainHTTP bool
}

// New returns an endpoint and its key, which is "" if none is needed. It makes no
// request. The error names the field, or the environment variable, that is missing
// or invalid, and never repeats what may be a secret.
func New(c Config) (*Endpoint, string, error) {
	if c.Model == "" || strings.ContainsFunc(c.Model, notInName) {
		return nil, "", fmt.Errorf("%s: model must be a name without spaces, such as %s, got %q", c.Provider, c.Example, c.Model)
	}
	name := cmp.Or(c.Name, c.Provider+"/"+c.Model)
	prefix, rest, _ := strings.Cut(name, "/")
	if prefix == "" || rest == "" || strings.ContainsFunc(name, notInName) {
		return nil, "", fmt.Errorf("%s: Name must be provider/model, without spaces, got %q", c.Provider, name)
	}
	base, err := c.baseURL()
	if err != nil {
		return nil, "", err
	}
	key, err := c.key(base)
	if err != nil {
		return nil, "", err
	}
	if err := c.checkShare(key); err != nil {
		return nil, "", err
	}
	return &Endpoint{
		Provider: prefix, Protocol: c.Protocol, Name: name, Model: c.Model, Base: base,
		Key: c.endpointKey(name, base, key), Hide: hide(key), habit: &habit{name: c.Model},
	}, key, nil
}

// checkShare checks that the name of an endpoint can be shown in logs and on
// pages.
func (c *Config) checkShare(key string) error {
	if hide(key)(c.Share) != c.Share {
		return fmt.Errorf("%s: Endpoint must be a name that can be shown in logs, got one with the API key", c.Provider)
	}
	if strings.TrimSpace(c.Share) != c.Share || strings.ContainsFunc(c.Share, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("%s: Endpoint must be a name of printable characters without spaces around it, got %q", c.Provider, c.Share)
	}
	return nil
}

// endpointKey returns the function for [Endpoint.Key].
func (c *Config) endpointKey(name string, base *url.URL, key string) func() endpoint.Key {
	if c.Share != "" {
		return func() endpoint.Key { return endpoint.Key{Name: c.Share} }
	}
	shared := endpoint.Key{Model: name, Address: addressOf(base)}
	if home, err := url.Parse(c.DefaultBaseURL); err == nil && shared.Address == addressOf(home) {
		shared.Address = ""
	}
	return sync.OnceValue(func() endpoint.Key {
		shared.Credential = endpoint.Hash(key)
		return shared
	})
}

// addressOf returns scheme, host and path of a base URL in a canonical form:
// without the scheme's default port and a slash at the end.
func addressOf(base *url.URL) string {
	host := strings.ToLower(base.Host)
	switch base.Scheme {
	case "http":
		host = strings.TrimSuffix(host, ":80")
	case "https":
		host = strings.TrimSuffix(host, ":443")
	}
	return base.Scheme + "://" + host + strings.TrimRight(base.EscapedPath(), "/")
}

func notInName(r rune) bool { return r == ' ' || !unicode.IsPrint(r) }

func (c *Config) key(base *url.URL) (string, error) {
	source, given := "APIKey", c.APIKey
	for _, variable := range c.KeyVariables {
		if value := os.Getenv(variable); given == "" && strings.TrimSpace(value) != "" { // a blank variable is not set
			source, given = "the environment variable "+variable, value
		}
	}
	key := strings.TrimSpace(given) // a key read from a file ends with a newline
	if key == "" {
		if c.KeyOptional || private(base.Hostname()) {
			return "", nil
		}
		return "", fmt.Errorf("%s: APIKey or the environment variable %s must be set, got nothing", c.Provider, strings.Join(c.KeyVariables, " or "))
	}
	for _, r := range key {
		if r <= ' ' || r > '~' {
			return "", fmt.Errorf("%s: %s must be a key of printable ASCII characters without spaces, got one with %q", c.Provider, source, r)
		}
	}
	if base.Scheme == "http" && !c.AllowPlainHTTP && !private(base.Hostname()) {
		return "", fmt.Errorf("%s: %s must be an https address unless AllowPlainHTTP is set, got plain http to %s, on which anybody on the way could read the key",
			c.Provider, c.baseSource(), hide(key)(base.Hostname()))
	}
	return key, nil
}

// hide returns a function that removes a key from texts.
func hide(key string) func(string) string {
	return func(text string) string { return say.Hide(text, key) }
}

func (c *Config) baseURL() (*url.URL, error) {
	given := cmp.Or(c.BaseURL, c.environmentBase())
	if given == "" && c.DefaultBaseURL == "" {
		return nil, fmt.Errorf("%s: BaseURL or the environment variable %s must be set, got nothing", c.Provider, c.BaseURLVariable)
	}
	base, err := url.Parse(strings.TrimSpace(cmp.Or(given, c.DefaultBaseURL)))
	if got := wrongWith(base, err); got != "" {
		return nil, fmt.Errorf("%s: %s must be an http or https address such as %s, without user, query and fragment, got one %s",
			c.Provider, c.baseSource(), cmp.Or(c.DefaultBaseURL, "https://example.com/v1"), got)
	}
	return base, nil
}

// wrongWith describes what is wrong with the address of a server, or returns "". It
// does not show the address, which may contain a password or be the key by
// mistake, or url.Parse's error, which quotes it.
func wrongWith(base *url.URL, err error) string {
	switch {
	case err != nil:
		return "that can't be parsed"
	case base.Scheme != "http" && base.Scheme != "https":
		return "without http:// or https://"
	case base.Hostname() == "":
		return "without a host"
	case base.User != nil:
		return "with a user"
	case base.RawQuery != "" || base.ForceQuery:
		return "with a query"
	case base.Fragment != "":
		return "with a fragment"
	}
	return ""
}

// environmentBase returns the address in the environment, or "". A blank one is
// not set, like a blank key.
func (c *Config) environmentBase() string {
	if c.BaseURLVariable == "" {
		return ""
	}
	return strings.TrimSpace(os.Getenv(c.BaseURLVariable))
}

// baseSource returns the field or the variable that the address comes from, for
// errors.
func (c *Config) baseSource() string {
	if c.BaseURL == "" && c.environmentBase() != "" {
		return "the environment variable " + c.BaseURLVariable
	}
	return "BaseURL"
}

// private reports whether a host is this machine or, by its address or name, in a
// network other than the internet, which unencrypted data to it does not leave.
// Servers that users run themselves (vLLM, Ollama, llama.cpp) often have no key, or a
// key and no certificate.
func private(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap()
		return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsUnspecified() || carrier.Contains(ip)
	}
	for _, zone := range privateZones {
		if strings.HasSuffix(host, "."+zone) {
			return true
		}
	}
	return !strings.Contains(host, ".") // a name in a local network or of a container: http://vllm:8000
}

// carrier is the shared address space of RFC 6598, used by network providers and
// by overlay networks such as Tailscale's.
var carrier = netip.MustParsePrefix("100.64.0.0/10")

// privateZones are domains that are not delegated in the public DNS: those of RFC
// 6761, RFC 6762 (with appendix G) and RFC 8375, the one that ICANN has reserved
// for private use (internal), and that of services in Kubernetes (svc).
var privateZones = []string{"localhost", "local", "home.arpa", "internal", "intranet", "private", "corp", "home", "lan", "svc"}

// Client returns the client that sends requests: the given one or, for nil, one
// that all models share, so that they share connections. It follows redirects as
// [StayHome] says.
func Client(given *http.Client) *http.Client {
	if given == nil {
		given = sharedClient()
	}
	return StayHome(given)
}

// sharedClient limits the wait for a header as OpenAI's SDK does.
var sharedClient = sync.OnceValue(func() *http.Client {
	shared, ok := http.DefaultTransport.(*http.Transport)
	if !ok { // replaced by the program, for example for tracing
		return http.DefaultClient
	}
	transport := shared.Clone()
	transport.ResponseHeaderTimeout = 10 * time.Minute
	// One provider may have all of them: a gateway's calls are hundreds at once, and each
	// connection that is not kept is made again with a handshake.
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 512, 512
	return &http.Client{Transport: transport}
})
