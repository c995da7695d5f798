package phrase

// What code is wanted.
var (
	WholeCode     = fix("answer with the whole {text} code; make it shorter if it does not fit")
	LabelledCode  = fix("answer with {text} code in a Markdown block labelled {text}")
	ParsableCode  = fix("answer with {text} code that can be parsed")
	CodeAlone     = fix("answer with {text} code alone, or put it into a Markdown block labelled {text}")
	SQL           = fix("answer with SQL")
	WholeSQL      = fix("answer with the whole SQL; make it shorter if it does not fit")
	SQLOfBoth     = fix("answer with SQL alone that both MySQL and PostgreSQL can parse, or put it into a Markdown block labelled sql")
	SQLStatements = fix("answer with valid {text} statements alone, or put them into a Markdown block labelled sql")
	Statements    = fix("use only statements of the allowed kinds: {text}")
)

// What OpenAPI document is wanted.
var (
	OpenAPIDocument = fix("answer with one OpenAPI document, as YAML or JSON, alone or in one Markdown block")
	OpenAPIVersion  = fix(`give the version at the root as openapi: "{number}" (or 3.0.x), or as swagger: "2.0"`)
	OpenAPIRules    = fix("follow the specification of OpenAPI {number}")
)
