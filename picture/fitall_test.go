package picture

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"image"
	"reflect"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"llmcall/failure"
	"llmcall/llm"
)

func ask(pictures ...llm.Image) llm.Message {
	parts := []llm.Part{llm.Text("What is this?")}
	for _, p := range pictures {
		parts = append(parts, p)
	}
	return llm.Message{Role: llm.RoleUser, Parts: parts}
}

func given(t testing.TB, data []byte) llm.Image {
	t.Helper()
	p, err := Bytes(data)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func images(messages []llm.Message) []llm.Image {
	var all []llm.Image
	for _, m := range messages {
		for _, p := range m.Parts {
			if image, ok := p.(llm.Image); ok {
				all = append(all, image)
			}
		}
	}
	return all
}

func TestNothingToDoIsNothingDone(t *testing.T) {
	text := []llm.Message{llm.System("Be short."), llm.User("Hello"), {Role: llm.RoleUser, Parts: []llm.Part{llm.Text("x"), llm.ToolResult{}}}}
	if n := testing.AllocsPerRun(100, func() {
		got, err := FitAll(text, Anthropic)
		if err != nil || &got[0] != &text[0] {
			t.Fatal("a conversation of text was changed")
		}
	}); n != 0 {
		t.Errorf("a conversation of text takes %v allocations", n)
	}
	fits := []llm.Message{llm.System("Be short."), ask(given(t, pngOf(t, paint(20, 10))), llm.Image{URL: "https://example.com/x"}, llm.Image{})}
	got, err := FitAll(fits, Anthropic)
	if err != nil || &got[0] != &fits[0] || &got[1].Parts[0] != &fits[1].Parts[0] {
		t.Errorf("what fits was copied: %v", err)
	}
	if got, err := FitAll(nil, Anthropic); got != nil || err != nil {
		t.Errorf("no messages became %v, %v", got, err)
	}
}

func TestACopyIsFitted(t *testing.T) {
	large, small := given(t, pngOf(t, paint(200, 100))), given(t, pngOf(t, paint(20, 10)))
	wrong := llm.Image{MediaType: JPEG, Data: small.Data}
	messages := []llm.Message{llm.System("Be short."), ask(small, large), llm.Assistant("A cat."), ask(wrong, large)}
	before := fmt.Sprintf("%v", messages)
	got, err := FitAll(messages, Limits{MaxSide: 50})
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprintf("%v", messages) != before {
		t.Error("the caller's messages were changed")
	}
	for i, want := range []struct {
		size      image.Point
		unchanged []byte
	}{{image.Pt(20, 10), small.Data}, {image.Pt(50, 25), nil}, {image.Pt(20, 10), small.Data}, {image.Pt(50, 25), nil}} {
		p := images(got)[i]
		if size := decoded(t, p).Bounds().Size(); size != want.size || want.unchanged != nil && !same(p.Data, want.unchanged) {
			t.Errorf("picture %d is %v", i, size)
		}
	}
	for i := range messages {
		if got[i].Role != messages[i].Role || got[i].Text() != messages[i].Text() || len(got[i].Parts) != len(messages[i].Parts) {
			t.Errorf("message %d became %v", i, got[i])
		}
	}
	if !reflect.DeepEqual(got[0], messages[0]) || &got[0].Parts[0] != &messages[0].Parts[0] {
		t.Error("a message without a change was copied")
	}
}

// A picture comes as a copy at each attempt and in each turn, and is not made
// anew each time.
func TestWhatWasMadeToFitIsKept(t *testing.T) {
	picture := pngOf(t, paint(210, 100))
	var first []byte
	for attempt := range 3 {
		got, err := FitAll([]llm.Message{ask(given(t, bytes.Clone(picture)))}, Limits{MaxSide: 50})
		if err != nil {
			t.Fatal(err)
		}
		if p := images(got)[0]; attempt == 0 {
			first = p.Data
		} else if !same(p.Data, first) {
			t.Error("the same picture was made to fit a second time")
		}
	}
	for name, other := range map[string]Limits{
		"MaxSide": {MaxSide: 51}, "MaxBytes": {MaxSide: 50, MaxBytes: 1 << 20}, "NativeSide": {MaxSide: 50, NativeSide: 40}, "Types": {MaxSide: 50, Types: []string{PNG}},
	} {
		got, err := FitAll([]llm.Message{ask(given(t, picture))}, other)
		if err != nil || same(images(got)[0].Data, first) {
			t.Errorf("with another %s the same is returned, %v", name, err)
		}
	}
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	m := memory{mostBytes: 1000, mostEntries: 5}
	id := func(n int) key { return key{content: [sha256.Size]byte{byte(n)}} }
	has := func(n int) bool { _, ok := m.get(id(n)); return ok }
	for n := range 4 {
		m.put(id(n), llm.Image{Data: make([]byte, 250)})
	}
	if !has(0) { // and now 1 is the one that was asked for longest ago
		t.Fatal("what there is room for is dropped")
	}
	m.put(id(4), llm.Image{Data: make([]byte, 250)})
	if has(1) || !has(0) || !has(2) || !has(3) || !has(4) {
		t.Errorf("%d entries of %d bytes", len(m.entries), m.size)
	}
	m.put(id(4), llm.Image{Data: make([]byte, 250)})
	if m.size != 1000 || len(m.entries) != 4 {
		t.Errorf("the same picture twice: %d entries of %d bytes", len(m.entries), m.size)
	}
	m.put(id(5), llm.Image{Data: make([]byte, 1001)})
	if len(m.entries) != 0 || m.size != 0 {
		t.Errorf("one that is larger than all: %d entries of %d bytes", len(m.entries), m.size)
	}
	for n := range 20 {
		m.put(id(n), llm.Image{Data: make([]byte, 1)})
	}
	if len(m.entries) != 5 || m.size != 5 {
		t.Errorf("small ones: %d entries of %d bytes", len(m.entries), m.size)
	}
}

func TestManyAtOnce(t *testing.T) {
	messages := []llm.Message{ask(given(t, pngOf(t, paint(220, 100))), given(t, jpegOf(t, paint(100, 220))))}
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			got, err := FitAll(messages, Limits{MaxSide: 30})
			if err != nil || len(images(got)) != 2 {
				t.Error(err)
			}
		})
	}
	wait.Wait()
}

func TestTheLimitsOfARequest(t *testing.T) {
	small, side := given(t, pngOf(t, paint(20, 10))), given(t, pngOf(t, paint(80, 40)))
	address := llm.Image{URL: "https://example.com/x"}
	few := Limits{Provider: "Acme", MaxImages: 3, ManyImages: 2, ManySide: 50, MaxSide: 100}

	got, err := FitAll([]llm.Message{ask(side), ask(side)}, few)
	if err != nil || decoded(t, images(got)[0]).Bounds().Dx() != 80 {
		t.Errorf("two pictures are not many: %v", err)
	}
	got, err = FitAll([]llm.Message{ask(side), ask(side, address)}, few)
	if err != nil || decoded(t, images(got)[0]).Bounds().Dx() != 50 || decoded(t, images(got)[1]).Bounds().Dx() != 50 {
		t.Errorf("three are, one with an address: %v", err)
	}
	_, err = FitAll([]llm.Message{ask(small, small), ask(address, address)}, few)
	if e, ok := errors.AsType[*Error](err); !ok || e.Limit != "MaxImages" || !strings.Contains(err.Error(), "4 pictures: Acme takes at most 3") {
		t.Errorf("four pictures: %v", err)
	}
	if _, err := FitAll(nil, Limits{MaxImages: -1}); err == nil {
		t.Error("a negative limit is taken")
	}
}

func TestPicturesThatAreTooLargeTogetherAreMadeSmaller(t *testing.T) {
	large, small := given(t, pngOf(t, paint(300, 200))), given(t, pngOf(t, paint(20, 10)))
	room := len(small.Data) + 30_000
	got, err := FitAll([]llm.Message{ask(large, small), ask(large)}, Limits{Provider: "Acme", MaxTotalBytes: room})
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for i, p := range images(got) {
		decoded(t, p)
		total += len(p.Data)
		if changed := !same(p.Data, []llm.Image{large, small, large}[i].Data); changed != (i != 1) {
			t.Errorf("picture %d: changed %v", i, changed)
		}
	}
	if total > room || total < room/3 {
		t.Errorf("%d bytes together, of %d", total, room)
	}
	for _, least := range []int{1, 60} {
		_, err = FitAll([]llm.Message{ask(large, small), ask(large)}, Limits{Provider: "Acme", MaxTotalBytes: least})
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Limit != "MaxTotalBytes" || !strings.Contains(err.Error(), fmt.Sprintf("together: Acme takes at most %d", least)) {
			t.Errorf("%v", err)
		}
	}
}

func TestShareUsesAllOfTheRoomAndNoMore(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(1, 1000), 1, 20).Draw(r, "sizes")
		total := rapid.IntRange(1, 5000).Draw(r, "total")
		most := share(sizes, total)
		sum, all := 0, 0
		for _, s := range sizes {
			sum += min(s, most)
			all += s
		}
		if sum > total {
			r.Fatalf("%d each are %d", most, sum)
		}
		if sum < min(all, total)-len(sizes) {
			r.Fatalf("%d each are only %d of %d", most, sum, total)
		}
	})
}

func TestTheErrorNamesThePart(t *testing.T) {
	good := given(t, pngOf(t, paint(20, 10)))
	_, err := FitAll([]llm.Message{llm.User("x"), ask(good, llm.Image{MediaType: PNG, Data: []byte("%PDF-1.4")})}, OpenAI)
	if err == nil || err.Error() != "messages[1].parts[2]: seems to be PDF: takes PNG, JPEG, GIF or WebP" {
		t.Error(err)
	}
	if failure.KindOf(err) != failure.InvalidRequest {
		t.Errorf("failure kind %v", failure.KindOf(err))
	}
}

func BenchmarkFitAll(b *testing.B) {
	photo := given(b, jpegOf(b, paint(4000, 3000)))
	for name, limits := range map[string]Limits{"fits": Anthropic, "was made to fit": {MaxSide: 2000}} {
		b.Run(name, func(b *testing.B) {
			messages := []llm.Message{llm.System("Be short."), ask(photo)}
			if _, err := FitAll(messages, limits); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := FitAll(messages, limits); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("text alone", func(b *testing.B) {
		messages := []llm.Message{llm.System("Be short."), llm.User("Hello")}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := FitAll(messages, Anthropic); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func TestDataURIsOfAConversationAreFitted(t *testing.T) {
	data := pngOf(t, paint(20, 10))
	uri := "data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(data)
	before := []llm.Message{ask(llm.Image{URL: uri}, llm.Image{URL: "https://example.com/x"}, llm.Image{URL: uri})}
	after, err := FitAll(before, Limits{MaxTotalBytes: 2 * len(data)})
	if err != nil {
		t.Fatal(err)
	}
	if got := images(after); got[0].URL != "" || got[0].MediaType != PNG || !bytes.Equal(got[0].Data, data) || got[1].URL != "https://example.com/x" {
		t.Errorf("became %+v", got)
	}
	if images(before)[0].URL != uri {
		t.Error("the caller's message was changed")
	}
	if _, err := FitAll([]llm.Message{ask(llm.Image{URL: "data:image/png,%zz"})}, OpenAI); err == nil || err.Error() != "messages[0].parts[1]: a data URI with a broken percent-encoding" {
		t.Errorf("a broken one: %v", err)
	}
}
