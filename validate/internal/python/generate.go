//go:build ignore

// Makes brython.js.gz of brython.js in the npm package brython, version 3.14.3:
//
//	npm pack brython@3.14.3 && tar xzf brython-3.14.3.tgz
//	go run generate.go package/brython.js
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"log"
	"os"

	"github.com/evanw/esbuild/pkg/api"
)

const sum = "355fb4b7604c88d38190b4d748f1e37667e36b6346e3524bd8dfab36f01dd6c9"

func main() {
	source, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(source)); got != sum {
		log.Fatalf("the SHA-256 of %s is %s, and not that of version 3.14.3", os.Args[1], got)
	}
	// The interpreter knows neither import() nor asynchronous generators, which
	// the parser has no use for.
	result := api.Transform(string(source), api.TransformOptions{
		Target:            api.ES2017,
		Supported:         map[string]bool{"dynamic-import": false, "async-generator": false},
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		LegalComments:     api.LegalCommentsInline,
	})
	for _, e := range result.Errors {
		log.Fatal(e.Text)
	}
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := w.Write(result.Code); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile("brython.js.gz", out.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}
