package openapi

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi2"
	"github.com/getkin/kin-openapi/openapi2conv"
	"github.com/getkin/kin-openapi/openapi3"

	"llmcall/internal/phrase"
	"llmcall/internal/say"
	"llmcall/validate"
)

// The JSON Schemas that the OpenAPI Initiative publishes (Apache-2.0):
// http://swagger.io/v2/schema.json, https://spec.openapis.org/oas/3.0/schema/2021-09-28
// and https://spec.openapis.org/oas/3.1/schema/2022-10-07.
//
//go:embed schemas/2.0.json schemas/3.0.json schemas/3.1.json
var schemas embed.FS

// compiled are the schemas, each compiled at its first use.
var compiled = map[string]func() (validate.Strategy, error){
	"2.0": schema("2.0"), "3.0": schema("3.0"), "3.1": schema("3.1"),
}

func schema(version string) func() (validate.Strategy, error) {
	return sync.OnceValues(func() (validate.Strategy, error) {
		text, err := schemas.ReadFile("schemas/" + version + ".json")
		if err != nil {
			return nil, err
		}
		return validate.JSONSchema(text)
	})
}

// fits returns the complaints about a document that does not match the schema of
// its version.
func fits(ctx context.Context, version string, text []byte) ([]validate.Complaint, error) {
	s, err := compiled[version]()
	if err != nil {
		return nil, fmt.Errorf("the JSON Schema of OpenAPI %s could not be compiled: %w", version, err)
	}
	verdict, err := s.Check(ctx, &validate.Answer{Text: string(text)})
	for i := range verdict.Complaints {
		verdict.Complaints[i].Suggestion = strings.TrimPrefix(verdict.Complaints[i].Suggestion+"; "+phrase.OpenAPIRules.Of(version), "; ")
	}
	return verdict.Complaints, err
}

// semantics returns the complaints about rules that the schemas can't express.
func semantics(ctx context.Context, version string, text []byte) (found []validate.Complaint, err error) {
	defer func() {
		if p := recover(); p != nil {
			found, err = nil, fmt.Errorf("the OpenAPI library panicked: %v", p)
		}
	}()
	loader := &openapi3.Loader{Context: ctx, IsExternalRefsAllowed: false}
	doc, err := load(loader, version, text)
	if err == nil {
		err = doc.Validate(ctx, openapi3.EnableMultiError(), openapi3.DisableExamplesValidation(),
			openapi3.DisableSchemaDefaultsValidation(), openapi3.DisableSchemaPatternValidation())
	}
	if ended := ctx.Err(); ended != nil {
		return nil, ended
	}
	if err == nil {
		return nil, nil
	}
	problems, ok := errors.AsType[openapi3.MultiError](err)
	if !ok {
		problems = openapi3.MultiError{err}
	}
	for _, problem := range problems {
		found = append(found, complaint(problem, version))
	}
	return found, nil
}

func load(loader *openapi3.Loader, version string, text []byte) (*openapi3.T, error) {
	if version != "2.0" {
		return loader.LoadFromData(text)
	}
	var old openapi2.T
	if err := json.Unmarshal(text, &old); err != nil {
		return nil, err
	}
	doc, err := openapi2conv.ToV3WithLoader(&old, loader, nil)
	if err == nil && doc.Paths == nil { // it drops empty paths, which are allowed
		doc.Paths = openapi3.NewPaths()
	}
	return doc, err
}

// buckets are the fields of components, by the library's names for their contents.
var buckets = map[string]string{
	"schema": "schemas", "parameter": "parameters", "header": "headers", "request body": "requestBodies", "response": "responses",
	"security scheme": "securitySchemes", "example": "examples", "link": "links", "callback": "callbacks",
}

// complaint converts the library's error, whose chain says where it is.
func complaint(err error, version string) validate.Complaint {
	c := validate.Complaint{Suggestion: phrase.OpenAPIRules.Of(version)}
	for e := err; e != nil; e = errors.Unwrap(e) {
		c.Problem = e.Error()
		switch e := e.(type) {
		case *openapi3.SectionValidationError:
			c.Pointer += say.Pointer(e.Section)
		case *openapi3.PathValidationError:
			c.Pointer += say.Pointer(e.Path)
		case *openapi3.OperationValidationError:
			c.Pointer += "/" + strings.ToLower(e.Method)
		case *openapi3.ComponentValidationError:
			if bucket := buckets[e.Section]; bucket != "" {
				c.Pointer += say.Pointer(bucket, e.Name)
			}
		case *openapi3.DuplicateOperationIDError:
			method, path, _ := strings.Cut(e.Endpoint2, " ")
			c.Pointer = "/paths" + say.Pointer(path, strings.ToLower(method), "operationId")
			c.Suggestion = "give each operation an operationId of its own"
			return c
		case *openapi3.PathParametersError:
			c.Pointer = "/paths" + say.Pointer(e.Path, strings.ToLower(e.Method))
			c.Suggestion = "declare each {name} of the path as a parameter with in: path and required: true, and no others"
			return c
		case *openapi3.SecurityRequirementSchemeUndefinedError:
			c.Pointer = e.JSONPointer
			c.Suggestion = "declare the security scheme, or name one that is declared"
			return c
		}
	}
	if version == "2.0" && strings.HasPrefix(c.Pointer, "/components/schemas/") {
		c.Pointer = "/definitions" + strings.TrimPrefix(c.Pointer, "/components/schemas")
	}
	return c
}
