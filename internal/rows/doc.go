// Package rows reads the rows of a batch: the lines of a JSONL file or the records of a
// CSV file, and makes a request of each.
//
// A [Source] is one input, which is read several times: first by [Source.Survey], before
// anything is paid for, and then by [Source.All], while it is asked. Standard input and
// pipes are therefore spooled to a temporary file. A [Row] has its fields by name, for
// templates, and its content as canonical bytes, for its identity.
//
// A [Form] says how a row becomes a request: by a [Template], by the row's own prompt or
// messages, or as a line of OpenAI's batch API.
//
//	source, err := rows.Open(ctx, "in.jsonl", os.Stdin, "")
//	defer source.Close()
//	form := rows.Form{Prompt: template}
//	summary, err := source.Survey(form, func(row *rows.Row, req *llm.Request, err error) error { return err })
//	for row, err := range source.All() { … form.Request(row) … }
//
// What is wrong with an input is an *[Error], which names the file, the line and the field.
// Nothing of a row is kept beyond it but 16 bytes while ids are compared.
package rows
