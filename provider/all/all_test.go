package all_test

import (
	"os/exec"
	"strings"
	"testing"
)

// A program links the SDKs of the providers that it imports, and no others.
func TestAProgramLinksTheSDKsThatItNames(t *testing.T) {
	sdks := map[string]string{"openai": "github.com/openai/openai-go/", "anthropic": "github.com/anthropics/", "gemini": "google.golang.org/genai"}
	linked := func(packages ...string) string {
		out, err := exec.Command("go", append([]string{"list", "-deps"}, packages...)...).Output()
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		return string(out)
	}
	for adapter := range sdks {
		deps := linked("llmcall", "llmcall/provider/"+adapter)
		for other, sdk := range sdks {
			if strings.Contains(deps, sdk) != (other == adapter) {
				t.Errorf("a program with %s alone: the SDK of %s is linked: %v", adapter, other, other != adapter)
			}
		}
	}
	for other, sdk := range sdks {
		if strings.Contains(linked("llmcall/provider"), sdk) {
			t.Errorf("the register links the SDK of %s", other)
		}
		if !strings.Contains(linked("llmcall/provider/all"), sdk) {
			t.Errorf("provider/all does not link the SDK of %s", other)
		}
	}
}
