package classify

import (
	"net/http"
	"time"

	"llmcall/failure"
	"llmcall/pace"
)

// Told returns what the headers of a response say of the provider's limits; nil
// if nothing.
func Told(provider string, header http.Header, at time.Time) *pace.Told {
	wait, told := failure.RetryAfter(header, at)
	if !told {
		return nil
	}
	return &pace.Told{Wait: wait, HasWait: true}
}
