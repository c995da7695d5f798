package validate_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"llmcall/llm"
	"llmcall/validate"
)

// broken are answers as models give them: damaged, wrapped, cut off, and a few
// that are right as they are.
var broken = []struct {
	name, text string
	complaint  string   // of JSON; "" if it passes
	value      string   // that was meant, as JSON; "" if it can't be known
	repaired   []string // what JSONWithRepair changes to get the value
	still      string   // the complaint of JSONWithRepair, where it is another than JSON's
}{
	{
		name: "a fence with a label", text: "```json\n{\"city\": \"Bonn\"}\n```",
		value: `{"city": "Bonn"}`,
	},
	{
		name: "a fence without a label, with a blank line behind", text: "```\n[1, 2]\n```\n\n",
		value: "[1, 2]",
	},
	{
		name: "a byte order mark", text: "\ufeff{\"city\": \"Bonn\"}",
		value: `{"city": "Bonn"}`,
	},
	{
		name: "a scalar", text: "42",
		value: "42",
	},
	{
		name: "prose before", text: "Here is the JSON you asked for:\n\n{\"city\": \"Bonn\", \"people\": 330579}",
		complaint: `line 1, column 1: there is text before the JSON: "Here is the JSON you asked for:" (answer with JSON alone)`,
		value:     `{"city": "Bonn", "people": 330579}`,
		repaired: []string{
			`line 1, column 1: text before the JSON: "Here is the JSON you asked for:" left out`,
		},
	},
	{
		name: "prose behind", text: "{\"city\": \"Bonn\"}\n\nLet me know if you need anything else!",
		complaint: `line 3, column 1: there is text after the JSON value: "Let me know if you need anything else!" (answer with JSON alone)`,
		value:     `{"city": "Bonn"}`,
		repaired: []string{
			`line 3, column 1: text after the JSON: "Let me know if you need anything else!" left out`,
		},
	},
	{
		name: "prose around a fence", text: "Sure! Here you go:\n\n```json\n{\"city\": \"Bonn\"}\n```\n\nThis is the old capital.",
		complaint: `line 1, column 1: there is text before the JSON: "Sure! Here you go:" (answer with JSON alone)`,
		value:     `{"city": "Bonn"}`,
		repaired: []string{
			"line 1, column 1: text before the JSON: \"Sure! Here you go:\\n\\n```json\" left out",
			"line 5, column 1: text after the JSON: \"```\\n\\nThis is the old capital.\" left out",
		},
	},
	{
		name: "prose around a fence, damaged within", text: "Sure!\n```\n{'city': 'Bonn',}\n```",
		complaint: `line 1, column 1: there is text before the JSON: "Sure!" (answer with JSON alone)`,
		value:     `{"city": "Bonn"}`,
		repaired: []string{
			"line 1, column 1: text before the JSON: \"Sure!\\n```\" left out",
			`line 3, column 2: quotes that are none of JSON's: "'city'" made "\"city\""`,
			`line 3, column 10: quotes that are none of JSON's: "'Bonn'" made "\"Bonn\""`,
			`line 3, column 16: a comma too many: "," left out`,
			"line 4, column 1: text after the JSON: \"```\" left out",
		},
	},
	{
		name: "prose with brackets", text: `The answer [see note] is {"city": "Bonn"} (as of today).`,
		complaint: `line 1, column 1: there is text before the JSON: "The answer" (answer with JSON alone)`,
		value:     `{"city": "Bonn"}`,
		repaired: []string{
			`line 1, column 1: text before the JSON: "The answer [see note] is" left out`,
			`line 1, column 43: text after the JSON: "(as of today)." left out`,
		},
	},
	{
		name: "thoughts before", text: "<think>\nThe user wants a city.\n</think>\n{\"city\": \"Bonn\"}",
		complaint: `line 1, column 1: there is text before the JSON: "<think>" (answer with JSON alone)`,
		value:     `{"city": "Bonn"}`,
		repaired: []string{
			`line 1, column 1: text before the JSON: "<think>\nThe user wants a city.\n</think>" left out`,
		},
	},
	{
		name: "thoughts that hold an object", text: "<think>maybe {\"city\": \"Berlin\"}</think>\n{\"city\": \"Bonn\"}",
		complaint: `line 1, column 1: there is text before the JSON: "<think>maybe" (answer with JSON alone)`,
	},
	{
		name: "a label and a colon", text: `json: {"city": "Bonn"}`,
		complaint: `line 1, column 1: there is text before the JSON: "json:" (answer with JSON alone)`,
		value:     `{"city": "Bonn"}`,
		repaired: []string{
			`line 1, column 1: text before the JSON: "json:" left out`,
		},
	},
	{
		name: "a fence on one line", text: "```json {\"city\": \"Bonn\"} ```",
		complaint: "line 1, column 1: there is Markdown around the JSON (answer with JSON alone)",
		value:     `{"city": "Bonn"}`,
		repaired: []string{
			"line 1, column 1: text before the JSON: \"```json\" left out",
			"line 1, column 26: text after the JSON: \"```\" left out",
		},
	},
	{
		name: "code quotes", text: "`{\"city\": \"Bonn\"}`",
		complaint: "line 1, column 1: there is text before the JSON: \"`\" (answer with JSON alone)",
		value:     `{"city": "Bonn"}`,
		repaired: []string{
			"line 1, column 1: text before the JSON: \"`\" left out",
			"line 1, column 18: text after the JSON: \"`\" left out",
		},
	},
	{
		name: "a fence that is not closed", text: "```json\n{\"city\": \"Bonn\"}\n",
		complaint: "line 2, column 17: the Markdown block is not closed: the text ends before it is complete (answer with the whole JSON value; make it shorter if it does not fit)",
		value:     `{"city": "Bonn"}`,
		repaired: []string{
			"line 1, column 1: text before the JSON: \"```json\" left out",
		},
	},
	{
		name: "a fence that is not closed, cut off", text: "```json\n{\"city\": \"Bo",
		complaint: "line 2, column 13: the Markdown block is not closed: the text ends before it is complete (answer with the whole JSON value; make it shorter if it does not fit)",
	},
	{
		name: "a fence within a fence", text: "```markdown\n```json\n{\"city\": \"Bonn\"}\n```\n```",
		complaint: "line 2, column 1: there is a Markdown block within another (answer with JSON alone)",
		value:     `{"city": "Bonn"}`,
		repaired: []string{
			"line 1, column 1: text before the JSON: \"```markdown\\n```json\" left out",
			"line 4, column 1: text after the JSON: \"```\\n```\" left out",
		},
	},
	{
		name: "a fence within a longer fence", text: "````markdown\n```json\n{\"city\": \"Bonn\"}\n```\n````",
		complaint: "line 2, column 1: there is a Markdown block within another (answer with JSON alone)",
		value:     `{"city": "Bonn"}`,
		repaired: []string{
			"line 1, column 1: text before the JSON: \"````markdown\\n```json\" left out",
			"line 4, column 1: text after the JSON: \"```\\n````\" left out",
		},
	},
	{
		name: "two fences of JSON", text: "```json\n{\"city\": \"Bonn\"}\n```\nor\n```json\n{\"city\": \"Berlin\"}\n```",
		complaint: `line 4, column 1: there is text after the JSON value: "or" (answer with JSON alone)`,
	},
	{
		name: "a fence of JSON and one of code", text: "```json\n{\"city\": \"Bonn\"}\n```\nUse it so:\n```python\nprint(answer['city'])\n```",
		complaint: `line 4, column 1: there is text after the JSON value: "Use it so:" (answer with JSON alone)`,
		value:     `{"city": "Bonn"}`,
		repaired: []string{
			"line 1, column 1: text before the JSON: \"```json\" left out",
			"line 3, column 1: text after the JSON: \"```\\nUse it so:\\n```python\\nprint(answer['city'])\\n```\" left out",
		},
	},
	{
		name: "a fence, and an object in the prose", text: "Instead of {\"city\": \"Berlin\"}:\n```json\n{\"city\": \"Bonn\"}\n```",
		complaint: `line 1, column 1: there is text before the JSON: "Instead of" (answer with JSON alone)`,
	},
	{
		name: "cut off in a string", text: `{"name": "Far`,
		complaint: "at /name: line 1, column 10: the JSON ends before it is complete: a string is not closed (answer with the whole JSON value; make it shorter if it does not fit)",
	},
	{
		name: "cut off behind a string", text: `{"name": "Faraday"`,
		complaint: "line 1, column 19: the JSON ends before it is complete: the object begun on line 1 is not closed (answer with the whole JSON value; make it shorter if it does not fit)",
	},
	{
		name: "cut off behind a colon", text: `{"name":`,
		complaint: "at /name: line 1, column 9: the JSON ends before it is complete: a value is missing (answer with the whole JSON value; make it shorter if it does not fit)",
	},
	{
		name: "cut off in a name", text: `{"name": "Faraday", "bor`,
		complaint: "line 1, column 21: the JSON ends before it is complete: a string is not closed (answer with the whole JSON value; make it shorter if it does not fit)",
	},
	{
		name: "cut off in a literal", text: `{"alive": fal`,
		complaint: "at /alive: line 1, column 11: the JSON ends before it is complete: a value is cut off: fal (answer with the whole JSON value; make it shorter if it does not fit)",
	},
	{
		name: "cut off in a number", text: `{"born": 17`,
		complaint: "line 1, column 12: the JSON ends before it is complete: the object begun on line 1 is not closed (answer with the whole JSON value; make it shorter if it does not fit)",
	},
	{
		name: "cut off in a list of objects", text: `[{"name": "Faraday"}, {"name": "Maxwell"},`,
		complaint: "line 1, column 43: the JSON ends before it is complete: the array begun on line 1 is not closed (answer with the whole JSON value; make it shorter if it does not fit)",
	},
	{
		name: "cut off behind an inner object", text: `{"person": {"name": "Faraday"}`,
		complaint: "line 1, column 31: the JSON ends before it is complete: the object begun on line 1 is not closed (answer with the whole JSON value; make it shorter if it does not fit)",
	},
	{
		name: "cut off in a string that holds code", text: `{'lang': 'go', "code": "if x { y }`,
		complaint: "line 1, column 2: there are single quotes around a name or a string (use double quotes)",
		still:     "line 1, column 35: the JSON ends before it is complete (answer with the whole JSON value; make it shorter if it does not fit)",
	},
	{
		name: "cut off with single quotes", text: "{'name':'Far",
		complaint: "line 1, column 2: there are single quotes around a name or a string (use double quotes)",
		still:     "line 1, column 13: the JSON ends before it is complete (answer with the whole JSON value; make it shorter if it does not fit)",
	},
	{
		name: "cut off in an escape", text: `{"name": "Far\u00`,
		complaint: "at /name: line 1, column 10: the JSON ends before it is complete: a string is not closed (answer with the whole JSON value; make it shorter if it does not fit)",
	},
	{
		name: "cut off behind prose", text: `Here it is: {"name": "Far`,
		complaint: `line 1, column 1: there is text before the JSON: "Here it is:" (answer with JSON alone)`,
		still:     "line 1, column 26: the JSON ends before it is complete (answer with the whole JSON value; make it shorter if it does not fit)",
	},
	{
		name: "two objects", text: `{"city": "Bonn"} {"city": "Berlin"}`,
		complaint: "line 1, column 18: there is more than one JSON value (answer with a single JSON value)",
	},
	{
		name: "two objects with a comma", text: `{"city": "Bonn"}, {"city": "Berlin"}`,
		complaint: "line 1, column 17: there is more than one JSON value (answer with a single JSON value)",
	},
	{
		name: "JSON lines", text: "{\"city\": \"Bonn\"}\n{\"city\": \"Berlin\"}\n",
		complaint: "line 2, column 1: there is more than one JSON value (answer with a single JSON value)",
	},
	{
		name: "damaged JSON lines", text: "{'city': 'Bonn'}\n{'city': 'Berlin'}\n",
		complaint: "line 1, column 2: there are single quotes around a name or a string (use double quotes)",
	},
	{
		name: "two objects in prose", text: `Either {"city": "Bonn"} or {"city": "Berlin"}.`,
		complaint: `line 1, column 1: there is text before the JSON: "Either" (answer with JSON alone)`,
	},
	{
		name: "an object and a number", text: "{\"city\": \"Bonn\"}\n330579",
		complaint: `line 2, column 1: there is text after the JSON value: "330579" (answer with JSON alone)`,
	},
	{
		name: "a string and an object", text: `"Bonn" {"city": "Bonn"}`,
		complaint: "line 1, column 8: there is more than one JSON value (answer with a single JSON value)",
	},
	{
		name: "a number in a fence that is not closed", text: "```json\n33",
		complaint: "line 2, column 3: the Markdown block is not closed: the text ends before it is complete (answer with the whole JSON value; make it shorter if it does not fit)",
	},
	{
		name: "a comment to the end of the line", text: "{\n  \"city\": \"Bonn\", // the old capital\n  \"people\": 330579\n}",
		complaint: "line 2, column 19: there is a comment (leave comments out: JSON has none)",
		value:     `{"city": "Bonn", "people": 330579}`,
		repaired: []string{
			`line 2, column 19: a comment: "// the old capital" left out`,
		},
	},
	{
		name: "a comment within the line", text: `{"city": /* old */ "Bonn"}`,
		complaint: "at /city: line 1, column 10: there is a comment (leave comments out: JSON has none)",
		value:     `{"city": "Bonn"}`,
		repaired: []string{
			`line 1, column 10: a comment: "/* old */" left out`,
		},
	},
	{
		name: "a comment of a shell", text: "{\n  \"city\": \"Bonn\", # the old capital\n  \"people\": 330579\n}",
		complaint: "line 2, column 19: there is a comment (leave comments out: JSON has none)",
	},
	{
		name: "a trailing comma in an object", text: "{\"city\": \"Bonn\",\n}",
		complaint: `line 1, column 16: there is a comma before the closing "}" (leave out the comma)`,
		value:     `{"city": "Bonn"}`,
		repaired: []string{
			`line 1, column 16: a comma too many: "," left out`,
		},
	},
	{
		name: "a trailing comma in an array", text: `{"cities": ["Bonn", "Berlin", ]}`,
		complaint: `at /cities: line 1, column 29: there is a comma before the closing "]" (leave out the comma)`,
		value:     `{"cities": ["Bonn", "Berlin"]}`,
		repaired: []string{
			`line 1, column 29: a comma too many: "," left out`,
		},
	},
	{
		name: "a comma too many", text: `{"cities": ["Bonn",, "Berlin"]}`,
		complaint: `at /cities/1: line 1, column 20: a value is missing before "," (put a value there, null where there is none)`,
	},
	{
		name: "a missing comma between properties", text: "{\"city\": \"Bonn\"\n\"people\": 330579}",
		complaint: `line 2, column 1: a comma or "}" must follow a value, and "\"people\": 330579}" does (put a comma between one and the next)`,
		value:     `{"city": "Bonn", "people": 330579}`,
		repaired: []string{
			`line 2, column 1: a comma is missing: "," put in`,
		},
	},
	{
		name: "a missing comma between items", text: `["Bonn" "Berlin"]`,
		complaint: `line 1, column 9: a comma or "]" must follow a value, and "\"Berlin\"]" does (put a comma between one and the next)`,
		value:     `["Bonn", "Berlin"]`,
		repaired: []string{
			`line 1, column 9: a comma is missing: "," put in`,
		},
	},
	{
		name: "a missing colon", text: `{"city" "Bonn"}`,
		complaint: `line 1, column 9: a colon must follow the property name "city", and "\"Bonn\"}" does (put a colon between each property's name and its value)`,
		value:     `{"city": "Bonn"}`,
		repaired: []string{
			`line 1, column 9: a colon is missing: ":" put in`,
		},
	},
	{
		name: "a missing value", text: `{"city": , "people": 330579}`,
		complaint: `at /city: line 1, column 10: a value is missing before "," (put a value there, null where there is none)`,
	},
	{
		name: "a missing closing bracket", text: `{"cities": ["Bonn", "Berlin"}`,
		complaint: `at /cities: line 1, column 29: "}" closes an array that needs "]" (close each object with } and each array with ])`,
		value:     `{"cities": ["Bonn", "Berlin"]}`,
		repaired: []string{
			`line 1, column 29: a closing bracket is missing: "]" put in`,
		},
	},
	{
		name: "a closing bracket too many", text: `{"city": "Bonn"}}`,
		complaint: `line 1, column 17: there is a "}" too many after the JSON value (close each object and array once)`,
		value:     `{"city": "Bonn"}`,
		repaired: []string{
			`line 1, column 17: a closing bracket too many: "}" left out`,
		},
	},
	{
		name: "the wrong closing bracket", text: `{"cities": ["Bonn", "Berlin"}}`,
		complaint: `at /cities: line 1, column 29: "}" closes an array that needs "]" (close each object with } and each array with ])`,
		value:     `{"cities": ["Bonn", "Berlin"]}`,
		repaired: []string{
			`line 1, column 29: a closing bracket is missing: "]" put in`,
			`line 1, column 30: a closing bracket too many: "}" left out`,
		},
	},
	{
		name: "a missing closing quote", text: `{"city": "Bonn, "people": 330579}`,
		complaint: `line 1, column 18: a comma or "}" must follow a value, and "people\": 330579}" does (put a comma between one and the next, and write a double quote inside a string as \")`,
		value:     `{"city": "Bonn", "people": 330579}`,
		repaired: []string{
			`line 1, column 10: a quote is missing: "\"Bonn" made "\"Bonn\""`,
		},
	},
	{
		name: "single quotes", text: "{'city': 'Bonn', 'people': 330579}",
		complaint: "line 1, column 2: there are single quotes around a name or a string (use double quotes)",
		value:     `{"city": "Bonn", "people": 330579}`,
		repaired: []string{
			`line 1, column 2: quotes that are none of JSON's: "'city'" made "\"city\""`,
			`line 1, column 10: quotes that are none of JSON's: "'Bonn'" made "\"Bonn\""`,
			`line 1, column 18: quotes that are none of JSON's: "'people'" made "\"people\""`,
		},
	},
	{
		name: "single quotes with an apostrophe", text: `{'motto': "it's here"}`,
		complaint: "line 1, column 2: there are single quotes around a name or a string (use double quotes)",
		value:     `{"motto": "it's here"}`,
		repaired: []string{
			`line 1, column 2: quotes that are none of JSON's: "'motto'" made "\"motto\""`,
		},
	},
	{
		name: "single quotes with an escaped apostrophe", text: `{'motto': 'it\'s here'}`,
		complaint: "line 1, column 2: there are single quotes around a name or a string (use double quotes)",
		value:     `{"motto": "it's here"}`,
		repaired: []string{
			`line 1, column 2: quotes that are none of JSON's: "'motto'" made "\"motto\""`,
			`line 1, column 11: quotes that are none of JSON's, an escape that JSON does not have: "'it\\'s here'" made "\"it's here\""`,
		},
	},
	{
		name: "smart quotes", text: "{“city”: “Bonn”}",
		complaint: `line 1, column 2: “ is not a quotation mark of JSON (use straight double quotes ("))`,
		value:     `{"city": "Bonn"}`,
		repaired: []string{
			`line 1, column 2: quotes that are none of JSON's: "“city”" made "\"city\""`,
			`line 1, column 10: quotes that are none of JSON's: "“Bonn”" made "\"Bonn\""`,
		},
	},
	{
		name: "smart quotes around a straight string", text: `{"motto": "“here”"}`,
		value: `{"motto": "“here”"}`,
	},
	{
		name: "backquotes", text: "{`city`: `Bonn`}",
		complaint: "line 1, column 2: ` is not a quotation mark of JSON (use straight double quotes (\"))",
		value:     `{"city": "Bonn"}`,
		repaired: []string{
			"line 1, column 2: quotes that are none of JSON's: \"`city`\" made \"\\\"city\\\"\"",
			"line 1, column 10: quotes that are none of JSON's: \"`Bonn`\" made \"\\\"Bonn\\\"\"",
		},
	},
	{
		name: "names without quotes", text: `{city: "Bonn", people: 330579}`,
		complaint: `line 1, column 2: a property name has no quotes: "city: \"Bonn\", people: 330579}" (put names and strings in double quotes)`,
		value:     `{"city": "Bonn", "people": 330579}`,
		repaired: []string{
			`line 1, column 2: no quotes: "city" made "\"city\""`,
			`line 1, column 16: no quotes: "people" made "\"people\""`,
		},
	},
	{
		name: "a number as a name", text: `{1: "Bonn"}`,
		complaint: `line 1, column 2: expected a property name in double quotes, got "1: \"Bonn\"}" (put names and strings in double quotes)`,
		value:     `{"1": "Bonn"}`,
		repaired: []string{
			`line 1, column 2: no quotes: "1" made "\"1\""`,
		},
	},
	{
		name: "a string without quotes", text: `{"city": Bonn}`,
		complaint: `at /city: line 1, column 10: expected a value, got "Bonn}" (put names and strings in double quotes)`,
		value:     `{"city": "Bonn"}`,
		repaired: []string{
			`line 1, column 10: no quotes: "Bonn" made "\"Bonn\""`,
		},
	},
	{
		name: "quotes within a string", text: `{"motto": "say "hi" now"}`,
		complaint: `line 1, column 17: a comma or "}" must follow a value, and "hi\" now\"}" does (put a comma between one and the next, and write a double quote inside a string as \")`,
		value:     `{"motto": "say \"hi\" now"}`,
		repaired: []string{
			`line 1, column 11: a character that must be escaped: "\"say \"hi\" now\"" made "\"say \\\"hi\\\" now\""`,
		},
	},
	{
		name: "a line break within a string", text: "{\"motto\": \"one\ntwo\"}",
		complaint: `at /motto: line 1, column 15: a string goes over the end of the line (close the string, or write the line break as \n)`,
		value:     `{"motto": "one\ntwo"}`,
		repaired: []string{
			`line 1, column 11: a character that must be escaped: "\"one\ntwo\"" made "\"one\\ntwo\""`,
		},
	},
	{
		name: "a tab within a string", text: "{\"motto\": \"one\ttwo\"}",
		complaint: `at /motto: line 1, column 15: there is a tab inside a string (write it as \t)`,
		value:     `{"motto": "one\ttwo"}`,
		repaired: []string{
			`line 1, column 11: a character that must be escaped: "\"one\ttwo\"" made "\"one\\ttwo\""`,
		},
	},
	{
		name: "a path with backslashes", text: `{"path": "C:\projects\x"}`,
		complaint: `at /path: line 1, column 13: \p is not a JSON escape (write a backslash as \\, and a single quote without one)`,
		value:     `{"path": "C:\\projects\\x"}`,
		repaired: []string{
			`line 1, column 10: a character that must be escaped: "\"C:\\projects\\x\"" made "\"C:\\\\projects\\\\x\""`,
		},
	},
	{
		name: "NaN", text: `{"share": NaN}`,
		complaint: "at /share: line 1, column 11: NaN is not JSON (use a number, or null where there is none)",
	},
	{
		name: "minus infinity", text: "[1.5, -Infinity]",
		complaint: "at /1: line 1, column 7: -Infinity is not JSON (use a number, or null where there is none)",
	},
	{
		name: "words of Python", text: `{"capital": False, "mayor": None, 'old': True}`,
		complaint: "at /capital: line 1, column 13: False is not JSON (write false)",
		value:     `{"capital": false, "mayor": null, "old": true}`,
		repaired: []string{
			`line 1, column 13: a word of another language: "False" made "false"`,
			`line 1, column 29: a word of another language: "None" made "null"`,
			`line 1, column 35: quotes that are none of JSON's: "'old'" made "\"old\""`,
			`line 1, column 42: a word of another language: "True" made "true"`,
		},
	},
	{
		name: "a word of JavaScript", text: `{"mayor": undefined}`,
		complaint: "at /mayor: line 1, column 11: undefined is not JSON (write null)",
		value:     `{"mayor": null}`,
		repaired: []string{
			`line 1, column 11: a word of another language: "undefined" made "null"`,
		},
	},
	{
		name: "a tuple of Python", text: `{"at": (50.7, 7.1)}`,
		complaint: `at /at: line 1, column 8: expected a value, got "(50.7, 7.1)}" (put names and strings in double quotes)`,
	},
	{
		name: "a property twice", text: `{"city": "Bonn", "city": "Berlin"}`,
		complaint: `at /city: line 1, column 18: the property "city" is there more than once (give each property once)`,
	},
	{
		name: "a property twice, and damage", text: `{"city": "Bonn", "city": "Berlin",}`,
		complaint: `line 1, column 34: there is a comma before the closing "}" (leave out the comma)`,
		still:     `at /city: line 1, column 18: the property "city" is there more than once (give each property once)`,
	},
	{
		name: "escaped once more", text: `{\"city\": \"Bonn\", \"motto\": \"say \\\"hi\\\"\"}`,
		complaint: "line 1, column 2: there is a backslash outside of a string (write the JSON as it is, without escaping it once more)",
		value:     `{"city": "Bonn", "motto": "say \"hi\""}`,
		repaired: []string{
			`line 1, column 1: the JSON is escaped once more than it is to be: "{\\\"city\\\": \\\"Bonn\\\", \\\"motto\\\": \\\"say \\\\\\\"hi\\\\\\\"\\\"}" made "{\"city\": \"Bonn\", \"motto\": \"say \\\"hi\\\"\"}"`,
		},
	},
	{
		name: "escaped once more, with line breaks", text: `{\n  \"city\": \"Bonn\"\n}`,
		complaint: "line 1, column 2: there is a backslash outside of a string (write the JSON as it is, without escaping it once more)",
		value:     `{"city": "Bonn"}`,
		repaired: []string{
			`line 1, column 1: the JSON is escaped once more than it is to be: "{\\n  \\\"city\\\": \\\"Bonn\\\"\\n}" made "{\n  \"city\": \"Bonn\"\n}"`,
		},
	},
	{
		name: "a string that holds JSON", text: `"{\"city\": \"Bonn\"}"`,
		value: `"{\"city\": \"Bonn\"}"`,
	},
	{
		name: "an ellipsis in an array", text: `["Bonn", "Berlin", ...]`,
		complaint: "at /2: line 1, column 20: there are three dots instead of what is left out (write out all of it)",
	},
	{
		name: "an ellipsis in an object", text: `{"city": "Bonn", ...}`,
		complaint: "line 1, column 18: there are three dots instead of what is left out (write out all of it)",
	},
	{
		name: "a non-breaking space", text: "{\u00a0\"city\": \"Bonn\"}",
		complaint: "line 1, column 2: there is the character U+00A0, which is not white space in JSON (use plain spaces and line breaks, or leave it out)",
		value:     `{"city": "Bonn"}`,
		repaired: []string{
			`line 1, column 2: a space that JSON does not have: "\u00a0" made " "`,
		},
	},
	{
		name: "a zero width space", text: "{\u200b\"city\": \"Bonn\"}",
		complaint: "line 1, column 2: there is the character U+200B, which is not white space in JSON (use plain spaces and line breaks, or leave it out)",
	},
	{
		name: "a byte order mark within", text: "{\ufeff\"city\": \"Bonn\"}",
		complaint: "line 1, column 2: there is the character U+FEFF, which is not white space in JSON (use plain spaces and line breaks, or leave it out)",
	},
	{
		name: "leading zeros", text: `{"zip": 01067}`,
		complaint: "at /zip: line 1, column 9: the number 01067 begins with 0 (leave out the zeros at the beginning; put it in double quotes if it is a code)",
	},
	{
		name: "a plus sign", text: `{"change": +5}`,
		complaint: `at /change: line 1, column 12: a JSON number does not begin with "+" (begin a number with a digit or with a minus sign)`,
	},
	{
		name: "a number without a digit before the point", text: `{"share": .5}`,
		complaint: `at /share: line 1, column 11: a JSON number does not begin with "." (begin a number with a digit or with a minus sign)`,
	},
	{
		name: "a hexadecimal number", text: `{"color": 0xff}`,
		complaint: `line 1, column 12: a comma or "}" must follow a value, and "xff}" does (put a comma between one and the next)`,
	},
	{
		name: "thousands separators", text: `{"people": 330,579}`,
		complaint: `line 1, column 16: expected a property name in double quotes, got "579}" (put names and strings in double quotes)`,
	},
	{
		name: "a huge number", text: `{"people": 1e999}`,
		complaint: "at /people: line 1, column 12: the number 1e999 is out of range (use a number that a 64-bit floating-point number can hold, or a string)",
	},
	{
		name: "a lone surrogate", text: `{"face": "\ud83d"}`,
		complaint: `at /face: line 1, column 11: \ud83d is half of a character (write the character itself, or both \u of its surrogate pair)`,
	},
	{
		name: "invalid UTF-8", text: "{\"city\": \"K\xf6ln\"}",
		complaint: "line 1, column 12: the text is not valid UTF-8 here (write the text in UTF-8)",
	},
	{
		name: "a null character", text: "{\"city\": \"Bonn\x00\"}",
		complaint: `at /city: line 1, column 15: there is a control character inside a string (leave it out, or write it as \u0000)`,
	},
	{
		name: "nested too deep", text: strings.Repeat("[", 501) + strings.Repeat("]", 501),
		complaint: "at /0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0: line 1, column 501: arrays and objects are nested more than 500 deep (nest them less deep)",
	},
	{
		name: "nothing", text: "",
		complaint: "line 1, column 1: the text is empty: there is no JSON in it (answer with one JSON value)",
	},
	{
		name: "white space", text: " \n\t ",
		complaint: "line 1, column 1: the text is empty: there is no JSON in it (answer with one JSON value)",
	},
	{
		name: "an empty fence", text: "```json\n```",
		complaint: "line 2, column 1: the text is empty: there is no JSON in it (answer with one JSON value)",
	},
	{
		name: "a refusal", text: "I'm sorry, but I can't help with that.",
		complaint: `line 1, column 1: the text is not JSON: "I'm sorry, but I can't help with that." (answer with JSON alone)`,
	},
	{
		name: "XML", text: "<city><name>Bonn</name></city>",
		complaint: `line 1, column 1: the text is not JSON: "<city><name>Bonn</name></city>" (answer with JSON alone)`,
	},
	{
		name: "YAML", text: "city: Bonn\npeople: 330579",
		complaint: `line 1, column 1: the text is not JSON: "city: Bonn" (answer with JSON alone)`,
	},
	{
		name: "a Markdown list", text: "- Bonn\n- Berlin",
		complaint: `line 1, column 1: the text is not JSON: "- Bonn" (answer with JSON alone)`,
	},
	{
		name: "a numbered list", text: "1. Bonn\n2. Berlin",
		complaint: `line 1, column 1: the text is not JSON: "1. Bonn" (answer with JSON alone)`,
	},
	{
		name: "a Markdown table", text: "| city | people |\n| --- | --- |\n| Bonn | 330579 |",
		complaint: `line 1, column 1: the text is not JSON: "| city | people |" (answer with JSON alone)`,
	},
	{
		name: "an equals sign", text: `{"city" = "Bonn"}`,
		complaint: `line 1, column 9: a colon must follow the property name "city", and "= \"Bonn\"}" does (put a colon between each property's name and its value)`,
	},
	{
		name: "a tool call in tags", text: "<tool_call>\n{\"name\": \"look_up\", \"arguments\": {\"city\": \"Bonn\"}}\n</tool_call>",
		complaint: `line 1, column 1: there is text before the JSON: "<tool_call>" (answer with JSON alone)`,
		value:     `{"name": "look_up", "arguments": {"city": "Bonn"}}`,
		repaired: []string{
			`line 1, column 1: text before the JSON: "<tool_call>" left out`,
			`line 3, column 1: text after the JSON: "</tool_call>" left out`,
		},
	},
	{
		name: "a function call", text: `look_up({"city": "Bonn"})`,
		complaint: `line 1, column 1: there is text before the JSON: "look_up(" (answer with JSON alone)`,
		value:     `{"city": "Bonn"}`,
		repaired: []string{
			`line 1, column 1: text before the JSON: "look_up(" left out`,
			`line 1, column 25: text after the JSON: ")" left out`,
		},
	},
	{
		name: "a constructor within", text: `{"id": ObjectId("507f")}`,
		complaint: `at /id: line 1, column 8: expected a value, got "ObjectId(\"507f\")}" (put names and strings in double quotes)`,
	},
	{
		name: "strings put together", text: `{"city": "Bo" + "nn"}`,
		complaint: `line 1, column 15: a comma or "}" must follow a value, and "+ \"nn\"}" does (put a comma between one and the next, and write a double quote inside a string as \")`,
	},
	{
		name: "a template that was not filled in", text: `{"city": {{city}}}`,
		complaint: `at /city: line 1, column 11: expected a property name in double quotes, got "{city}}}" (put names and strings in double quotes)`,
	},
	{
		name: "an assignment", text: "const answer = {city: 'Bonn'};",
		complaint: `line 1, column 1: there is text before the JSON: "const answer =" (answer with JSON alone)`,
		value:     `{"city": "Bonn"}`,
		repaired: []string{
			`line 1, column 1: text before the JSON: "const answer =" left out`,
			`line 1, column 17: no quotes: "city" made "\"city\""`,
			`line 1, column 23: quotes that are none of JSON's: "'Bonn'" made "\"Bonn\""`,
			`line 1, column 30: text after the JSON: ";" left out`,
		},
	},
	{
		name: "a diff", text: "- {\"city\": \"Berlin\"}\n+ {\"city\": \"Bonn\"}",
		complaint: `line 1, column 1: there is text before the JSON: "-" (answer with JSON alone)`,
	},
}

func TestBrokenAnswers(t *testing.T) {
	if len(broken) < 60 {
		t.Fatalf("%d answers", len(broken))
	}
	complaint := func(text string) []string {
		if text == "" {
			return []string{}
		}
		return []string{"json: " + text}
	}
	for _, test := range broken {
		// Without repair.
		report := check(t, validate.JSON(), test.text)
		if got, want := lines(report.Complaints), complaint(test.complaint); !slices.Equal(got, want) {
			t.Errorf("%s: %q\nwant %q", test.name, got, want)
		}
		if report.Decoded != (test.complaint == "") || report.Repaired != nil {
			t.Errorf("%s: decoded: %v, repaired: %v", test.name, report.Decoded, report.Repaired)
		}
		if report.Decoded && !reflect.DeepEqual(report.Value, reference(t, report.Text)) {
			t.Errorf("%s: %v is not what %s is decoded to", test.name, report.Value, report.Text)
		}

		// With repair.
		report = check(t, validate.JSONWithRepair(), test.text)
		if test.value == "" {
			want := test.complaint
			if test.still != "" {
				want = test.still
			}
			if got := lines(report.Complaints); !slices.Equal(got, complaint(want)) || report.Decoded {
				t.Errorf("%s, repaired: %q\nwant %q", test.name, got, want)
			}
			continue
		}
		wantLines(t, test.name, report.Complaints)
		if want := reference(t, test.value); !reflect.DeepEqual(report.Value, want) || !reflect.DeepEqual(reference(t, report.Text), want) {
			t.Errorf("%s: repaired to %s, %v\nwant %s", test.name, report.Text, report.Value, test.value)
		}
		var repaired []string
		for _, r := range report.Repaired {
			repaired = append(repaired, r.String())
		}
		if !slices.Equal(repaired, test.repaired) {
			t.Errorf("%s: repaired\n  %q\nwant\n  %q", test.name, repaired, test.repaired)
		}
		wantLines(t, test.name+", mended", check(t, validate.JSON(), report.Text).Complaints)
	}
}

// What looks like damage may be the place where the answer was cut off.
func TestAnAnswerThatDidNotComeToItsOwnEndIsNeverRepaired(t *testing.T) {
	for finish, problem := range map[llm.Finish]string{
		llm.FinishLength:   "the answer was cut off at the token limit before its JSON was complete",
		llm.FinishNone:     "the answer broke off before its JSON was complete: it came without a reason to stop",
		llm.FinishFiltered: "the answer was withheld or refused before its JSON was complete",
	} {
		for _, test := range broken {
			if test.complaint == "" || strings.Contains(test.complaint, "more than once") {
				continue
			}
			report := checkAnswer(t, validate.JSONWithRepair(), finished(test.text, finish))
			if report.Decoded || len(report.Complaints) != 1 || report.Complaints[0].Problem != problem {
				t.Errorf("%s, finish %q: %v", test.name, finish, report.Complaints)
			}
		}
	}
	for _, finish := range []llm.Finish{llm.FinishStop, llm.FinishToolCall} {
		if report := checkAnswer(t, validate.JSONWithRepair(), finished("{'a': 1}", finish)); !report.Decoded {
			t.Errorf("finish %q: %v", finish, report.Complaints)
		}
	}
}
