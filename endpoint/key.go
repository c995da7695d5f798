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

// Key says which calls share an endpoint: those to the same model at the same
// address with the same credential. It holds no credential itself.
type Key struct {
	// Name is a name that the program has configured for the endpoint. If set,
	// the other fields are empty and calls share the endpoint by it alone.
	Name string
	// Model is the model's full name, "openai/gpt-6-luna".
	Model string
	// Address is where it is called: scheme, host and base path, without user,
	// query and fragment. "": the provider's own address.
	Address string
	// Credential tells the API keys of a process apart; see [Hash]. 0: none.
	Credential uint64
}

// String returns the key for logs and pages: the name, or the model with its
// address, and a few digits that tell two credentials apart. The credential
// can't be had from it.
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

// Keyed is implemented by models that know their endpoint: the adapters of the
// providers. A model without it is known by its name alone.
type Keyed interface{ EndpointKey() Key }

// KeyOf returns the key of a model's endpoint: what its method EndpointKey
// returns, or else one of its name.
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

// Seed makes [Hash] give the same numbers in every process that is given the
// same secret, so that the processes of a fleet know each other's endpoints. It
// must be called before the first call of Hash; later it has no effect and
// returns false. Without it the numbers are different in each process.
func Seed(text string) bool {
	first := false
	secret.once.Do(func() {
		secret.text, secret.seed = text, maphash.MakeSeed()
		first = true
	})
	return first
}

// Hash returns the number by which a credential is told from others: 64 bits
// keyed by a secret of the process, from which the credential can't be found.
// That of "" is 0. What changes with each request does not identify a
// credential: for signed requests (AWS Signature Version 4) give it the access
// key's ID, region and service, for a token source its identity.
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
