package validate

import (
	"slices"
	"strings"
	"unicode/utf8"

	"llmcall/validate/internal/jsontext"
)

// Block is a fenced code block of a Markdown text, or a whole text.
type Block struct {
	Label   string // the first word after the opening fence, in small letters ("python"); "" if there is none
	Code    string // its lines, without the indentation of its fence, with LF line ends
	Fenced  bool   // it is a fenced block, and not the whole text
	Closed  bool   // it has a closing fence; true for a whole text
	line    int    // of its first line in the text, from 0
	removed []int  // code points left out at the start of its lines
}

// Blocks returns the fenced code blocks of a text (CommonMark, section 4.5), in
// their order. It goes beyond CommonMark where models do: a fence may be
// indented by any amount, and the blocks inside a block that is labelled
// markdown or md are returned in its place. A fence inside a block with a longer
// fence is part of its code.
func Blocks(text string) []Block {
	lines := textLines(text)
	var blocks []Block
	for i := 0; i < len(lines); i++ {
		body := strings.TrimLeft(lines[i], " \t")
		mark := jsontext.Fence(body)
		info := strings.TrimSpace(body[len(mark):])
		if mark == "" || mark[0] == '`' && strings.Contains(info, "`") {
			continue
		}
		b := Block{Label: labelOf(info), Fenced: true, line: i + 1}
		indent := len(lines[i]) - len(body)
		var code strings.Builder
		for i++; i < len(lines); i++ {
			if jsontext.Closes(lines[i], mark) {
				b.Closed = true
				break
			}
			cut := min(indent, len(lines[i])-len(strings.TrimLeft(lines[i], " \t")))
			b.removed = append(b.removed, cut)
			code.WriteString(lines[i][cut:])
			code.WriteByte('\n')
		}
		b.Code = code.String()
		if b.Label == "markdown" || b.Label == "md" {
			if inner := b.inside(); len(inner) > 0 {
				blocks = append(blocks, inner...)
				continue
			}
		}
		blocks = append(blocks, b)
	}
	return blocks
}

// Whole returns a text as a block, without a byte order mark.
func Whole(text string) Block {
	bare := strings.TrimPrefix(text, "\uFEFF")
	b := Block{Code: strings.ReplaceAll(bare, "\r\n", "\n"), Closed: true}
	if bare != text {
		b.removed = []int{1}
	}
	return b
}

// Position returns the line and column in the text of a line and column of the
// block's code, all from 1 and in code points.
func (b Block) Position(line, column int) (int, int) {
	if at := line - 1; at >= 0 && at < len(b.removed) {
		column += b.removed[at]
	}
	return line + b.line, column
}

// inside returns the blocks of a block that is itself Markdown.
func (b Block) inside() []Block {
	inner := Blocks(b.Code)
	for i := range inner {
		for j := range inner[i].removed {
			_, inner[i].removed[j] = b.Position(inner[i].line+j+1, inner[i].removed[j])
		}
		inner[i].line += b.line
	}
	return inner
}

// labelOf is the language that is named after an opening fence, as "python" in
// "Python title=x", "{.python}" and "python,ignore".
func labelOf(info string) string {
	info = strings.TrimLeft(info, "{. \t")
	if end := strings.IndexAny(info, " \t{},;:"); end >= 0 {
		info = info[:end]
	}
	return strings.ToLower(info)
}

// textLines cuts a text into its lines, without their ends.
func textLines(text string) []string {
	lines := strings.Split(text, "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	for i, line := range lines {
		lines[i] = strings.TrimSuffix(line, "\r")
	}
	return lines
}

// Position returns the line and column (in code points) of an offset in a text,
// both from 1. An offset outside is taken for the nearest inside.
func Position(text string, offset int) (line, column int) {
	offset = max(0, min(offset, len(text)))
	for offset > 0 && offset < len(text) && !utf8.RuneStart(text[offset]) {
		offset--
	}
	return jsontext.Position(text, offset)
}

// BlocksOf returns the blocks of a text that are meant as one language: those
// whose label is one of the labels; where there is none, those without a label;
// where there is none of these either, all; and of a text without blocks the
// whole of it.
func BlocksOf(text string, labels ...string) []Block {
	blocks := Blocks(text)
	for _, meant := range [][]string{labels, {""}} {
		var chosen []Block
		for _, b := range blocks {
			if slices.Contains(meant, b.Label) {
				chosen = append(chosen, b)
			}
		}
		if len(chosen) > 0 {
			return chosen
		}
	}
	if len(blocks) > 0 {
		return blocks
	}
	return []Block{Whole(text)}
}
