// Package provider opens a model by its full name, "provider/model".
//
// A provider is known to a program that imports its adapter. The adapters
// register themselves when they are imported, as the drivers of database/sql do:
//
//	import (
//		"llmcall/provider"
//		_ "llmcall/provider/openai"
//	)
//
//	model, err := provider.Open("openai/gpt-6-luna", provider.Options{})
//
// So a program links the SDKs of the providers that it uses, and no others: each
// is 13 to 29 MB of a program. The package provider/all imports every adapter,
// for programs that take the model's name from their users.
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

// Options says how to reach a provider. The zero value works where the
// provider's key is in the environment.
type Options struct {
	// APIKey is the provider's key: two tenants with a key each open a model each.
	// Default: the provider's environment variable, see [Provider.KeyVariable].
	APIKey string
	// BaseURL is the address of a server that speaks the provider's protocol.
	// Default: the provider's environment variable, else its own address.
	BaseURL string
	// HTTPClient sends the requests. A redirect is followed only within the
	// origin of the base URL and only if it keeps the method, whatever the client's
	// CheckRedirect says. Default: a client that all models share, and that waits
	// at most 10 minutes for the header of a response; the context given to
	// Complete bounds everything.
	HTTPClient *http.Client
	// Endpoint names what the model's calls share with others: a circuit breaker,
	// a pacer and a retry budget. It is shown in logs. Set it where the credential
	// is not APIKey but one that HTTPClient adds. Default: calls to the same full
	// name at the same address with the same API key share these.
	Endpoint string
	// AllowPlainHTTP permits sending the key over plain http to a host on the
	// internet. Default false: plain http is for this machine and for private
	// networks, which are private addresses and names such as "vllm", "gpu.local"
	// and "llm.internal". Any other address is an error, since everybody on the way
	// could read the key.
	AllowPlainHTTP bool
}

// Provider is what can come before the first slash of a model's full name.
type Provider struct {
	Name        string // "openai"
	Protocol    string // whose protocol it speaks: classify.OpenAI, classify.Anthropic, classify.Gemini, or one of its own
	KeyVariable string // the environment variable of its key, where Options has none
	KeyOptional bool   // it may need no key, wherever it runs
	BaseURL     string // its own address; "" if it has none
	// BaseURLVariable is the environment variable of an address to use instead of
	// BaseURL; "" if there is none.
	BaseURLVariable string
	// Default is the full name of the model to use when none is named; "" if that
	// is the user's choice, as with a server that has the models it was given.
	Default string
}

// OpenFunc makes a model of a provider. The model's name is what comes after the
// first slash of its full name; it is not empty. It makes no call.
type OpenFunc func(model string, opts Options) (llm.Model, error)

type registered struct {
	Provider
	open OpenFunc
}

var (
	lock     sync.RWMutex
	register []registered // in the order of rank
)

// Register makes a provider available to [Open] under its name. An adapter calls
// it in its init function, so that importing the adapter is all that a program
// has to do. Register panics if the name is empty, holds a slash or is taken, or
// if open is nil.
func Register(p Provider, open OpenFunc) {
	if p.Name == "" || strings.Contains(p.Name, "/") {
		panic(fmt.Sprintf("provider: Register: name %q: must not be empty and must not contain a slash", p.Name))
	}
	if open == nil {
		panic("provider: Register: " + p.Name + ": open is nil")
	}
	lock.Lock()
	defer lock.Unlock()
	if slices.ContainsFunc(register, func(r registered) bool { return r.Name == p.Name }) {
		panic("provider: Register: " + p.Name + " is registered twice")
	}
	register = append(register, registered{p, open})
	slices.SortStableFunc(register, func(a, b registered) int {
		return cmp.Or(cmp.Compare(rank(a.Name), rank(b.Name)), strings.Compare(a.Name, b.Name))
	})
}

// ours are the names that this module's adapters register, and the folder of
// each adapter. Their order is that of [All], and so the order in which [Default]
// looks for keys. It is here, and not left to the imports, so that an adapter
// that is missing can be named and the order does not depend on who is imported
// first.
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

// rank returns a name's place in ours; all others come after these.
func rank(name string) int {
	for i, o := range ours {
		if o.name == name {
			return i
		}
	}
	return len(ours)
}

// All returns the providers that are registered: first those of this module, by
// prominence, then all others by name.
func All() []Provider {
	lock.RLock()
	defer lock.RUnlock()
	all := make([]Provider, len(register))
	for i, r := range register {
		all[i] = r.Provider
	}
	return all
}

// Names returns the names of the providers that are registered, in the order of
// [All].
func Names() []string {
	all := All()
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = p.Name
	}
	return names
}

// Open makes the model of a full name: what comes before the first slash picks
// the provider, the rest is the model as the provider calls it. It makes no
// call. A name that ends with "-responses" is the provider without that ending,
// reached by OpenAI's Responses API.
//
// A provider of this module whose adapter is not imported is an error that says
// which import is missing. An unknown one is an error that lists the known ones,
// the most similar first. A missing key is an error that names the environment
// variable.
func Open(name string, opts Options) (llm.Model, error) {
	prefix, model, _ := strings.Cut(name, "/")
	if prefix == "" || model == "" {
		return nil, fmt.Errorf("model %q: must be provider/model, such as %s; known providers: %s", name, example, strings.Join(known(), ", "))
	}
	open := opener(prefix)
	if open == nil {
		return nil, fmt.Errorf("model %q: %w", name, missing(prefix))
	}
	m, err := open(model, opts)
	if err != nil {
		return nil, err // and not m too: a nil *openai.Model is not a nil llm.Model
	}
	return m, nil
}

// example is a full name, for errors.
const example = "openai/gpt-6-luna"

// opener returns the function that opens the provider's models; nil if it is not
// registered.
func opener(name string) OpenFunc {
	lock.RLock()
	defer lock.RUnlock()
	for _, r := range register {
		if r.Name == name {
			return r.open
		}
	}
	return nil
}

// missing returns the error of a provider that is not registered.
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

// known returns the names of this module's providers, registered or not, and of
// all others that are registered.
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

// Default returns the full name of the model to use when none is named: that of
// the first provider of [All] whose key is in the environment, which getenv reads
// (os.Getenv). If no provider with a default model has its key there, ok is
// false.
func Default(getenv func(string) string) (name string, ok bool) {
	for _, p := range All() {
		if p.Default != "" && strings.TrimSpace(getenv(p.KeyVariable)) != "" {
			return p.Default, true
		}
	}
	return "", false
}
