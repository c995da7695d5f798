// Package place reads what a configuration keeps out of its file, such as a key: "env:NAME"
// is a variable of the environment, "file:PATH" a file.
package place

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxSize limits the size of a file in bytes.
const maxSize = 64 << 10

// Is reports whether a text says where something is.
func Is(text string) bool {
	kind, at, ok := strings.Cut(text, ":")
	return ok && at != "" && (kind == "env" || kind == "file")
}

// Read returns the text at a place, without the white space around it. what is what it
// is: "a key". The error begins with "must be" or "can't be read", and shows nothing
// that may be the text itself.
func Read(at, what string) (string, error) {
	if !Is(at) {
		return "", errors.New("must be env:NAME or file:PATH, got something else, which is not shown because it may be " + what)
	}
	kind, name, _ := strings.Cut(at, ":")
	text := os.Getenv(name)
	if kind == "file" {
		file, err := os.Open(name)
		if err != nil {
			return "", fmt.Errorf("can't be read: %w", err)
		}
		defer file.Close()
		data, err := io.ReadAll(io.LimitReader(file, maxSize+1)) // a pipe gives it in pieces
		if err != nil {
			return "", fmt.Errorf("can't be read: %w", err)
		}
		if len(data) > maxSize {
			return "", fmt.Errorf("must be where %s is, got %s, which is larger than %d KiB", what, at, maxSize>>10)
		}
		text = string(data)
	}
	if text = strings.TrimSpace(text); text == "" {
		return "", fmt.Errorf("must be where %s is, got %s, in which there is none", what, at)
	}
	return text, nil
}
