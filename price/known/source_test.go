package known

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"llmcall/internal/npm"
	"llmcall/llm"
	"llmcall/price"
)

// question is what the source's own calculator is asked.
type question struct {
	Provider string           `json:"provider"`
	Model    string           `json:"model"`
	At       time.Time        `json:"at"`
	Usage    map[string]int64 `json:"usage"`

	full string
	used llm.Usage
}

// answer is what it says; nil is that it knows no price.
type answer struct {
	ID      string
	From    string
	Keys    []string
	Dollars float64
}

// unavailable skips the test, or fails it where real programs are required.
func unavailable(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("LLMCALL_REAL") == "1" {
		t.Fatalf("LLMCALL_REAL=1 is set, and "+format, args...)
	}
	t.Skipf(format+": set LLMCALL_REAL=1 where it must not be skipped", args...)
}

// ask puts the questions to the version of the source that the table is made from.
func ask(t *testing.T, questions []question) []*answer {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			unavailable(t, "%s is missing: %v", program, err)
		}
	}
	args := []string{"install", read().Source + "@" + read().Version}
	if os.Getenv("LLMCALL_REAL") != "1" {
		args = append(args, "--fetch-retries=0") // nobody waits a minute to hear that it is skipped
	}
	installed, err := npm.Install(t, "genai-prices-"+read().Version, nil, args...)
	if err != nil {
		unavailable(t, "the source can't be installed from npm: %v", err)
	}
	dir := npm.Beside(t, installed, "testdata/cost.mjs")
	var asked bytes.Buffer
	for _, q := range questions {
		if err := json.NewEncoder(&asked).Encode(q); err != nil {
			t.Fatal(err)
		}
	}
	in, out := filepath.Join(dir, "questions"), filepath.Join(dir, "answers")
	if err := os.WriteFile(in, asked.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	node := exec.CommandContext(t.Context(), "node", "cost.mjs", in, out)
	node.Dir = dir
	if said, err := node.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	text, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	var answers []*answer
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		var a *answer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			t.Fatal(err)
		}
		answers = append(answers, a)
	}
	if len(answers) != len(questions) {
		t.Fatalf("%d answers to %d questions", len(answers), len(questions))
	}
	return answers
}

var theirs = map[string]string{"openai": "openai", "openai-responses": "openai", "anthropic": "anthropic", "gemini": "google", "groq": "groq"}

// name returns a name that fits a pattern.
func name(r *rand.Rand, pattern string) string {
	var name strings.Builder
	for _, c := range pattern {
		switch c {
		case '*':
			name.WriteString([]string{"", "-preview", "-001", "-20260506", "-2026-05-06"}[r.IntN(5)])
		case '#':
			fmt.Fprint(&name, r.IntN(10))
		default:
			name.WriteRune(c)
		}
	}
	return name.String()
}

// used draws the counts of a call, with the parts that the price has: the source
// refuses others in combinations that its price lacks.
func used(r *rand.Rand, p price.Price) (u llm.Usage) {
	upTo := []int64{10, 5000, 199_000, 300_000, 2_000_000}[r.IntN(5)]
	part := func(of int64) int64 { return r.Int64N(of+1) * r.Int64N(2) }
	u.InputTokens, u.OutputTokens = r.Int64N(upTo+1), r.Int64N(100_000)
	if r.IntN(10) == 0 { // at the limits of tiers
		u.InputTokens = []int64{127_999, 128_000, 128_001, 199_999, 200_000, 200_001, 271_999, 272_000, 272_001}[r.IntN(9)]
	}
	u.CachedTokens = part(u.InputTokens)
	if p.CacheWrite != 0 {
		u.CacheWriteTokens = part(u.InputTokens - u.CachedTokens)
	}
	if p.CacheWrite1h != 0 {
		u.CacheWrite1hTokens = part(u.CacheWriteTokens)
	}
	if p.Audio != 0 {
		u.AudioTokens = part(u.InputTokens - u.CachedTokens - u.CacheWriteTokens)
		if p.CachedAudio != 0 {
			u.CachedAudioTokens = part(u.CachedTokens)
			u.AudioTokens += u.CachedAudioTokens
		}
	}
	return u
}

func asked(full string, at time.Time, u llm.Usage) question {
	provider, model, _ := strings.Cut(full, "/")
	return question{Provider: theirs[provider], Model: model, At: at, full: full, used: u, Usage: map[string]int64{
		"input_tokens": u.InputTokens, "output_tokens": u.OutputTokens, "cache_read_tokens": u.CachedTokens, "cache_write_tokens": u.CacheWriteTokens,
		"cache_write_1h_tokens": u.CacheWrite1hTokens, "input_audio_tokens": u.AudioTokens, "cache_audio_read_tokens": u.CachedAudioTokens,
	}}
}

// The proof: 500 random usages, of random models at random times, cost what the
// source's own calculator says, to a nano-dollar.
func TestCostsAreThoseOfTheSource(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	providers := []string{"openai", "openai-responses", "anthropic", "gemini", "groq"}
	var questions []question
	for len(questions) < 500 {
		provider := providers[r.IntN(len(providers))]
		rows := read().Providers[strings.TrimSuffix(provider, "-responses")]
		patterns := rows[r.IntN(len(rows))].Match
		full := provider + "/" + name(r, patterns[r.IntN(len(patterns))])
		p, ok := price.Known(full)
		if !ok {
			continue
		}
		day := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(r.IntN(800*24)) * time.Hour)
		if len(p.Dated) > 0 && r.IntN(2) == 0 { // about a change
			day = p.Dated[r.IntN(len(p.Dated))].From.Add(time.Duration(r.IntN(3)-1) * time.Millisecond)
		}
		questions = append(questions, asked(full, day, used(r, p)))
	}
	models, tiers, dated, parts := map[string]bool{}, 0, 0, 0
	for i, a := range ask(t, questions) {
		q := questions[i]
		p, _ := price.Known(q.full)
		got := p.Cost(q.used, q.At)
		if a == nil {
			t.Errorf("%s has a price, and none in the source", q.full)
			continue
		}
		want, _ := new(big.Float).Mul(big.NewFloat(a.Dollars), big.NewFloat(1e9)).Float64()
		if math.Abs(float64(got)-want) > 1.001 { // nano-dollars; their sum has the error of a float
			t.Errorf("%s at %v: %+v costs %d, want %f", q.full, q.At, q.used, got, want)
		}
		models[a.ID] = true
		if len(p.Tiers) > 0 && q.used.InputTokens > p.Tiers[0].Above {
			tiers++
		}
		if len(p.Dated) > 0 {
			dated++
		}
		if q.used.CachedTokens+q.used.CacheWriteTokens+q.used.AudioTokens > 0 {
			parts++
		}
	}
	t.Logf("%d models, %d usages above a tier, %d of models with dated prices, %d with parts", len(models), tiers, dated, parts)
	if len(models) < 50 || tiers == 0 || dated == 0 || parts < 100 {
		t.Error("that is not much of the table")
	}
}

// A name is found where the source finds it, and its price is left out only for the
// reasons that the package's comment has.
func TestNamesAreFoundWhereTheSourceFindsThem(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	seen := map[string]bool{}
	var questions []question
	for provider, rows := range read().Providers {
		for _, line := range rows {
			for _, pattern := range line.Match {
				base := name(r, strings.TrimPrefix(pattern, "!"))
				for _, full := range []string{
					base, base + "-20260506", base + "-2026-05-06", base + "-latest", base + "-pro", base + "-tts", base + "-preview-tts-1", "x" + base, "models/" + base,
					strings.ToUpper(base), base + "-20261306", base + "-2026", base[:len(base)-1], base + "1", base + "-20260230:free",
				} {
					if full = provider + "/" + full; !seen[full] {
						seen[full] = true
						questions = append(questions, asked(full, time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), llm.Usage{InputTokens: 1_000_000, OutputTokens: 1_000_000}))
					}
				}
			}
		}
	}
	told := []string{"input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok", "input_audio_mtok", "cache_audio_read_mtok", "web_searches_kcount", "storage_searches_kcount"}
	found, left := 0, map[string]bool{}
	for i, a := range ask(t, questions) {
		q := questions[i]
		p, ok := price.Known(q.full)
		want := a != nil && slices.Contains(a.Keys, "input_mtok") && slices.Contains(a.Keys, "output_mtok") &&
			!slices.ContainsFunc(a.Keys, func(key string) bool { return !slices.Contains(told, key) }) &&
			!strings.Contains(a.ID, "-audio-preview") && !(q.Provider == "google" && strings.HasPrefix(a.ID, "claude"))
		switch {
		case ok != want:
			t.Errorf("%s: known is %t, and the source says %+v", q.full, ok, a)
		case !ok && a != nil:
			left[q.Provider+"/"+a.ID] = true
		case ok:
			found++
			if got := p.Cost(q.used, q.At); math.Abs(float64(got)-a.Dollars*1e9) > 1 {
				t.Errorf("%s costs %d, and the source says %+v", q.full, got, a)
			}
		}
	}
	t.Logf("%d of %d names have a price; %d models are left out", found, len(questions), len(left))
	if found < 500 || len(left) < 10 {
		t.Error("that is not much of the table")
	}
}
