package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"llmcall/llm"
	"llmcall/review"
)

// readConversation reads what writeConversation wrote, or the conversation of a call that
// waits for a person.
func readConversation(path string) ([]llm.Message, error) {
	data, err := readFile(path, maxInput)
	if err != nil {
		return nil, err
	}
	if text := bytes.TrimSpace(data); len(text) > 0 && text[0] == '{' {
		var f review.File
		if err := json.Unmarshal(data, &f); err != nil || f.Review == nil || len(f.Review.Conversation) == 0 {
			return nil, fmt.Errorf("%s must be a JSON list of messages, as --save writes it: got JSON of the type object, and not of a call that waits for a person", path)
		}
		return f.Review.Conversation, nil
	}
	var texts []json.RawMessage
	if err := json.Unmarshal(data, &texts); err != nil {
		return nil, fmt.Errorf("%s must be a JSON list of messages, as --save writes it: %w", path, inJSON(err))
	}
	if len(texts) == 0 {
		return nil, fmt.Errorf("%s must have at least one message, got none", path)
	}
	messages := make([]llm.Message, len(texts))
	for i := range messages {
		m := &messages[i]
		if err := json.Unmarshal(texts[i], m); err != nil {
			return nil, fmt.Errorf("%s: message %d must be as --save writes it: %w", path, i+1, inJSON(err))
		}
		switch m.Role {
		case llm.RoleSystem, llm.RoleUser, llm.RoleAssistant, llm.RoleTool:
		default:
			return nil, fmt.Errorf("%s: the role of message %d must be system, user, assistant or tool, got %q", path, i+1, m.Role)
		}
	}
	return messages, nil
}

// inJSON replaces the error of a JSON value of the wrong type, which tells of types of Go.
func inJSON(err error) error {
	e, ok := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case !ok:
		return errors.New(strings.TrimPrefix(err.Error(), "llm: ")) // a package of Go
	case e.Field == "":
		return errors.New("got JSON of the type " + e.Value)
	}
	return fmt.Errorf("%s is JSON of the type %s", strings.TrimPrefix(e.Field, "."), e.Value)
}

// withSystem returns a conversation with a system message, which replaces that of
// the conversation only if told so.
func withSystem(messages []llm.Message, system string, replace bool) []llm.Message {
	isSystem := func(m llm.Message) bool { return m.Role == llm.RoleSystem }
	if slices.ContainsFunc(messages, isSystem) {
		if !replace {
			return messages
		}
		messages = slices.DeleteFunc(messages, isSystem)
	}
	if system == "" {
		return messages
	}
	return append([]llm.Message{llm.System(system)}, messages...)
}

// withTurn adds a turn of the user. Providers refuse a call of a tool without a
// result, and some refuse two turns of the user in a row.
func withTurn(messages []llm.Message, turn llm.Message) []llm.Message {
	if len(messages) == 0 {
		return []llm.Message{turn}
	}
	last := &messages[len(messages)-1]
	if last.Role == llm.RoleUser {
		last.Parts = append(last.Parts, turn.Parts...)
		return messages
	}
	var results []llm.Part
	for _, call := range last.ToolCalls() {
		results = append(results, llm.ToolResult{CallID: call.ID, Content: "not carried out", IsError: true})
	}
	if len(results) > 0 {
		messages = append(messages, llm.Message{Role: llm.RoleTool, Parts: results})
	}
	return append(messages, turn)
}

// canSave looks whether a conversation can be written, before a call is paid for.
func canSave(path string) error {
	if path == "" {
		return nil
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return fmt.Errorf("--save must be a file, got the directory %s", path)
	}
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return fmt.Errorf("--save: %w", err)
	}
	return nil
}

// writeConversation writes a conversation as JSON, for its user alone. It replaces a
// file as a whole, so that an interrupt does not leave half of it.
func writeConversation(path string, messages []llm.Message) error {
	data, err := json.MarshalIndent(messages, "", "  ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() { // such as /dev/stdout
		return os.WriteFile(path, data, 0o600)
	}
	if linked, err := filepath.EvalSymlinks(path); err == nil {
		path = linked
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".llmcall-*.json")
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if e := file.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		os.Remove(file.Name())
	}
	return err
}
