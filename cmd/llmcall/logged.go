package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kaptinlin/jsonrepair"

	"llmcall/classify"
	"llmcall/failure"
	"llmcall/provider"
)

// logged is what a line of a log holds of a provider's response.
type logged struct {
	status int
	header http.Header
	body   string // "" if there is none
}

// How much of a file is looked at, how deep JSON within texts within JSON is looked at, how long a text is read as the
// object of another language, and how many objects of a text are looked at.
const (
	maxLogged        = 1 << 20
	maxLoggedDepth   = 6
	maxLoggedObject  = 64 << 10
	maxLoggedObjects = 64
)

// fromLog finds a provider's error in a text, as the SDKs and the libraries on top of
// them write it into logs: a status, some headers, and a body as JSON, as Python or Node
// print it, or in words. It returns false if there is none of them.
func fromLog(text string) (logged, bool) {
	text = text[:min(len(text), maxLogged)]
	if l, ok := fromGenAI(text); ok {
		return l, true
	}
	if l, ok := fromOurs(text); ok {
		return l, true
	}
	l := inText(text, 0)
	if l.status == 0 {
		l.status = statusOfName(text)
	}
	return l, l.status != 0 || l.body != ""
}

// inText looks for an error in a text: within the first object that has one, else in
// the words after a status.
func inText(text string, depth int) logged {
	l := logged{header: headersIn(text)}
	if depth > maxLoggedDepth {
		return l
	}
	outside := text
	for at, left := 0, maxLoggedObjects; left > 0 && l.body == ""; left-- {
		brace := strings.IndexByte(text[at:], '{')
		if brace < 0 {
			break
		}
		at += brace
		value, source, end := objectIn(text[at:])
		if end == 0 {
			at++
			continue
		}
		l.add(inValue(value, source, depth+1))
		outside = text[:at] + " " + text[at+end:]
		at += end
	}
	if l.body != "" {
		status, _ := statusIn(outside)
		l.status = cmp.Or(status, l.status)
	} else if status, after := statusIn(text); status != 0 {
		l.status, l.body = status, wordsAfter(status, after)
	}
	return l
}

// add adds what was found further inside.
func (l *logged) add(inner logged) {
	l.status, l.body = cmp.Or(inner.status, l.status), inner.body
	maps.Copy(l.header, inner.header)
}

// objectIn reads the object at the beginning of a text, in JSON or as Python or Node
// prints it, and returns its source in JSON. end is 0 if there is none.
func objectIn(text string) (value any, source string, end int) {
	if end := decoded(text, &value); end > 0 {
		return value, text[:end], end
	}
	end = closing(text)
	if end > maxLoggedObject {
		return nil, "", 0
	}
	text = text[:end]
	if text[end-1] != '}' { // cut off: half a word is not a value
		text = strings.TrimRight(text, wordLetters)
	}
	source, err := jsonrepair.Repair(text)
	if err != nil {
		return nil, "", 0
	}
	var object map[string]any
	if decoded(source, &object) == 0 {
		return nil, "", 0
	}
	return object, source, end
}

// decoded decodes the JSON value at the beginning of a text, and returns where it ends; 0
// if there is none.
func decoded(text string, into any) (end int) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if decoder.Decode(into) != nil {
		return 0
	}
	return int(decoder.InputOffset())
}

const wordLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

// closing returns where the object at the beginning of a text ends; at the text's end,
// if the log has cut it off.
func closing(text string) int {
	depth, quote := 0, byte(0)
	for i := 0; i < len(text) && i <= maxLoggedObject; i++ {
		switch c := text[i]; {
		case c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'' || c == '`':
			quote = c
		case c == '{':
			depth++
		case c == '}':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(text)
}

// inValue looks for an error in a decoded value: the value itself is a provider's body,
// or an object or a text within it has one.
func inValue(value any, source string, depth int) logged {
	l := logged{header: http.Header{}}
	if depth > maxLoggedDepth {
		return l
	}
	switch v := value.(type) {
	case string:
		return inText(v, depth)
	case []any:
		for _, item := range v {
			if inner := inValue(item, "", depth+1); inner.body != "" {
				return inner
			}
		}
	case map[string]any:
		l.status = statusField(v)
		for name, value := range fieldsOf(v["headers"]) {
			l.header.Set(name, fmt.Sprint(value))
		}
		if isBody(v) {
			l.body = cmp.Or(source, written(v))
			return l
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			inner := inValue(v[name], "", depth+1)
			if inner.body == "" {
				continue
			}
			l.add(inner)
			return l
		}
		if isFlatBody(v, l.status) {
			l.body = cmp.Or(source, written(v))
		}
	}
	return l
}

func fieldsOf(value any) map[string]any {
	fields, _ := value.(map[string]any)
	return fields
}

func written(v any) string {
	text, _ := json.Marshal(v) // it was decoded from JSON
	return string(text)
}

// isBody reports whether an object is the body of a provider's error.
func isBody(v map[string]any) bool {
	inner := fieldsOf(v["error"])
	for _, name := range []string{"message", "type", "code", "status"} {
		if _, ok := inner[name].(string); ok {
			return true
		}
	}
	return false
}

// isFlatBody reports whether an object has the fields of an error at its top, or, beside
// a status, an error in words.
func isFlatBody(v map[string]any, status int) bool {
	if _, ok := v["message"].(string); ok {
		for _, name := range []string{"type", "code", "param"} {
			if _, ok := v[name]; ok {
				return true
			}
		}
	}
	_, inWords := v["error"].(string)
	_, detailed := v["detail"]
	return (inWords || detailed) && (status != 0 || len(v) == 1)
}

// statusField returns the status that an object names.
func statusField(v map[string]any) int {
	for _, name := range []string{"status", "status_code", "statusCode", "http_status", "httpStatus", "http_status_code", "code"} {
		n, err := strconv.Atoi(fmt.Sprint(v[name]))
		if err == nil && n >= 400 && n <= 599 {
			return n
		}
	}
	return 0
}

// statusForms are the ways in which logs write a status, the surest first.
var statusForms = []*regexp.Regexp{
	regexp.MustCompile(`(?i)\berror code: ([45]\d\d)\b`), // Python SDKs
	regexp.MustCompile(`"\s*: ([45]\d\d)\b`),             // Go SDKs: POST "…": 429
	regexp.MustCompile(`(?i)\bHTTP(?:/\d(?:\.\d)?)?[ :]+([45]\d\d)\b`),
	regexp.MustCompile(`(?i)\bstatus(?:[ _-]?code)?['"]?[ :=]+['"]?([45]\d\d)\b`),
	regexp.MustCompile(`(?i)(?:error|exception|failed)[:,]? *[\[(]?([45]\d\d)\b`), // Error: 429, ClientError: 429, API error (429)
	regexp.MustCompile(`(?i)(?:response|returned|got|with) \[?([45]\d\d)\b`),      // <Response [429]>
	regexp.MustCompile(`(?m)(?:^|: ?)([45]\d\d) [A-Za-z{]`),                       // 429 You exceeded …
	regexp.MustCompile(`\b([45]\d\d) (?:Bad |Unauth|Payment|Forb|Not |Request |Conf|Unproc|Too |Internal |Service |Gateway |RESOURCE_|UNAVAIL|INVALID_)`),
}

// statusIn returns the status that a text names, and the text after it.
func statusIn(text string) (int, string) {
	for _, form := range statusForms {
		if at := form.FindStringSubmatchIndex(text); at != nil {
			status, _ := strconv.Atoi(text[at[2]:at[3]]) // three digits
			return status, text[at[3]:]
		}
	}
	return 0, ""
}

// aroundMessage is what clients of HTTP write after a status that is not the provider's
// message: Python's address, and the status once more, as go-openai has it.
var aroundMessage = regexp.MustCompile(`['"]*\s*\bfor url:? ['"]?https?:.*$|^status: .*?, message: `)

// wordsAfter returns the first line after a status as a provider's message; "" if there is
// none. A page of HTML is not the provider's.
func wordsAfter(status int, after string) string {
	after = strings.TrimLeft(after, " \t\r\n-:,.)]'\"")
	line, _, _ := strings.Cut(after, "\n")
	line = aroundMessage.ReplaceAllString(strings.TrimPrefix(strings.TrimSpace(line), http.StatusText(status)), "")
	line = strings.TrimLeft(line, " -:,.'\"")
	if line = strings.TrimRight(line, "\"' "); line == "" || strings.HasPrefix(line, "<") {
		return line
	}
	return written(map[string]any{"error": map[string]any{"message": line}})
}

// statusNames are the errors of the SDKs that stand for a status.
var statusNames = []struct {
	name   *regexp.Regexp
	status int
}{
	{regexp.MustCompile(`\bRateLimitError\b`), 429},
	{regexp.MustCompile(`\bAuthenticationError\b`), 401},
	{regexp.MustCompile(`\bPermissionDeniedError\b`), 403},
	{regexp.MustCompile(`\bNotFoundError\b`), 404},
	{regexp.MustCompile(`\b(BadRequestError|ContextWindowExceededError|ContentPolicyViolationError)\b`), 400},
	{regexp.MustCompile(`\bUnprocessableEntityError\b`), 422},
	{regexp.MustCompile(`\bInternalServerError\b`), 500},
	{regexp.MustCompile(`\bServiceUnavailableError\b`), 503},
	{regexp.MustCompile(`\bOverloadedError\b`), 529},
}

func statusOfName(text string) int {
	for _, n := range statusNames {
		if n.name.MatchString(text) {
			return n.status
		}
	}
	return 0
}

// loggedHeader is a header as logs quote it: 'retry-after': '7', Retry-After=7.
var loggedHeader = regexp.MustCompile(`(?i)\b(retry-after(?:-ms)?|x-should-retry|x-request-id|request-id|(?:x|anthropic)-ratelimit-[a-z-]+)['"]?\s*[:=]\s*['"]?([^'",;\s)}\]]+)`)

func headersIn(text string) http.Header {
	h := http.Header{}
	for _, m := range loggedHeader.FindAllStringSubmatch(text, -1) {
		h.Set(m[1], m[2])
	}
	return h
}

// genAIError is how Google's SDK for Go writes an error, whose details are Go values.
var (
	genAIError = regexp.MustCompile(`(?s)Error ([45]\d\d), Message: (.*?), Status: (\w*), Details: (.*)`)
	genAIDelay = regexp.MustCompile(`\bretryDelay:(\S+?)[\s\]]`)
	genAIQuota = regexp.MustCompile(`\bquotaId:([^\s\]]+)`)
	genAIFault = regexp.MustCompile(`\breason:([A-Z_]+)`)
)

func fromGenAI(text string) (logged, bool) {
	m := genAIError.FindStringSubmatch(text)
	if m == nil {
		return logged{}, false
	}
	var details []map[string]any
	add := func(kind string, fields map[string]any) {
		fields["@type"] = "type.googleapis.com/google.rpc." + kind
		details = append(details, fields)
	}
	if delay := genAIDelay.FindStringSubmatch(m[4]); delay != nil {
		add("RetryInfo", map[string]any{"retryDelay": delay[1]})
	}
	var violations []map[string]string
	for _, quota := range genAIQuota.FindAllStringSubmatch(m[4], -1) {
		violations = append(violations, map[string]string{"quotaId": quota[1]})
	}
	if violations != nil {
		add("QuotaFailure", map[string]any{"violations": violations})
	}
	if reason := genAIFault.FindStringSubmatch(m[4]); reason != nil {
		add("ErrorInfo", map[string]any{"reason": reason[1]})
	}
	status, _ := strconv.Atoi(m[1]) // three digits
	body := written(map[string]any{"error": map[string]any{"code": status, "message": m[2], "status": m[3], "details": details}})
	return logged{status, http.Header{}, body}, true
}

// ours is how this library writes an error of a provider; see [failure.Error].
var ours = regexp.MustCompile(`[a-z_]+ \(HTTP ([45]\d\d)(?:, ([A-Za-z_]\w*))?(?:, come back in ([0-9a-z.µ]+))?\)(?:: ([^\n]*))?`)

func fromOurs(text string) (logged, bool) {
	m := ours.FindStringSubmatch(text)
	if m == nil {
		return logged{}, false
	}
	status, _ := strconv.Atoi(m[1]) // three digits
	l := logged{status, http.Header{}, written(map[string]any{"error": map[string]any{"message": m[4], "code": m[2]}})}
	if wait, err := time.ParseDuration(m[3]); err == nil {
		l.header.Set("Retry-After-Ms", strconv.FormatInt(wait.Milliseconds(), 10))
	}
	return l, true
}

// network are the words of errors that come without a response.
var network = []struct {
	words *regexp.Regexp
	kind  failure.Kind
}{
	{regexp.MustCompile(`(?i)APITimeoutError|APIConnectionTimeoutError|request timed out|ReadTimeout|ConnectTimeout|ETIMEDOUT|i/o timeout|Client\.Timeout exceeded`), failure.AttemptTimeout},
	{regexp.MustCompile(`(?i)APIConnectionError|connection error|ECONNREFUSED|ECONNRESET|ENOTFOUND|EAI_AGAIN|EPIPE|socket hang up|fetch failed|connection (?:refused|reset)|no such host|broken pipe|unexpected EOF|server disconnected|name resolution`), failure.Transient},
}

// fromNetwork returns the error of a request without a response.
func fromNetwork(text string) (failure.Error, bool) {
	for _, n := range network {
		if n.words.MatchString(text) {
			return failure.Error{Kind: n.kind, Message: strings.TrimSpace(text)}, true
		}
	}
	return failure.Error{}, false
}

// overQuota is what OpenAI says with the code insufficient_quota, which its SDKs leave out
// of some messages (https://platform.openai.com/docs/guides/error-codes). Gemini begins
// the message of a rate limit in the same way.
const overQuota = "You exceeded your current quota, please check your plan and billing details."

// signs are what tells in whose error it is, where no name and no address does.
var signs = []struct {
	sign     *regexp.Regexp
	provider string
}{
	{regexp.MustCompile(`"metadata":\s*\{[^}]*"(raw|provider_name)"`), "openrouter"},
	{regexp.MustCompile(`(?i)anthropic|['"]type['"]:\s*['"]error['"],\s*['"]error['"]|\bclaude-|['"](overloaded_error|not_found_error|rate_limit_error|authentication_error|billing_error)['"]`), "anthropic"},
	{regexp.MustCompile(`RESOURCE_EXHAUSTED|INVALID_ARGUMENT|FAILED_PRECONDITION|DEADLINE_EXCEEDED|PERMISSION_DENIED|UNAVAILABLE|google|generativelanguage|(?i)gemini`), "gemini"},
	{regexp.MustCompile(`(?i)openai\.azure\.com|apim-request-id|azure`), "azure"},
}

// guessProvider says whose error a text most likely has: whose address or name is in
// it, else by the form of the error, else OpenAI, whose protocol most servers speak.
func guessProvider(text string) string {
	for _, p := range provider.All() {
		if _, host, _ := strings.Cut(p.BaseURL, "://"); host != "" && strings.Contains(text, strings.TrimSuffix(host, "/v1")) {
			return p.Name
		}
	}
	for _, p := range provider.All() {
		// groq.RateLimitError, GroqException, groq/model: rate_limited (HTTP 429)
		if regexp.MustCompile(`(?i)\b` + regexp.QuoteMeta(p.Name) + `(\.[a-z._]*\w*Error\b|Exception\b|/\S+: [a-z_]+ \(HTTP )`).MatchString(text) {
			return p.Name
		}
	}
	for _, s := range signs {
		if s.sign.MatchString(text) {
			return s.provider
		}
	}
	return classify.OpenAI
}

// readHead reads the status and the headers of a response, and returns what follows.
func readHead(text string) (status int, header http.Header, rest string, ok bool) {
	first, rest, _ := strings.Cut(text, "\n")
	m := statusLine.FindStringSubmatch(strings.TrimRight(first, "\r"))
	if m == nil {
		return 0, nil, text, false
	}
	status, _ = strconv.Atoi(m[1]) // three digits
	header = http.Header{}
	for rest != "" {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		if line = strings.TrimRight(line, "\r"); line == "" {
			break
		}
		if name, value, ok := strings.Cut(line, ":"); ok {
			header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
		}
	}
	return status, header, rest, true
}

var statusLine = regexp.MustCompile(`^HTTP/\d(?:\.\d)? ([1-5]\d\d)(?: .*)?$`)

// fromCurl reads a response as curl -i or curl -v prints it. Before the last head there
// may be others: of a proxy, a redirect, 100 Continue. It returns false for another text.
func fromCurl(text string) (logged, bool) {
	if verbose.MatchString(text) {
		text = strings.TrimLeft(notes.ReplaceAllString(text, ""), "\r\n")
		text = received.ReplaceAllString(text, "")
	}
	status, header, rest, ok := readHead(strings.TrimLeft(text, " \t\r\n"))
	if !ok {
		return logged{}, false
	}
	for {
		next, more, after, ok := readHead(strings.TrimLeft(rest, " \t\r\n"))
		if !ok {
			break
		}
		status, header, rest = next, more, after
	}
	return logged{status, header, rest}, true
}

var (
	verbose  = regexp.MustCompile(`(?m)^< HTTP/`)
	notes    = regexp.MustCompile(`(?m)^(?:[*>]|[{}] \[).*\n?`)
	received = regexp.MustCompile(`(?m)^< ?`)
)
