package mcp

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"llmcall/internal/say"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// textOf puts the parts of a result into one text. The error is that of a tool that failed.
func textOf(result *sdk.CallToolResult) (string, error) {
	var parts []string
	structured := result.StructuredContent != nil
	for _, part := range result.Content {
		text := partText(part)
		if structured && sameJSON(text, result.StructuredContent) {
			structured = false // for clients that know only text, the JSON is there too
		}
		parts = append(parts, text)
	}
	if structured {
		if text, err := json.Marshal(result.StructuredContent); err == nil { // it came as JSON
			parts = append(parts, string(text))
		}
	}
	text := strings.Join(parts, "\n")
	if !result.IsError {
		return text, nil
	}
	if strings.TrimSpace(text) == "" {
		text = "the tool failed, and does not say why"
	}
	return "", errors.New(text)
}

// partText is a part of a result as text.
func partText(part sdk.Content) string {
	switch p := part.(type) {
	case *sdk.TextContent:
		return p.Text
	case *sdk.ImageContent:
		return unreadable("a picture", p.MIMEType, "", len(p.Data))
	case *sdk.AudioContent:
		return unreadable("a recording", p.MIMEType, "", len(p.Data))
	case *sdk.ResourceLink:
		text := "[a link: " + p.URI
		for _, more := range []string{p.Name, p.Title, p.MIMEType, p.Description} {
			if more != "" {
				text += ", " + more
			}
		}
		return text + "]"
	case *sdk.EmbeddedResource:
		switch r := p.Resource; {
		case r == nil:
			return "[a file that is missing]"
		case len(r.Blob) > 0:
			return unreadable("a file", r.MIMEType, r.URI, len(r.Blob))
		default:
			return "[" + r.URI + "]\n" + r.Text
		}
	}
	return fmt.Sprintf("[a part of a kind that is not known: %T]", part)
}

// unreadable says what is there that a text can't show.
func unreadable(what, kind, uri string, size int) string {
	for _, more := range []string{uri, kind} {
		if more != "" {
			what += ", " + more
		}
	}
	return "[" + what + ", " + say.Count(size, "byte", "bytes") + ", which can't be shown here]"
}

func sameJSON(text string, value any) bool {
	var read any
	return json.Unmarshal([]byte(text), &read) == nil && reflect.DeepEqual(read, value)
}
