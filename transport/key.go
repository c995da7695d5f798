package transport

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"llmcall/classify"
	"llmcall/endpoint"
)

// ByHost is a [Config.Key] with which all requests to a host with the same credential
// share an endpoint, whatever their model. The credential counts because a key that is
// refused, unpaid or at its limit says nothing about another.
//
// The credential is what the request has in the header Authorization, X-Api-Key,
// X-Goog-Api-Key or Api-Key, or, in a request to Gemini, in the query parameter key. Of a
// signed request (AWS Signature Version 4) it is the access key's ID, the region and the
// service, since the signature changes each time. A renewed access token is a new
// credential: a program with such tokens should set [Config.Key] to a function that
// identifies their owner.
func ByHost(r *http.Request, _ func() io.ReadCloser) endpoint.Key {
	return endpoint.Key{Address: address(r.URL), Credential: credential(r)}
}

// ByModel is the default of [Config.Key]. With it, the requests to a model of a host with
// the same credential share an endpoint, since providers limit rates by model. The model
// is the one in the path (models/… of Gemini and Hugging Face, deployments/… of Azure,
// model/… of Bedrock), or else the first top-level field "model" of a JSON body.
// Requests without a model share the endpoint of the host. For the credential see
// [ByHost].
func ByModel(r *http.Request, open func() io.ReadCloser) endpoint.Key {
	k := ByHost(r, open)
	if k.Model = modelInPath(r.URL); k.Model != "" || r.Body == nil || r.Body == http.NoBody {
		return k
	}
	content := open()
	defer content.Close()
	k.Model = modelInBody(content)
	return k
}

func address(u *url.URL) string { return strings.ToLower(u.Scheme + "://" + u.Host) }

// modelInPath returns the model that an address names; "" if it names none. In
// Bedrock's model/… and Azure's deployments/… it is one segment, in which an ARN
// has its colons and slashes escaped. In models/… a colon ends it, since Gemini's
// method comes after that, and it may be two segments, as Hugging Face names
// models by their owner.
func modelInPath(u *url.URL) string {
	path := u.EscapedPath()
	if _, rest, ok := strings.Cut(path, "/models/"); ok {
		owner, rest := segment(rest)
		owner, _, method := strings.Cut(owner, ":")
		if method || strings.Contains(owner, "/") {
			return owner
		}
		name, _ := segment(rest)
		name, _, _ = strings.Cut(name, ":")
		if owner == "" || name == "" || slices.Contains(afterModel[:], name) {
			return owner
		}
		return owner + "/" + name
	}
	for _, before := range []string{"/deployments/", "/model/"} {
		if _, rest, ok := strings.Cut(path, before); ok {
			model, _ := segment(rest)
			return model
		}
	}
	return ""
}

// afterModel are the segments that may follow a model of one segment: what is
// asked of it, by OpenAI's, Gemini's, Replicate's, Hugging Face's and KServe's
// protocols. One that is missing here costs the model an endpoint of its own for
// that method; a name that is taken for a method would share another's.
var afterModel = [...]string{
	"v1", "v2", "chat", "completions", "embeddings", "responses", "generate", "generate_stream", "infer", "explain",
	"operations", "permissions", "pipeline", "predictions", "ready", "versions",
}

// segment returns the first segment of an escaped path, as its sender meant it,
// and what follows.
func segment(path string) (first, rest string) {
	first, rest, _ = strings.Cut(path, "/")
	if plain, err := url.PathUnescape(first); err == nil {
		first = plain
	}
	return first, rest
}

// credentialHeaders are the headers that a credential comes in.
var credentialHeaders = [...]string{"Authorization", "X-Api-Key", "X-Goog-Api-Key", "Api-Key"}

// credential returns the hash of a request's credential. A request may have two,
// as one to a gateway that has a key of its own: then both count.
func credential(r *http.Request) uint64 {
	all := ""
	for _, name := range credentialHeaders {
		if v := r.Header[name]; len(v) > 0 && v[0] != "" {
			all = joinedWith(all, lasting(v[0]))
		}
	}
	if r.URL.RawQuery != "" {
		all = joinedWith(all, inQuery(r))
	}
	return endpoint.Hash(all)
}

func joinedWith(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "\n" + b
}

// lasting returns what does not change from request to request in the value of a
// header that has a credential.
func lasting(value string) string {
	scheme, rest, ok := strings.Cut(value, " ")
	switch {
	case ok && strings.EqualFold(scheme, "Bearer"):
		return rest
	case ok && strings.HasPrefix(scheme, "AWS4-"):
		for part := range strings.SplitSeq(rest, ",") {
			if scope, ok := strings.CutPrefix(strings.TrimSpace(part), "Credential="); ok {
				return signer(scope)
			}
		}
	}
	return value
}

// signer returns the access key's ID, the region and the service of a
// credential's scope in AWS Signature Version 4, ID/date/region/service/aws4_request
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html).
// Version 4a has no region in it.
func signer(scope string) string {
	parts := strings.Split(scope, "/")
	if len(parts) < 4 {
		return scope
	}
	return strings.Join(slices.Delete(parts, 1, 2), "/")
}

// inQuery returns the credential in a request's address.
func inQuery(r *http.Request) string {
	query := r.URL.Query()
	if scope := query.Get("X-Amz-Credential"); scope != "" {
		return signer(scope)
	}
	if protocolOf(r) == classify.Gemini || strings.Contains(r.URL.Path, "/models/") {
		return query.Get("key")
	}
	return "" // it may be anything, and another in each request
}
