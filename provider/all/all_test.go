package all_test

import (
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"llmcall/provider"
)

// A program links the SDKs of the providers that it imports, and no others.
func TestAProgramLinksTheSDKsThatItNames(t *testing.T) {
	own := strings.TrimSuffix(reflect.TypeFor[provider.Provider]().PkgPath(), "/provider")
	sdks := map[string]string{"openai": "github.com/openai/openai-go/", "anthropic": "github.com/anthropics/", "gemini": "google.golang.org/genai"}
	linked := func(packages ...string) string {
		out, err := exec.Command("go", append([]string{"list", "-deps"}, packages...)...).Output()
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		return string(out)
	}
	for adapter := range sdks {
		deps := linked(own, own+"/provider/"+adapter)
		for other, sdk := range sdks {
			if strings.Contains(deps, sdk) != (other == adapter) {
				t.Errorf("a program with %s alone: the SDK of %s is linked: %v", adapter, other, other != adapter)
			}
		}
	}
	for other, sdk := range sdks {
		if strings.Contains(linked(own+"/provider"), sdk) {
			t.Errorf("the register links the SDK of %s", other)
		}
		if !strings.Contains(linked(own+"/provider/all"), sdk) {
			t.Errorf("provider/all does not link the SDK of %s", other)
		}
	}
}
