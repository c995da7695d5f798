package wire

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"llmcall/failure"
)

// Foreign is a server that a program calls by an SDK without an adapter. All that
// is known of a call is in the SDK's error.
type Foreign struct {
	Protocol string // classify.OpenAI
	// Home is the provider's own address. For a server at another address, the
	// provider in errors is the name of its host.
	Home string
	// Secrets are the keys that texts may quote; see [Secrets]. Those shorter than 8
	// bytes are ignored, because they may appear in a text by chance.
	Secrets []string
}

// Response returns an exchange with the given request, response and body, for its
// methods that make errors. request may be nil.
func (f Foreign) Response(request *http.Request, response *http.Response, body []byte) *Exchange {
	if request == nil {
		request = &http.Request{}
	}
	known := *request
	if known.URL == nil {
		known.URL = &url.URL{}
	}
	e := f.at(known.URL)
	return &Exchange{
		Endpoint: e, Sent: true, Whole: true, At: time.Now(), Status: response.StatusCode,
		Body: []byte(e.Hide(string(body))), problem: body, Request: &known, Response: response,
	}
}

// Broken converts a failure of the network. It returns any other error unchanged,
// as well as one that knows its kind, and one of a context, since only the caller
// knows whose that is.
func (f Foreign) Broken(err error) error {
	var address *url.URL
	outer, sent := errors.AsType[*url.Error](err)
	if sent {
		address, _ = url.Parse(outer.URL)
	}
	if !sent && !failure.Network(err) || classified(err) {
		return err
	}
	if address == nil {
		address = &url.URL{}
	}
	f.Secrets = append(f.Secrets[:len(f.Secrets):len(f.Secrets)], secretsIn(address)...)
	return f.at(address).Broken(context.Background(), err)
}

// classified reports whether an error knows its kind, or is one of a context.
func classified(err error) bool {
	if _, ok := errors.AsType[interface {
		error
		FailureKind() failure.Kind
	}](err); ok {
		return true
	}
	switch failure.KindOf(err) {
	case failure.CircuitOpen, failure.Cancelled, failure.DeadlineExceeded:
		return true
	}
	return false
}

func (f Foreign) at(address *url.URL) *Endpoint {
	provider := f.Protocol
	if home, err := url.Parse(f.Home); err == nil && address.Host != "" && !strings.EqualFold(address.Host, home.Host) {
		provider = address.Host
	}
	return &Endpoint{Provider: provider, Protocol: f.Protocol, Base: address, Hide: func(text string) string {
		for _, secret := range f.Secrets {
			text = hide(secret)(text)
		}
		return text
	}}
}

// Secrets returns the keys and cookies in a request. request may be nil.
func Secrets(request *http.Request) []string {
	if request == nil {
		return nil
	}
	var all []string
	for _, name := range secretHeaders {
		for _, value := range request.Header.Values(name) {
			_, token, _ := strings.Cut(value, " ") // "Bearer …"
			all = append(all, value, strings.TrimSpace(token))
		}
	}
	if request.URL != nil {
		all = append(all, secretsIn(request.URL)...)
	}
	return all
}

// secretsIn returns the parts of an address that may be keys: the password and the
// values of the query.
func secretsIn(address *url.URL) []string {
	password, _ := address.User.Password()
	all := []string{password}
	for name, values := range address.Query() {
		if name != "api-version" { // Azure's errors name it
			all = append(all, values...)
		}
	}
	return all
}
