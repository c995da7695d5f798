//go:build ignore

// Makes libpg_query.wasm.gz of internal/wasm/libpg_query.so in the module
// github.com/wasilibs/go-pgquery, version v0.0.0-20260728010200-155ebad2880e:
//
//	go mod download -json github.com/wasilibs/go-pgquery@v0.0.0-20260728010200-155ebad2880e
//	go run generate.go DIR/internal/wasm/libpg_query.so
//
// where DIR is the "Dir" that the first command prints.
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"log"
	"os"
)

const sum = "3fc045654ea91269c1487220a10f8b612e96eae9b96558ee8cbb004bc4befe77"

func main() {
	source, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(source)); got != sum {
		log.Fatalf("the SHA-256 of %s is %s, want %s", os.Args[1], got, sum)
	}
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := w.Write(source); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile("libpg_query.wasm.gz", out.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}
