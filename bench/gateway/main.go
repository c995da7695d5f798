// Command gateway measures what `llmcall serve` costs, beside the same requests without a
// gateway, httputil.ReverseProxy, nginx and Portkey, in one run. It is run in the folder
// bench:
//
//	go run ./gateway
//
// The provider, each gateway and the driver are processes of their own. The driver speaks
// HTTP over connections that it keeps; the provider answers at once, with 1 KiB.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"llmcall/internal/proxies"
)

// settings says how much is measured.
type settings struct {
	rounds   int
	length   time.Duration
	streams  int
	pieces   int
	interval time.Duration
	soak     time.Duration
	only     string
	command  string
}

func main() {
	var s settings
	flag.IntVar(&s.rounds, "rounds", 3, "how often the times are measured; the best round counts")
	flag.DurationVar(&s.length, "length", 2*time.Second, "how long each is measured in a round")
	flag.IntVar(&s.streams, "streams", 2000, "how many streams at a time")
	flag.IntVar(&s.pieces, "pieces", 40, "the pieces of each of them")
	flag.DurationVar(&s.interval, "interval", 250*time.Millisecond, "the time between two of these pieces")
	flag.DurationVar(&s.soak, "soak", 0, "how long each gateway is kept busy before its memory is measured again")
	flag.StringVar(&s.only, "only", "", "the `names` of gateways, with commas; default: all")
	flag.StringVar(&s.command, "llmcall", "", "the command llmcall; by default it is built")
	role := flag.String("role", "", "for the processes that the program starts: provider, or the host that is proxied")
	port := flag.Int("port", 0, "their port")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	switch *role {
	case "":
		err = compare(ctx, s)
	case roleProvider:
		err = serveProvider(*port)
	default:
		err = serveProxy(*port, *role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(1)
	}
}

// again returns the command of this program in another role.
func again(role string, port int) *exec.Cmd {
	return exec.Command(os.Args[0], "-role", role, "-port", strconv.Itoa(port))
}

var (
	provider     = proxies.Plain("provider", func(port int, _ string) *exec.Cmd { return again(roleProvider, port) })
	reverseProxy = proxies.Plain("ReverseProxy", func(port int, host string) *exec.Cmd { return again(host, port) })
)

// bench is what is measured of one gateway.
type bench struct {
	name    string
	to      proxies.Target
	running *proxies.Running // nil: no gateway
	figures figures
}

// compare measures and prints.
func compare(ctx context.Context, s settings) error {
	dir, err := os.MkdirTemp("", "bench-gateway-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	options, err := prepared(ctx, s, dir)
	if err != nil {
		return err
	}
	route := proxies.Route{Name: "bench", Protocol: "openai", Primary: "http://127.0.0.1:9"} // nobody's: the provider asks nobody
	options.Routes = []proxies.Route{route}
	upstream, err := provider.Start(ctx, options)
	if err != nil {
		return err
	}
	defer upstream.Stop()
	route.Primary = upstream.To(route).URL
	options.Routes = []proxies.Route{route}

	all := []*bench{{name: "direct", to: proxies.Direct(route)}}
	for _, p := range []proxies.Proxy{reverseProxy, proxies.Nginx, proxies.Portkey, proxies.Llmcall} {
		if s.only != "" && !strings.Contains(","+s.only+",", ","+p.Name+",") {
			continue
		}
		b, err := started(ctx, p, options, route)
		if errors.Is(err, proxies.ErrMissing) {
			fmt.Printf("%s is left out: %v\n\n", p.Name, err)
			continue
		}
		if err != nil {
			return err
		}
		defer b.running.Stop()
		all = append(all, b)
	}
	if err := measureAll(ctx, all, s); err != nil {
		return err
	}
	report(all, s)
	return nil
}

// prepared builds the command if there is none.
func prepared(ctx context.Context, s settings, dir string) (proxies.Options, error) {
	o := proxies.Options{Dir: dir, Command: s.command}
	cache, err := os.UserCacheDir()
	if err != nil {
		return o, err
	}
	o.Cache = filepath.Join(cache, "llmcall-test")
	if o.Command == "" {
		o.Command = filepath.Join(dir, "llmcall")
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", o.Command, "./cmd/llmcall")
		build.Dir = ".."
		if out, err := build.CombinedOutput(); err != nil {
			return o, fmt.Errorf("%w\n%s", err, out)
		}
	}
	return o, nil
}
