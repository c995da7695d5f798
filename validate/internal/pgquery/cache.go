package pgquery

import (
	"os"
	"path/filepath"
)

// cacheDir is the directory for the compiled parser: llmcall/wazero in the user's
// cache directory ([os.UserCacheDir]), created with mode 0700. It is "" if anybody else
// can write there, since its contents are run.
//
// Processes may share it: wazero writes a file under another name and renames it,
// and its name has the version of wazero, the platform and the module's hash.
func cacheDir() string {
	root, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	dir := filepath.Join(root, "llmcall", "wazero")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return ""
	}
	for _, d := range []string{filepath.Dir(dir), dir} {
		if info, err := os.Lstat(d); err != nil || !info.IsDir() || !private(info) {
			return ""
		}
	}
	return dir
}
