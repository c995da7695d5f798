package plot_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"llmcall"
	"llmcall/simulate"
	"llmcall/simulate/plot"
)

func ExampleSVG() {
	scenario := simulate.Must(simulate.Named("outage"))
	var reports []plot.Named
	for _, p := range []struct {
		name string
		cfg  llmcall.RetryConfig
	}{
		{"defaults", llmcall.RetryConfig{}},
		{"breaker", llmcall.RetryConfig{EnableCircuitBreaker: true, AttemptTimeout: 10 * time.Second}},
	} {
		report, err := simulate.Do(context.Background(), p.cfg, scenario)
		if err != nil {
			fmt.Println(err)
			return
		}
		reports = append(reports, plot.Named{Name: p.name, Report: report})
	}
	path := filepath.Join(os.TempDir(), "outage.svg")
	defer os.Remove(path)
	file, err := os.Create(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer file.Close()
	fmt.Println(plot.SVG(file, scenario, reports...))
	// Output: <nil>
}
