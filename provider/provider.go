// Package provider opens a model by its full name.
//
// A full name is "provider/model": everything before the first slash names a
// [Provider], the rest is the model as that provider calls it, slashes included.
// An adapter is a package that implements one or more providers on top of an
// SDK. It registers them when it is imported, as the drivers of database/sql do,
// and a program can open the models of the adapters that it imports:
//
//	import (
//		"llmcall/provider"
//		_ "llmcall/provider/openai"
//	)
//
//	model, err := provider.Open("openai/gpt-6-luna", provider.Options{})
//
// A program therefore links only the SDKs that it uses; each adds about 12 to 31
// MB to the executable. Package [llmcall/provider/all] imports every adapter, for
// programs whose users choose the model.
package provider

import (
	"cmp"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"

	"llmcall/internal/nearest"
	"llmcall/llm"
)

// Options says how to reach a provider. The zero value works if the provider's
// key is in the environment.
type Options struct {
	// APIKey is the provider's key. A program with several tenants opens a model
	// for each key. Default: the variable [Provider.KeyVariable] of the environment,
	// else [Provider.SecondKeyVariable]. It may be missing if [Provider.KeyOptional] is
	// set, or if the host of the base URL is this machine or in a private network, by
	// its address or its name, as for AllowPlainHTTP.
	APIKey string
	// BaseURL is the http or https address of a server that speaks the provider's
	// protocol. Default: the variable [Provider.BaseURLVariable] of the environment,
	// else [Provider.BaseURL].
	BaseURL string
	// HTTPClient sends the requests. A redirect is followed only if it keeps the
	// method and the origin of the base URL, whatever the client's CheckRedirect
	// says. Default: a client that all models share, which waits at most 10 minutes
	// for the header of a response. The context given to [llm.Model] bounds the
	// whole call in either case.
	HTTPClient *http.Client
	// Endpoint is a name under which calls share a circuit breaker, a pacer and a
	// retry budget; it appears in logs. Set it if HTTPClient adds the credential
	// instead of APIKey. Default: models with the same full name, address and API
	// key share these; see [llmcall/endpoint.KeyOf].
	Endpoint string
	// AllowPlainHTTP allows the key to be sent over plain http to a host on the
	// internet, where everybody on the way can read it. Default false: plain http
	// is allowed only to this machine and to private networks, that is to private
	// addresses and to names such as "vllm", "gpu.local" and "llm.internal".
	AllowPlainHTTP bool
}

// Provider describes a provider: a service, or a server that the user runs, which
// answers under a name of its own.
type Provider struct {
	// Name is the part of a full name before the first slash: "openai".
	Name string
	// Protocol is the protocol that the provider speaks, which decides how its
	// errors are read: [llmcall/classify.OpenAI], [llmcall/classify.Anthropic],
	// [llmcall/classify.Gemini], or a name of its own.
	Protocol string
	// KeyVariable is the environment variable that holds the key, for
	// [Options.APIKey].
	KeyVariable string
	// SecondKeyVariable is the environment variable that holds the key if KeyVariable
	// is not set. Default "": there is none.
	SecondKeyVariable string
	// KeyOptional says that the provider may work without a key at any address.
	// Default false: a key may be missing only where [Options.APIKey] says.
	KeyOptional bool
	// BaseURL is the provider's own address. Default "": it has no fixed one.
	BaseURL string
	// BaseURLVariable is the environment variable that holds an address to use
	// instead of BaseURL. Default "": there is none.
	BaseURLVariable string
	// Default is the full name of the model to use if the user names none. Default
	// "": the user must name one, as for a server that serves the user's own models.
	Default string
}

// OpenFunc makes a model of a provider. model is the full name after the first
// slash, and never empty. An OpenFunc makes no request.
type OpenFunc func(model string, opts Options) (llm.Model, error)

type registered struct {
	Provider
	open OpenFunc
}

var (
	lock     sync.RWMutex
	register []registered // in the order of All
)

// Register makes a provider available to [Open] under its name. An adapter calls
// it in its init function, so that a program only has to import the adapter.
// Register panics if the name is empty, contains a slash or is taken, or if open
// is nil.
func Register(p Provider, open OpenFunc) {
	if p.Name == "" || strings.Contains(p.Name, "/") {
		panic(fmt.Sprintf("provider: Register: Name must be a name without a slash, got %q", p.Name))
	}
	if open == nil {
		panic(fmt.Sprintf("provider: Register: open must be a function that opens models of %q, got nil", p.Name))
	}
	lock.Lock()
	defer lock.Unlock()
	if slices.ContainsFunc(register, func(r registered) bool { return r.Name == p.Name }) {
		panic(fmt.Sprintf("provider: Register: Name must be a name that is not registered yet, got %q", p.Name))
	}
	register = append(register, registered{p, open})
	slices.SortStableFunc(register, func(a, b registered) int {
		return cmp.Or(cmp.Compare(rank(a.Name), rank(b.Name)), strings.Compare(a.Name, b.Name))
	})
}

// ours lists the names that this module's adapters register, with the folder of
// each adapter, in the order of All and thus the order in which Default looks
// for keys. The list is here so that an error can name an adapter that is not
// imported, and so that the order does not depend on that of the imports.
var ours = []struct{ name, folder string }{
	{"openai", "openai"},
	{"openai-responses", "openai"},
	{"anthropic", "anthropic"},
	{"gemini", "gemini"},
	{"azure", "openai"},
	{"azure-responses", "openai"},
	{"openrouter", "openai"},
	{"groq", "openai"},
	{"together", "openai"},
	{"deepseek", "openai"},
	{"vllm", "openai"},
	{"llamacpp", "openai"},
	{"ollama", "openai"},
}

// rank returns a name's index in ours, or the length of ours for any other.
func rank(name string) int {
	for i, o := range ours {
		if o.name == name {
			return i
		}
	}
	return len(ours)
}

// All returns the registered providers: first those of this module, in a fixed
// order by prominence, then all others by name.
func All() []Provider {
	lock.RLock()
	defer lock.RUnlock()
	all := make([]Provider, len(register))
	for i, r := range register {
		all[i] = r.Provider
	}
	return all
}

// Names returns the names of the registered providers, in the order of [All].
func Names() []string {
	all := All()
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = p.Name
	}
	return names
}

// Open returns the model with a full name, "provider/model". It makes no
// request, so it does not find out whether the provider has the model. A
// provider whose name ends in "-responses" is the one without that ending,
// called by OpenAI's Responses API.
//
// The error says what is missing or wrong: for a provider of this module whose
// adapter is not imported, the import; for an unknown provider, the nearest known
// name and the list of all; for a missing key, the environment variable; for an
// invalid option, the field of [Options], what it must be and what it is.
func Open(name string, opts Options) (llm.Model, error) {
	prefix, model, _ := strings.Cut(name, "/")
	if prefix == "" || model == "" {
		return nil, fmt.Errorf("model must be provider/model, such as %s, got %q; known providers: %s", example, name, strings.Join(known(), ", "))
	}
	p, ok := find(prefix)
	if !ok {
		return nil, fmt.Errorf("model %q: %w", name, missing(prefix))
	}
	m, err := p.open(model, opts)
	if err != nil {
		return nil, err // without m: a nil *openai.Model is not a nil llm.Model
	}
	return m, nil
}

// example is a full name for errors to show.
const example = "openai/gpt-6-luna"

// find returns a registered provider.
func find(name string) (registered, bool) {
	lock.RLock()
	defer lock.RUnlock()
	for _, r := range register {
		if r.Name == name {
			return r, true
		}
	}
	return registered{}, false
}

// missing returns the error for a provider that is not registered.
func missing(name string) error {
	if i := rank(name); i < len(ours) {
		here := reflect.TypeFor[Provider]().PkgPath()
		return fmt.Errorf("the program does not import the adapter of provider %q: add the import _ %q, or _ %q for every provider",
			name, here+"/"+ours[i].folder, here+"/all")
	}
	sorted, near := nearest.Sorted(strings.ToLower(name), known())
	list := strings.Join(sorted, ", ")
	if near {
		return fmt.Errorf("unknown provider %q, did you mean %s? Known providers: %s", name, sorted[0], list)
	}
	return fmt.Errorf("unknown provider %q; known providers, the most similar first: %s", name, list)
}

// known returns the names of this module's providers, registered or not, and
// those of all other registered providers.
func known() []string {
	var names []string
	for _, o := range ours {
		names = append(names, o.name)
	}
	for _, name := range Names() {
		if rank(name) == len(ours) {
			names = append(names, name)
		}
	}
	return names
}

// Default returns the full name of the model to use if the user names none: the
// [Provider.Default] of the first provider in [All] that has one and whose key is
// in the environment. getenv reads the environment; pass [os.Getenv]. ok is false
// if there is no such provider.
func Default(getenv func(string) string) (name string, ok bool) {
	for _, p := range All() {
		if p.Default != "" && p.HasKey(getenv) {
			return p.Default, true
		}
	}
	return "", false
}

// HasKey reports whether the provider's key is in the environment, which getenv reads.
func (p Provider) HasKey(getenv func(string) string) bool {
	for _, variable := range []string{p.KeyVariable, p.SecondKeyVariable} {
		if variable != "" && strings.TrimSpace(getenv(variable)) != "" {
			return true
		}
	}
	return false
}
