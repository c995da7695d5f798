package main

import (
	"cmp"
	"fmt"
	"image/color"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"llmcall"
	"llmcall/account"
	"llmcall/internal/decimal"
	"llmcall/internal/say"
	"llmcall/simulate"
	"llmcall/simulate/plot"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"
	"github.com/spf13/cobra"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// simulated is a scenario with the report of each configuration.
type simulated struct {
	scenario *simulate.Scenario
	reports  []plot.Named
}

// reasons are those by which a call can fail.
var reasons = []llmcall.Reason{
	llmcall.ReasonNoValidAnswer, llmcall.ReasonNoProgress, llmcall.ReasonCheckUnavailable, llmcall.ReasonProviderFailed, llmcall.ReasonRateLimited,
	llmcall.ReasonCircuitOpen, llmcall.ReasonRetryBudgetSpent, llmcall.ReasonAccountSpent, llmcall.ReasonOutOfTime, llmcall.ReasonCancelled,
	llmcall.ReasonAborted, llmcall.ReasonHumanReview,
}

// figures returns what assertions may name, of the first report, and as "other" of the
// second.
func (s *simulated) figures() map[string]any {
	all := figuresOf(s.reports[0].Report)
	if len(s.reports) > 1 {
		all["other"] = figuresOf(s.reports[1].Report)
	}
	return all
}

// emptyFigures has the names of the figures of a scenario.
func emptyFigures(s *simulate.Scenario, compared bool) map[string]any {
	r := &simulate.Report{Priced: true}
	for i, c := range s.Clients {
		r.Groups = append(r.Groups, simulate.Group{Name: cmp.Or(c.Name, strconv.Itoa(i+1))})
	}
	done := simulated{s, []plot.Named{{Report: r}, {Report: r}}}
	if !compared {
		done.reports = done.reports[:1]
	}
	return done.figures()
}

// figureNames are the figures of every scenario.
func figureNames() []string {
	return slices.Sorted(maps.Keys(emptyFigures(&simulate.Scenario{}, true)))
}

// figuresOf returns the figures of a report: shares from 0 to 1, times in seconds, money in
// dollars. Money that is not known is left out.
func figuresOf(r *simulate.Report) map[string]any {
	all := totalFigures(&r.Totals, r.Priced)
	recovers := r.TimeToRecover.Seconds()
	if r.TimeToRecover == simulate.Never {
		recovers = math.Inf(1)
	}
	groups := map[string]any{}
	for _, g := range r.Groups {
		groups[g.Name] = totalFigures(&g.Totals, r.Priced)
	}
	all["time_to_recover"], all["collapsed"], all["groups"] = recovers, r.Collapsed, groups
	return all
}

func totalFigures(t *simulate.Totals, priced bool) map[string]any {
	share := func(n int) float64 { return float64(n) / float64(max(1, t.Calls)) }
	byReason := map[string]any{}
	for _, reason := range reasons {
		byReason[string(reason)] = share(t.Failed[reason])
	}
	took := func(d time.Duration) float64 {
		if t.Answered == 0 {
			return math.Inf(1)
		}
		return d.Seconds()
	}
	all := map[string]any{
		"calls": t.Calls, "answered": t.AnsweredShare(), "failed": share(t.FailedCalls()), "unfinished": share(t.Unfinished), "reasons": byReason,
		"p50": took(t.P50), "p99": took(t.P99),
		"requests": t.Requests, "refused": t.Refused, "wrong": t.Wrong, "faults": t.Faults, "left": t.Left, "probes": t.Probes,
		"requests_per_answer": t.RequestsPerAnswer(), "refusals_per_answer": t.RefusalsPerAnswer(),
		"input_tokens": t.InputTokens, "output_tokens": t.OutputTokens,
	}
	if priced {
		all["cost"], all["wasted"] = float64(t.Cost)/1e9, float64(t.Wasted)/1e9
	}
	return all
}

// simulationDocument is what --output json prints, a list with one for each scenario.
type simulationDocument struct {
	Scenario string             `json:"scenario"`
	About    string             `json:"about,omitempty"`
	Reports  []simulationReport `json:"reports"`
}

type simulationReport struct {
	Config string           `json:"config"`
	Report *simulate.Report `json:"report"`
}

// show prints what came of the simulations, and writes the picture.
func (s *simulation) show(cmd *cobra.Command, all []simulated, broken []string) error {
	if s.picture != "" {
		if err := writePicture(s.picture, all[0]); err != nil {
			return fmt.Errorf("%w: --svg: %w", errOutput, err)
		}
	}
	if s.output == "json" {
		printed := struct {
			Simulated []simulationDocument `json:"simulated"`
			Broken    []string             `json:"broken_assertions"`
		}{Broken: append([]string{}, broken...)}
		for _, done := range all {
			d := simulationDocument{Scenario: done.scenario.Name, About: done.scenario.About}
			for _, r := range done.reports {
				d.Reports = append(d.Reports, simulationReport{r.Name, r.Report})
			}
			printed.Simulated = append(printed.Simulated, d)
		}
		return printJSON(cmd.OutOrStdout(), printed)
	}
	out := newSimulationScreen(cmd.OutOrStdout())
	if s.scenario == "" {
		out.overview(all)
	} else {
		out.one(&all[0])
	}
	return out.print(cmd.OutOrStdout())
}

func writePicture(path string, done simulated) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	err = plot.SVG(file, done.scenario, done.reports...)
	return cmp.Or(err, file.Close())
}

// printList prints the scenarios, and what happens in them.
func (s *simulation) printList(cmd *cobra.Command) error {
	type item struct {
		Name  string `json:"name"`
		About string `json:"about"`
	}
	var all []item
	widest := 0
	for _, name := range simulate.Names() {
		sc, err := simulate.Named(name)
		if err != nil {
			return err
		}
		all = append(all, item{name, strings.Join(strings.Fields(sc.About), " ")})
		widest = max(widest, len(name))
	}
	if s.output == "json" {
		return printJSON(cmd.OutOrStdout(), all)
	}
	width := cmp.Or(widthOf(cmd.OutOrStdout()), 100)
	var b strings.Builder
	for _, l := range all {
		head := fmt.Sprintf("%-*s  ", widest, l.Name)
		b.WriteString(strings.Join(filled(head, strings.Repeat(" ", len(head)), strings.Fields(l.About), width), "\n") + "\n")
	}
	_, err := io.WriteString(cmd.OutOrStdout(), b.String())
	return err
}

// simulationScreen writes tables and charts that fit a terminal.
type simulationScreen struct {
	b     strings.Builder
	width int  // in columns
	roots bool // the bars of calls and requests are their square roots, since a burst is far above the others

	loud, quiet, offered, sent, answered, open, rate lipgloss.Style
}

// bursts is how many times the usual rate makes a bar of it too low to be seen beside it.
const bursts = 30

// The least and the greatest width of what is printed.
const (
	leastScreen = 40
	mostScreen  = 120
)

func newSimulationScreen(w io.Writer) *simulationScreen {
	style := func(c color.Color) lipgloss.Style { return lipgloss.NewStyle().Foreground(c) }
	return &simulationScreen{
		width: min(mostScreen, max(leastScreen, cmp.Or(widthOf(w), 80))),
		loud:  lipgloss.NewStyle().Bold(true), quiet: style(lipgloss.BrightBlack),
		offered: style(lipgloss.BrightBlack), sent: style(lipgloss.Yellow), answered: style(lipgloss.Blue), open: style(lipgloss.Magenta), rate: style(lipgloss.Green),
	}
}

// print prints what was written, in colour where the terminal has it.
func (s *simulationScreen) print(w io.Writer) error {
	to := w
	if out, ok := w.(stdoutWriter); ok {
		to = out.Writer
	}
	colours := &colorprofile.Writer{Forward: w, Profile: colorprofile.Detect(to, os.Environ())}
	_, err := colours.WriteString(s.b.String())
	return err
}

func (s *simulationScreen) line(text string) { s.b.WriteString(strings.TrimRight(text, " ") + "\n") }

// one shows a scenario: what happens in it, the figures of each configuration, and what
// happened over time.
func (s *simulationScreen) one(done *simulated) {
	sc, first := done.scenario, done.reports[0].Report
	name := printable(sc.Name)
	about := filled(name+"  ", "", strings.Fields(printable(sc.About)), s.width)
	s.line(s.loud.Render(name) + strings.TrimPrefix(about[0], name))
	for _, line := range about[1:] {
		s.line(line)
	}
	processes := 0
	for _, c := range sc.Clients {
		processes += max(1, c.Processes)
	}
	s.line(s.quiet.Render(fmt.Sprintf("%s, %s in %s, seed %d", say.Count(processes, "process", "processes"), say.Count(first.Calls, "call", "calls"), lasting(sc.Duration), first.Seed)))
	s.line("")
	t := totalsTable(done.reports)
	for i := range first.Groups {
		if len(first.Groups) > 1 {
			t.group(done.reports, i)
		}
	}
	s.table(t)
	top, usual := 0.0, 0.0 // of calls and requests a second
	for _, r := range done.reports {
		for _, p := range r.Report.Series {
			top = max(top, perSecond(p.Offered, r.Report), perSecond(p.Sent, r.Report), perSecond(p.Answered, r.Report))
		}
		usual = max(usual, float64(r.Report.Calls)/r.Report.Duration.Seconds())
	}
	s.roots = top > bursts*usual
	for _, r := range done.reports {
		s.line("")
		s.chart(r, top, len(done.reports) > 1)
	}
}

// figureTable is rows of a label and of a text for each column.
type figureTable struct {
	head []string
	rows [][]string
}

func (t *figureTable) add(reports []plot.Named, label string, text func(*simulate.Report) string) {
	row := []string{label}
	for _, r := range reports {
		row = append(row, text(r.Report))
	}
	t.rows = append(t.rows, row)
}

// anyOf reports whether something is true of one of the reports.
func anyOf(reports []plot.Named, is func(*simulate.Report) bool) bool {
	return slices.ContainsFunc(reports, func(r plot.Named) bool { return is(r.Report) })
}

// totalsTable has the figures of all clients together. What is 0 everywhere is left out,
// where that says nothing.
func totalsTable(reports []plot.Named) *figureTable {
	t := &figureTable{head: []string{""}}
	for _, r := range reports {
		t.head = append(t.head, printable(r.Name))
	}
	t.add(reports, "answered", func(r *simulate.Report) string { return percent(r.AnsweredShare()) })
	for _, reason := range reasons {
		if anyOf(reports, func(r *simulate.Report) bool { return r.Failed[reason] > 0 }) {
			t.add(reports, "  "+string(reason), func(r *simulate.Report) string { return shareOf(r.Failed[reason], r.Calls) })
		}
	}
	if anyOf(reports, func(r *simulate.Report) bool { return r.Unfinished > 0 }) {
		t.add(reports, "  not done in an hour", func(r *simulate.Report) string { return shareOf(r.Unfinished, r.Calls) })
	}
	t.add(reports, "half of the answers in", func(r *simulate.Report) string { return answeredIn(&r.Totals, r.P50) })
	t.add(reports, "99 % of the answers in", func(r *simulate.Report) string { return answeredIn(&r.Totals, r.P99) })
	t.add(reports, "requests an answer", func(r *simulate.Report) string { return ratio(r.RequestsPerAnswer()) })
	for i := range reports[0].Report.Models {
		t.model(reports, i)
	}
	t.add(reports, "refusals an answer", func(r *simulate.Report) string { return ratio(r.RefusalsPerAnswer()) })
	if anyOf(reports, func(r *simulate.Report) bool { return r.Probes > 0 }) {
		t.add(reports, "probes", func(r *simulate.Report) string { return thousands(r.Probes) })
	}
	t.add(reports, "recovers", recovery)
	if anyOf(reports, func(r *simulate.Report) bool { return r.Priced }) {
		t.add(reports, "money", func(r *simulate.Report) string { return money(r, r.Cost) })
		t.add(reports, "  for nothing", func(r *simulate.Report) string { return money(r, r.Wasted) })
	} else {
		t.add(reports, "tokens in", func(r *simulate.Report) string { return thousands(int(r.InputTokens)) })
		t.add(reports, "tokens out", func(r *simulate.Report) string { return thousands(int(r.OutputTokens)) })
	}
	return t
}

// group adds the figures of a group of clients.
func (t *figureTable) group(reports []plot.Named, i int) {
	name := printable(reports[0].Report.Groups[i].Name)
	t.add(reports, name+": answered", func(r *simulate.Report) string { return percent(r.Groups[i].AnsweredShare()) })
	t.add(reports, name+": 99 % in", func(r *simulate.Report) string { return answeredIn(&r.Groups[i].Totals, r.Groups[i].P99) })
}

// model adds how many requests of all go to a model, where the configurations have the same
// models, and several.
func (t *figureTable) model(reports []plot.Named, i int) {
	models := reports[0].Report.Models
	alike := func(r *simulate.Report) bool {
		return slices.EqualFunc(models, r.Models, func(a, b simulate.Model) bool { return a.Name == b.Name })
	}
	if len(models) < 2 || anyOf(reports, func(r *simulate.Report) bool { return !alike(r) }) {
		return
	}
	t.add(reports, "  to "+printable(models[i].Name), func(r *simulate.Report) string { return shareOf(r.Models[i].Requests, r.Requests) })
}

// answeredIn is a time in which calls were answered, if any was.
func answeredIn(t *simulate.Totals, d time.Duration) string {
	if t.Answered == 0 {
		return "none"
	}
	return lasting(d)
}

// recovery says how long it took until calls were as before the first phase.
func recovery(r *simulate.Report) string {
	switch {
	case r.Collapsed:
		return "never: collapsed"
	case r.TimeToRecover == simulate.Never:
		return "not in time"
	case r.TimeToRecover == 0:
		return "at once"
	}
	return "in " + lasting(r.TimeToRecover)
}

// table writes a table. Where it is too wide, its heads are shortened.
func (s *simulationScreen) table(t *figureTable) {
	widths := make([]int, len(t.head))
	for _, row := range t.rows {
		for i, text := range row {
			widths[i] = max(widths[i], ansi.StringWidth(text))
		}
	}
	whole := -2
	for i, head := range t.head {
		whole += 2 + max(widths[i], ansi.StringWidth(head))
	}
	for i, head := range t.head {
		most := ansi.StringWidth(head)
		if i > 0 && whole > s.width {
			most = min(most, (s.width-widths[0])/(len(widths)-1)-2)
		}
		widths[i] = max(widths[i], most)
	}
	write := func(row []string, style lipgloss.Style) {
		var b strings.Builder
		for i, text := range row {
			text = ansi.Truncate(text, widths[i], "…")
			pad := strings.Repeat(" ", widths[i]-ansi.StringWidth(text))
			if i > 0 {
				b.WriteString("  ")
			}
			if t.head[i] == "" { // words, the others are numbers
				b.WriteString(style.Render(text) + pad)
			} else {
				b.WriteString(pad + style.Render(text))
			}
		}
		s.line(b.String())
	}
	if len(t.head) > 2 || t.head[1] != "" {
		write(t.head, s.loud)
	}
	for _, row := range t.rows {
		write(row, lipgloss.NewStyle())
	}
}

// chart draws a report over time. top is the end of the scale of calls and requests, which
// is that of all reports.
func (s *simulationScreen) chart(r plot.Named, top float64, titled bool) {
	report := r.Report
	if titled {
		s.line(s.loud.Render(ansi.Truncate(printable(r.Name), s.width, "…")))
	}
	const label, value = 10, 15
	width := s.width - label - value
	series := func(of func(simulate.Point) float64) []float64 {
		var all []float64
		for _, p := range report.Series {
			if p.At < report.Duration {
				all = append(all, of(p))
			}
		}
		return all
	}
	if s.roots {
		top = math.Sqrt(top)
	}
	row := func(name string, style lipgloss.Style, values []float64, top float64, height int, most string) {
		for i, line := range bars(values, top, width, height) {
			if i < height-1 { // the last has the names
				s.line(fmt.Sprintf("%*s%s", label, "", style.Render(line)))
				continue
			}
			s.line(fmt.Sprintf("%-*s%s  %s", label, name, style.Render(line), s.quiet.Render(most)))
		}
	}
	calls := func(name string, style lipgloss.Style, of func(simulate.Point) int) {
		values := series(func(p simulate.Point) float64 { return perSecond(of(p), report) })
		highest := slices.Max(append(values, 0))
		if s.roots {
			for i := range values {
				values[i] = math.Sqrt(values[i])
			}
		}
		row(name, style, values, top, 2, "to "+ratio(highest)+" a s")
	}
	calls("offered", s.offered, func(p simulate.Point) int { return p.Offered })
	calls("sent", s.sent, func(p simulate.Point) int { return p.Sent })
	calls("answered", s.answered, func(p simulate.Point) int { return p.Answered })
	if open := series(func(p simulate.Point) float64 { return p.Open }); slices.Max(append(open, 0)) > 0 {
		row("circuits", s.open, open, 1, 1, "to "+percent(slices.Max(open))+" open")
	}
	if paced := series(func(p simulate.Point) float64 { return p.Paced }); slices.Max(append(paced, 0)) > 0 {
		row("paced", s.rate, paced, 1, 1, "to "+percent(slices.Max(paced)))
	}
	end := lasting(report.Duration)
	s.line(s.quiet.Render(fmt.Sprintf("%*s%s%s", label, "", "0"+strings.Repeat(" ", max(1, width-1-len(end))), end)))
	if s.roots {
		s.line(s.quiet.Render(fmt.Sprintf("%*s(bars of calls and requests are square roots)", label, "")))
	}
}

// overview shows all scenarios, a line for each configuration.
func (s *simulationScreen) overview(all []simulated) {
	t := &figureTable{head: []string{"", "", "answered", "99 % in", "requests an answer", "recovers"}}
	for _, done := range all {
		name := done.scenario.Name
		for _, r := range done.reports {
			t.rows = append(t.rows, []string{
				name, printable(r.Name), percent(r.Report.AnsweredShare()), answeredIn(&r.Report.Totals, r.Report.P99), ratio(r.Report.RequestsPerAnswer()), recovery(r.Report),
			})
			name = ""
		}
	}
	if len(all[0].reports) == 1 {
		t.drop(1)
	}
	s.table(t)
}

// drop removes a column.
func (t *figureTable) drop(column int) {
	t.head = slices.Delete(t.head, column, column+1)
	for i := range t.rows {
		t.rows[i] = slices.Delete(t.rows[i], column, column+1)
	}
}

func perSecond(n int, r *simulate.Report) float64 { return float64(n) / r.Bucket.Seconds() }

// percent writes a share. One that is not all or nothing is not written as such.
func percent(share float64) string {
	text := strconv.FormatFloat(100*share, 'f', 1, 64)
	switch {
	case share == 1:
		text = "100"
	case share == 0:
		text = "0"
	case text == "100.0":
		text = "> 99.9"
	case text == "0.0":
		text = "< 0.1"
	}
	return text + " %"
}

func shareOf(n, all int) string { return percent(float64(n) / float64(max(1, all))) }

// ratio writes a number with three digits.
func ratio(v float64) string {
	if v >= 1000 {
		return thousands(int(v + 0.5))
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

func thousands(n int) string { return message.NewPrinter(language.English).Sprintf("%d", n) }

// lasting writes a time.
func lasting(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 2, 64) + " s"
	case d < time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d%time.Hour == 0:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d%time.Minute == 0 && d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return d.Round(time.Second).String()
}

func money(r *simulate.Report, nanos int64) string {
	if !r.Priced {
		return "not known"
	}
	digit := int64(100_000) // of a dollar, 1/10,000
	if nanos >= 10*account.Dollar {
		digit = account.Dollar / 100
	}
	return "$" + decimal.Dollars((nanos+digit/2)/digit*digit, 2)
}
