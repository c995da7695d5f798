package phrase

// What a text must be.
var (
	Text        = fix("answer with text")
	NoJSON      = fix("answer without JSON, in plain words")
	UTF8        = fix("write the text in UTF-8")
	Example     = fix("write {text} and nothing else, like {text}")
	ExampleIn   = fix("write it like {text}")
	InFormat    = fix("write it in the format {quoted}")
	JustValue   = fix("write just {text}, spelled exactly so, without quotation marks, dot or other marks")
	OneOfThese  = fix("answer with one of {text}, and nothing else")
	IfMeant     = words("if you mean {quoted}, leave out the other words")
	NearestText = words("the nearest is {quoted}")
	AnythingBut = fix("answer with anything but {text}")
	InDigits    = fix("answer with {text} in digits, without words, units or separators of thousands[: {number}, if that is meant]")
	Integer     = fix("write an integer, in digits without a decimal point and an exponent")
	Digits      = fix("write a number in digits")
)

// What is to be done at a place in a text.
var (
	Placeholder    = fix("leave it out, or write a placeholder in angle brackets in its place")
	LeaveOrEscape  = fix("leave it out, or write it as {text}")
	LeaveComment   = fix("leave the comment out")
	Quote          = fix("quote word for word, or say it in your own words without quotation marks")
	NearestPassage = words("the nearest passage is {quoted}")
	NoQuotation    = words("the quotation {quoted} is in none of the sources")
)

// What a text must have in it, and how much of it there may be.
var (
	LeastCharacters = fix("make it at least {n character|characters} long")
	MostCharacters  = fix("make it at most {n character|characters} long")
	LeastWords      = fix("write at least {n word|words}")
	MostWords       = fix("write at most {n word|words}")
	LeastSentences  = fix("write at least {n sentence|sentences}")
	MostSentences   = fix("write at most {n sentence|sentences}")
	Include         = fix("include the text {quoted}")
	Exclude         = fix("leave out the text {text}")
	ExcludeOne      = fix("leave out one of the texts {text}")
	Match           = fix("answer with text that matches the regular expression {pattern}")
	MatchThere      = fix("write text that matches the regular expression {pattern}")
	Mismatch        = fix("leave out what matches the regular expression {pattern}, or say it in another way")
)
