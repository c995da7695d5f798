package record

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"llmcall/internal/yamlfile"
)

// readable returns JSON as a YAML file for people. In the rare case that YAML would not mean the
// same, it stays JSON, which is read too.
func readable(text []byte) ([]byte, error) {
	n, err := yamlfile.Parse(text)
	if err != nil {
		return nil, err
	}
	written, err := dumped(n)
	if err == nil && means([]byte(written), text) {
		return []byte("# " + head + "\n" + written), nil
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, text, "", "  "); err != nil {
		return nil, err
	}
	indented.WriteByte('\n')
	return indented.Bytes(), nil
}

// dumped returns nodes of JSON as YAML for people.
func dumped(n *yaml.Node) (string, error) {
	bareTexts(n)
	style(n)
	back := hide(n)
	written, err := yaml.Dump(n, yaml.WithIndent(2), yaml.WithLineWidth(-1))
	return back.Replace(string(written)), err
}

// hide replaces each character that the library would escape, although YAML need not, by one for
// private use that is not in the texts, and returns what replaces them back: for an emoji or a
// tab, a text of many lines would be written as one line with escapes.
func hide(n *yaml.Node) *strings.Replacer {
	const first, last = '\uE000', '\uF8FF' // the private use area
	escaped := func(n *yaml.Node, r rune) bool { return r > '\uFFFF' || r == '\t' && n.Style == yaml.LiteralStyle }
	found, used := map[rune]bool{}, map[rune]bool{}
	each(n, func(n *yaml.Node) {
		for _, r := range n.Value {
			switch {
			case escaped(n, r):
				found[r] = true
			case first <= r && r <= last:
				used[r] = true
			}
		}
	})
	if len(found) == 0 {
		return strings.NewReplacer()
	}
	there, back, next := map[rune]rune{}, []string{}, first
	for _, r := range slices.Sorted(maps.Keys(found)) {
		for next <= last && used[next] {
			next++
		}
		if next <= last {
			there[r] = next
			back = append(back, string(next), string(r))
			next++
		}
	}
	each(n, func(n *yaml.Node) {
		n.Value = strings.Map(func(r rune) rune {
			if to, ok := there[r]; ok && escaped(n, r) {
				return to
			}
			return r
		}, n.Value)
	})
	return strings.NewReplacer(back...)
}

// each calls do for a node and all within it.
func each(n *yaml.Node, do func(*yaml.Node)) {
	do(n)
	for _, child := range n.Content {
		each(child, do)
	}
}

// means reports whether a YAML file means a JSON value. A text part may be bare in it.
func means(file, text []byte) bool {
	n, err := yamlfile.Parse(file)
	if err != nil || n == nil {
		return false
	}
	back, err := yamlfile.JSON(n)
	if err != nil {
		return false
	}
	was, err := yamlfile.Parse(text)
	if err != nil {
		return false
	}
	bareTexts(was)
	want, err := yamlfile.JSON(was)
	return err == nil && bytes.Equal(back, want)
}

// bareTexts replaces each {type: text, text: …} in a list of parts by the text.
func bareTexts(n *yaml.Node) {
	if n.Kind == yaml.SequenceNode {
		for _, item := range n.Content {
			bareTexts(item)
		}
		return
	}
	for key, value := range pairs(n) {
		if key.Value != "parts" || value.Kind != yaml.SequenceNode {
			if slices.Contains([]string{"request", "answer", "messages"}, key.Value) {
				bareTexts(value)
			}
			continue
		}
		for i, part := range value.Content {
			if text := bareText(part); text != nil {
				value.Content[i] = text
			}
		}
	}
}

// bareText returns the text of a part that is nothing else; nil of another one.
func bareText(part *yaml.Node) (text *yaml.Node) {
	bare := len(part.Content) == 4
	for key, value := range pairs(part) {
		switch {
		case key.Value == "text":
			text = value
		case key.Value != "type" || value.Value != "text":
			bare = false
		}
	}
	if !bare {
		return nil
	}
	return text
}

// pairs yields the keys and values of a mapping.
func pairs(n *yaml.Node) func(func(key, value *yaml.Node) bool) {
	return func(yield func(key, value *yaml.Node) bool) {
		if n.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i], n.Content[i+1]) {
				return
			}
		}
	}
}

// style gives nodes the style of a file for people.
func style(n *yaml.Node) {
	lines(n)
	for key, value := range pairs(n) {
		switch key.Value {
		case "at":
			value.Tag = "!!timestamp" // without quotes
		case "usage":
			value.Style = yaml.FlowStyle
		case "pieces":
			for _, piece := range value.Content {
				piece.Style = yaml.FlowStyle
			}
		}
	}
}

// lines lets each field and each line of a text have a line of its own.
func lines(n *yaml.Node) {
	n.Style, n.Line = 0, 0
	for _, child := range n.Content {
		lines(child)
	}
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!str":
		n.Style = styleOf(n.Value)
	case n.Kind != yaml.ScalarNode && len(n.Content) == 0: // {} and []
		n.Style = yaml.FlowStyle
	}
}

// styleOf returns the style of a string: a text of several lines as it is, if an editor that
// cleans up the ends of lines leaves it as it is.
func styleOf(s string) yaml.Style {
	if !strings.Contains(s, "\n") {
		return 0
	}
	if s[0] == ' ' || s[0] == '\n' || strings.Contains(s, " \n") || strings.HasSuffix(s, " ") || !utf8.ValidString(s) ||
		strings.ContainsFunc(s, func(r rune) bool { return r != '\n' && r != '\t' && r != joiner && !unicode.IsPrint(r) }) {
		return yaml.DoubleQuotedStyle
	}
	return yaml.LiteralStyle
}

// joiner is within some emojis: U+200D ZERO WIDTH JOINER.
const joiner = '\u200d'

// texts yields the strings that a file holds, and what is encoded in it, for the search for
// keys: a key may be escaped in the file's own text.
func texts(file []byte) ([]string, error) {
	n, err := yamlfile.Parse(file)
	if err != nil {
		return nil, err
	}
	var all []string
	each(n, func(n *yaml.Node) {
		if n.Kind != yaml.ScalarNode {
			return
		}
		all = append(all, n.Value)
		if raw, err := base64.StdEncoding.DecodeString(n.Value); err == nil && len(raw) >= minKey {
			all = append(all, string(raw))
		}
	})
	return all, nil
}
