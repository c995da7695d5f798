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

// ByHost makes all requests to a host with the same credential share an
// endpoint, whatever their model. The credential counts, because a key that is
// refused, unpaid or at its limit says nothing of another.
//
// The credential is what the request has in Authorization, X-Api-Key,
// X-Goog-Api-Key or Api-Key, or, in a request for a model of Gemini, in the
// query as key. Of a request that is signed (AWS Signature Version 4) it is the
// access key's ID, the region and the service, since the signature is a new one
// each time. An access token that is renewed is a new credential: a program that
// uses such should set [Config.Key] and name what the tokens are given to.
func ByHost(r *http.Request, _ func() io.ReadCloser) endpoint.Key {
	return endpoint.Key{Address: address(r.URL), Credential: credential(r)}
}

// ByModel makes the requests to a model of a host with the same credential share
// an endpoint: providers limit rates by model. It is the default of
// [Config.Key]. The model is what the path names (Gemini's models/…, Azure's
// deployments/…, Bedrock's model/…), or else the first field "model" of a JSON
// body, which may be anywhere at its top; requests without a model share what
// belongs to the host. For the credential see [ByHost].
func ByModel(r *http.Request, body func() io.ReadCloser) endpoint.Key {
	k := ByHost(r, body)
	if k.Model = modelInPath(r.URL.Path); k.Model != "" || r.Body == nil || r.Body == http.NoBody {
		return k
	}
	content := body()
	defer content.Close()
	k.Model = modelInBody(content)
	return k
}

func address(u *url.URL) string { return strings.ToLower(u.Scheme + "://" + u.Host) }

func modelInPath(path string) string {
	for _, before := range []string{"/models/", "/deployments/", "/model/"} {
		if _, rest, ok := strings.Cut(path, before); ok {
			return rest[:len(rest)-len(strings.TrimLeft(rest, modelLetters))]
		}
	}
	return ""
}

const modelLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._@"

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
