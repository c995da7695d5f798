package review

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"llmcall/backoff"
	"llmcall/failure"
	"llmcall/retry"
)

// The headers of a webhook, by the specification Standard Webhooks
// (https://www.standardwebhooks.com), for which there are libraries in many languages.
const (
	headerID        = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"
)

// tolerance is how far the time of a webhook may be off.
const tolerance = 5 * time.Minute

// Webhook tells a program of a call that waits for a person: it gets the [File] as JSON.
type Webhook struct {
	// URL is where the file is sent by POST. Unless it is on this machine, it must be https.
	URL string
	// Secret signs it: HMAC-SHA256, by the specification Standard Webhooks. At least 24
	// bytes. It may be written as there, "whsec_" and base64.
	Secret string
	// Client sends it. Default nil: [http.DefaultClient].
	Client *http.Client
}

// Validate returns an error if Send could send nothing: an impossible URL or secret. It
// shows neither.
func (w *Webhook) Validate() error {
	if _, err := secretOf(w.Secret); err != nil {
		return err
	}
	target, err := url.Parse(w.URL)
	if err != nil || target.Host == "" {
		return errors.New("review: the URL must be an https address")
	}
	if host := target.Hostname(); target.Scheme != "https" && (target.Scheme != "http" || host != "localhost" && host != "127.0.0.1" && host != "::1") {
		return fmt.Errorf("review: the URL must be https, because the conversation is sent to it, got %s", target.Scheme)
	}
	return nil
}

// Send sends the file, and again after 1 s, 2 s and 4 s if that fails in a way that may
// pass. A receiver may get a file twice, and knows it by its ID.
func (w *Webhook) Send(ctx context.Context, f *File) error {
	if err := w.Validate(); err != nil {
		return err
	}
	secret, err := secretOf(w.Secret)
	if err != nil {
		return err
	}
	text, err := encode(f)
	if err != nil {
		return fmt.Errorf("review: %w", err)
	}
	policy, err := retry.New(retry.Config{MaxAttempts: 4, AttemptTimeout: 30 * time.Second, Backoff: backoff.Exponential{}})
	if err != nil {
		return err
	}
	_, err = retry.Do(ctx, policy, func(ctx context.Context, _ retry.Attempt) (struct{}, error) {
		return struct{}{}, w.post(ctx, f.ID, text, secret)
	})
	if err != nil {
		return fmt.Errorf("review: the webhook was not sent: %w", err)
	}
	return nil
}

func (w *Webhook) post(ctx context.Context, id string, text, secret []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(text))
	if err != nil {
		return retry.Stop(errors.New("the URL must be an https address"))
	}
	now := strconv.FormatInt(time.Now().Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(headerID, id)
	req.Header.Set(headerTimestamp, now)
	req.Header.Set(headerSignature, sign(secret, id, now, text))
	client := w.Client
	if client == nil {
		client = http.DefaultClient
	}
	res, err := client.Do(req)
	if e, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("%s: %w", req.URL.Host, e.Err) // the URL may have a token
	}
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	if res.StatusCode/100 == 2 {
		return nil
	}
	err = fmt.Errorf("%s answered %s", req.URL.Host, res.Status)
	if res.StatusCode/100 == 4 && res.StatusCode != http.StatusTooManyRequests && res.StatusCode != http.StatusRequestTimeout {
		return retry.Stop(err)
	}
	return &failure.Error{Kind: failure.Transient, Status: res.StatusCode, Message: err.Error()}
}

// sign returns the signature of a webhook.
func sign(secret []byte, id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "%s.%s.", id, timestamp)
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// secretOf reads a secret. Its error does not show it.
func secretOf(text string) ([]byte, error) {
	secret := []byte(text)
	if encoded, ok := strings.CutPrefix(text, "whsec_"); ok {
		var err error
		if secret, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			return nil, errors.New("review: Secret must be base64 after whsec_")
		}
	}
	if len(secret) < 24 {
		decoded := ""
		if len(secret) != len(text) {
			decoded = " of the base64 after whsec_"
		}
		return nil, fmt.Errorf("review: Secret must have at least 24 bytes, got %d%s", len(secret), decoded)
	}
	return secret, nil
}

// Verify checks the signature of a webhook that was received, with its body, and that it
// was sent within the last five minutes. It is for a receiver that is written in Go.
func Verify(header http.Header, body []byte, secretText string) error {
	secret, err := secretOf(secretText)
	if err != nil {
		return err
	}
	stamp := header.Get(headerTimestamp)
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return fmt.Errorf("review: the header %s must be a number of seconds, got %.20q", headerTimestamp, stamp)
	}
	if off := time.Since(time.Unix(seconds, 0)); off > tolerance || off < -tolerance {
		return fmt.Errorf("review: the webhook was sent %v ago, and may be at most %v old", off.Round(time.Second), tolerance)
	}
	want := sign(secret, header.Get(headerID), stamp, body)
	for _, given := range strings.Fields(header.Get(headerSignature)) {
		if hmac.Equal([]byte(given), []byte(want)) {
			return nil
		}
	}
	return errors.New("review: the webhook is not signed with this secret")
}
