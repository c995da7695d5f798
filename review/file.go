package review

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"llmcall"
	"llmcall/internal/plainfile"
)

// version is that of the format of files.
const version = 1

// DefaultExpires is the time within which a person should decide, if a program does not
// say otherwise: a week.
const DefaultExpires = 7 * 24 * time.Hour

// maxSize limits the size of a file in bytes; a call may have pictures.
const maxSize = 256 << 20

// File is a call that waits for a person.
type File struct {
	// Version is that of the format. Write sets it.
	Version int `json:"version"`
	// ID is unique, for webhooks and logs. Write sets it if it is empty.
	ID string `json:"id"`
	// Created is when the call was handed over. Write sets it to now if it is zero.
	Created time.Time `json:"created"`
	// Expires is when it is too late to decide. Zero: never.
	Expires time.Time `json:"expires,omitzero"`
	// Review is the call.
	Review *llmcall.HumanReviewError `json:"review"`
	// Program is what the program needs to go on, such as its settings, in its own form.
	// It must not hold a key. Default none.
	Program json.RawMessage `json:"program,omitempty"`
	// Decided says who has decided about it, and since when. [Claimed.Done] sets it.
	// Default "": nobody yet.
	Decided string `json:"decided,omitempty"`
}

// Write writes the file, and replaces one of that name as a whole: a link to it stays a link.
// What is not a regular file, such as /dev/stdout, is written to. It fills in f's Version, ID
// and Created.
func Write(path string, f *File) error {
	if f.Review == nil {
		return errors.New("review: Review must be set, got none")
	}
	f.Version = version
	if f.ID == "" {
		f.ID = "review_" + rand.Text()
	}
	if f.Created.IsZero() {
		f.Created = time.Now().Round(0).UTC()
	}
	text, err := encode(f)
	if err == nil {
		err = replace(path, text)
	}
	if err != nil {
		return fmt.Errorf("review: %w", err)
	}
	return nil
}

// replace writes a file as a whole, so that an interrupt does not leave half of it.
func replace(path string, text []byte) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return os.WriteFile(path, text, 0o600)
	}
	if linked, err := filepath.EvalSymlinks(path); err == nil {
		path = linked
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".review-*") // readable by its user alone
	if err != nil {
		return err
	}
	_, err = temporary.Write(text)
	err = errors.Join(err, temporary.Sync(), temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(temporary.Name()))
	}
	return err
}

// encode returns the file's JSON, indented and without encoding/json's escapes of "<", ">"
// and "&", for people's eyes.
func encode(f *File) ([]byte, error) {
	text, err := json.MarshalIndent(f, "", "  ")
	return append([]byte(readable.Replace(string(text))), '\n'), err
}

// readable passes over a backslash that is escaped itself.
var readable = strings.NewReplacer(`\\`, `\\`, `\u003c`, "<", `\u003e`, ">", `\u0026`, "&")

// Read reads a file that Write has written. It does not claim it.
func Read(path string) (*File, error) {
	text, err := plainfile.Read(path, maxSize)
	if refused, ok := errors.AsType[*plainfile.Refusal](err); ok {
		return nil, fmt.Errorf("review: %s %w", path, refused)
	}
	if err != nil {
		return nil, fmt.Errorf("review: %w", err)
	}
	var f File
	if err := json.Unmarshal(text, &f); err != nil {
		got := "other JSON"
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			got = fmt.Sprintf("what is not JSON: %v", syntax)
		}
		return nil, fmt.Errorf("review: %s must be the JSON of a call that waits for a person, got %s", path, got)
	}
	switch {
	case f.Version > version:
		return nil, fmt.Errorf("review: %s has the version %d of the format, and this program reads up to %d: use a newer one", path, f.Version, version)
	case f.Version < 1 || f.Review == nil || f.Review.Request == nil:
		return nil, fmt.Errorf("review: %s must be a call that waits for a person, got other JSON", path)
	}
	return &f, nil
}

// ExpiredError is the error of [Claim] for a file whose time is over.
type ExpiredError struct {
	Path    string
	Expired time.Time
}

// Error says when it expired.
func (e *ExpiredError) Error() string {
	return fmt.Sprintf("review: %s has expired at %s", e.Path, e.Expired.Format(time.RFC3339))
}

// ClaimedError is the error of [Claim] for a file that somebody else decides about, or has
// decided about.
type ClaimedError struct {
	Path  string
	Claim string // the file by which it is claimed; "" if it is decided
	By    string // who has claimed it, as far as is known
	Done  bool   // it is decided
}

// Error says who has it.
func (e *ClaimedError) Error() string {
	if e.Done {
		return fmt.Sprintf("review: %s is decided already, by %s", e.Path, e.By)
	}
	return fmt.Sprintf("review: %s is claimed by %s; if that process is gone, remove %s", e.Path, e.By, e.Claim)
}

// Claimed is a claim to decide about a file. One of its methods must be called.
type Claimed struct{ path, claim, id, by string }

// Claim reads a file and claims it: of several that try, on one machine or on a shared
// file system, one succeeds. The claim is a file beside it, whose name ends in .claim. The
// errors are [*ClaimedError], [*ExpiredError] and those of [Read].
func Claim(path string) (*File, *Claimed, error) {
	if _, err := open(path); err != nil { // before anything is written
		return nil, nil, err
	}
	host, _ := os.Hostname()
	c := &Claimed{path: path, claim: path + ".claim"}
	c.by = fmt.Sprintf("process %d on %s, since %s", os.Getpid(), host, time.Now().UTC().Format(time.RFC3339))
	// Whole at once: whoever finds the claim can read whose it is.
	err := create(c.claim, c.by)
	if errors.Is(err, fs.ErrExist) {
		by, _ := os.ReadFile(c.claim)
		return nil, nil, &ClaimedError{Path: path, Claim: c.claim, By: string(by)}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("review: %w", err)
	}
	f, err := open(path) // as whoever had claimed it before has left it
	if err != nil {
		return nil, nil, errors.Join(err, c.Release())
	}
	c.id = f.ID
	return f, c, nil
}

// open reads a file about which somebody may decide.
func open(path string) (*File, error) {
	f, err := Read(path)
	switch {
	case err != nil:
		return nil, err
	case f.Decided != "":
		return nil, &ClaimedError{Path: path, By: f.Decided, Done: true}
	case !f.Expires.IsZero() && time.Now().After(f.Expires):
		return nil, &ExpiredError{path, f.Expires}
	}
	return f, nil
}

// create creates a file with its content, unless there is one of its name.
func create(path, text string) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), ".claim-*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.WriteString(text)
	if err = errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	return os.Link(temporary.Name(), path)
}

// Release gives the claim back: somebody may decide again.
func (c *Claimed) Release() error {
	if err := os.Remove(c.claim); err != nil {
		return fmt.Errorf("review: %w", err)
	}
	return nil
}

// Done notes in the file that it is decided: it can't be claimed any more. If the file was
// replaced by that of another call since it was claimed, that one is left alone.
func (c *Claimed) Done() error {
	f, err := Read(c.path)
	if err == nil && f.ID == c.id {
		f.Decided = c.by
		err = Write(c.path, f)
	}
	return errors.Join(err, c.Release())
}
