package breaker_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"llmcall/breaker"
)

func TestImpossibleSettingIsAnErrorThatNamesTheFieldWhatItGotAndWhatItTakes(t *testing.T) {
	number := func(f float64) *float64 { return &f }
	for _, test := range []struct {
		field  string
		config breaker.Config
		got    string
	}{
		{"FailureThreshold", breaker.Config{FailureThreshold: -1}, "-1"},
		{"FailureThreshold", breaker.Config{FailureThreshold: 10_001}, "10001"},
		{"FailureThreshold", breaker.Config{FailureThreshold: math.MinInt}, "-9223372036854775808"},
		{"HalfOpenProbes", breaker.Config{HalfOpenProbes: -1}, "-1"},
		{"HalfOpenProbes", breaker.Config{HalfOpenProbes: 10_001}, "10001"},
		{"SuccessThreshold", breaker.Config{SuccessThreshold: -3}, "-3"},
		{"SuccessThreshold", breaker.Config{SuccessThreshold: math.MaxInt}, "9223372036854775807"},
		{"FailureRate", breaker.Config{FailureRate: number(-0.1)}, "-0.1"},
		{"FailureRate", breaker.Config{FailureRate: number(0.0009)}, "0.0009"},
		{"FailureRate", breaker.Config{FailureRate: number(1.0001)}, "1.0001"},
		{"FailureRate", breaker.Config{FailureRate: number(80)}, "80"},
		{"FailureRate", breaker.Config{FailureRate: number(math.NaN())}, "NaN"},
		{"FailureRate", breaker.Config{FailureRate: number(math.Inf(1))}, "+Inf"},
		{"FailureRate", breaker.Config{FailureRate: number(math.Inf(-1))}, "-Inf"},
		{"FailureRate", breaker.Config{FailureRate: number(5e-324)}, "5e-324"},
		{"FailureWindow", breaker.Config{FailureWindow: -1}, "-1ns"},
		{"RecoveryTimeout", breaker.Config{RecoveryTimeout: -time.Second}, "-1s"},
		{"TripTimeout", breaker.Config{TripTimeout: math.MinInt64}, "-2562047h47m16.854775808s"},
		{"MaxOpen", breaker.Config{MaxOpen: -1}, "-1ns"},
		{"MaxOpen", breaker.Config{MaxOpen: 59 * time.Second}, "59s"},
		{"MaxOpen", breaker.Config{RecoveryTimeout: 2 * time.Hour, MaxOpen: time.Hour}, "1h0m0s"},
		{"ProbeLease", breaker.Config{ProbeLease: -1}, "-1ns"},
		{"SlowCall", breaker.Config{SlowCall: -time.Minute}, "-1m0s"},
		{"Exclude[1]", breaker.Config{Exclude: []breaker.Matcher{breaker.Is(errBoom), nil}}, "<nil>"},
	} {
		b, err := breaker.New("x", test.config)
		r, err2 := breaker.NewRegistry(test.config, 0)
		if b != nil || r != nil {
			t.Errorf("%s: made all the same", test.field)
		}
		for _, err := range []error{err, err2} {
			e, isConfig := errors.AsType[*breaker.ConfigError](err)
			if !isConfig || e.Field != test.field || e.Takes == "" ||
				!strings.HasPrefix(err.Error(), "breaker: "+test.field+" is "+test.got+": takes "+e.Takes) {
				t.Errorf("%s: %v", test.field, err)
			}
		}
	}
	_, err := breaker.NewRegistry(breaker.Config{}, -1)
	if e, isConfig := errors.AsType[*breaker.ConfigError](err); !isConfig || e.Field != "limit" || e.Got != -1 {
		t.Errorf("limit: %v", err)
	}
}

func TestExtremeSettingsAreTaken(t *testing.T) {
	number := func(f float64) *float64 { return &f }
	const longest = time.Duration(math.MaxInt64)
	for _, c := range []breaker.Config{
		{},
		{FailureThreshold: 10_000, FailureRate: number(0.001), HalfOpenProbes: 10_000, SuccessThreshold: 10_000},
		{FailureThreshold: 1, FailureRate: number(1), FailureWindow: 1, RecoveryTimeout: 1, MaxOpen: 1, ProbeLease: 1, TripTimeout: 1},
		{FailureRate: number(0), FailureWindow: longest, RecoveryTimeout: longest, SlowCall: longest},
		{FailureRate: number(math.Copysign(0, -1))},
		{ProbeLease: longest, MaxOpen: longest, TripTimeout: longest},
	} {
		b, err := breaker.New("", c)
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		for range 3 {
			ok(t, b)
		}
		b.Trip(errBoom)
		b.Reset()
		bad(t, b)
		b.Trip(errBoom)
		if e := b.Refusal(); c.MaxOpen != 1 && e == nil {
			t.Errorf("%+v: not OPEN", c)
		}
		b.Snapshot()
	}
}

func TestDefaultsAreThoseOfTheirNames(t *testing.T) {
	rate := breaker.DefaultFailureRate
	explicit := breaker.Config{
		FailureThreshold: breaker.DefaultFailureThreshold, FailureWindow: breaker.DefaultFailureWindow, FailureRate: &rate,
		RecoveryTimeout: breaker.DefaultRecoveryTimeout, HalfOpenProbes: breaker.DefaultHalfOpenProbes,
		SuccessThreshold: breaker.DefaultSuccessThreshold, MaxOpen: breaker.DefaultMaxOpen,
	}
	if explicit.FailureThreshold != 5 || explicit.FailureWindow != 300*s || rate != 0.8 || explicit.RecoveryTimeout != 60*s ||
		explicit.HalfOpenProbes != 1 || explicit.SuccessThreshold != 2 || explicit.MaxOpen != time.Hour {
		t.Errorf("%+v", explicit)
	}
}
