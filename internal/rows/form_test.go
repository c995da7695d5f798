package rows_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"llmcall/internal/rows"
	"llmcall/llm"
)

// ask returns the requests of an input as JSON, and the first error.
func ask(t *testing.T, name, content string, form rows.Form) (asked []string, summary rows.Summary, err error) {
	t.Helper()
	source, err := open(t, name, content, "")
	if err != nil {
		t.Fatal(err)
	}
	summary, err = source.Survey(form, func(_ *rows.Row, req *llm.Request, err error) error {
		if err != nil {
			return err
		}
		text, err := json.Marshal(req)
		asked = append(asked, string(text))
		return err
	})
	return asked, summary, err
}

// said is a request with a turn of the user.
func said(text string) string {
	quoted, _ := json.Marshal(text)
	return `{"messages":[{"role":"user","parts":[{"type":"text","text":` + string(quoted) + `}]}]}`
}

func TestTemplates(t *testing.T) {
	for _, c := range []struct {
		name, template, row string
		want                string
		problem             string
	}{
		{"a field", "Say {{.text}}!", `{"text":"<b> & \"q\""}`, `Say <b> & "q"!`, ""},
		{"numbers as they are written", "{{.a}} {{.b}} {{.c}} {{.d}} {{.e}}", `{"a":1.50,"b":1e6,"c":12345678901234567890,"d":-0,"e":1234567.5}`, "1.50 1e6 12345678901234567890 -0 1234567.5", ""},
		{"a number that is compared", "{{if gt .stars 3}}good{{else}}bad{{end}}", `{"stars":5}`, "good", ""},
		{"null", "{{.a}}{{if .a}}yes{{else}}no{{end}}", `{"a":null}`, "nullno", ""},
		{"a list and an object are JSON", "{{.l}} {{.o}}", `{"l":[1,"<",null,{"b":2,"a":1}],"o":{"x":[]}}`, `[1,"<",null,{"a":1,"b":2}] {"x":[]}`, ""},
		{"the row", "{{.}}", `{"b":1,"a":"é"}`, `{"a":"é","b":1}`, ""},
		{"a field of an object", "{{.o.x}}", `{"o":{"x":"deep"}}`, "deep", ""},
		{"a list's items", "{{range .l}}[{{.}}]{{end}}{{index .l 1}}{{len .l}}", `{"l":["a","b"]}`, "[a][b]b2", ""},
		{"a name with a dash", `{{index . "first-name"}}`, `{"first-name":"Ann"}`, "Ann", ""},
		{"a name deep down", `{{index . "a b" "c"}}`, `{"a b":{"c":1}}`, "1", ""},
		{"an optional field", `{{with .o}}{{.}}{{end}}x`, `{"o":""}`, "x", ""},

		{"a field that is missing", "{{.txet}}", `{"text":"x","id":1}`, "", `line 1: has the fields text, id; --prompt needs "txet", did you mean text?`},
		{"a field that is missing within", "{{.o.txet}}", `{"o":{"text":"x"}}`, "", `line 1: has no field "o.txet", which --prompt needs`},
		{"a missing field by index", `{{index . "first-nmae"}}`, `{"first-name":"x"}`, "", `line 1: has the fields first-name; --prompt needs "first-nmae", did you mean first-name?`},
		{"an item too far", "{{index .l 2}}", `{"l":[1,2]}`, "", "line 1: does not fit --prompt: line 1: <index .l 2>: error calling index: index: the list has 2 items, from 0, got 2"},
		{"a field of a string", "{{.a.b}}", `{"a":"x"}`, "", "line 1: does not fit --prompt: "},
		{"nothing is asked", "{{.a}}", `{"a":" "}`, "", "line 1: the prompt must not be empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			template, err := rows.ParseTemplate("--prompt", c.template)
			if err != nil {
				t.Fatal(err)
			}
			asked, _, err := ask(t, "a.jsonl", c.row+"\n", rows.Form{Prompt: template})
			if c.problem != "" {
				if err == nil || !strings.Contains(err.Error(), c.problem) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || asked[0] != said(c.want) {
				t.Errorf("got %s, %v", asked, err)
			}
		})
	}
	for text, problem := range map[string]string{
		"{{.a":                "--prompt is not a template: line 1: unclosed action",
		"\n{{.first-name}}":   `--prompt is not a template: line 2: bad character U+002D '-'; a field whose name is not made of letters, digits and _ is written {{index . "first-name"}}`,
		"{{translate .text}}": `--prompt is not a template: line 1: function "translate" not defined`,
	} {
		if _, err := rows.ParseTemplate("--prompt", text); err == nil || err.Error() != problem {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestARowsOwnQuestion(t *testing.T) {
	for _, c := range []struct {
		name, file, content string
		system              string
		want                []string
		problem             string
	}{
		{"a prompt", "a.jsonl", `{"prompt":"Hi"}`, "", []string{said("Hi")}, ""},
		{"a prompt in CSV", "a.csv", "prompt,system\nHi,Be kind.\nHo,\n", "Be brief.", []string{
			`{"messages":[{"role":"system","parts":[{"type":"text","text":"Be kind."}]},{"role":"user","parts":[{"type":"text","text":"Hi"}]}]}`,
			`{"messages":[{"role":"user","parts":[{"type":"text","text":"Ho"}]}]}`}, ""},
		{"a system prompt for those without", "a.jsonl", `{"prompt":"Hi"}`, "Be brief.", []string{
			`{"messages":[{"role":"system","parts":[{"type":"text","text":"Be brief."}]},{"role":"user","parts":[{"type":"text","text":"Hi"}]}]}`}, ""},
		{"messages as llmcall writes them", "a.jsonl", `{"messages":[{"role":"user","parts":["Hi",{"type":"image","url":"https://x.example/a.png"}]}]}`, "",
			[]string{`{"messages":[{"role":"user","parts":[{"type":"text","text":"Hi"},{"type":"image","url":"https://x.example/a.png"}]}]}`}, ""},
		{"messages as OpenAI has them", "a.jsonl", `{"messages":[{"role":"developer","content":"Be kind."},{"role":"user","content":"Hi"}]}`, "Be brief.",
			[]string{`{"messages":[{"role":"system","parts":[{"type":"text","text":"Be kind."}]},{"role":"user","parts":[{"type":"text","text":"Hi"}]}]}`}, ""},
		{"nothing to ask", "a.csv", "id,text\n1,x\n", "", nil, "line 2: has neither prompt nor messages, and there is no template (--prompt 'Summarize: {{.text}}'): its fields are id, text"},
		{"a slip", "a.jsonl", `{"id":1,"promt":"x"}`, "", nil, "its fields are promt, id"},
		{"both", "a.jsonl", `{"prompt":"x","messages":[]}`, "", nil, "line 1: must have either prompt or messages, got both"},
		{"a number", "a.jsonl", `{"prompt":5}`, "", nil, "line 1: prompt must be a string, got the number 5"},
		{"an empty prompt", "a.csv", "id,prompt\n1,\n", "", nil, "line 2: prompt must not be empty"},
		{"a system that is a list", "a.jsonl", `{"prompt":"x","system":[]}`, "", nil, "line 1: system must be a string, got a list"},
		{"no messages", "a.jsonl", `{"messages":[]}`, "", nil, "line 1: messages must have at least one message, got none"},
		{"messages that are a text", "a.jsonl", `{"messages":"Hi"}`, "", nil, `line 1: messages must be a list, got "Hi"`},
		{"a part of an unknown type", "a.jsonl", `{"messages":[{"role":"user","parts":[{"type":"video"}]}]}`, "", nil, `line 1: messages[0] is not a message as llmcall writes it: parts[0]: the part's type "video" is unknown`},
		{"no role", "a.jsonl", `{"messages":[{"content":"Hi"}]}`, "", nil, "line 1: messages[0].role must be system, developer, user, assistant or tool, got nothing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked, _, err := ask(t, c.file, c.content, rows.Form{System: c.system})
			if c.problem != "" {
				if err == nil || !strings.Contains(err.Error(), c.problem) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || fmt.Sprint(asked) != fmt.Sprint(c.want) {
				t.Errorf("got %s, %v", asked, err)
			}
		})
	}
}

// The lines of OpenAI's batch API, as its guide has them
// (https://developers.openai.com/api/docs/guides/batch).
const guide = `{"custom_id": "request-1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-6-luna", "messages": [{"role": "system", "content": "You are a helpful assistant."},{"role": "user", "content": "Hello world!"}],"max_tokens": 1000}}
{"custom_id": "request-2", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-6-luna", "messages": [{"role": "system", "content": "You are an unhelpful assistant."},{"role": "user", "content": "Hello world!"}],"max_tokens": 1000}}
`

func TestLinesOfOpenAIsBatchAPI(t *testing.T) {
	asked, summary, err := ask(t, "a.jsonl", guide, rows.Form{System: "Be brief."})
	if err != nil || summary != (rows.Summary{Rows: 2, Model: "gpt-6-luna", URL: "/v1/chat/completions"}) {
		t.Errorf("got %+v, %v", summary, err)
	}
	if want := `{"messages":[{"role":"system","parts":[{"type":"text","text":"You are a helpful assistant."}]},{"role":"user","parts":[{"type":"text","text":"Hello world!"}]}],"max_tokens":1000}`; asked[0] != want {
		t.Errorf("got %s", asked[0])
	}
	template, _ := rows.ParseTemplate("--prompt", "{{.custom_id}}: {{(index .body.messages 1).content}}")
	asked, summary, err = ask(t, "a.jsonl", guide, rows.Form{Prompt: template})
	if err != nil || asked[1] != said("request-2: Hello world!") || summary.Model != "" {
		t.Errorf("by a template: %s, %+v, %v", asked, summary, err)
	}
	responses := `{"custom_id":"1","method":"POST","url":"/v1/responses","body":{"model":"m","input":"Hi"}}` + "\n"
	if asked, summary, err = ask(t, "a.jsonl", responses, rows.Form{}); err != nil || asked[0] != said("Hi") || summary.URL != "/v1/responses" {
		t.Errorf("responses: %s, %+v, %v", asked, summary, err)
	}
	chat := `{"custom_id":"2","body":{"model":"m","messages":[{"role":"user","content":"Hi"}]}}` + "\n"
	for _, c := range []struct{ rows, problem string }{
		{responses + chat, `line 2: url must be that of the other rows (/v1/responses in line 1), got /v1/chat/completions: `},
		{chat + `{"custom_id":"3","body":{"model":"n","messages":[{"role":"user","content":"Hi"}]}}` + "\n" + responses,
			`line 2: body.model must be that of the other rows ("m" in line 1), got "n": ask one model in one batch, or name it with --model`},
	} {
		asked, summary, err := ask(t, "a.jsonl", c.rows, rows.Form{})
		if err != nil || summary.Mixed == nil || !strings.Contains(summary.Mixed.Error(), c.problem) || summary.Model != "m" || len(asked) != summary.Rows {
			t.Errorf("%s: got %q, %+v, %v", c.rows, asked, summary, err)
		}
	}
	for _, c := range []struct{ line, problem string }{
		{`{"custom_id":"1","method":"GET","url":"/v1/responses","body":{}}`, `line 1: method must be POST, got the string "GET"`},
		{`{"custom_id":"1","url":"/v1/embeddings","body":{"model":"m"}}`, `line 1: url must be /v1/chat/completions or /v1/responses, got the string "/v1/embeddings"`},
		{`{"custom_id":"1","body":{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}}`, `line 1: body.messages[0].content[0].image_url.url must be an http(s) address or a data URI, got "x"`},
		{`{"custom_id":"1","body":{"messages":[{"role":"user","content":"Hi"}],"n":2}}`, "line 1: body.n can't be carried out: a request has one answer"},
		{`{"custom_id":"1","body":{}}`, "line 1: body.messages must be a list, got nothing"},
	} {
		if _, _, err := ask(t, "a.jsonl", c.line, rows.Form{}); err == nil || !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%s: got %v", c.line, err)
		}
	}
}

// Whatever is read, it is rows or an *Error, the same each time, and a request can be made of
// it or not.
func FuzzRows(f *testing.F) {
	f.Add([]byte(guide), false)
	f.Add([]byte("id,prompt\n1,\"a\nb\"\n"), true)
	f.Add([]byte("\uFEFF{\"prompt\":\"x\",\"id\":5}\n\n{\"messages\":[{\"role\":\"user\",\"parts\":[\"x\"]}]}"), false)
	f.Add([]byte(`{"url":"/v1/responses","body":{"input":[{"type":"function_call","call_id":"1","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"1","output":"x"}],"text":{"format":{"type":"json_schema","name":"x","schema":{}}}}}`), false)
	template, err := rows.ParseTemplate("--prompt", "{{.}} {{range .l}}{{.}}{{end}}")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte, csv bool) {
		format := rows.JSONL
		if csv {
			format = rows.CSV
		}
		source, err := open(t, "a", string(text), format)
		if err != nil {
			return
		}
		first, err := read(source)
		second, again := read(source)
		if fmt.Sprint(first, err) != fmt.Sprint(second, again) {
			t.Fatalf("%q, %v; and then %q, %v", first, err, second, again)
		}
		for row, err := range source.All() {
			if err != nil {
				break
			}
			if !json.Valid(row.Raw) {
				t.Fatalf("%s", row.Raw)
			}
			for _, form := range []rows.Form{{}, {Prompt: template, System: "x"}} {
				req, err := form.Request(row)
				if (req == nil) == (err == nil) || err == nil && len(req.Messages) == 0 {
					t.Fatalf("%s: %v, %v", row.Raw, req, err)
				}
				if err == nil {
					if _, err := json.Marshal(req); err != nil {
						t.Fatalf("%s: %v", row.Raw, err)
					}
				}
			}
		}
	})
}
