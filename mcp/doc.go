// Package mcp offers a model the tools of MCP servers: programs that speak the Model
// Context Protocol (https://modelcontextprotocol.io), on this machine or elsewhere.
//
//	tools, err := mcp.Connect(ctx,
//		mcp.Server{Name: "memory", Command: []string{"npx", "-y", "@modelcontextprotocol/server-memory"}},
//		mcp.Server{Name: "issues", URL: "https://mcp.example.com/mcp", Headers: map[string]string{"Authorization": "Bearer ${ISSUES_TOKEN}"}},
//	)
//	if err != nil {
//		return err
//	}
//	defer tools.Close()
//	offered, err := tools.Tools(ctx)
//
// # Model
//
// A [Client] holds one session with each [Server]. [Client.Tools] gives a [llmcall.Tool]
// for each of their tools, and a call of one goes to its server.
//
// A server may fail without an end to the model's call. What goes wrong is the result of
// the tool, an error that the model reads: the server refused the arguments, the tool
// failed, the server is down, or it did not answer in the time that the tool has. A session
// that has ended is opened again by the next use: the command is started, or the address
// is asked for a new session. A call that was under way is not sent again, because nobody
// knows whether it was carried out, unless the server says that it does not know the
// session (HTTP status 404). After a call that ran out of time, with no other under way,
// the server is asked for a sign of life; without one within two seconds its session is
// ended, and opened again.
//
// # What the model reads
//
// The parts of a result are put into one text. Text is as it is. Of a picture, a recording
// and a file that is not text the model is told the kind and the size: results of tools are
// text for all providers. Of a link it is told the address and what the server says of it.
// Structured content is JSON, unless a part with the same JSON is there.
//
// # Processes
//
// A command gets the environment variables that a program needs to run (PATH, HOME, LANG
// and a few more) and those in [Server.Env]; API keys in the environment of the caller are
// not among them. It runs in a process group of its own where the system has them. At the
// end its input is closed; where it has not ended 2 s after that, the group gets SIGTERM,
// and after another 2 s SIGKILL. No process and no goroutine is left when [Client.Close]
// has returned, or [Connect] with an error. What the command writes to its standard error
// is kept, its last 8 KiB, and is told in the error if the command ends.
//
// # Keys
//
// ${NAME} in [Server] is the environment variable NAME. What it puts into Headers and the
// URL, the parameters of the URL, and the values of variables and headers with a name like a
// key's (KEY, TOKEN, SECRET, PASSWORD, CREDENTIAL, AUTH, COOKIE) are replaced by "[key]" in
// errors and in results; those of fewer than 8 bytes are not.
// A request that is redirected to another host is not sent there.
//
// # Trust
//
// Names, descriptions and results are texts of the server, and a model reads them. Connect
// servers that you trust, and name the tools that you need in [Server.Tools].
//
// It is a package of its own, so that only programs that import it compile the SDK,
// github.com/modelcontextprotocol/go-sdk.
package mcp
