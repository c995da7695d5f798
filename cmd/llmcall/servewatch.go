package main

import (
	"context"
	"net/http"
	"slices"

	"llmcall"
	"llmcall/account"
	"llmcall/eventlog"
	"llmcall/gateway"
	"llmcall/metrics"
	"llmcall/otel"

	otelapi "go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// watched is a gateway with its metrics, its traces and its log.
type watched struct {
	gateway *gateway.Gateway
	metrics *metrics.Metrics
	end     func(context.Context) error // sends what is left of the traces
}

// watchedGateway makes a gateway whose calls are measures, traced and logged.
func (s *serving) watchedGateway(ctx context.Context, cfg *gateway.Config) (*watched, error) {
	w := &watched{}
	measures := metrics.Options{Registry: s.registry, Accounts: func() []account.Snapshot { return w.gateway.Accounts() }}
	if s.fleet != nil {
		measures.Fleet = s.fleet.size
	}
	var err error
	if w.metrics, err = metrics.New(measures); err != nil {
		return nil, err
	}
	w.know(cfg)
	end, traced, err := otel.Setup(ctx)
	if err != nil {
		return nil, err
	}
	w.end = end
	options := gateway.Options{
		Open: s.open, Log: s.log, Version: version(), Practice: s.practice.given, Endpoints: s.registry, Metrics: w.metrics.Handler(), OnRequest: w.count,
		Observer: llmcall.Observers(traced, w.metrics.Observer(), eventlog.Observer(s.log, eventlog.Options{Content: cfg.ShowContents})),
	}
	if traced != nil {
		options.Begin = beginSpan
	}
	if s.fleet != nil {
		options.Fleet, options.FleetCircuits, options.Limits = s.fleet.state, s.fleet, s.fleet
	}
	if w.gateway, err = gateway.New(cfg, options); err != nil {
		return nil, s.inWords(err)
	}
	s.gateway.Store(w.gateway)
	return w, nil
}

// count counts a request.
func (w *watched) count(r gateway.Served) {
	w.metrics.Request(metrics.Request{
		Route: r.Route, Client: r.Client, Protocol: r.Protocol, Status: r.Status, Failed: r.Code != "", Limit: r.Limit, Duration: r.Duration, FirstByte: r.FirstByte,
	})
}

// know tells the metrics which names the configuration has: others are "other".
func (w *watched) know(cfg *gateway.Config) {
	var models, routes, clients []string
	for name, r := range cfg.Routes {
		models, routes = append(models, r.AllModels()...), append(routes, name)
	}
	for _, c := range cfg.Clients {
		clients = append(clients, c.Name)
	}
	slices.Sort(routes)
	w.metrics.Know(models, routes, clients)
}

// beginSpan begins the span of a request, in the trace that its client has begun, if there is
// one.
func beginSpan(r *http.Request) (ctx context.Context, traceID string, end func(status int)) {
	ctx, own := otelapi.Tracer("llmcall/gateway").Start(otel.Incoming(r.Context(), r.Header), r.Method+" "+r.Pattern, trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("http.request.method", r.Method), attribute.String("url.path", r.URL.Path)))
	return ctx, otel.TraceID(ctx), func(status int) {
		own.SetAttributes(attribute.Int("http.response.status_code", status))
		if status >= http.StatusInternalServerError {
			own.SetStatus(codes.Error, "")
		}
		own.End()
	}
}
