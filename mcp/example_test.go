package mcp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"

	"llmcall/mcp"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// A server at a URL, and a call of its tool as a model makes it. A client offers the tools
// to a model by llmcall.RetryConfig.Tools.
func Example() {
	forecast := sdk.NewServer(&sdk.Implementation{Name: "forecast"}, nil)
	type query struct {
		City string `json:"city"`
	}
	sdk.AddTool(forecast, &sdk.Tool{Name: "weather"}, func(_ context.Context, _ *sdk.CallToolRequest, q query) (*sdk.CallToolResult, any, error) {
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: "sunny in " + q.City}}}, nil, nil
	})
	server := httptest.NewServer(sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return forecast }, nil))
	defer server.Close()

	ctx := context.Background()
	client, err := mcp.Connect(ctx, mcp.Server{Name: "forecast", URL: server.URL, Tools: []string{"weather"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	tools, err := client.Tools(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	answer, err := tools[0].Run(ctx, json.RawMessage(`{"city": "Rome"}`))
	fmt.Println(tools[0].Name, answer, err)
	// Output: weather sunny in Rome <nil>
}
