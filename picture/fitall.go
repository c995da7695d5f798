package picture

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"

	"llmcall/llm"
)

// FitAll fits each picture of a conversation, as [Fit] does, and applies the limits of a
// whole request: if the pictures together are too large, the largest are made smaller. It
// does not modify messages; it returns a copy if a picture changed. An error names
// messages[i].parts[j].
//
// It is cheap to call again for each attempt and each turn of a conversation: of pictures
// that fit only the header is read, and pictures that were made to fit are kept, up to 32
// MiB in the process. The Data in the result must not be modified.
func FitAll(messages []llm.Message, limits Limits) ([]llm.Message, error) {
	if err := limits.validate(); err != nil {
		return nil, err
	}
	count := 0
	for _, message := range messages {
		for _, part := range message.Parts {
			if _, ok := part.(llm.Image); ok {
				count++
			}
		}
	}
	if count == 0 {
		return messages, nil
	}
	if limits.MaxImages > 0 && count > limits.MaxImages {
		return nil, &Error{Limit: "MaxImages", Problem: fmt.Sprintf("messages: have %d pictures: %s takes at most %d in a request",
			count, limits.who(), limits.MaxImages)}
	}
	if limits.ManyImages > 0 && count > limits.ManyImages && limits.ManySide > 0 && (limits.MaxSide == 0 || limits.ManySide < limits.MaxSide) {
		limits.MaxSide = limits.ManySide
	}
	fits := make([]placed, 0, count)
	total := 0
	for i, message := range messages {
		for j, part := range message.Parts {
			given, ok := part.(llm.Image)
			if !ok {
				continue
			}
			image, err := fit(given, limits, kept.remake)
			if err != nil {
				return nil, fmt.Errorf("messages[%d].parts[%d]: %w", i, j, err)
			}
			if len(image.Data) == 0 { // an address
				continue
			}
			fits = append(fits, placed{i, j, given, image})
			total += len(image.Data)
		}
	}
	if limits.MaxTotalBytes > 0 && total > limits.MaxTotalBytes {
		if err := fitTogether(fits, limits, total); err != nil {
			return nil, err
		}
	}
	return replace(messages, fits), nil
}

// placed is a picture of a conversation, as it was and as it is sent.
type placed struct {
	message, part int
	given, fitted llm.Image
}

// fitTogether makes the largest pictures smaller until all are within
// MaxTotalBytes.
func fitTogether(fits []placed, limits Limits, total int) error {
	sizes := make([]int, len(fits))
	for i, p := range fits {
		sizes[i] = len(p.fitted.Data)
	}
	most := share(sizes, limits.MaxTotalBytes)
	if most == 0 {
		return tooMuch(limits, total)
	}
	each := limits
	each.MaxBytes = most
	for i := range fits {
		p := &fits[i]
		if len(p.fitted.Data) <= most {
			continue
		}
		var err error
		if p.fitted, err = fit(p.given, each, kept.remake); err != nil {
			return fmt.Errorf("messages[%d].parts[%d]: %w; in its share of that it %w", p.message, p.part, tooMuch(limits, total), err)
		}
	}
	return nil
}

func tooMuch(limits Limits, total int) error {
	return &Error{Limit: "MaxTotalBytes", Problem: fmt.Sprintf("the pictures of messages are %d bytes together: %s takes at most %d in a request",
		total, limits.who(), limits.MaxTotalBytes)}
}

// share returns the size that each may have so that all are within total: those
// that are smaller leave their rest to the others.
func share(sizes []int, total int) int {
	sizes = slices.Sorted(slices.Values(sizes))
	for i, size := range sizes {
		if others := len(sizes) - i; size > total/others {
			return total / others
		}
		total -= size
	}
	return sizes[len(sizes)-1]
}

// replace puts the pictures that changed into a copy of the messages.
func replace(messages []llm.Message, fits []placed) []llm.Message {
	copied, last := messages, -1
	for _, p := range fits {
		if p.given.MediaType == p.fitted.MediaType && len(p.given.Data) > 0 && len(p.given.Data) == len(p.fitted.Data) && &p.given.Data[0] == &p.fitted.Data[0] {
			continue
		}
		if last < 0 {
			copied = slices.Clone(messages)
		}
		if last != p.message {
			copied[p.message].Parts = slices.Clone(copied[p.message].Parts)
			last = p.message
		}
		copied[p.message].Parts[p.part] = p.fitted
	}
	return copied
}

// kept holds the pictures that were made to fit last.
var kept = memory{mostBytes: 32 << 20, mostEntries: 256}

type memory struct {
	mostBytes, mostEntries int

	mu      sync.Mutex
	size    int
	entries []entry // the one that was asked for last at the end
}

type entry struct {
	key   key
	image llm.Image
}

// key is all that a picture that was encoded again depends on. A picture comes as a
// copy in each attempt, so it is known by its content.
type key struct {
	content                       [sha256.Size]byte
	types                         string
	maxBytes, maxSide, nativeSide int
	stillGIF                      bool
}

func (m *memory) remake(data []byte, h header, limits Limits) (llm.Image, error) {
	k := key{sha256.Sum256(data), strings.Join(limits.Types, " "), limits.MaxBytes, limits.MaxSide, limits.NativeSide, limits.StillGIF}
	if image, ok := m.get(k); ok {
		return image, nil
	}
	image, err := remake(data, h, limits)
	if err == nil {
		m.put(k, image)
	}
	return image, err
}

func (m *memory) get(k key) (llm.Image, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.entries, func(e entry) bool { return e.key == k })
	if i < 0 {
		return llm.Image{}, false
	}
	e := m.entries[i]
	m.entries = append(slices.Delete(m.entries, i, i+1), e)
	return e.image, true
}

func (m *memory) put(k key, image llm.Image) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.ContainsFunc(m.entries, func(e entry) bool { return e.key == k }) {
		return // another call made it meanwhile
	}
	m.entries = append(m.entries, entry{k, image})
	m.size += len(image.Data)
	for m.size > m.mostBytes || len(m.entries) > m.mostEntries {
		m.size -= len(m.entries[0].image.Data)
		m.entries = slices.Delete(m.entries, 0, 1)
	}
}
