package endpoint

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"

	"llmcall/llm"
)

// Key identifies an [Endpoint]: calls to the same model, at the same address, with the
// same credential share one. A Key holds no credential itself.
type Key struct {
	// Name is a name that the program has configured for the endpoint. If it is
	// set, the other fields are empty.
	Name string
	// Model is the model's full name, such as "openai/gpt-6-luna".
	Model string
	// Address is the scheme, host and base path that requests are sent to, without
	// user, query and fragment. "": the provider's own address.
	Address string
	// Credential tells the API keys of a process apart; see [Hash]. 0: none.
	Credential uint64
}

// String returns the key for logs and pages: the name, or the model with its address
// and four hexadecimal digits that tell credentials apart. The credential can't be
// derived from it.
func (k Key) String() string {
	if k.Name != "" {
		return k.Name
	}
	s := k.Model
	if k.Address != "" {
		s += " at " + k.Address
	}
	if k.Credential != 0 {
		s += fmt.Sprintf(" #%04x", uint16(k.Credential))
	}
	return strings.TrimSpace(s)
}

// Keyed is implemented by models that know the key of their endpoint, as the adapters of
// the providers do; see [KeyOf].
type Keyed interface{ EndpointKey() Key }

// KeyOf returns the key of a model's endpoint: the result of its method EndpointKey if
// it is [Keyed], or a key with its name alone.
func KeyOf(m llm.Model) Key {
	if k, ok := m.(Keyed); ok {
		return k.EndpointKey()
	}
	return Key{Model: m.Name()}
}

var secret struct {
	once sync.Once
	text string
	seed maphash.Seed
}

// Seed makes [Hash] return the same numbers in every process that is given the same
// secret, so that the processes of a fleet recognise each other's endpoints. Without
// it, the numbers are different in each process. It must be called before Hash;
// otherwise it has no effect and returns false.
func Seed(text string) bool {
	first := false
	secret.once.Do(func() {
		secret.text, secret.seed = text, maphash.MakeSeed()
		first = true
	})
	return first
}

// Hash returns a number that identifies a credential, for [Key.Credential]: a hash of
// 64 bits with a secret of the process as its key (see [Seed]), from which the
// credential can't be derived. That of "" is 0. The argument must not change from
// request to request: for signed requests (AWS Signature Version 4) use the access
// key's ID, the region and the service; for a source of tokens, its identity.
func Hash(credential string) uint64 {
	if credential == "" {
		return 0
	}
	Seed("")
	if secret.text == "" {
		return maphash.String(secret.seed, credential) | 1
	}
	mac := hmac.New(sha256.New, []byte(secret.text))
	mac.Write([]byte(credential))
	return binary.BigEndian.Uint64(mac.Sum(nil)) | 1
}
