package fleet

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"

	"llmcall/endpoint"
)

// shares reports whether an endpoint is shared.
func (f *Fleet) shares(k endpoint.Key) bool {
	if len(f.options.Only) == 0 {
		return true
	}
	names := []string{k.Name, k.Model}
	if f.options.Names != nil {
		names = append(names, f.options.Names(k)...)
	}
	for _, pattern := range f.options.Only {
		for _, name := range names {
			if ok, _ := path.Match(pattern, name); ok && name != "" {
				return true
			}
		}
	}
	return false
}

// keyThere returns the key that an endpoint has in processes that began with the secret of the
// fleet. Only the worker may ask for it.
func (f *Fleet) keyThere(k endpoint.Key) endpoint.Key {
	k.Credential = endpoint.Rehash(k.Credential, f.secret)
	return k
}

// tag returns the part of a key in the store that tells endpoints apart, which is a key of
// [Fleet.keyThere]. All keys of an endpoint have the same, in braces, so that a Cluster has them
// in one slot.
func (f *Fleet) tag(k endpoint.Key) string {
	mac := hmac.New(sha256.New, []byte(f.secret))
	for _, field := range []string{k.Name, k.Model, k.Address} {
		fmt.Fprintf(mac, "%d:%s", len(field), field)
	}
	fmt.Fprintf(mac, "%016x", k.Credential)
	return hex.EncodeToString(mac.Sum(nil)[:6])
}

// keyOf returns a key in the store: of an endpoint by its tag, of an account by its name.
func (f *Fleet) keyOf(tag, what string) string {
	return fmt.Sprintf("%s:{%s}:%s", f.options.Namespace, tag, what)
}
