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

// relay yields what comes in a response's body. An error is the last.
func (d *delivery) relay(ctx context.Context) iter.Seq2[llm.Chunk, error] {
	return func(yield func(llm.Chunk, error) bool) {
		if ctx.Err() != nil { // it ended between the header and here
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
			case ctx.Err() != nil || err != nil: // what was read before would still come
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

// event is one of a stream's.
type event struct {
	data []byte
	// stray says that data is not an event, but what was found instead of one: an
	// error often arrives like this, as JSON over several lines.
	stray bool
}

// readWhole reads an answer that came in one piece though a stream was asked
// for.
func (d *delivery) readWhole(ctx context.Context, body io.Reader) ([]llm.Chunk, error) {
	var err error
	if d.Body, err = io.ReadAll(body); err != nil {
		return nil, d.Broken(ctx, err)
	}
	return wholeChunks(&d.Exchange)
}

// events reads the events of a body
// (https://html.spec.whatwg.org/multipage/server-sent-events.html), except that
// a carriage return alone does not end a line, that the last event needs no empty
// line after it, and that what is not a field is not dropped. Fields other than
// data are not used; an event without data is skipped, and so is "[DONE]", which
// some servers add. An error is that of reading the body, and ends the events. The
// data of an event is valid until the next.
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

// readLine reads a line, whose end it takes off. It is valid until the next, and
// copied to long only where the reader's buffer does not hold it. (A
// bufio.Scanner would search a long line again with each piece that arrives.)
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
