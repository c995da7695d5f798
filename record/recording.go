package record

import (
	"iter"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"llmcall/classify"
	"llmcall/failure"
	"llmcall/llm"
)

// Recording is one request and what came of it. Either Call or HTTP is set.
type Recording struct {
	Path string        // the file that it was read from
	At   time.Time     // when the request was made
	Took time.Duration // until its answer was whole, or it failed
	Call *Call         // a request to a model
	HTTP *Exchange     // a request of an HTTP client
	// Pieces say how a streamed answer was divided, and when each piece came. Nil: the
	// answer came whole.
	Pieces []Piece
	// Left says that the caller of a stream left it before its end.
	Left bool
	// Err is the failure, as it is replayed. Nil: there was none. An answer beside it is
	// the part that came before.
	Err error

	begun time.Time // while it is made; At does not have the monotonic clock
}

// since returns how long ago the request was made.
func (r *Recording) since() time.Duration { return time.Since(r.begun) }

// Call is a request to a model.
type Call struct {
	Model   string // the model's full name
	Request *llm.Request
	// Response is the answer; nil if none came. With an error it has the usage of a request
	// that was billed, or what came of a stream.
	Response *llm.Response
	// Notes say what the adapter's request lacked of what was asked for; see
	// [llmcall/endpoint.Noted].
	Notes []string
}

// Exchange is a request of an HTTP client with its response.
type Exchange struct {
	Method string
	// URL is the address, without a user and without the parameters of its query that hold a
	// credential.
	URL           string
	RequestHeader http.Header // those that are recorded
	RequestBody   []byte      // of JSON: an equal one
	Status        int         // 0: there was no response
	Header        http.Header // of the response, those that are recorded
	Body          []byte      // of the response, as far as it was read
}

// Piece is a piece of a streamed answer.
type Piece struct {
	At   time.Duration // when it came, counted from the request
	Size int           // of a model's text in characters, of an HTTP body in bytes
	// The others are those of a model's stream. Part says that the answer's next part other
	// than text came, Progress is that of [llm.Chunk], and Says names the fields of the
	// answer that came: finish, usage, model, request_id. Usage is one that a later one
	// replaced.
	Part     bool
	Progress bool
	Says     []string
	Usage    *llm.Usage
}

// Failure returns how the request failed; nil if it did not. The response of an HTTP client
// is classified by package classify.
func (r *Recording) Failure() *failure.Error {
	if r.Err != nil {
		return r.failed()
	}
	if r.HTTP == nil || r.HTTP.Status == 0 {
		return nil
	}
	response := &http.Response{StatusCode: r.HTTP.Status, Header: r.HTTP.Header}
	return classify.Response(r.HTTP.protocol(), response, r.HTTP.Body)
}

// failed returns Err as a *failure.Error.
func (r *Recording) failed() *failure.Error {
	var found *failure.Error
	failure.Find(r.Err, func(err error) bool {
		e, ok := err.(*failure.Error)
		if ok && e != nil {
			found = e
		}
		return found != nil
	})
	if found == nil {
		found = &failure.Error{Err: r.Err}
	}
	e := *found
	e.Kind = failure.KindOf(r.Err)
	return &e
}

// protocol returns whose protocol the response is in.
func (x *Exchange) protocol() string {
	address, err := url.Parse(x.URL)
	if err != nil {
		return classify.OpenAI
	}
	switch host := address.Hostname(); {
	case strings.HasSuffix(host, "anthropic.com"), x.RequestHeader.Get("Anthropic-Version") != "":
		return classify.Anthropic
	case strings.HasSuffix(host, "googleapis.com"), strings.Contains(strings.ToLower(address.Path), "generatecontent"):
		return classify.Gemini
	}
	return classify.OpenAI
}

// cancelled reports whether the caller gave up before anything came: nobody answered.
func (r *Recording) cancelled() bool {
	return r.Err != nil && failure.KindOf(r.Err) == failure.Cancelled
}

// Read reads a recording. The error names the file, the line where it is known, and what is
// wrong: among others a format of another version, and a file of more than 64 MiB.
func Read(path string) (*Recording, error) {
	r, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// All yields the recordings of a directory, the oldest first: the files whose names end in
// .yaml and do not begin with a dot. A file that can't be read is yielded as an error, as in
// [Read], and the next one follows.
func All(dir string) iter.Seq2[*Recording, error] {
	return func(yield func(*Recording, error) bool) {
		paths, err := files(dir)
		if err != nil {
			yield(nil, err)
			return
		}
		for _, path := range paths {
			if r, err := Read(path); !yield(r, err) {
				return
			}
		}
	}
}

// files returns the paths of a directory's recordings in their order.
func files(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, e := range entries {
		if name := e.Name(); filepath.Ext(name) == extension && !strings.HasPrefix(name, ".") {
			paths = append(paths, filepath.Join(dir, name))
		}
	}
	slices.Sort(paths)
	return paths, nil
}

// extension ends the name of each recording.
const extension = ".yaml"
