package otel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	otelapi "go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"llmcall"
	"llmcall/internal/nearest"
)

// Setup sends traces and metrics where the standard variables of the environment say, by
// OTLP over HTTP, and returns the observer of calls. It is for programs, not for libraries:
// it sets the providers, the propagator and the error handler of the process. What can't be
// sent is dropped, and logged by [slog.Default] once a minute; no call waits for it.
//
// Without a variable that names an endpoint or an exporter there is nothing to send to: the
// observer is nil, which costs nothing, and shutdown does nothing.
//
// shutdown sends what is left and ends what Setup has started. It must be called, with a
// context that bounds how long that may take. The error of Setup names the variable, what it
// has and what it takes.
//
//	OTEL_EXPORTER_OTLP_ENDPOINT          where to, such as http://127.0.0.1:4318
//	OTEL_EXPORTER_OTLP_{TRACES,METRICS}_ENDPOINT
//	OTEL_EXPORTER_OTLP_HEADERS, _TIMEOUT, _COMPRESSION, _CERTIFICATE, …
//	OTEL_{TRACES,METRICS}_EXPORTER       otlp or none
//	OTEL_EXPORTER_OTLP_PROTOCOL          http/protobuf; there is no other here
//	OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES
//	OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG
//	OTEL_METRIC_EXPORT_INTERVAL, OTEL_BSP_*, OTEL_SPAN_*_LIMIT
//	OTEL_SDK_DISABLED                    true: nothing is sent
//
// Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
func Setup(ctx context.Context) (shutdown func(context.Context) error, observer llmcall.Observer, err error) {
	nothing := func(context.Context) error { return nil }
	traces, err := wanted("TRACES")
	if err != nil {
		return nothing, nil, err
	}
	metrics, err := wanted("METRICS")
	if err != nil {
		return nothing, nil, err
	}
	if !traces && !metrics {
		return nothing, nil, nil
	}
	described, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithService(), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nothing, nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	otelapi.SetErrorHandler(warns())
	var ends []func(context.Context) error
	shutdown = func(ctx context.Context) error {
		var all []error
		for _, end := range ends {
			all = append(all, end(ctx))
		}
		return errors.Join(all...)
	}
	if traces {
		exporter, err := otlptracehttp.New(ctx)
		if err != nil {
			return nothing, nil, fmt.Errorf("OTEL_EXPORTER_OTLP_TRACES_*: %w", err)
		}
		p := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(described))
		ends = append(ends, p.Shutdown)
		otelapi.SetTracerProvider(p)
		otelapi.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	}
	if metrics {
		exporter, err := otlpmetrichttp.New(ctx)
		if err != nil {
			return nothing, nil, errors.Join(fmt.Errorf("OTEL_EXPORTER_OTLP_METRICS_*: %w", err), shutdown(ctx))
		}
		p := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewPeriodicReader(exporter)), sdkmetric.WithResource(described))
		ends = append(ends, p.Shutdown)
		otelapi.SetMeterProvider(p)
	}
	return shutdown, Observer(Options{}), nil
}

// pause is how often what can't be sent is logged: exporters try every few seconds.
const pause = time.Minute

// warns returns what is told of errors in the background, such as a collector that does not
// answer.
func warns() otelapi.ErrorHandler {
	var mu sync.Mutex
	var last time.Time
	left := 0
	return otelapi.ErrorHandlerFunc(func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if !last.IsZero() && time.Since(last) < pause {
			left++
			return
		}
		slog.Warn("llmcall: traces or metrics could not be sent", "error", err, "not_logged", left)
		last, left = time.Now(), 0
	})
}

// wanted reports whether a signal, "TRACES" or "METRICS", is to be sent.
func wanted(signal string) (bool, error) {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return false, nil
	}
	variable := "OTEL_" + signal + "_EXPORTER"
	exporter, err := oneOf(variable, "otlp", "none")
	if exporter == "none" || err != nil {
		return false, err
	}
	if exporter == "" && os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT") == "" {
		return false, nil
	}
	for _, variable := range []string{"OTEL_EXPORTER_OTLP_" + signal + "_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if _, err := oneOf(variable, "http/protobuf"); err != nil {
			return false, err
		}
	}
	return true, nil
}

// oneOf returns the value of a variable that takes one of some words, "" if it is not set.
func oneOf(variable string, words ...string) (string, error) {
	value := os.Getenv(variable)
	for _, word := range words {
		if value == "" || value == word {
			return value, nil
		}
	}
	return "", fmt.Errorf("%s: must be one of %s, got %s", variable, strings.Join(words, ", "), nearest.Shown(value, words))
}
