package review_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"llmcall"
	"llmcall/llm"
	"llmcall/review"
	"llmcall/validate"
)

// handedOver returns a client, and a call of its that was handed to a person.
func handedOver(t *testing.T) (*llmcall.Client, *llmcall.HumanReviewError) {
	t.Helper()
	m := llm.Func(t.Name(), func(context.Context, *llm.Request) (*llm.Response, error) { return llm.Reply("Bonn <b>"), nil })
	berlin, err := validate.OneOf("Berlin")
	if err != nil {
		t.Fatal(err)
	}
	c, err := llmcall.New([]llm.Model{m}, []validate.Strategy{berlin}, llmcall.RetryConfig{
		Stages: []llmcall.Stage{{Attempts: 1}, {Human: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Do(t.Context(), llm.Prompt("What is the capital?"))
	e, ok := errors.AsType[*llmcall.HumanReviewError](err)
	if !ok {
		t.Fatal(err)
	}
	return c, e
}

func written(t *testing.T, e *llmcall.HumanReviewError, expires time.Time) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "review.json")
	if err := review.Write(path, &review.File{Review: e, Expires: expires, Program: json.RawMessage(`{"a":1}`)}); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestACallWaitsInAFile(t *testing.T) {
	c, e := handedOver(t)
	path := written(t, e, time.Time{})
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	text, _ := os.ReadFile(path)
	if !strings.Contains(string(text), `"Bonn <b>"`) {
		t.Errorf("not for a person's eyes: %s", text)
	}
	f, claim, err := review.Claim(path)
	if err != nil || string(f.Program) == "" || f.ID == "" || f.Created.IsZero() {
		t.Fatalf("%+v, %v", f, err)
	}
	r, err := c.Resume(t.Context(), f.Review, llmcall.Decision{Verdict: llmcall.VerdictEdit, Text: "Berlin"})
	if err != nil || r.Text != "Berlin" || len(r.Attempts) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := claim.Done(); err != nil {
		t.Fatal(err)
	}
	_, _, err = review.Claim(path)
	if e, ok := errors.AsType[*review.ClaimedError](err); !ok || !e.Done || !strings.Contains(err.Error(), "is decided already, by process ") {
		t.Errorf("%v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

// A call that is handed over again replaces its file, and another call may use the name
// of one that is decided.
func TestAFileIsReplacedAndCanBeClaimedAgain(t *testing.T) {
	_, e := handedOver(t)
	path := written(t, e, time.Time{})
	for _, end := range []func(*review.Claimed) error{(*review.Claimed).Release, (*review.Claimed).Done} {
		f, claim, err := review.Claim(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := review.Write(path, &review.File{Review: e}); err != nil {
			t.Fatal(err)
		}
		if err := end(claim); err != nil {
			t.Fatal(err)
		}
		again, claim, err := review.Claim(path)
		if err != nil || again.ID == f.ID {
			t.Fatalf("%+v, %v", again, err)
		}
		if err := claim.Release(); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if err := review.Write(link, &review.File{Review: e, ID: "by_link"}); err != nil {
		t.Fatal(err)
	}
	if f, err := review.Read(path); err != nil || f.ID != "by_link" {
		t.Errorf("%+v, %v", f, err)
	}
	if _, err := os.Stat("/dev/fd"); err != nil {
		t.Skip("there are no files for pipes")
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() {
		defer w.Close()
		if err := review.Write(fmt.Sprintf("/dev/fd/%d", w.Fd()), &review.File{Review: e, ID: "by_pipe"}); err != nil {
			t.Error(err)
		}
	}()
	if text, err := io.ReadAll(r); err != nil || !strings.Contains(string(text), `"by_pipe"`) {
		t.Errorf("%s, %v", text, err)
	}
}

// Of many that claim a file at once, one gets it; after it has given it back, another.
func TestOneOfManyClaims(t *testing.T) {
	_, e := handedOver(t)
	path := written(t, e, time.Time{})
	for range 3 {
		var got atomic.Int32
		var mine atomic.Pointer[review.Claimed]
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				_, claim, err := review.Claim(path)
				if err == nil {
					got.Add(1)
					mine.Store(claim)
				} else if e, ok := errors.AsType[*review.ClaimedError](err); !ok || e.Done || !strings.Contains(e.By, "process ") {
					t.Errorf("%v", err)
				}
			})
		}
		all.Wait()
		if got.Load() != 1 {
			t.Fatalf("%d have claimed it", got.Load())
		}
		if err := mine.Load().Release(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFilesThatCannotBeClaimed(t *testing.T) {
	_, e := handedOver(t)
	_, _, err := review.Claim(written(t, e, time.Now().Add(-time.Minute)))
	if _, ok := errors.AsType[*review.ExpiredError](err); !ok {
		t.Errorf("%v", err)
	}
	for text, want := range map[string]string{
		"":               "must be the JSON of a call that waits for a person, got what is not JSON: unexpected end",
		"[]":             "must be the JSON of a call that waits for a person, got other JSON",
		"{}":             "got other JSON",
		`{"version": 9}`: "has the version 9 of the format, and this program reads up to 1: use a newer one",
		`{"version": 1}`: "got other JSON",
	} {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := review.Claim(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, _, err := review.Claim(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := review.Write(filepath.Join(t.TempDir(), "none", "x"), &review.File{Review: e}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

const secret = "a secret of at least 24 bytes"

func TestAWebhookIsSignedAndVerified(t *testing.T) {
	_, e := handedOver(t)
	f := &review.File{ID: "review_1", Version: 1, Review: e}
	for _, given := range []string{secret, "whsec_" + base64.StdEncoding.EncodeToString([]byte(secret))} {
		var heard error
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			heard = review.Verify(r.Header, body, secret)
			var got review.File
			if err := json.Unmarshal(body, &got); err != nil || got.Review.Why != e.Why {
				t.Errorf("%s: %v", body, err)
			}
			for name, change := range map[string]func(){
				"is not signed with this secret": func() { body[10]++ },
				"must be a number of seconds":    func() { r.Header.Set("Webhook-Timestamp", "now") },
				"and may be at most 5m0s old":    func() { r.Header.Set("Webhook-Timestamp", "1") },
			} {
				change()
				if err := review.Verify(r.Header, body, secret); err == nil || !strings.Contains(err.Error(), name) && name != "is not signed with this secret" {
					t.Errorf("%s: %v", name, err)
				}
			}
		}))
		if err := (&review.Webhook{URL: server.URL, Secret: given}).Send(t.Context(), f); err != nil || heard != nil {
			t.Errorf("%v, %v", err, heard)
		}
		server.Close()
	}
	for want, w := range map[string]review.Webhook{
		"Secret must have at least 24 bytes, got 21 of the base64 after whsec_": {URL: "https://example.org", Secret: "whsec_0123456789012345678901234567"},
		"Secret must have at least 24 bytes, got 5":                             {URL: "https://example.org", Secret: "short"},
		"Secret must be base64 after whsec_":                                    {URL: "https://example.org", Secret: "whsec_???"},
		"the URL must be https,":                                                {URL: "http://example.org/hook", Secret: secret},
		"the URL must be an https address":                                      {URL: "example.org", Secret: secret},
	} {
		if err := w.Send(t.Context(), f); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), w.Secret) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// replies answers requests with statuses, one after the other; 0 is a broken connection.
type replies struct {
	statuses []int
	asked    int
}

func (r *replies) RoundTrip(*http.Request) (*http.Response, error) {
	status := r.statuses[min(r.asked, len(r.statuses)-1)]
	r.asked++
	if status == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Body: io.NopCloser(strings.NewReader("?"))}, nil
}

func TestAWebhookIsSentAgain(t *testing.T) {
	_, e := handedOver(t)
	for _, row := range []struct {
		statuses []int
		asked    int
		ok       bool
	}{{[]int{503, 0, 429, 204}, 4, true}, {[]int{500}, 4, false}, {[]int{404}, 1, false}, {[]int{200}, 1, true}} {
		synctest.Test(t, func(t *testing.T) {
			r := &replies{statuses: row.statuses}
			w := review.Webhook{URL: "https://example.org/hook?token=private", Secret: secret, Client: &http.Client{Transport: r}}
			err := w.Send(t.Context(), &review.File{ID: "1", Review: e})
			if err != nil && strings.Contains(err.Error(), "private") {
				t.Errorf("the error shows the URL: %v", err)
			}
			if (err == nil) != row.ok || r.asked != row.asked {
				t.Errorf("%v: %v after %d", row.statuses, err, r.asked)
			}
		})
	}
}
