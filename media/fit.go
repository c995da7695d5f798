package media

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"llmcall/internal/datauri"
	"llmcall/internal/sniff"
	"llmcall/llm"
	"llmcall/picture"
)

// FitAll fits the pictures of a conversation, as [picture.FitAll] does, and checks its
// documents and recordings, which can't be made smaller: that they are what their part
// says, and fit limits. Then a part has its actual media type, and a data URI in URL has
// become Data. FitAll does not modify messages; it returns a copy if a part changed.
//
// An error names messages[i].parts[j], what is accepted, and, for a kind that the provider
// does not take, who does. It wraps an *[Error] or a *[picture.Error], and never quotes
// the content. An address is not fetched here, but one with a user name or a password is
// refused, since the provider would read them.
func FitAll(messages []llm.Message, limits Limits) ([]llm.Message, error) {
	if err := limits.validate(); err != nil {
		return nil, err
	}
	c := checker{limits: limits}
	fitted := messages
	for i, message := range messages {
		copied := false
		for j, part := range message.Parts {
			made, err := c.part(part)
			if err != nil {
				return nil, fmt.Errorf("messages[%d].parts[%d]: %w", i, j, err)
			}
			if made == nil {
				continue
			}
			if c.parts == 1 {
				fitted = slices.Clone(messages)
			}
			if !copied {
				fitted[i].Parts, copied = slices.Clone(message.Parts), true
			}
			fitted[i].Parts[j] = made
		}
	}
	if c.parts > 0 {
		if err := c.together(); err != nil {
			return nil, err
		}
	}
	if rest := limits.MaxTotalBytes; rest > 0 && (limits.Pictures.MaxTotalBytes == 0 || rest-c.bytes() < limits.Pictures.MaxTotalBytes) {
		limits.Pictures.MaxTotalBytes = max(1, rest-c.bytes()) // 0 would be no limit
	}
	return picture.FitAll(fitted, limits.Pictures)
}

// checker counts the documents and recordings of a request.
type checker struct {
	limits                Limits
	parts                 int // that were checked
	documents, recordings int // bytes
	pages                 int
}

func (c *checker) bytes() int { return c.documents + c.recordings }

// part returns a document or a recording as it is to be sent, or nil for another part.
func (c *checker) part(part llm.Part) (llm.Part, error) {
	switch p := part.(type) {
	case llm.Document:
		c.parts++
		m := medium{"Documents", "document", "llm.Document", c.limits.Documents, p.MediaType, p.Data, p.URL}
		n, err := c.check(&m)
		c.documents += len(m.data)
		c.pages += n
		p.MediaType, p.Data, p.URL = m.mediaType, m.data, m.url
		return p, err
	case llm.Audio:
		c.parts++
		m := medium{"Audio", "recording", "llm.Audio", c.limits.Audio, p.MediaType, p.Data, p.URL}
		_, err := c.check(&m)
		c.recordings += len(m.data)
		p.MediaType, p.Data, p.URL = m.mediaType, m.data, m.url
		return p, err
	}
	return nil, nil
}

// medium is a document or a recording.
type medium struct {
	field, what, typeName string // "Documents", "document", "llm.Document"
	kind                  Kind
	mediaType             string
	data                  []byte
	url                   string
}

// takers says who takes what, for whoever asked one that does not.
var takers = map[string]string{
	"Documents": "documents are taken by OpenAI, Azure, Anthropic, Gemini and OpenRouter",
	"Audio":     "recordings are taken by the models for audio of OpenAI's and Azure's chat completions, by Gemini and OpenRouter",
}

func (c *checker) refuse(m *medium, field, format string, args ...any) error {
	return &Error{Limit: m.field + "." + field, Problem: fmt.Sprintf(format, args...)}
}

// check makes a medium what is to be sent, and returns its pages if they are limited.
func (c *checker) check(m *medium) (countedPages int, err error) {
	if len(m.kind.Types) == 0 {
		return 0, c.refuse(m, "Types", "is a %s: %s takes %s; %s", m.what, c.limits.who(), c.limits.taken(), takers[m.field])
	}
	if len(m.data) == 0 {
		if !datauri.Is(m.url) {
			return 0, c.address(m)
		}
		if m.data, err = fromDataURI(m.url); err != nil {
			return 0, err
		}
		m.url = ""
	}
	if m.mediaType, err = inspect(m.data); err != nil {
		return 0, err
	}
	switch name := sniff.Name(m.mediaType); {
	case slices.Contains(m.kind.Types, m.mediaType):
	case partOf(m.mediaType) != m.typeName:
		return 0, refuse("is %s, which is not a %s: send it as an %s", name, m.what, partOf(m.mediaType))
	default:
		return 0, c.refuse(m, "Types", "is %s: %s takes %s", name, c.limits.who(), sniff.Names(m.kind.Types))
	}
	if size := len(m.data); m.kind.MaxBytes > 0 && size > m.kind.MaxBytes {
		return 0, c.refuse(m, "MaxBytes", "is %d bytes: %s takes at most %d", size, c.limits.who(), m.kind.MaxBytes)
	}
	if m.kind.Unencrypted && m.mediaType == PDF && isEncrypted(m.data) {
		return 0, c.refuse(m, "Unencrypted", "is an encrypted PDF: %s takes none with a password or encryption; save a copy without", c.limits.who())
	}
	if m.mediaType != PDF || m.kind.MaxPages == 0 && m.kind.MaxTotalPages == 0 {
		return 0, nil
	}
	countedPages = pages(m.data)
	if m.kind.MaxPages > 0 && countedPages > m.kind.MaxPages {
		return 0, c.refuse(m, "MaxPages", "has %d pages: %s takes at most %d", countedPages, c.limits.who(), m.kind.MaxPages)
	}
	return countedPages, nil
}

// partOf returns the type of the part that a content is.
func partOf(mediaType string) string {
	switch {
	case mediaType == PDF:
		return "llm.Document"
	case strings.HasPrefix(mediaType, "audio/"):
		return "llm.Audio"
	}
	return "llm.Image"
}

// address checks the address of a medium without data. It does not quote it, since it may
// hold a secret.
func (c *checker) address(m *medium) error {
	if m.url == "" {
		return refuse("must have data or a url")
	}
	if len(m.kind.Schemes) == 0 {
		return c.refuse(m, "Schemes", "has an address, and %s fetches none: put the bytes of the %s into data", c.limits.who(), m.what)
	}
	parsed, err := url.Parse(m.url)
	switch {
	case err != nil || !slices.Contains(m.kind.Schemes, parsed.Scheme) || parsed.Hostname() == "":
		return c.refuse(m, "Schemes", "url: must be an address of the scheme %s; put the bytes of a %s that you have into data", strings.Join(m.kind.Schemes, ", "), m.what)
	case parsed.User != nil:
		return refuse("url: has a user name or a password, which the provider would read: takes one without")
	}
	return nil
}

// together checks the limits of the whole request.
func (c *checker) together() error {
	for _, sum := range [...]struct {
		limit, what string
		size, most  int
	}{
		{"Documents.MaxTotalPages", "documents of messages have %d pages", c.pages, c.limits.Documents.MaxTotalPages},
		{"Documents.MaxTotalBytes", "documents of messages are %d bytes", c.documents, c.limits.Documents.MaxTotalBytes},
		{"Audio.MaxTotalBytes", "recordings of messages are %d bytes", c.recordings, c.limits.Audio.MaxTotalBytes},
		{"MaxTotalBytes", "documents and recordings of messages are %d bytes", c.bytes(), c.limits.MaxTotalBytes},
	} {
		if sum.most > 0 && sum.size > sum.most {
			return &Error{Limit: sum.limit, Problem: fmt.Sprintf("messages: the "+sum.what+" together: %s takes at most %d in a request", sum.size, c.limits.who(), sum.most)}
		}
	}
	return nil
}
