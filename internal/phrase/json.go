package phrase

// What JSON must not have in it, all over a text.
var (
	NoComma        = fix("leave out the comma")
	NoComments     = fix("leave comments out: JSON has none")
	Literal        = fix("write {literal}")
	NumberOrNull   = fix("use a number, or null where there is none")
	QuotedNames    = fix("put names and strings in double quotes")
	DoubleQuotes   = fix("use double quotes")
	StraightQuotes = fix(`use straight double quotes (")`)
	NoLeadingZeros = fix("leave out the zeros at the beginning; put it in double quotes if it is a code")
	EachOnce       = fix("give each property once")
)

// What is to be done at a place in a JSON text.
var (
	CommaBetween = fix("put a comma between one and the next")
	EscapedQuote = fix(`write a double quote inside a string as \"`)
	ColonBetween = fix("put a colon between each property's name and its value")
	ValueThere   = fix("put a value there, null where there is none")
	OneComma     = fix("put one comma between one property and the next")
	CloseOnce    = fix("close each object and array once")
	SingleValue  = fix("answer with a single JSON value")
	LineBreak    = fix(`close the string, or write the line break as \n`)
	Tab          = fix(`write it as \t`)
	AllOfIt      = fix("write out all of it")
)

// That an answer is to be JSON.
var (
	JSONAlone = fix("answer with JSON alone")
	OneJSON   = fix("answer with one JSON value")
	WholeJSON = fix("answer with the whole JSON value; make it shorter if it does not fit")
)
