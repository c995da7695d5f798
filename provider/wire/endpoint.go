// Package wire is what the adapters of the providers share: the address and the
// key of a provider, the HTTP client, what went over the wire, and the errors
// that are made of it. It knows no SDK.
package wire

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"
)

// Endpoint is a model as one provider serves it.
type Endpoint struct {
	Provider string // what the full name begins with: "groq"
	Protocol string // whose protocol and words it speaks: classify.OpenAI, …
	Name     string // the model's full name: "groq/llama-4"
	Model    string // the model as the provider calls it: "llama-4"
	Base     *url.URL
	// Hide cuts the key out of a text from outside: some servers quote it. No
	// field holds the key itself, so that no %+v prints it.
	Hide func(text string) string
}

// Config is what an Endpoint is made of.
type Config struct {
	Protocol string // classify.Anthropic
	Model    string // as the provider calls it
	Example  string // of a model's name, for errors: "gpt-6-luna"
	Name     string // the full name; "" is Provider/Model
	Provider string // of the full name where Name is ""; the name in the errors of New

	BaseURL, BaseURLVariable, DefaultBaseURL string
	// APIKey is the key; "" reads the variables, of which the first that is set
	// counts. A key may be missing only if the base URL is on a loopback address,
	// or KeyOptional is set.
	APIKey       string
	KeyVariables []string
	KeyOptional  bool
}

// New makes an endpoint, and returns the key, which is "" where none is needed.
// It makes no call. An error names the field, or the environment variable, that
// is missing or wrong, and never what may be a secret.
func New(c Config) (*Endpoint, string, error) {
	if c.Model == "" || strings.ContainsFunc(c.Model, notInName) {
		return nil, "", fmt.Errorf("%s: model %q: takes a name without spaces, such as %s", c.Provider, c.Model, c.Example)
	}
	name := cmp.Or(c.Name, c.Provider+"/"+c.Model)
	prefix, rest, _ := strings.Cut(name, "/")
	if prefix == "" || rest == "" || strings.ContainsFunc(name, notInName) {
		return nil, "", fmt.Errorf("%s: Name %q: takes provider/model, without spaces", c.Provider, name)
	}
	base, err := c.baseURL()
	if err != nil {
		return nil, "", err
	}
	key, err := c.key(base)
	if err != nil {
		return nil, "", err
	}
	return &Endpoint{Provider: prefix, Protocol: c.Protocol, Name: name, Model: c.Model, Base: base, Hide: hide(key)}, key, nil
}

func notInName(r rune) bool { return r == ' ' || !unicode.IsPrint(r) }

func (c *Config) key(base *url.URL) (string, error) {
	source, given := "APIKey", c.APIKey
	for _, variable := range c.KeyVariables {
		if given == "" {
			source, given = "the environment variable "+variable, os.Getenv(variable)
		}
	}
	key := strings.TrimSpace(given) // a key read from a file ends with a newline
	if key == "" {
		if c.KeyOptional || loopback(base.Hostname()) {
			return "", nil
		}
		return "", fmt.Errorf("%s: no API key: set the environment variable %s, or Options.APIKey", c.Provider, strings.Join(c.KeyVariables, " or "))
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("%s: %s: takes a key of printable ASCII characters without spaces", c.Provider, source)
	}
	return key, nil
}

func hide(key string) func(string) string {
	if key == "" {
		return func(text string) string { return text }
	}
	return func(text string) string { return strings.ReplaceAll(text, key, "[key]") }
}

func (c *Config) baseURL() (*url.URL, error) {
	source, given := "BaseURL", c.BaseURL
	if given == "" && c.BaseURLVariable != "" {
		if given = os.Getenv(c.BaseURLVariable); given != "" {
			source = "the environment variable " + c.BaseURLVariable
		}
	}
	if given == "" && c.DefaultBaseURL == "" {
		return nil, fmt.Errorf("%s: no address: set the environment variable %s, or Options.BaseURL", c.Provider, c.BaseURLVariable)
	}
	base, err := url.Parse(strings.TrimSpace(cmp.Or(given, c.DefaultBaseURL)))
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Hostname() == "" ||
		base.User != nil || base.RawQuery != "" || base.ForceQuery || base.Fragment != "" {
		// What was given is not repeated: it may hold a password, or be the key
		// by mistake. Nor is url.Parse's error, which quotes from it.
		return nil, fmt.Errorf("%s: %s: takes an http or https address such as %s, without user, query and fragment",
			c.Provider, source, cmp.Or(c.DefaultBaseURL, "https://example.com/v1"))
	}
	return base, nil
}

// loopback reports whether a host is this machine.
func loopback(host string) bool {
	host = strings.ToLower(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || net.ParseIP(host).IsLoopback()
}

// Client returns the client to send requests with: the given one, or one that
// all models share, so that they share connections. It stays where it was sent;
// see stayHome.
func Client(given *http.Client) *http.Client {
	if given == nil {
		given = sharedClient()
	}
	return stayHome(given)
}

// sharedClient's limit on the wait for a header is that of OpenAI's SDK.
var sharedClient = sync.OnceValue(func() *http.Client {
	shared, ok := http.DefaultTransport.(*http.Transport)
	if !ok { // replaced by the program, for tracing say: it knows what it wants
		return http.DefaultClient
	}
	transport := shared.Clone()
	transport.ResponseHeaderTimeout = 10 * time.Minute
	transport.MaxIdleConnsPerHost = transport.MaxIdleConns
	return &http.Client{Transport: transport}
})
