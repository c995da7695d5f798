package breaker_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"llmcall/breaker"
)

func TestImpossibleSettingIsAnErrorThatNamesTheFieldWhatItGotAndWhatItTakes(t *testing.T) {
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
		{"FailureRate", breaker.Config{FailureRate: 0.0009}, "0.0009"},
		{"FailureRate", breaker.Config{FailureRate: 1.0001}, "1.0001"},
		{"FailureRate", breaker.Config{FailureRate: 80}, "80"},
		{"FailureRate", breaker.Config{FailureRate: math.NaN()}, "NaN"},
		{"FailureRate", breaker.Config{FailureRate: math.Inf(1)}, "+Inf"},
		{"FailureRate", breaker.Config{FailureRate: 5e-324}, "5e-324"},
		{"FailureWindow", breaker.Config{FailureWindow: -1}, "-1ns"},
		{"RecoveryTimeout", breaker.Config{RecoveryTimeout: -time.Second}, "-1s"},
		{"TripTimeout", breaker.Config{TripTimeout: math.MinInt64}, "-2562047h47m16.854775808s"},
		{"MaxOpen", breaker.Config{MaxOpen: -1}, "-1ns"},
		{"MaxOpen", breaker.Config{MaxOpen: 59 * time.Second}, "59s"},
		{"MaxOpen", breaker.Config{RecoveryTimeout: 2 * time.Hour, MaxOpen: time.Hour}, "1h0m0s"},
		{"ProbeLease", breaker.Config{ProbeLease: -1}, "-1ns"},
		{"SlowCall", breaker.Config{SlowCall: -time.Minute}, "-1m0s"},
		{"RecoveryFactor", breaker.Config{RecoveryFactor: 0.99}, "0.99"},
		{"RecoveryFactor", breaker.Config{RecoveryFactor: -2}, "-2"},
		{"RecoveryFactor", breaker.Config{RecoveryFactor: 1001}, "1001"},
		{"RecoveryFactor", breaker.Config{RecoveryFactor: math.NaN()}, "NaN"},
		{"RecoveryFactor", breaker.Config{RecoveryFactor: math.Inf(1)}, "+Inf"},
	} {
		b, err := breaker.New("x", test.config)
		filled, err2 := test.config.Filled()
		if b != nil || filled != (breaker.Config{}) {
			t.Errorf("%s: made all the same", test.field)
		}
		for _, err := range []error{err, err2} {
			e, isConfig := errors.AsType[*breaker.ConfigError](err)
			if !isConfig || e.Field != test.field || e.Takes == "" ||
				err.Error() != "breaker: "+test.field+" must be "+e.Takes+", got "+test.got {
				t.Errorf("%s: %v", test.field, err)
			}
		}
	}
}

func TestExtremeSettingsAreTaken(t *testing.T) {
	const longest = time.Duration(math.MaxInt64)
	for _, c := range []breaker.Config{
		{},
		{FailureThreshold: 10_000, FailureRate: 0.001, HalfOpenProbes: 10_000, SuccessThreshold: 10_000},
		{FailureThreshold: 1, FailureRate: 1, FailureWindow: 1, RecoveryTimeout: 1, MaxOpen: 1, ProbeLease: 1, TripTimeout: 1},
		{FailureRate: -1, FailureWindow: longest, RecoveryTimeout: longest, SlowCall: longest, RecoveryFactor: 1000},
		{FailureRate: math.Inf(-1), MaxOpen: longest, RecoveryFactor: 1000},
		{FailureRate: math.Copysign(0, -1)},
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
		b.Trip(because(boom))
		b.Reset()
		bad(t, b)
		b.Trip(because(boom))
		if e := b.Refusal(); c.MaxOpen != 1 && e == nil {
			t.Errorf("%+v: not OPEN", c)
		}
		b.Snapshot()
	}
}

func TestDefaultsAreFilledIn(t *testing.T) {
	want := breaker.Config{
		FailureThreshold: 5, FailureWindow: 300 * s, FailureRate: 0.8, RecoveryTimeout: 60 * s, RecoveryFactor: 1,
		TripTimeout: 60 * s, MaxOpen: time.Hour, HalfOpenProbes: 1, SuccessThreshold: 2, ProbeLease: 60 * s,
	}
	if got, err := (breaker.Config{}).Filled(); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	named := breaker.Config{
		FailureThreshold: breaker.DefaultFailureThreshold, FailureWindow: breaker.DefaultFailureWindow,
		FailureRate: breaker.DefaultFailureRate, RecoveryTimeout: breaker.DefaultRecoveryTimeout,
		HalfOpenProbes: breaker.DefaultHalfOpenProbes, SuccessThreshold: breaker.DefaultSuccessThreshold, MaxOpen: breaker.DefaultMaxOpen,
	}
	if got, err := named.Filled(); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTwoConfigurationsThatMeanTheSameAreEqualOnceFilled(t *testing.T) {
	for _, test := range []struct {
		a, b breaker.Config
		want bool
	}{
		{breaker.Config{}, breaker.Config{ProbeLease: 60 * s}, true},
		{breaker.Config{FailureRate: -1}, breaker.Config{FailureRate: -0.2}, true},
		{breaker.Config{FailureRate: -1}, breaker.Config{}, false},
		{breaker.Config{RecoveryTimeout: 30 * s}, breaker.Config{RecoveryTimeout: 30 * s, ProbeLease: 30 * s, TripTimeout: 30 * s}, true},
		{breaker.Config{RecoveryTimeout: 30 * s}, breaker.Config{RecoveryTimeout: 30 * s, ProbeLease: 60 * s}, false},
		{breaker.Config{MaxOpen: 60 * s}, breaker.Config{MaxOpen: 60 * s, TripTimeout: time.Hour}, true},
	} {
		a, err := test.a.Filled()
		b, err2 := test.b.Filled()
		if err != nil || err2 != nil || (a == b) != test.want {
			t.Errorf("%+v and %+v: equal %v, want %v", a, b, a == b, test.want)
		}
		if again, err := a.Filled(); again != a || err != nil {
			t.Errorf("%+v, filled again: %+v", a, again)
		}
	}
}
