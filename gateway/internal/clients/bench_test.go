package clients

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"llmcall/endpoint"
)

// countedDisk counts what is synced.
type countedDisk struct {
	disk
	syncs *atomic.Int64
}

func (c *countedDisk) Sync() error {
	c.syncs.Add(1)
	return c.disk.Sync()
}

// An attempt's reservation and settlement, by so many callers at a time: one fsync is for all
// who wait.
func BenchmarkAttempt(b *testing.B) {
	for _, callers := range []int{1, 8, 64, 512} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			book, err := Open(b.TempDir(), []Config{{Name: "web", SHA256: hashOf("a"), MaxCostPerDay: maxNumber}}, Options{Log: quiet})
			if err != nil {
				b.Fatal(err)
			}
			var syncs atomic.Int64
			j := book.journal
			good := j.replace
			count := func(file disk, err error) (disk, error) { return &countedDisk{file, &syncs}, err }
			j.replace = func(text []byte) (disk, error) { return count(good(text)) }
			j.file = &countedDisk{j.file, &syncs}
			day := only(book).Account()
			one := endpoint.Amount{Nanos: 1000}
			var all sync.WaitGroup
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			for range callers {
				all.Go(func() {
					for left.Add(-1) >= 0 {
						lent, err := day.Reserve(one, one)
						if err != nil {
							b.Error(err)
							return
						}
						day.Settle(lent, one)
					}
				})
			}
			all.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "attempts/s")
			b.ReportMetric(float64(b.N)/float64(max(1, syncs.Load())), "attempts/fsync")
			b.ReportMetric(b.Elapsed().Seconds()*1e3*float64(callers)/float64(b.N), "ms/attempt")
			if err := book.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// A request of a client with all limits, by its key.
func BenchmarkRequest(b *testing.B) {
	key, hash := NewKey()
	book, err := Open(b.TempDir(), []Config{{Name: "web", SHA256: hash, RequestsPerMinute: maxNumber, TokensPerMinute: maxNumber, MaxConcurrent: 100, MaxCostPerDay: 5}}, Options{Log: quiet})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		client, _ := book.Find(key)
		ticket, refusal := admit(client, 100)
		if refusal != nil {
			b.Fatal(refusal)
		}
		ticket.Done(50)
	}
	if err := book.Close(); err != nil {
		b.Fatal(err)
	}
}
