package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"llmcall/internal/datauri"
	"llmcall/internal/say"
	"llmcall/internal/sniff"
	"llmcall/llm"
	"llmcall/media"
	"llmcall/picture"

	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"
)

// messages returns the conversation to send: the stored one, with the system
// message, followed by what the user asks now.
func (f *callFlags) messages(cmd *cobra.Command, args []string, system string) ([]llm.Message, error) {
	var messages []llm.Message
	if f.continued != "" {
		var err error
		if messages, err = readConversation(f.continued); err != nil {
			return nil, fmt.Errorf("--continue: %w", err)
		}
	}
	messages = withSystem(messages, system, cmd.Flags().Changed("system"))
	turn, err := f.turn(cmd, args)
	switch {
	case err != nil:
		return nil, err
	case len(turn.Parts) > 0:
		return withTurn(messages, turn), nil
	case len(messages) > 0 && messages[len(messages)-1].Role == llm.RoleUser:
		return messages, nil // the stored conversation waits for an answer
	case len(args) == 0 && isTerminal(cmd.InOrStdin()):
		return nil, errors.New("expected a PROMPT, got nothing; llmcall call - reads it from the terminal")
	}
	return nil, errors.New("PROMPT must not be empty")
}

// turn returns the user's turn: the texts of --file, what is piped in, PROMPT and
// the pictures. It has no parts if there is no text.
func (f *callFlags) turn(cmd *cobra.Command, args []string) (llm.Message, error) {
	turn := llm.Message{Role: llm.RoleUser}
	prompt, err := readPrompt(cmd, args)
	if err != nil {
		return turn, err
	}
	var pictures []llm.Part
	for _, image := range f.images {
		part, err := readImage(image)
		if err != nil {
			return turn, fmt.Errorf("--image: %w", err)
		}
		pictures = append(pictures, part)
	}
	var texts []string
	for _, file := range f.files {
		part, err := readAttachment(file)
		if err != nil {
			return turn, fmt.Errorf("--file: %w", err)
		}
		if text, ok := part.(llm.Text); ok {
			texts = append(texts, string(text))
		} else {
			pictures = append(pictures, part)
		}
	}
	if strings.TrimSpace(prompt) == "" {
		if len(texts)+len(pictures) > 0 {
			return turn, errors.New("PROMPT must not be empty: it says what to do with the files")
		}
		return turn, nil
	}
	text := strings.Join(append(texts, prompt), "\n\n")
	turn.Parts = append([]llm.Part{llm.Text(text)}, pictures...)
	return turn, nil
}

// readPrompt returns PROMPT after what is piped in, or one of the two.
func readPrompt(cmd *cobra.Command, args []string) (string, error) {
	in, errs := cmd.InOrStdin(), cmd.ErrOrStderr()
	prompt := ""
	if len(args) > 0 {
		prompt = args[0]
	}
	if prompt == "-" {
		if isTerminal(in) {
			fmt.Fprintln(errs, "llmcall: type the prompt, then Ctrl-D on a line of its own")
			return readInput(cmd.Context(), in)
		}
		return readPipe(cmd.Context(), in, errs)
	}
	if !isPiped(in) {
		return prompt, nil
	}
	piped, err := readPipe(cmd.Context(), in, errs)
	switch {
	case err != nil || strings.TrimSpace(prompt) == "":
		return piped, err
	case strings.TrimSpace(piped) == "":
		return prompt, nil
	}
	return strings.TrimRight(piped, "\r\n") + "\n\n" + prompt, nil
}

// isPiped reports whether somebody wrote what standard input has: it is a pipe, a
// socket or a file, but neither a terminal nor /dev/null.
func isPiped(r io.Reader) bool {
	file, ok := r.(*os.File)
	if !ok {
		return true
	}
	info, err := file.Stat()
	return err == nil && (info.Mode().IsRegular() || info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) != 0)
}

// isTerminal reports whether a reader or writer is a terminal.
func isTerminal(rw any) bool {
	if w, ok := rw.(stdoutWriter); ok {
		rw = w.Writer
	}
	file, ok := rw.(term.File)
	return ok && term.IsTerminal(file.Fd())
}

// patience is how long standard input may take without a word to the user. Under a
// program that leaves it open and writes nothing, it never ends.
const patience = 2 * time.Second

// readPipe is readInput that says so if it takes long.
func readPipe(ctx context.Context, r io.Reader, errs io.Writer) (string, error) {
	notice := time.AfterFunc(patience, func() {
		fmt.Fprintln(errs, "llmcall: still reading standard input; if there is nothing to read, add </dev/null")
	})
	defer notice.Stop()
	return readInput(ctx, r)
}

// readAttachment returns the part that a --file is: a document, a recording, a picture,
// or a text that says which file it is.
func readAttachment(path string) (llm.Part, error) {
	if scheme, rest, _ := strings.Cut(path, ":"); strings.HasPrefix(rest, "//") {
		return nil, fmt.Errorf("must be a file or a data URI, got an address (%s://…); --image takes that of a picture", scheme)
	}
	if datauri.Is(path) {
		data, err := datauri.Decode(path, maxInput)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", say.Short(path, 40), err)
		}
		return attachment(say.Short(path, 40), "", data)
	}
	data, err := readFile(path, maxInput)
	if err != nil {
		return nil, err
	}
	return attachment(path, filepath.Base(path), data)
}

// attachment is readAttachment of a content. Path is what was given, for errors; name is ""
// for a data URI.
func attachment(path, name string, data []byte) (llm.Part, error) {
	if sniff.Type(data) == "" && utf8.Valid(data) && !strings.Contains(string(data), "\x00") {
		if strings.TrimSpace(string(data)) == "" {
			return nil, fmt.Errorf("%s is empty", path)
		}
		text := strings.TrimRight(string(data), "\r\n")
		if name == "" {
			return llm.Text(fmt.Sprintf("<file>\n%s\n</file>", text)), nil
		}
		return llm.Text(fmt.Sprintf("<file name=%q>\n%s\n</file>", name, text)), nil
	}
	part, err := media.Bytes(data)
	if err != nil {
		return nil, fmt.Errorf("%s is neither a text in UTF-8 nor a file that a model takes: %w", path, err)
	}
	if doc, ok := part.(llm.Document); ok {
		doc.Name = name
		part = doc
	}
	return part, nil
}

// readImage returns the picture that an --image names.
func readImage(where string) (llm.Image, error) {
	switch scheme, rest, _ := strings.Cut(where, ":"); {
	case where == "-":
		return llm.Image{}, errors.New("must be a file, an http(s) address or a data URI, got - (standard input)")
	case where == "":
		return llm.Image{}, errors.New("must be a file, an http(s) address or a data URI, got an empty string")
	case datauri.Is(where):
		image, err := picture.DataURI(where)
		if err != nil {
			err = fmt.Errorf("%s: %w", say.Short(where, 40), err)
		}
		return image, err
	case strings.HasPrefix(rest, "//"):
		image, err := picture.URL(where)
		if err != nil {
			err = fmt.Errorf("%s://…: %w", scheme, err) // the rest may contain a password
		}
		return image, err
	}
	return picture.File(where)
}

// readInput reads standard input until its end or an interrupt by the user.
func readInput(ctx context.Context, r io.Reader) (string, error) {
	type read struct {
		data []byte
		err  error
	}
	done := make(chan read, 1)
	go func() {
		data, err := readAll(r, "it", maxInput)
		done <- read{data, err}
	}()
	select {
	case <-ctx.Done():
		return "", errInterrupted
	case in := <-done:
		if in.err != nil {
			return "", fmt.Errorf("standard input: %w", in.err)
		}
		return string(in.data), nil
	}
}
