package gemini

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"iter"

	"llmcall/failure"
	"llmcall/llm"
	"llmcall/provider/internal/wire"
)

// relay yields the chunks in a response's body, and ends after an error.
func (d *delivery) relay(ctx context.Context) iter.Seq2[llm.Chunk, error] {
	return func(yield func(llm.Chunk, error) bool) {
		if ctx.Err() != nil { // it ended after the header arrived
			yield(llm.Chunk{}, d.Broken(ctx, ctx.Err()))
			return
		}
		body, inOnePiece := wire.InOnePiece(d.answer, d.Response.Header)
		if inOnePiece {
			chunks, err := d.readWhole(ctx, body)
			wire.YieldAll(chunks, err, yield)
			return
		}
		r := reader{x: &d.Exchange}
		any := false
		for e, err := range events(body) {
			var chunks []llm.Chunk
			switch {
			case ctx.Err() != nil || err != nil: // the reader may have more events in its buffer
				err = d.Broken(ctx, err)
			case e.stray:
				err = errorWithin(&d.Exchange, e.data)
			default:
				any = true
				chunks, err = r.read(e.data)
			}
			if !wire.YieldAll(chunks, err, yield) {
				return
			}
		}
		if !any {
			yield(llm.Chunk{}, d.Withheld(failure.Transient, "", "the answer is a stream without any event"))
			return
		}
		wire.YieldAll(r.end(), nil, yield)
	}
}

// event is an event of a stream.
type event struct {
	data []byte
	// stray says that data is not an event, but text found instead of one: an error
	// often arrives like this, as JSON over several lines.
	stray bool
}

// readWhole reads an answer that arrived in one piece although a stream was
// requested.
func (d *delivery) readWhole(ctx context.Context, body io.Reader) ([]llm.Chunk, error) {
	var err error
	if d.Body, err = io.ReadAll(body); err != nil {
		return nil, d.Broken(ctx, err)
	}
	return wholeChunks(&d.Exchange)
}

// events reads server-sent events
// (https://html.spec.whatwg.org/multipage/server-sent-events.html), with three
// differences: a carriage return alone does not end a line, the last event needs
// no empty line after it, and text that is not a field is not dropped. Fields
// other than data are ignored. An event without data is skipped, as is "[DONE]",
// which some servers add. An error of reading the body ends the events. The data
// of an event is valid until the next one.
func events(body io.Reader) iter.Seq2[event, error] {
	return func(yield func(event, error) bool) {
		lines := bufio.NewReader(body)
		var long, data, stray bytes.Buffer
		dispatch := func() bool {
			defer data.Reset()
			defer stray.Reset()
			if text := bytes.TrimSpace(data.Bytes()); len(text) > 0 && string(text) != "[DONE]" && !yield(event{data: text}, nil) {
				return false
			}
			return stray.Len() == 0 || yield(event{data: stray.Bytes(), stray: true}, nil)
		}
		for start := true; ; start = false {
			line, err := readLine(lines, &long)
			if err != nil && err != io.EOF {
				yield(event{}, err)
				return
			}
			if start {
				line = bytes.TrimPrefix(line, []byte("\ufeff"))
			}
			field, value, _ := bytes.Cut(line, []byte(":"))
			switch string(field) {
			case "data":
				data.Write(value)
				data.WriteByte('\n')
			case "", "event", "id", "retry": // a comment begins with the colon
			default:
				stray.Write(line)
				stray.WriteByte('\n')
			}
			if (len(line) == 0 || err != nil) && !dispatch() || err != nil {
				return
			}
		}
	}
}

// readLine reads a line without its end. The line is valid until the next one, and
// is copied to long only if it does not fit the reader's buffer. (A bufio.Scanner
// would search a long line again for each piece that arrives.)
func readLine(r *bufio.Reader, long *bytes.Buffer) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		long.Reset()
		for err == bufio.ErrBufferFull {
			long.Write(line)
			line, err = r.ReadSlice('\n')
		}
		long.Write(line)
		line = long.Bytes()
	}
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")), err
}
