package endpoint

import (
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
// it, the numbers are different in each process. Only the first secret holds, and only
// if Hash was not called before. Seed reports whether Hash has a secret, this one or an
// earlier one: then [Rehash] says what it would return with another.
func Seed(text string) bool {
	secret.once.Do(func() { secret.text, secret.seed = text, maphash.MakeSeed() })
	return secret.text != ""
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
	sum := sha256.Sum256([]byte(credential))
	return permuted(secret.text, binary.BigEndian.Uint64(sum[:]), false)
}

// Rehash returns what [Hash] would have returned for a credential with another secret, from
// what it has returned: a process that learns the secret of its fleet late has made its keys
// already. Without a secret of the process (see [Seed]) it returns the number as it is.
func Rehash(hash uint64, text string) uint64 {
	if hash == 0 || secret.text == "" {
		return hash
	}
	return permuted(text, permuted(secret.text, hash, true), false)
}

// permuted returns a number under the permutation that a secret makes, or the number of which it
// is that. Without the secret nothing can be said of the number, and who knows a credential
// can't find its hash. The permutation has four rounds whose function is SHA-256 with a key
// (M. Luby, C. Rackoff, "How to construct pseudorandom permutations from pseudorandom
// functions", 1988).
func permuted(text string, n uint64, back bool) uint64 {
	left, right := uint32(n>>32), uint32(n)
	if back {
		left, right = right, left
	}
	key := sha256.Sum256([]byte(text))
	block := append(key[:], 0, 0, 0, 0, 0)
	for i := range byte(4) {
		if block[32] = i; back {
			block[32] = 3 - i
		}
		binary.BigEndian.PutUint32(block[33:], right)
		sum := sha256.Sum256(block)
		left, right = right, left^binary.BigEndian.Uint32(sum[:])
	}
	if back {
		left, right = right, left
	}
	return uint64(left)<<32 | uint64(right)
}
