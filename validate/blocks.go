package validate

import (
	"slices"
	"strings"
	"unicode/utf8"

	"llmcall/validate/internal/jsontext"
)

// Block is a fenced code block of a Markdown text, or a whole text; see [Blocks] and
// [Whole].
type Block struct {
	Label   string // the first word after the opening fence, in lower case ("python"); "" if there is none
	Code    string // the lines, without the indentation of the fence, with LF line ends
	Fenced  bool   // it is a fenced block, not a whole text
	Closed  bool   // it has a closing fence; true for a whole text
	line    int    // of its first line in the text, from 0
	removed []int  // code points left out at the start of its lines
}

// Blocks returns the fenced code blocks of a text (CommonMark, section 4.5) in order.
// It accepts what models write beyond CommonMark: a fence may be indented by any
// amount, and a block that is labelled markdown or md is replaced by the blocks inside
// it. A fence inside a block with a longer fence is part of the code.
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

// Whole returns a whole text as a block, without a byte order mark.
func Whole(text string) Block {
	bare := strings.TrimPrefix(text, "\uFEFF")
	b := Block{Code: strings.ReplaceAll(bare, "\r\n", "\n"), Closed: true}
	if bare != text {
		b.removed = []int{1}
	}
	return b
}

// Position converts a line and column of the block's code to those of the whole text.
// All start at 1; columns are in code points.
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

// labelOf returns the language after an opening fence: "python" for
// "Python title=x", "{.python}" and "python,ignore".
func labelOf(info string) string {
	info = strings.TrimLeft(info, "{. \t")
	if end := strings.IndexAny(info, " \t{},;:"); end >= 0 {
		info = info[:end]
	}
	return strings.ToLower(info)
}

// textLines splits a text into its lines, without their ends.
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

// Position returns the line and the column, in code points, of a byte offset in a
// text. Both start at 1. An offset outside the text means the nearest one inside.
func Position(text string, offset int) (line, column int) {
	offset = max(0, min(offset, len(text)))
	for offset > 0 && offset < len(text) && !utf8.RuneStart(text[offset]) {
		offset--
	}
	return jsontext.Position(text, offset)
}

// BlocksOf returns the blocks of a text that are probably meant as one language: those
// with one of the labels; if there are none, those without a label; if there are none
// of these either, all blocks; and if the text has no blocks, the whole text.
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
