package provider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"

	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/internal/nearest"
	"llmcall/internal/place"
	"llmcall/llm"
)

// Own is a provider under a name of the user's: a server that speaks the protocol of a
// known one, or a known one with several keys. The name is the part of a model's full name
// before the slash, and appears in traces and errors.
type Own struct {
	// Protocol is the name of the registered provider whose protocol the server speaks:
	// "openai", "openai-responses", "anthropic", "gemini", "vllm" and others. Default:
	// the user's name itself, if it is one of these.
	Protocol string
	// BaseURL is the server's address, as in [Options.BaseURL]. Default: the address of
	// Protocol.
	BaseURL string
	// Keys say where the keys are: "env:NAME" for a variable of the environment,
	// "file:PATH" for a file. With several, a model is opened for each: they are
	// alternatives, in order. "none" is for a server without keys. A key itself must not be
	// here. Default: as for Protocol; with a BaseURL none, and then the key of Protocol must
	// not be in the environment, so that it is not sent to another server.
	Keys []string
}

// OpenAll opens all models with the given full names, of which the part before the slash
// may be a name in own; any other is opened as by [Open]. For a name whose provider has
// several keys there are several models with that name. opts is for all; its APIKey and
// BaseURL are not used where own has another.
//
// The error names what is wrong: the field of own, what it must be and what it is, or as
// for Open.
func OpenAll(names []string, own map[string]Own, opts Options) ([]llm.Model, error) {
	var all []llm.Model
	for _, name := range names {
		prefix, model, _ := strings.Cut(name, "/")
		o, ok := own[prefix]
		if !ok || model == "" {
			m, err := Open(name, opts)
			if err != nil {
				return nil, withOwn(err, prefix, own)
			}
			all = append(all, m)
			continue
		}
		models, err := o.open(prefix, model, opts)
		if err != nil {
			return nil, err
		}
		all = append(all, models...)
	}
	return all, nil
}

// withOwn adds the name of own that was perhaps meant.
func withOwn(err error, prefix string, own map[string]Own) error {
	var names []string
	for name := range own {
		names = append(names, name)
	}
	slices.Sort(names)
	if _, ok := find(prefix); !ok && len(names) > 0 {
		return fmt.Errorf("%w (of the configuration: %s%s)", err, strings.Join(names, ", "), nearest.Question(prefix, names))
	}
	return err
}

// open opens a model for each key.
func (o Own) open(name, model string, opts Options) ([]llm.Model, error) {
	protocol := cmp.Or(o.Protocol, name)
	speaks, ok := find(protocol)
	switch {
	case !ok && o.Protocol == "":
		return nil, fmt.Errorf("providers.%s.protocol must be the name of a known provider (%s), got nothing", name, strings.Join(known(), ", "))
	case !ok:
		return nil, fmt.Errorf("providers.%s.protocol: %w", name, missing(protocol))
	case o.BaseURL != "" && len(o.Keys) == 0 && opts.APIKey == "" && speaks.HasKey(os.Getenv):
		return nil, fmt.Errorf("providers.%s.key must be env:NAME or file:PATH, where the key of this server is, or none, got nothing: the key in %s is for another server",
			name, speaks.KeyVariable)
	}
	opts.BaseURL = cmp.Or(o.BaseURL, opts.BaseURL)
	var keys []string
	for i, source := range o.Keys {
		key, err := readKey(source)
		if err != nil {
			return nil, fmt.Errorf("providers.%s.keys[%d] %w", name, i, err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		keys = []string{opts.APIKey}
	}
	var all []llm.Model
	for _, key := range keys {
		opts.APIKey = key
		m, err := Open(protocol+"/"+model, opts)
		if err != nil {
			return nil, fmt.Errorf("providers.%s: %w", name, err)
		}
		if name != protocol {
			m = rename(m, name, model)
		}
		all = append(all, m)
	}
	return all, nil
}

// readKey reads a key from where it is. The error shows nothing that could be a key.
func readKey(source string) (string, error) {
	if source == "none" {
		return source, nil // sent as it is: some servers want the header
	}
	if !place.Is(source) {
		return "", errors.New("must be env:NAME, file:PATH or none, got something else, which is not shown because it may be a key")
	}
	return place.Read(source, "a key")
}

// renamed is a model under another name.
type renamed struct {
	llm.Model
	provider, name string
}

// renamedStreamer is a renamed model that can stream.
type renamedStreamer struct {
	renamed
	streamer llm.Streamer
}

// rename returns a model with the user's name for its provider.
func rename(m llm.Model, provider, model string) llm.Model {
	r := renamed{m, provider, provider + "/" + model}
	if s, ok := m.(llm.Streamer); ok {
		return renamedStreamer{r, s}
	}
	return r
}

// Name returns the user's name for the model.
func (r renamed) Name() string { return r.name }

// EndpointKey returns the key of the endpoint, which the model shares under all its names.
func (r renamed) EndpointKey() endpoint.Key { return endpoint.KeyOf(r.Model) }

// Protocol returns the name of the protocol that the model speaks; "" if it is not known.
func (r renamed) Protocol() string {
	if p, ok := r.Model.(interface{ Protocol() string }); ok {
		return p.Protocol()
	}
	return ""
}

// Lacks returns what the model's API has no setting for.
func (r renamed) Lacks() []string {
	if l, ok := r.Model.(interface{ Lacks() []string }); ok {
		return l.Lacks()
	}
	return nil
}

// Complete sends the request; an error has the user's names.
func (r renamed) Complete(ctx context.Context, req *llm.Request) (*llm.Response, error) {
	answer, err := r.Model.Complete(ctx, req)
	return answer, r.named(err)
}

// Stream sends the request; an error has the user's names.
func (r renamedStreamer) Stream(ctx context.Context, req *llm.Request) iter.Seq2[llm.Chunk, error] {
	return func(yield func(llm.Chunk, error) bool) {
		for chunk, err := range r.streamer.Stream(ctx, req) {
			if !yield(chunk, r.named(err)) {
				return
			}
		}
	}
}

// named puts the user's names into the error of an adapter, which has made it for this
// request.
func (r renamed) named(err error) error {
	if e, ok := errors.AsType[*failure.Error](err); ok {
		e.Provider, e.Model = r.provider, r.name
	}
	return err
}
