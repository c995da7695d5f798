//go:build !unix

package pgquery

import "io/fs"

// private is true: elsewhere a user's cache directory is in the user's profile,
// and its access rights are inherited.
func private(fs.FileInfo) bool { return true }
