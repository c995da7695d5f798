package rows

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"llmcall/internal/nearest"
)

// maxRow limits the size of a row in bytes: a row may have pictures.
const maxRow = 64 << 20

// Source is an input. Its methods may be called one after the other, from one goroutine.
type Source struct {
	name    string
	format  Format
	file    *os.File
	size    int64
	changed time.Time // when it was last written to; zero: it is ours
	spooled bool
	origin  fs.FileInfo // of the file that was named, or is standard input; nil without one
	comma   rune        // what separates the fields of a CSV
	sep     bool        // the first line of the CSV says so
}

// Open opens an input: a file, or standard input if the name is "-". The format is by
// default that of the name's extension, or else that of the content. What is not a regular
// file is read to its end first, into a temporary file, which nobody else can open and
// which is gone with the process. ctx ends that.
func Open(ctx context.Context, name string, stdin io.Reader, format Format) (*Source, error) {
	if format != "" && !slices.Contains(Formats, format) {
		return nil, fmt.Errorf("the format of the input must be %s, got %s", nearest.List(format, Formats), nearest.Shown(format, Formats))
	}
	s := &Source{name: name, format: format}
	var err error
	if name == "-" {
		s.name = "standard input"
		err = s.spool(ctx, stdin)
	} else {
		err = s.open(ctx, name)
	}
	if err != nil {
		return nil, err
	}
	if err := s.recognise(name); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Source) open(ctx context.Context, name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	switch {
	case err != nil:
		return errors.Join(err, file.Close())
	case info.IsDir():
		return errors.Join(s.fault(0, "is a directory: takes a file of rows"), file.Close())
	case !info.Mode().IsRegular():
		return errors.Join(s.spool(ctx, file), file.Close())
	}
	s.file, s.size, s.changed, s.origin = file, info.Size(), info.ModTime(), info
	return nil
}

// spool copies a stream to a temporary file.
func (s *Source) spool(ctx context.Context, from io.Reader) error {
	file, err := os.CreateTemp("", "llmcall-rows-*")
	if err != nil {
		return fmt.Errorf("%s is kept in a temporary file while its rows are asked: %w", s.name, err)
	}
	s.file, s.spooled = file, true
	if named, ok := from.(*os.File); ok {
		s.origin, _ = named.Stat() // see Is
	}
	os.Remove(file.Name()) // where an open file can be removed, nothing is left by a crash
	type end struct {
		size int64
		err  error
	}
	done := make(chan end, 1)
	go func() {
		size, err := io.Copy(file, from)
		done <- end{size, err}
	}()
	select {
	case <-ctx.Done(): // the reader may never return
		return errors.Join(context.Cause(ctx), s.Close())
	case read := <-done:
		s.size = read.size
		if read.err == nil {
			return nil
		}
		if e, ok := errors.AsType[*fs.PathError](read.err); ok && e.Path == file.Name() {
			read.err = fmt.Errorf("%s is kept in a temporary file while its rows are asked, in %s (TMPDIR says where): %w", s.name, filepath.Dir(file.Name()), e.Err)
		} else {
			read.err = fmt.Errorf("%s: %w", s.name, read.err)
		}
		return errors.Join(read.err, s.Close())
	}
}

// Close closes the input, and deletes what was spooled.
func (s *Source) Close() error {
	err := s.file.Close()
	if s.spooled {
		if e := os.Remove(s.file.Name()); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// Name returns the name of the file, or "standard input".
func (s *Source) Name() string { return s.name }

// Is reports whether a path leads to the file that is read, also as standard input: results
// must not go there.
func (s *Source) Is(path string) bool {
	named, err := os.Stat(path)
	return err == nil && s.origin != nil && s.origin.Mode().IsRegular() && os.SameFile(s.origin, named)
}

// Format returns the format of the input.
func (s *Source) Format() Format { return s.format }

func (s *Source) fault(line int, format string, args ...any) *Error {
	return &Error{Source: s.name, Line: line, Problem: fmt.Sprintf(format, args...)}
}

// All yields the rows, in their order. It may be ranged over several times. A non-nil
// error, an *[Error] or one of reading the file, is the last value: what comes after it is
// not read. A file that was written to since [Open] is an error.
func (s *Source) All() iter.Seq2[*Row, error] {
	return func(yield func(*Row, error) bool) {
		if err := s.unchanged(); err != nil {
			yield(nil, err)
			return
		}
		next := s.reader()
		for number := 1; ; number++ {
			row, err := next()
			if errors.Is(err, io.EOF) {
				if err := s.unchanged(); err != nil {
					yield(nil, err)
				}
				return
			}
			if err == nil {
				row.Number, row.source = number, s.name
				err = row.identify()
			}
			if err != nil {
				yield(nil, cmp.Or(s.unchanged(), err))
				return
			}
			if !yield(row, nil) {
				return
			}
		}
	}
}

// unchanged returns an error if the file was written to meanwhile: rows would be asked that
// nobody has looked at.
func (s *Source) unchanged() error {
	if s.spooled {
		return nil
	}
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() != s.size || !info.ModTime().Equal(s.changed) {
		return s.fault(0, "was changed while its rows were asked: run it again")
	}
	return nil
}

// reader returns a function that reads the next row, or io.EOF.
func (s *Source) reader() func() (*Row, error) {
	content := io.NewSectionReader(s.file, 0, s.size)
	if s.format == CSV {
		return newRecords(s, content).next
	}
	return newLines(s, content).next
}

var byteOrderMark = []byte("\uFEFF")

// recognise finds the format, and refuses what is neither.
func (s *Source) recognise(name string) error {
	head := make([]byte, 4096)
	n, err := s.file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	head = head[:n]
	if problem := notText(head); problem != "" {
		return s.fault(0, "%s", problem)
	}
	first := firstLine(head)
	switch {
	case s.format != "":
	case slices.Contains([]string{".jsonl", ".ndjson", ".json"}, strings.ToLower(filepath.Ext(name))):
		s.format = JSONL
	case slices.Contains([]string{".csv", ".tsv"}, strings.ToLower(filepath.Ext(name))):
		s.format = CSV
	case len(first) == 0 || first[0] == '{' || first[0] == '[':
		s.format = JSONL
	case bytes.ContainsAny(first, separators):
		s.format = CSV
	default:
		return s.fault(0, "is neither JSONL nor CSV by its first line: name its format (--format jsonl or csv)")
	}
	if s.format == CSV {
		s.comma, s.sep = separatorOf(head)
	}
	return nil
}

// firstLine returns the first line that is not blank.
func firstLine(head []byte) []byte {
	head = bytes.TrimSpace(bytes.TrimPrefix(head, byteOrderMark))
	line, _, _ := bytes.Cut(head, []byte("\n"))
	return line
}

// notText says what a content is that is often given instead of rows; "" if it may be rows.
func notText(head []byte) string {
	for _, known := range []struct{ begins, problem string }{
		{"\x1f\x8b", "is compressed by gzip: zcat FILE | llmcall batch -"},
		{"\x28\xb5\x2f\xfd", "is compressed by zstd: zstdcat FILE | llmcall batch -"},
		{"PK\x03\x04", "is a ZIP archive or a spreadsheet: save the spreadsheet as CSV (UTF-8)"},
		{"\xd0\xcf\x11\xe0", "is a spreadsheet: save it as CSV (UTF-8)"},
		{"PAR1", "is a Parquet file: takes JSONL or CSV"},
		{"\xff\xfe", "is UTF-16: takes UTF-8"},
		{"\xfe\xff", "is UTF-16: takes UTF-8"},
	} {
		if bytes.HasPrefix(head, []byte(known.begins)) {
			return known.problem
		}
	}
	return ""
}

// newBuffer returns a reader after the byte order mark, if there is one.
func newBuffer(content io.Reader) *bufio.Reader {
	b := bufio.NewReaderSize(content, 64<<10)
	if head, err := b.Peek(len(byteOrderMark)); err == nil && bytes.Equal(head, byteOrderMark) {
		_, _ = b.Discard(len(byteOrderMark)) // they are there
	}
	return b
}
