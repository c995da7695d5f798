package clients

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
)

// keyPrefix begins each key, so that scanners for secrets can find one that was published.
const keyPrefix = "llmcall_"

// digest is the SHA-256 of a key. A key has 256 random bits, so that no salt and no slow
// hash is needed: there is no list of likely keys to try.
type digest [sha256.Size]byte

// NewKey returns a new key, "llmcall_" and 43 characters of base64url, and its hash for
// [Config.SHA256].
func NewKey() (key, hash string) {
	var secret [32]byte
	rand.Read(secret[:]) // never fails
	key = keyPrefix + base64.RawURLEncoding.EncodeToString(secret[:])
	sum := sha256.Sum256([]byte(key))
	return key, hex.EncodeToString(sum[:])
}
