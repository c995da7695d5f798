package main

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"llmcall/internal/proxies"
)

// introduction is the page. What is in capitals is put in.
//
//go:embed page.txt
var introduction string

// The columns of the page.
var (
	checked = subject{proxy: &proxies.Llmcall, checked: true}
	plain   = subject{proxy: &proxies.Llmcall}
	alone   = subject{proxy: &proxies.Llmcall, alone: true}
	guarded = subject{proxy: &proxies.Portkey, checked: true}
	portkey = subject{proxy: &proxies.Portkey}
	nginx   = subject{proxy: &proxies.Nginx}
	haproxy = subject{proxy: &proxies.HAProxy}
	nobody  = subject{alone: true}
)

// column is a subject, asked for whole answers or streams, under the name that the page has
// for it.
type column struct {
	name string
	subject
	stream bool
}

// compared are the columns of the tables of whole answers and of streams.
func compared(stream bool) []column {
	return []column{{"llmcall, checks", checked, stream}, {"llmcall", plain, stream}, {"Portkey, checks", guarded, stream},
		{"Portkey", portkey, stream}, {"nginx", nginx, stream}, {"HAProxy", haproxy, stream}, {"no gateway", nobody, stream}}
}

// tables are the columns of the page's three tables: whole answers, streams, and a gateway
// with a single provider.
var tables = [3][]column{compared(false), compared(true), {{"whole", alone, false}, {"stream", alone, true}}}

// speaks reports whether a subject is tried with a protocol. No gateway is there to be
// compared with those of OpenAI's protocol.
func (s subject) speaks(protocol string) bool {
	return s.proxy != nil && !s.proxy.OpenAIOnly || protocol == "openai"
}

// everything returns the cells of the page.
func everything() (all []*cell) {
	for _, s := range []subject{checked, plain, alone, guarded, portkey, nginx, haproxy, nobody} {
		for _, c := range clients {
			if !s.speaks(c.protocol) {
				continue
			}
			for _, r := range rows {
				all = append(all, &cell{subject: s, client: c, row: r}, &cell{subject: s, client: c, row: r, stream: true})
			}
		}
	}
	return all
}

// results are the measured cells.
type results []*cell

// of returns what a subject did, and whether it was tried.
func (all results) of(col column, protocol, name string) (outcome, bool) {
	for _, c := range all {
		if c.subject == col.subject && c.client.protocol == protocol && c.row.name == name && c.stream == col.stream {
			return c.outcome, true
		}
	}
	return outcome{}, false
}

// written writes the page.
func written(all results) string {
	return strings.NewReplacer(
		"SUMMARY", all.summary(),
		"FAULTS", faultList(),
		"WHOLE", all.table(tables[0]),
		"STREAMS", all.table(tables[1]),
		"ALONE", all.table(tables[2]),
		"PATIENCE", fmt.Sprint(patience), "IMPATIENCE", fmt.Sprint(impatience),
		"CELLS", fmt.Sprint(len(all)), "PORTKEY", proxies.Portkey.Version, "NGINX", proxies.Nginx.Version, "HAPROXY", proxies.HAProxy.Version,
	).Replace(introduction)
}

// faultList explains the rows.
func faultList() string {
	var b strings.Builder
	b.WriteString("| | |\n| --- | --- |\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s |\n", r.name, r.what)
	}
	return strings.TrimSpace(b.String())
}

// summary counts the outcomes of each column at the faults, in OpenAI's protocol alone, so
// that the columns can be compared.
func (all results) summary() string {
	var b strings.Builder
	b.WriteString("| | answer | clear error | broken | lie | hang |\n| --- | ---: | ---: | ---: | ---: | ---: |\n")
	for _, form := range []string{"whole", "stream"} {
		for _, col := range compared(form == "stream") {
			n := map[verdict]int{}
			for _, r := range rows {
				if o, ok := all.of(col, "openai", r.name); ok && !r.control {
					n[o.verdict]++
				}
			}
			fmt.Fprintf(&b, "| %s, %s |", col.name, form)
			for v := answered; v <= hung; v++ {
				fmt.Fprintf(&b, " %d |", n[v])
			}
			b.WriteString("\n")
		}
	}
	return strings.TrimSpace(b.String())
}

// table has a line for each fault, or more where protocols differ.
func (all results) table(columns []column) string {
	var b strings.Builder
	head, line := "| | protocol |", "| --- | --- |"
	for _, c := range columns {
		head += " " + c.name + " |"
		line += " --- |"
	}
	b.WriteString(head + "\n" + line + "\n")
	for _, r := range rows {
		b.WriteString(all.row(r, columns))
	}
	return strings.TrimSpace(b.String())
}

// row is what a table says of a fault.
func (all results) row(r row, columns []column) string {
	var b strings.Builder
	name := r.name
	for _, l := range all.lines(r, columns) {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", name, l.protocols, strings.Join(l.cells, " | "))
		name = ""
	}
	return b.String()
}

// notIn returns the cells of each row that a page does not have as it is here.
func (all results) notIn(page string) (differ results) {
	var has []string
	for _, paragraph := range strings.Split(page, "\n\n") {
		if strings.HasPrefix(paragraph, "| | protocol |") {
			has = append(has, paragraph+"\n")
		}
	}
	for i, columns := range tables {
		for _, r := range rows {
			if i < len(has) && strings.Contains(has[i], "\n"+all.row(r, columns)) {
				continue
			}
			for _, c := range all {
				if c.row.name == r.name && slices.ContainsFunc(columns, func(col column) bool { return col.subject == c.subject && col.stream == c.stream }) {
					differ = append(differ, c)
				}
			}
		}
	}
	return differ
}

// tableLine is a line of a table.
type tableLine struct {
	protocols string
	cells     []string
}

// lines are what happens at a fault: protocols that do the same share a line.
func (all results) lines(r row, columns []column) (lines []tableLine) {
	for _, c := range clients {
		var cells []string
		for _, col := range columns {
			text := ""
			if o, ok := all.of(col, c.protocol, r.name); ok {
				text = o.String()
			}
			cells = append(cells, text)
		}
		same := slices.IndexFunc(lines, func(l tableLine) bool { return covers(l.cells, cells) })
		if same < 0 {
			lines = append(lines, tableLine{c.name, cells})
			continue
		}
		lines[same].protocols += ", " + c.name
	}
	if len(lines) == 1 {
		lines[0].protocols = "all"
	}
	return lines
}

// covers reports whether a line says the same as cells; a subject that was not tried with
// the protocol says nothing.
func covers(line, cells []string) bool {
	for i, text := range cells {
		if text != "" && text != line[i] {
			return false
		}
	}
	return true
}
