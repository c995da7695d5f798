package simulate

import (
	"encoding/json"
	"time"

	"llmcall"
	"llmcall/internal/decimal"
)

type trafficJSON struct {
	Requests     int         `json:"requests"`
	Right        int         `json:"right"`
	Wrong        int         `json:"wrong"`
	Refused      int         `json:"refused"`
	Faults       int         `json:"faults"`
	Left         int         `json:"left"`
	Probes       int         `json:"probes"`
	InputTokens  int64       `json:"input_tokens"`
	OutputTokens int64       `json:"output_tokens"`
	Cost         json.Number `json:"cost"` // dollars
}

type totalsJSON struct {
	Calls      int                    `json:"calls"`
	Answered   int                    `json:"answered"`
	Failed     map[llmcall.Reason]int `json:"failed"`
	Unfinished int                    `json:"unfinished"`
	P50        float64                `json:"p50_ms"`
	P99        float64                `json:"p99_ms"`
	trafficJSON
	Wasted json.Number `json:"wasted"` // dollars
}

type groupJSON struct {
	Name string `json:"name"`
	totalsJSON
}

type modelJSON struct {
	Name string `json:"name"`
	trafficJSON
}

type pointJSON struct {
	At         float64 `json:"at_ms"`
	Offered    int     `json:"offered"`
	Answered   int     `json:"answered"`
	Failed     int     `json:"failed"`
	Unfinished int     `json:"unfinished"`
	Sent       int     `json:"sent"`
	Right      int     `json:"right"`
	Wrong      int     `json:"wrong"`
	Refused    int     `json:"refused"`
	Faults     int     `json:"faults"`
	Left       int     `json:"left"`
	InHands    int     `json:"in_hands"`
	Open       float64 `json:"open"`
	Paced      float64 `json:"paced"`
	Rate       float64 `json:"rate"`
}

type reportJSON struct {
	Scenario string  `json:"scenario"`
	Seed     uint64  `json:"seed"`
	Duration float64 `json:"duration_ms"`
	End      float64 `json:"end_ms"`
	totalsJSON
	Priced        bool        `json:"priced"`
	TimeToRecover *float64    `json:"time_to_recover_ms"` // null: never
	Collapsed     bool        `json:"collapsed"`
	Groups        []groupJSON `json:"groups"`
	Models        []modelJSON `json:"models"`
	Bucket        float64     `json:"bucket_ms"`
	Series        []pointJSON `json:"series"`
}

// MarshalJSON writes the report with the names of its fields in lower case, times in
// milliseconds ("p50_ms") and money in dollars. Never is null.
func (r *Report) MarshalJSON() ([]byte, error) {
	out := reportJSON{
		Scenario: r.Scenario, Seed: r.Seed, Duration: milliseconds(r.Duration), End: milliseconds(r.End), totalsJSON: r.Totals.json(),
		Priced: r.Priced, Collapsed: r.Collapsed, Groups: []groupJSON{}, Models: []modelJSON{}, Bucket: milliseconds(r.Bucket), Series: []pointJSON{},
	}
	if r.TimeToRecover >= 0 {
		out.TimeToRecover = new(milliseconds(r.TimeToRecover))
	}
	for _, g := range r.Groups {
		out.Groups = append(out.Groups, groupJSON{g.Name, g.Totals.json()})
	}
	for _, m := range r.Models {
		out.Models = append(out.Models, modelJSON{m.Name, m.Traffic.json()})
	}
	for _, p := range r.Series {
		out.Series = append(out.Series, pointJSON{
			milliseconds(p.At), p.Offered, p.Answered, p.Failed, p.Unfinished, p.Sent, p.Right, p.Wrong, p.Refused, p.Faults, p.Left,
			p.InHands, p.Open, p.Paced, p.Rate,
		})
	}
	return json.Marshal(out)
}

func (t *Totals) json() totalsJSON {
	out := totalsJSON{t.Calls, t.Answered, t.Failed, t.Unfinished, milliseconds(t.P50), milliseconds(t.P99), t.Traffic.json(), dollars(t.Wasted)}
	if out.Failed == nil {
		out.Failed = map[llmcall.Reason]int{}
	}
	return out
}

func (t *Traffic) json() trafficJSON {
	return trafficJSON{t.Requests, t.Right, t.Wrong, t.Refused, t.Faults, t.Left, t.Probes, t.InputTokens, t.OutputTokens, dollars(t.Cost)}
}

// milliseconds returns d in milliseconds, with microseconds as decimals.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func dollars(nanos int64) json.Number { return json.Number(decimal.Dollars(nanos, 0)) }
