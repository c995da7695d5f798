// Package results is the output of a batch: a JSONL file with a line for each row, to which
// lines are appended as rows are done, and which is put into the order of the rows at the
// end. A process that is killed at any moment leaves a file with which the next one goes on.
//
//   - A line is written by one write. A last line that was cut off is removed when the file
//     is opened again. The file is synced every 50 ms, so that only a loss of power can lose
//     lines; their rows are asked again.
//   - A line has the hash of what was asked, its [Key]. A row whose key is in the file is
//     done, wherever it is in the input now; rows that are equal in everything are done as
//     often as there are lines. A line whose key no row has any more is stale: something of
//     it has changed.
//   - The file is locked while it is open: a second process gets a *[LockedError]. The
//     system gives the lock back when the process ends, however it ends, so that nobody has
//     to remove anything (a claim of package review outlives its process, on purpose).
//   - A file with anything else in it is refused, and never written to.
//
// The model of the whole is short:
//
//	out, err := results.Open("out.jsonl")
//	defer out.Close()
//	match := out.Match(keys, nil) // keys of the rows, in their order
//	for … { if !out.Done(row) { err = out.Append(&results.Line{Row: row, …}) } }
//	err = out.Order()
//
// In memory a row takes 8 bytes here, and 16 more for each line that the file had while
// [File.Match] compares them.
package results
