package wire

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"

	"llmcall/endpoint"
	"llmcall/failure"
	"llmcall/internal/say"
	"llmcall/llm"
)

// Feature is a set of parts of a request that a model may refuse, and that a request
// can do without.
type Feature uint8

// The features. A request asks for a schema by one of the first four: the adapter goes
// down from the strongest to the weakest, and at last has the schema in the prompt alone.
const (
	StrictSchema       Feature = 1 << iota // the server enforces the schema
	LooseSchema                            // the server has the schema, and may violate it
	ForcedTool                             // the answer is the input of a tool that must be called
	JSONMode                               // the server enforces JSON
	SystemMessages                         // or a field that has their place
	StreamUsage                            // OpenAI's stream_options
	EncryptedReasoning                     // OpenAI's reasoning.encrypted_content
	ForcedCall                             // the model must call a tool of the request
)

var featureNames = []string{
	"a strict schema", "a schema", "a forced tool", "JSON mode", "a system message", "stream_options", "encrypted reasoning",
	"a forced call of a tool",
}

func (f Feature) String() string {
	var names []string
	for i, name := range featureNames {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " and ")
}

// Lacks remembers the features that a model has refused. The refusal of one schema holds
// for that schema, any other for all requests. The zero value is ready; it is safe for
// concurrent use.
type Lacks struct {
	mu      sync.Mutex
	all     Feature
	schemas map[[sha256.Size]byte]Feature
}

// maxSchemas bounds how many schemas are remembered; then all are forgotten, and tried
// again.
const maxSchemas = 1000

// SchemaOf returns the schema of a request, nil without one.
func SchemaOf(req *llm.Request) json.RawMessage {
	if req == nil || req.Schema == nil {
		return nil
	}
	return req.Schema.JSON
}

// For begins a request with the schema, or with none.
func (l *Lacks) For(schema json.RawMessage) *Steps {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &Steps{lacks: l, without: l.all}
	if schema != nil {
		s.schema = sha256.Sum256(schema)
		s.without |= l.schemas[s.schema]
	}
	return s
}

// Steps is one request on its way down: each part that the model refuses is left out of
// the next try.
type Steps struct {
	lacks   *Lacks
	schema  [sha256.Size]byte
	without Feature
	all     Feature // newly refused, for all requests,
	this    Feature // and for this schema
}

// After returns s, which also does without what other does without.
func (s *Steps) After(other *Steps) *Steps {
	s.without |= other.without
	return s
}

// Without reports whether the request has to do without the feature.
func (s *Steps) Without(f Feature) bool { return s.without&f != 0 }

// Try is a request as it is sent once.
type Try struct {
	Asked Feature      // what the model may refuse
	Note  string       // what of the schema is not enforced; "" if all is
	Send  func() error // returns a *failure.Error, or nil for a success
}

// Send sends a request, and sends it again without each part that the model refuses.
// prepare converts the request, without what s does without. Every error is a
// [*failure.Error].
func (s *Steps) Send(ctx context.Context, e *Endpoint, prepare func() (Try, error)) error {
	for {
		try, err := prepare()
		if err != nil {
			return e.BadRequest(err)
		}
		if try.Note != "" && ctx != nil {
			endpoint.Noted(ctx, try.Note)
		}
		if err = try.Send(); !s.down(ctx, err, try.Asked) {
			return err
		}
	}
}

// down is called with the outcome of each try, and what it asked for. It reports whether
// the request is to be sent again, because err refuses a part of it; the guards of the
// call have then admitted it. What was refused is remembered once the request got through
// without it, since a server may name a part that is not to blame.
func (s *Steps) down(ctx context.Context, err error, asked Feature) bool {
	f, ok := errors.AsType[*failure.Error](err)
	if !ok {
		if err == nil {
			s.learn()
		}
		return false
	}
	refused, all := refusedBy(f, asked&^s.without)
	if refused == 0 {
		if f.Kind != failure.InvalidRequest && f.Status > 0 && f.Status < 500 { // without a status it did not arrive
			s.learn()
		}
		return false
	}
	s.without |= refused
	if all {
		s.all |= refused
	} else {
		s.this |= refused
	}
	endpoint.Noted(ctx, fmt.Sprintf("%s refused %v: %s", f.Provider, refused, say.Line(f.Message, maxNote)))
	return endpoint.Again(ctx)
}

// maxNote is how many bytes of a refusal are in a note.
const maxNote = 200

func (s *Steps) learn() {
	if s.all|s.this == 0 {
		return
	}
	l := s.lacks
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all |= s.all
	if s.this != 0 {
		if len(l.schemas) >= maxSchemas || l.schemas == nil {
			l.schemas = make(map[[sha256.Size]byte]Feature)
		}
		l.schemas[s.schema] |= s.this
	}
	s.all, s.this = 0, 0
}

// refusedBy returns which of the features that were asked for an error refuses, and
// whether it refuses them to all requests. The words are those of servers; see the test.
func refusedBy(f *failure.Error, asked Feature) (refused Feature, all bool) {
	words := strings.ToLower(f.Message)
	switch {
	case f.Kind == failure.InvalidRequest && f.Status >= http.StatusBadRequest: // 400, 422, and DeepInfra's 405
	case f.Kind == failure.Transient && f.Status == http.StatusInternalServerError && internal.MatchString(words):
	default:
		return 0, false
	}
	schema := asked & (StrictSchema | LooseSchema | JSONMode)
	switch {
	case asked&ForcedTool != 0 && aboutForcing.MatchString(words):
		return ForcedTool, !strings.Contains(words, "input_schema")
	case schema != 0 && aboutSchema.MatchString(words) && !aboutTools.MatchString(words):
		if !namesFeature.MatchString(words) || !unsupported.MatchString(words) || aboutContents.MatchString(words) {
			return schema, false
		}
		if schema&StrictSchema != 0 && !strings.Contains(words, "strict") {
			schema |= LooseSchema // which is the same parameter
		}
		return schema, true
	case asked&SystemMessages != 0 && aboutSystem.MatchString(words):
		return SystemMessages, true
	case asked&ForcedCall != 0 && aboutCalls.MatchString(words):
		return ForcedCall, unsupported.MatchString(words)
	case asked&StreamUsage != 0 && aboutUsage.MatchString(words):
		return StreamUsage, true
	case asked&EncryptedReasoning != 0 && aboutEncrypted.MatchString(words):
		return EncryptedReasoning, true
	}
	return 0, false
}

var (
	// internal matches what servers that run models say with a status of 500, where the
	// request is to blame: a grammar or a chat template that can't be used.
	internal = regexp.MustCompile(`grammar|json[_ ]schema|response_?format|structured output|template|system role|roles must alternate`)

	aboutSchema = regexp.MustCompile(`schema|grammar|response[_ ]?format|output_config|output[_. ]format|text\.format|structured[_ ]output|` +
		`json_object|json mode|response[_ ]?mime[_ ]?type|guided|too many states|nesting depth|constrained`)
	// aboutTools matches errors about the schemas of tools, and Groq's about what the model
	// wrote.
	aboutTools = regexp.MustCompile(`tools?(\[|\.\w)|input_schema|function_?declaration|schema for (function|tool)|function parameters|failed_generation`)

	// A feature that is named, and not supported, is refused to all requests, unless the
	// error is about the contents of the schema.
	namesFeature = regexp.MustCompile(`response[_ ]?format|json_schema|output_config|output[_ ]format|text\.format|structured[_ ]output|` +
		`json_object|json mode|response[_ ]?mime[_ ]?type`)
	unsupported = regexp.MustCompile(`not support|n't support|unsupported|unavailable|unknown|unrecogni|not permitted|not allowed|not available|` +
		`not enabled|enabled only|should be|must be one of|unexpected`)
	aboutContents = regexp.MustCompile(`invalid schema|schema for|\.schema|in the schema|grammar|guided|keyword|'format'|nesting|\$ref|\$defs|context=|` +
		`additionalproperties|features|states|recursi|complex|for '[a-z]+' type`)

	aboutForcing = regexp.MustCompile(`tool_choice|forced tool|input_schema`)
	// aboutCalls matches what is said of tool_choice, and of Gemini's function calling config:
	// "Thinking may not be enabled when tool_choice forces tool use" (Anthropic), "does not
	// support this tool_choice" (DeepSeek), "Forced function calling (mode = ANY) is only
	// supported for" (Gemini).
	aboutCalls  = regexp.MustCompile(`tool[_ ]?choice|forced function call|function_?calling_?config|allowed_?function_?names|mode(=| = )any`)
	aboutSystem = regexp.MustCompile(`system[_ ](role|message|prompt|instruction)|role[^a-z]{1,4}system|'system'|"system"|developer instruction|` +
		`roles must alternate|user and assistant roles`)
	aboutUsage     = regexp.MustCompile(`stream_options|include_usage`)
	aboutEncrypted = regexp.MustCompile(`encrypted[_ ]content`)
)
