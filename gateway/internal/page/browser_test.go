package page_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"llmcall/breaker"
	"llmcall/endpoint"
)

// browser starts Chromium.
func browser(t *testing.T) context.Context {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a browser; run without -short")
	}
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed: apt-get install chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU)
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 10*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func do(t *testing.T, ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

func eval[T any](t *testing.T, ctx context.Context, script string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](script))
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return v
}

// scheme sets the reader's wish for light or dark.
func scheme(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
	}); err != nil {
		t.Fatal(err)
	}
}

// picture saves a screenshot where LLMCALL_PICTURES says, for people to look at.
func picture(t *testing.T, ctx context.Context, name string, width, height int64) {
	t.Helper()
	do(t, ctx, chromedp.EmulateViewport(width, height))
	shot, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	if dir := os.Getenv("LLMCALL_PICTURES"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name+".png"), shot, 0o644); err != nil {
			t.Error(err)
		}
	}
}

func TestPictures(t *testing.T) {
	dir := os.Getenv("LLMCALL_PICTURES")
	if dir == "" {
		t.Skip("LLMCALL_PICTURES says where to save pictures of a bad day; LLMCALL_PICTURES_AFTER after how long, default 20s")
	}
	ctx := browser(t)
	w := newWorld(t, os.Getenv("LLMCALL_PICTURES_CONTENTS") != "", nil)
	load, stop := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	w.busy(load, t, &wait)
	lasts, err := time.ParseDuration(os.Getenv("LLMCALL_PICTURES_AFTER"))
	if err != nil {
		lasts = 20 * time.Second
	}
	do(t, ctx, chromedp.EmulateViewport(1280, 800), chromedp.Navigate(w.server.URL+"/ui/"))
	time.Sleep(lasts)
	for _, name := range []string{"light", "dark"} {
		scheme(t, ctx, name)
		picture(t, ctx, "wide-"+name, 1280, 900)
		picture(t, ctx, "phone-"+name, 390, 844)
	}
	eval[bool](t, ctx, `document.querySelector(".call.trouble").open = true; document.querySelectorAll(".call.failed").forEach((e, i) => { if (i < 1) e.open = true }); document.querySelector(".control details").open = true; window.scrollTo(0, 0); true`)
	for _, name := range []string{"light", "dark"} {
		scheme(t, ctx, name)
		picture(t, ctx, "open-"+name, 1280, 1800)
	}
	picture(t, ctx, "open-phone", 390, 2400)
	eval[bool](t, ctx, `document.querySelectorAll("details").forEach(e => e.open = false); document.getElementById("calls-title").scrollIntoView(); true`)
	picture(t, ctx, "calls-phone", 390, 844)
	stop()
	wait.Wait()
}

// press presses keys.
func press(t *testing.T, ctx context.Context, keys ...string) {
	t.Helper()
	for _, k := range keys {
		do(t, ctx, chromedp.KeyEvent(k))
	}
}

// until waits until a script returns true.
func until(t *testing.T, ctx context.Context, script string) {
	t.Helper()
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool](script, chromedp.WithPollingTimeout(20*time.Second))); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, eval[string](t, ctx, "document.body.innerText"))
	}
}

// complaints returns what the browser wrote to its console until it is called: errors,
// and what the content security policy refused.
func complaints(t *testing.T, ctx context.Context) func() []string {
	t.Helper()
	within, stop := context.WithCancel(ctx)
	messages := chromedp.Console(within)
	return func() (all []string) {
		eval[bool](t, ctx, `console.log("the end"); true`)
		for m, err := range messages {
			if err != nil {
				t.Error(err)
				break
			}
			if strings.Contains(m.Text, "the end") {
				break
			}
			all = append(all, m.Text)
		}
		stop()
		return all
	}
}

func TestAnOperatorForcesACircuitByKeyboard(t *testing.T) {
	ctx := browser(t)
	w := newWorld(t, false, quiet)
	e := w.registry.Get(endpoint.Key{Model: "acme/small"})
	circuit := e.Circuit(endpoint.Options{})
	said := complaints(t, ctx)
	do(t, ctx, chromedp.EmulateViewport(1280, 800), chromedp.Navigate(w.server.URL+"/ui"))
	until(t, ctx, `document.getElementById("live").textContent === "live"`)
	press(t, ctx, kb.Tab, kb.Enter) // to the endpoints
	press(t, ctx, kb.Tab, kb.Enter) // opens Control
	until(t, ctx, `document.activeElement.closest("details").open`)
	press(t, ctx, kb.Tab, "maintenance", kb.Tab, kb.Enter)
	until(t, ctx, `document.querySelector(".tone.forced") && document.querySelector("#endpoints .tone.forced").textContent === "forced open"`)
	if s := circuit.Snapshot(); s.State != breaker.Open || !s.Forced || s.Cause.Kind != "maintenance" {
		t.Errorf("the circuit is %+v", s)
	}
	until(t, ctx, `document.getElementById("notice").textContent.includes("was forced open") && document.title === "1 open · llmcall"`)
	if at := eval[string](t, ctx, `document.activeElement.textContent`); at != "Control" {
		t.Errorf("the focus is at %q, want Control", at)
	}
	// Again, and reset by the third button; Escape closes what is open.
	press(t, ctx, kb.Enter, kb.Tab, kb.Escape)
	until(t, ctx, `!document.querySelector(".control details").open && document.activeElement.textContent === "Control"`)
	press(t, ctx, kb.Enter, kb.Tab, kb.Tab, kb.Tab, kb.Tab, kb.Enter)
	until(t, ctx, `!document.querySelector("#endpoints .tone.forced")`)
	if s := circuit.Snapshot(); s.State != breaker.Closed || s.Forced {
		t.Errorf("the circuit is %+v", s)
	}
	if all := said(); len(all) > 0 {
		t.Errorf("the browser complains: %q", all)
	}
}

func TestThePageFollowsAndDisturbsNobody(t *testing.T) {
	ctx := browser(t)
	w := newWorld(t, false, quiet)
	load, stop := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	w.busy(load, t, &wait)
	defer wait.Wait()
	defer stop()
	said := complaints(t, ctx)
	do(t, ctx, chromedp.EmulateViewport(1280, 800), chromedp.Navigate(w.server.URL+"/ui/"))
	until(t, ctx, `document.querySelectorAll("#calls .call").length > 5`)
	// What is read stays open and in its place, and what is typed stays, while rows come.
	eval[bool](t, ctx, `window.read = document.querySelector("#calls .call"); read.open = true; document.querySelector(".control details").open = true; true`)
	do(t, ctx, chromedp.Focus(chromedp.CSS(`.control input[name=why]`)))
	press(t, ctx, "half a sen")
	eval[bool](t, ctx, `window.newest = document.querySelector("#calls .call").id; true`)
	until(t, ctx, `document.querySelectorAll("#calls .call").length >= 100 && document.querySelector("#calls .call").id !== newest`)
	press(t, ctx, "tence")
	if got := eval[string](t, ctx, `document.activeElement.value + " " + read.isConnected + " " + read.open`); got != "half a sentence true true" {
		t.Errorf("it is %q", got)
	}
	until(t, ctx, `document.querySelectorAll("#calls .call").length <= 101`) // those of the ring, and the open one
	// Paused, nothing moves.
	do(t, ctx, chromedp.Click(chromedp.CSS("#pause")))
	until(t, ctx, `document.getElementById("live").textContent === "paused"`)
	before := eval[string](t, ctx, `document.querySelector("#calls .call").id`)
	do(t, ctx, chromedp.Sleep(1500*time.Millisecond))
	if after := eval[string](t, ctx, `document.querySelector("#calls .call").id`); after != before {
		t.Error("it moves while it is paused")
	}
	press(t, ctx, "p")
	until(t, ctx, `document.getElementById("live").textContent === "live" && document.querySelector("#calls .call").id !== "`+before+`"`)

	widths(t, ctx)
	colours(t, ctx)
	if all := said(); len(all) > 0 {
		t.Errorf("the browser complains: %q", all)
	}
}

// widths looks for what is wider than the window, closing what is open.
func widths(t *testing.T, ctx context.Context) {
	t.Helper()
	for _, width := range []int64{320, 390, 760, 1024, 1280, 1920} {
		do(t, ctx, chromedp.EmulateViewport(width, 900))
		if wide := eval[string](t, ctx, `(() => { document.querySelectorAll("details").forEach(e => e.open = false);
			const over = [...document.querySelectorAll("body *")].filter(e => !e.closest(".hear, .skip") && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.className || e.tagName);
			return document.documentElement.scrollWidth > innerWidth ? over.slice(0, 5).join() || "?" : ""; })()`); wide != "" {
			t.Errorf("at a width of %d it is wider than the window: %s", width, wide)
		}
	}
}

// colours looks for texts that can hardly be read, in light and dark.
func colours(t *testing.T, ctx context.Context) {
	t.Helper()
	for _, name := range []string{"light", "dark"} {
		scheme(t, ctx, name)
		for _, faint := range eval[[]string](t, ctx, contrast) {
			t.Errorf("%s: too little contrast (WCAG 2.2 asks for 4.5): %s", name, faint)
		}
	}
}

// contrast returns the texts whose colour is too close to that of what is behind them.
const contrast = `(() => {
	const rgb = (c) => c.match(/[\d.]+/g).map(Number);
	const light = (c) => { const [r, g, b] = rgb(c).map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
	const behind = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if ((rgb(c)[3] ?? 1) > 0) return c; } return "rgb(255,255,255)"; };
	const all = new Set();
	for (const e of document.querySelectorAll("body *")) {
		if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || e.closest(".hear, svg, meter")) continue;
		const a = light(getComputedStyle(e).color), b = light(behind(e));
		const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (ratio < 4.5) all.add(ratio.toFixed(2) + " " + (e.className || e.tagName));
	}
	return [...all];
})()`

// Whoever hears the page is told what each control does, and what the pictures show.
func TestEachControlAndPictureHasAName(t *testing.T) {
	ctx := browser(t)
	w := newWorld(t, false, quiet)
	w.once(t, nil, "Hi!")
	do(t, ctx, chromedp.Navigate(w.server.URL+"/ui/"))
	eval[bool](t, ctx, `document.querySelectorAll("details").forEach(e => e.open = true); true`)
	tree, err := chromedp.Call(ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, n := range tree.Nodes {
		if n.Ignored || n.Role == nil {
			continue
		}
		role := strings.Trim(string(n.Role.Value), `"`)
		switch role {
		case "button", "checkbox", "textbox", "image", "img", "table", "DisclosureTriangle", "columnheader", "rowheader":
			seen[role]++
			if role != "table" && (n.Name == nil || strings.Trim(string(n.Name.Value), `" `) == "") {
				t.Errorf("a %s has no name: %v", role, n.BackendDOMNodeID)
			}
		}
	}
	for _, role := range []string{"button", "checkbox", "textbox", "table", "DisclosureTriangle", "rowheader"} {
		if seen[role] == 0 {
			t.Errorf("the page has no %s: %v", role, seen)
		}
	}
	if seen["image"]+seen["img"] == 0 {
		t.Errorf("no time line is an image: %v", seen)
	}
}

func TestThePageSaysThatTheGatewayIsGone(t *testing.T) {
	ctx := browser(t)
	w := newWorld(t, false, quiet)
	do(t, ctx, chromedp.Navigate(w.server.URL+"/ui/"))
	until(t, ctx, `document.getElementById("live").textContent === "live"`)
	w.server.Config.Shutdown(ctx)
	until(t, ctx, `document.getElementById("live").textContent === "connection lost, trying again"`)
}
