package gateway

import (
	"net/http"
	"strconv"
	"strings"

	"llmcall/account"
	"llmcall/gateway/internal/clients"
	"llmcall/gateway/internal/page"

	"github.com/tidwall/gjson"
)

// limited is the refusal of a request that is over one of its client's own limits.
func limited(r *clients.Refusal) *refusal {
	out := &refusal{status: http.StatusTooManyRequests, code: "client_limit", limit: r.Limit, after: r.RetryAfter, message: r.Error()}
	switch r.Limit {
	case clients.LimitCost: // SDKs would come back for hours
		out.final = true
	case clients.LimitState, clients.LimitFleet:
		out.status, out.code = http.StatusServiceUnavailable, "state_unavailable"
	}
	return out
}

// clientRows are the clients as /ui shows them.
func clientRows(all []clients.Snapshot) []page.ClientRow {
	var rows []page.ClientRow
	for _, c := range all {
		row := page.ClientRow{
			Name: c.Name, Requests: c.Admitted, Refused: c.Refused, InFlight: c.InFlight,
			SpentToday: c.Spent + c.Others, LimitToday: int64(c.MaxCostPerDay * account.Dollar),
		}
		var limits []string
		for _, l := range []struct {
			most float64
			what string
		}{{c.RequestsPerMinute, "requests a minute"}, {c.TokensPerMinute, "tokens a minute"}, {float64(c.MaxConcurrent), "at a time"}} {
			if l.most > 0 {
				limits = append(limits, strconv.FormatFloat(l.most, 'f', -1, 64)+" "+l.what)
			}
		}
		row.Limits = strings.Join(limits, ", ")
		rows = append(rows, row)
	}
	return rows
}

// geminiCounted returns the request whose tokens are counted: that of generateContent, or
// contents alone.
func geminiCounted(text []byte) []byte {
	if r := gjson.GetBytes(text, "generateContentRequest"); r.IsObject() {
		return []byte(r.Raw)
	}
	return text
}
