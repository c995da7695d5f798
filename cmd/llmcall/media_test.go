package main

import (
	"encoding/base64"
	"strings"
	"testing"
)

const (
	testPDF = "%PDF-1.4\nsecret pages\n%%EOF\n"
	testWAV = "RIFF\x24\x00\x00\x00WAVEfmt secret sound"
)

// A --file is known by its content: a document that is all ASCII is not a text.
func TestFilesMayBeDocumentsAndRecordings(t *testing.T) {
	server, args := serve(t, "{}")
	got := command(t, "", append(args, "--file", file(t, "report.txt", testPDF), "--file", file(t, "call", testWAV), "Compare them")...)
	if got.code != 0 {
		t.Fatalf("exit %d: %s", got.code, got.stderr)
	}
	last := server.Requests()[0]
	for _, want := range []string{
		`"filename":"report.txt"`, `"file_data":"data:application/pdf;base64,` + base64.StdEncoding.EncodeToString([]byte(testPDF)),
		`"data":"` + base64.StdEncoding.EncodeToString([]byte(testWAV)), `"format":"wav"`,
	} {
		if !strings.Contains(string(last.Body), want) {
			t.Errorf("sent %s, want %s", last.Body, want)
		}
	}
	if last.Messages[0].Text != "Compare them" {
		t.Errorf("sent %q", last.Messages[0].Text)
	}
	got = command(t, "", "call", "--base-url", strings.TrimSuffix(args[2], "/v1"), "--model", "anthropic/claude-test", "--file", file(t, "call.wav", testWAV), "Write it down")
	if got.code != 6 || len(server.Requests()) != 1 || !strings.Contains(got.stderr, "is a recording: Anthropic takes text, PNG, JPEG, GIF, WebP, PDF; recordings are taken by") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
}

// A data URI is taken wherever a file is, and what it is shows its content alone.
func TestAFileMayBeADataURI(t *testing.T) {
	server, args := serve(t, "{}")
	uri := func(content string) string {
		return "data:text/x-wrong;base64," + base64.StdEncoding.EncodeToString([]byte(content))
	}
	_, picture := pngFile(t, "cat", 3)
	got := command(t, "", append(args, "--file", uri(testPDF), "--file", uri(testWAV), "--file", picture, "--file", "data:,some%20text", "Compare them")...)
	if got.code != 0 {
		t.Fatalf("exit %d: %s", got.code, got.stderr)
	}
	last := server.Requests()[0]
	for _, want := range []string{`"filename":"document.pdf"`, "data:application/pdf;base64,", `"format":"wav"`, "data:image/png;base64,"} {
		if !strings.Contains(string(last.Body), want) {
			t.Errorf("sent %s, want %s", last.Body, want)
		}
	}
	if last.Messages[0].Text != "<file>\nsome text\n</file>\n\nCompare them" {
		t.Errorf("sent %q", last.Messages[0].Text)
	}
	for given, want := range map[string]string{
		"data:application/pdf;base64": "a data URI without a comma", uri("\xff\x00"): "neither a text in UTF-8 nor a file that a model takes", "data:,": "is empty",
		"https://me:hunter2@example.org/a.pdf":       "must be a file or a data URI, got an address (https://…); --image takes that of a picture",
		uri(testPDF)[:40] + strings.Repeat("!", 500): "data:text/x-wrong;base64,",
	} {
		got := command(t, "", append(args, "--file", given, "Hi!")...)
		if got.code != 2 || !strings.Contains(got.stderr, "--file: ") || !strings.Contains(got.stderr, want) || strings.Contains(got.stderr, "hunter2") || len(got.stderr) > 300 {
			t.Errorf("%.60s: exit %d: %s", given, got.code, got.stderr)
		}
	}
}

// What a person or a log sees of a call never has the content of its files.
func TestNothingQuotesAFile(t *testing.T) {
	_, args := serve(t, "{}")
	args = append(args, "--file", file(t, "a.pdf", testPDF), "--file", file(t, "a.wav", testWAV), "--schema", file(t, "s.json", schema), "--max-attempts", "2", "--trace", "--output", "json")
	got := command(t, "", append(args, "Compare them")...)
	for _, secret := range []string{"secret", base64.StdEncoding.EncodeToString([]byte(testPDF))[:12], base64.StdEncoding.EncodeToString([]byte(testWAV))[:12]} {
		if strings.Contains(got.stdout+got.stderr, secret) {
			t.Errorf("%q is in\n%s%s", secret, got.stdout, got.stderr)
		}
	}
}
