package openai

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"llmcall/llm"
	"llmcall/provider/internal/wire"
)

// nullDropper takes the nulls out of an answer that stand for properties which the model
// left out: a [strictCopy] requires these, or null. The answer then fits the schema of
// which the copy was made. It works on the pieces of a stream, and holds back no more
// than the name of a member and the word null. A text that is not an object is left as it
// is.
type nullDropper struct {
	root   gjson.Result
	frames []frame
	state  state
	held   strings.Builder // a member that may have to be dropped, from the comma before it
	token  strings.Builder // the name of a member, or a literal, as far as it has arrived
	may    bool            // the member may be dropped
	escape bool            // within a string, after a backslash
	out    strings.Builder
}

// frame is an object or an array that is open.
type frame struct {
	object bool
	nodes  []gjson.Result // the schemas that it may have to fit
	member []gjson.Result // those of the current member
	kept   bool           // a member was kept
}

type state int

const (
	atStart state = iota
	beforeName
	inName
	beforeColon
	beforeValue
	inText
	inLiteral
	afterValue
	asItIs // nothing is dropped any more
)

func newNullDropper(c strict) *nullDropper {
	if !c.original.Exists() {
		return nil
	}
	return &nullDropper{root: c.original}
}

// Write returns what is certain of the text so far. A nil dropper drops nothing.
func (d *nullDropper) Write(text string) string {
	if d == nil {
		return text
	}
	d.out.Reset()
	for i := range len(text) {
		d.next(text[i])
	}
	return d.out.String()
}

// Rest returns what was held back, at the end of the text.
func (d *nullDropper) Rest() string {
	if d == nil {
		return ""
	}
	d.out.Reset()
	d.keep()
	return d.out.String()
}

// between returns a yield that takes the nulls out of the texts of a stream.
func (d *nullDropper) between(yield func(llm.Chunk, error) bool) func(llm.Chunk, error) bool {
	if d == nil {
		return yield
	}
	return func(chunk llm.Chunk, err error) bool {
		had := chunk.Text != ""
		chunk.Text = d.Write(chunk.Text)
		if err == nil && chunk.Finish != llm.FinishNone {
			chunk.Text += d.Rest()
		}
		if had && err == nil && chunk == (llm.Chunk{}) {
			return true
		}
		return yield(chunk, err)
	}
}

func (d *nullDropper) next(c byte) {
	blank := c == ' ' || c == '\t' || c == '\n' || c == '\r'
	top := len(d.frames) - 1
	switch {
	case d.state == asItIs, blank && (d.state == atStart || d.state == afterValue):
		d.out.WriteByte(c)
	case d.state == inName || d.state == inText:
		d.text(c)
	case d.state == inLiteral && !blank && c != ',' && c != '}' && c != ']':
		d.token.WriteByte(c)
		d.emit(c)
	case d.state == inLiteral:
		if d.may && d.token.String() == "null" {
			d.held.Reset()
		}
		d.keep()
		d.state = afterValue
		d.next(c)
	case blank:
		d.emit(c)
	case d.state == atStart && c == '{':
		d.open(c, d.expand([]gjson.Result{d.root}, map[string]bool{}))
	case d.state == beforeName && c == '"':
		d.token.Reset()
		d.state = inName
		d.emit(c)
	case d.state == beforeColon && c == ':':
		d.state = beforeValue
		d.emit(c)
	case d.state == beforeValue && c != ']' && c != '}' && c != ',':
		d.value(c)
	case d.state == afterValue && c == ',' && d.frames[top].object:
		d.state = beforeName
		d.held.WriteByte(c)
	case d.state == afterValue && c == ',':
		d.state = beforeValue
		d.out.WriteByte(c)
	case c == '}' || c == ']':
		d.close(c)
	default:
		d.giveUp(c)
	}
}

// emit passes on a byte of a member, which is held back until its value is known.
func (d *nullDropper) emit(c byte) {
	if d.held.Len() > 0 || len(d.frames) > 0 && d.frames[len(d.frames)-1].object && d.state < inText {
		d.held.WriteByte(c)
		return
	}
	d.out.WriteByte(c)
}

// keep passes on what was held back.
func (d *nullDropper) keep() {
	held := d.held.String()
	d.held.Reset()
	if held == "" || len(d.frames) == 0 {
		d.out.WriteString(held)
		return
	}
	f := &d.frames[len(d.frames)-1]
	if f.object && !f.kept {
		held = strings.TrimPrefix(held, ",") // of members before it that were dropped
	}
	f.kept = true
	d.out.WriteString(held)
}

func (d *nullDropper) giveUp(c byte) {
	d.keep()
	d.state = asItIs
	d.out.WriteByte(c)
}

// text takes a byte of a string.
func (d *nullDropper) text(c byte) {
	name := d.state == inName
	d.emit(c)
	switch {
	case d.escape:
		d.escape = false
	case c == '\\':
		d.escape = true
	case c == '"' && name:
		d.named()
		return
	case c == '"':
		d.state = afterValue
	}
	if name {
		d.token.WriteByte(c)
	}
}

// named looks up the member whose name has arrived.
func (d *nullDropper) named() {
	var name string
	_ = json.Unmarshal([]byte(`"`+d.token.String()+`"`), &name) // "" if it is not one
	f := &d.frames[len(d.frames)-1]
	d.state, d.may, f.member = beforeColon, false, nil
	for _, node := range f.nodes {
		properties, _ := wire.Get(node, "properties")
		property, ok := wire.Get(properties, name)
		if !ok {
			continue
		}
		f.member = append(f.member, property)
		required, _ := wire.Get(node, "required")
		if !slices.ContainsFunc(required.Array(), func(n gjson.Result) bool { return n.String() == name }) {
			d.may = true
		}
	}
	if slices.ContainsFunc(f.member, func(p gjson.Result) bool { return acceptsNull(d.root, p, map[string]bool{}) }) {
		d.may = false
	}
}

// value begins a value with its first byte.
func (d *nullDropper) value(c byte) {
	f := &d.frames[len(d.frames)-1]
	within := f.member
	if !f.object {
		within = nil
		for _, node := range f.nodes {
			if items, ok := wire.Get(node, "items"); ok {
				within = append(within, items)
			}
		}
		d.may = false
	}
	if c != 'n' || !d.may {
		d.keep()
		d.may = false
	}
	switch c {
	case '{', '[':
		d.open(c, d.expand(within, map[string]bool{}))
	case '"':
		d.state = inText
		d.out.WriteByte(c)
	default:
		d.token.Reset()
		d.token.WriteByte(c)
		d.state = inLiteral
		d.emit(c)
	}
}

func (d *nullDropper) open(c byte, nodes []gjson.Result) {
	d.out.WriteByte(c)
	d.frames = append(d.frames, frame{object: c == '{', nodes: nodes})
	d.state = beforeValue
	if c == '{' {
		d.state = beforeName
	}
}

func (d *nullDropper) close(c byte) {
	top := len(d.frames) - 1
	if top < 0 || d.frames[top].object != (c == '}') {
		d.giveUp(c)
		return
	}
	d.out.WriteString(d.held.String()) // white space
	d.held.Reset()
	d.out.WriteByte(c)
	d.frames = d.frames[:top]
	d.state = afterValue
	if top == 0 {
		d.state = asItIs
	}
}

// expand returns the schemas with what they refer to and their alternatives: all that a
// value may have to fit. seen has the references that were followed.
func (d *nullDropper) expand(nodes []gjson.Result, seen map[string]bool) (all []gjson.Result) {
	for _, node := range nodes {
		all = append(all, node)
		for _, m := range wire.Members(node) {
			value := gjson.Parse(m.Value)
			switch to := value.String(); m.Name {
			case "$ref":
				if target, ok := wire.Resolve(d.root, value); ok && !seen[to] {
					seen[to] = true
					all = append(all, d.expand([]gjson.Result{target}, seen)...)
				}
			case "anyOf", "oneOf", "allOf":
				all = append(all, d.expand(value.Array(), seen)...)
			}
		}
	}
	return all
}
