package wire

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"llmcall/endpoint"
)

const (
	keyVariable  = "WIRE_TEST_KEY"
	baseVariable = "WIRE_TEST_BASE_URL"
)

// config is one that New takes, but for what change changes.
func config(change func(*Config)) Config {
	c := Config{
		Protocol: "openai", Provider: "acme", Model: "m", Example: "gpt-6-luna",
		BaseURLVariable: baseVariable, DefaultBaseURL: "https://api.example.com/v1", APIKey: secret, KeyVariables: []string{"WIRE_TEST_NONE", keyVariable},
	}
	if change != nil {
		change(&c)
	}
	return c
}

func TestNew(t *testing.T) {
	for _, step := range []struct {
		name        string
		change      func(*Config)
		environment map[string]string
		want        Endpoint
		base, key   string
	}{
		{"the defaults", nil, nil, Endpoint{Provider: "acme", Name: "acme/m", Model: "m"}, "https://api.example.com/v1", secret},
		{"a name", func(c *Config) { c.Name = "other/n/o" }, nil, Endpoint{Provider: "other", Name: "other/n/o", Model: "m"}, "https://api.example.com/v1", secret},
		{"an address", func(c *Config) { c.BaseURL = " https://x/v1\n" }, map[string]string{baseVariable: "https://y"}, Endpoint{Provider: "acme", Name: "acme/m", Model: "m"}, "https://x/v1", secret},
		{"an address of the environment", nil, map[string]string{baseVariable: "https://y"}, Endpoint{Provider: "acme", Name: "acme/m", Model: "m"}, "https://y", secret},
		{"no variable of an address", func(c *Config) { c.BaseURLVariable = "" }, map[string]string{baseVariable: "https://y"}, Endpoint{Provider: "acme", Name: "acme/m", Model: "m"}, "https://api.example.com/v1", secret},
		{"a key outranks the environment", nil, map[string]string{keyVariable: "sk-other"}, Endpoint{Provider: "acme", Name: "acme/m", Model: "m"}, "https://api.example.com/v1", secret},
		{"a key of the environment", func(c *Config) { c.APIKey = "" }, map[string]string{keyVariable: " sk-other\n"}, Endpoint{Provider: "acme", Name: "acme/m", Model: "m"}, "https://api.example.com/v1", "sk-other"},
		{"the first variable that is set", func(c *Config) { c.APIKey = "" }, map[string]string{"WIRE_TEST_NONE": "first", keyVariable: "second"}, Endpoint{Provider: "acme", Name: "acme/m", Model: "m"}, "https://api.example.com/v1", "first"},
		{"a blank variable is not set", func(c *Config) { c.APIKey = "" }, map[string]string{"WIRE_TEST_NONE": " ", keyVariable: "second", baseVariable: " \n"}, Endpoint{Provider: "acme", Name: "acme/m", Model: "m"}, "https://api.example.com/v1", "second"},
		{"no key, optional", func(c *Config) { c.APIKey, c.KeyOptional = "", true }, nil, Endpoint{Provider: "acme", Name: "acme/m", Model: "m"}, "https://api.example.com/v1", ""},
		{"no key, this machine", func(c *Config) { c.APIKey, c.BaseURL = "", "http://[::1]:8080" }, nil, Endpoint{Provider: "acme", Name: "acme/m", Model: "m"}, "http://[::1]:8080", ""},
		{"no key, this machine otherwise", func(c *Config) { c.APIKey, c.BaseURL = "", "http://[::ffff:127.0.0.1]" }, nil, Endpoint{Provider: "acme", Name: "acme/m", Model: "m"}, "http://[::ffff:127.0.0.1]", ""},
		{"no key, in plain", func(c *Config) { c.APIKey, c.KeyOptional, c.BaseURL = "", true, "http://example.com" }, nil, Endpoint{Provider: "acme", Name: "acme/m", Model: "m"}, "http://example.com", ""},
	} {
		for _, variable := range []string{"WIRE_TEST_NONE", keyVariable, baseVariable} {
			t.Setenv(variable, step.environment[variable])
		}
		e, key, err := New(config(step.change))
		if err != nil {
			t.Errorf("%s: %v", step.name, err)
			continue
		}
		if e.Provider != step.want.Provider || e.Name != step.want.Name || e.Model != step.want.Model || e.Protocol != "openai" || e.Base.String() != step.base || key != step.key {
			t.Errorf("%s: got %+v, %q", step.name, e, key)
		}
		if got := e.Hide("a " + secret); (got == "a [key]") != (key == secret) {
			t.Errorf("%s: hides %q", step.name, got)
		}
		if printed := fmt.Sprintf("%v %+v %#v", e, *e, e); key != "" && strings.Contains(printed, key) {
			t.Errorf("%s: shows the key: %s", step.name, printed)
		}
	}
}

const addressMust = "BaseURL must be an http or https address such as https://api.example.com/v1, without user, query and fragment, "

func TestNewNamesWhatIsWrong(t *testing.T) {
	for _, step := range []struct {
		change      func(*Config)
		environment map[string]string
		want        string
	}{
		{func(c *Config) { c.Model = "" }, nil, `model must be a name without spaces, such as gpt-6-luna, got ""`},
		{func(c *Config) { c.Model = "a b" }, nil, `model must be a name without spaces, such as gpt-6-luna, got "a b"`},
		{func(c *Config) { c.Model = "a\x00" }, nil, `model must be a name without spaces, such as gpt-6-luna, got "a\x00"`},
		{func(c *Config) { c.Name = "m" }, nil, `Name must be provider/model, without spaces, got "m"`},
		{func(c *Config) { c.Name = "/m" }, nil, `Name must be provider/model, without spaces, got "/m"`},
		{func(c *Config) { c.Name = "a/" }, nil, `Name must be provider/model, without spaces, got "a/"`},
		{func(c *Config) { c.Name = "a /m" }, nil, `Name must be provider/model, without spaces, got "a /m"`},
		{func(c *Config) { c.APIKey = "" }, nil, "APIKey or the environment variable WIRE_TEST_NONE or " + keyVariable + " must be set, got nothing"},
		{func(c *Config) { c.APIKey = " " }, nil, "APIKey or the"},
		{func(c *Config) { c.APIKey, c.BaseURL = "", "https://11.0.0.5" }, nil, "APIKey or the"}, // not private
		{func(c *Config) { c.APIKey, c.BaseURL = "", "http://localhost.example.com" }, nil, "APIKey or the"},
		{func(c *Config) { c.APIKey = secret + " " + secret }, nil, "APIKey must be a key of printable ASCII characters without spaces, got one with ' '"},
		{func(c *Config) { c.APIKey = secret + "\x7f" }, nil, `APIKey must be a key of printable ASCII characters without spaces, got one with '\x7f'`},
		{func(c *Config) { c.APIKey = "" }, map[string]string{keyVariable: secret + "é"}, "the environment variable " + keyVariable + " must be a key of printable ASCII characters without spaces, got one with 'é'"},
		{func(c *Config) { c.DefaultBaseURL = "" }, nil, "BaseURL or the environment variable " + baseVariable + " must be set, got nothing"},
		{func(c *Config) { c.BaseURL = secret }, nil, "BaseURL must be an http or https address such as https://api.example.com/v1, without user, query and fragment, got one without http:// or https://"},
		{func(c *Config) { c.BaseURL = "ftp://x" }, nil, addressMust + "got one without http:// or https://"},
		{func(c *Config) { c.BaseURL = "localhost:8080" }, nil, addressMust + "got one without http:// or https://"},
		{func(c *Config) { c.BaseURL = "https://" }, nil, addressMust + "got one without a host"},
		{func(c *Config) { c.BaseURL = "https://:80" }, nil, addressMust + "got one without a host"},
		{func(c *Config) { c.BaseURL = "https://me:" + secret + "@x" }, nil, addressMust + "got one with a user"},
		{func(c *Config) { c.BaseURL = "https://x?key=" + secret }, nil, addressMust + "got one with a query"},
		{func(c *Config) { c.BaseURL = "https://x?" }, nil, addressMust + "got one with a query"},
		{func(c *Config) { c.BaseURL = "https://x#" + secret }, nil, addressMust + "got one with a fragment"},
		{func(c *Config) { c.BaseURL = "https://x/%zz" + secret }, nil, addressMust + "got one that can't be parsed"},
		{nil, map[string]string{baseVariable: secret}, "the environment variable " + baseVariable + " must be an http"},
		{func(c *Config) { c.BaseURL = "http://api.example.com/" + secret }, nil, "BaseURL must be an https address unless AllowPlainHTTP is set, got plain http to api.example.com, on which anybody on the way could read the key"},
		{nil, map[string]string{baseVariable: "http://api.example.com"}, "the environment variable " + baseVariable + " must be an https address unless"},
		{func(c *Config) { c.DefaultBaseURL = "http://api.example.com" }, nil, "BaseURL must be an https address unless"},
		{func(c *Config) { c.APIKey = "" }, map[string]string{keyVariable: secret, baseVariable: "http://api.example.com"}, "the environment variable " + baseVariable + " must be an https address unless"},
		{func(c *Config) { c.Share = "tenant " + secret }, nil, "Endpoint must be a name that can be shown in logs, got one with the API key"},
		{func(c *Config) { c.Share = secret[:9] + "\n" + secret[9:] }, nil, "Endpoint must be a name that can be shown in logs, got one with the API key"},
		{func(c *Config) { c.Share = "a\nb" }, nil, `Endpoint must be a name of printable characters without spaces around it, got "a\nb"`},
		{func(c *Config) { c.Share = " a" }, nil, `Endpoint must be a name of printable characters without spaces around it, got " a"`},
	} {
		for _, variable := range []string{"WIRE_TEST_NONE", keyVariable, baseVariable} {
			t.Setenv(variable, step.environment[variable])
		}
		e, key, err := New(config(step.change))
		if err == nil || !strings.HasPrefix(err.Error(), "acme: "+step.want) || e != nil || key != "" {
			t.Errorf("want %s\ngot  %v", step.want, err)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("shows the key: %v", err)
		}
	}
}

// A key goes in plain where nobody else reads it.
func TestKeysGoInPlainToPrivateHosts(t *testing.T) {
	for host, allowed := range map[string]bool{
		"localhost": true, "LOCALHOST": true, "a.localhost": true, "127.0.0.1": true, "127.9.9.9": true, "[::1]": true, "[::ffff:127.0.0.1]": true, "0.0.0.0": true,
		"10.0.0.5": true, "172.16.0.1": true, "172.31.255.255": true, "192.168.1.2": true, "169.254.1.1": true, "100.64.0.1": true, "100.127.255.255": true,
		"[fd00::1]": true, "[fe80::1]": true, "[fe80::1%25eth0]": true, "[::ffff:10.0.0.5]": true, "[::ffff:100.64.0.1]": true,
		"vllm": true, "vllm.": true, "gpu.local": true, "gpu.local.": true, "llm.internal": true, "a.b.svc.cluster.local": true, "vllm.models.svc": true,
		"box.lan": true, "box.home.arpa": true, "GPU.Local": true,
		"api.example.com": false, "example.com.": false, "8.8.8.8": false, "172.32.0.1": false, "172.15.0.1": false, "192.169.0.1": false,
		"100.63.255.255": false, "100.128.0.1": false, "[2606:4700::1]": false, "[::ffff:8.8.8.8]": false,
		"localhost.example.com": false, "mylocal": true, "my.notlocal": false, "internal.example.com": false, "arpa.home.example": false, "10.0.0.5.example.com": false,
	} {
		_, _, err := New(config(func(c *Config) { c.BaseURL = "http://" + host + ":8000/v1" }))
		if (err == nil) != allowed {
			t.Errorf("http://%s: got %v", host, err)
		}
		if _, _, err := New(config(func(c *Config) { c.BaseURL = "https://" + host + ":8000/v1" })); err != nil {
			t.Errorf("https://%s: got %v", host, err)
		}
		if _, _, err := New(config(func(c *Config) { c.BaseURL, c.AllowPlainHTTP = "http://"+host+":8000/v1", true })); err != nil {
			t.Errorf("http://%s, allowed: got %v", host, err)
		}
	}
}

// keyAt returns the endpoint's key of an address.
func keyAt(t *testing.T, base string) endpoint.Key {
	t.Helper()
	e, _, err := New(config(func(c *Config) { c.BaseURL, c.AllowPlainHTTP = base, true }))
	if err != nil {
		t.Fatal(err)
	}
	return e.Key()
}

// One address is one endpoint, however it is written.
func TestAddressesOfEndpoints(t *testing.T) {
	for base, want := range map[string]string{
		"": "", "https://api.example.com/v1": "", "https://api.example.com/v1/": "", "https://API.example.com:443/v1": "",
		"http://api.example.com/v1":      "http://api.example.com/v1",
		"https://api.example.com":        "https://api.example.com",
		"https://api.example.com/":       "https://api.example.com",
		"https://api.example.com/V1":     "https://api.example.com/V1",
		"https://api.example.com:80/v1":  "https://api.example.com:80/v1",
		"http://api.example.com:443/v1":  "http://api.example.com:443/v1",
		"http://api.example.com:80/v1":   "http://api.example.com/v1",
		"http://[::1]:8000/v1//":         "http://[::1]:8000/v1",
		"https://api.example.com/a%2Fb":  "https://api.example.com/a%2Fb",
		"https://api.example.com/v1/v1/": "https://api.example.com/v1/v1",
	} {
		got := keyAt(t, base)
		if want := (endpoint.Key{Model: "acme/m", Address: want, Credential: endpoint.Hash(secret)}); got != want {
			t.Errorf("%q: got %+v, want %+v", base, got, want)
		}
	}
}

// The program may set the secret of a fleet after it has opened its models: the
// processes know each other's endpoints all the same.
func TestModelsThatAreOpenedBeforeTheSeedHashByIt(t *testing.T) {
	const child = "WIRE_TEST_CHILD"
	if os.Getenv(child) != "" {
		e := made(t)
		if !endpoint.Seed("the fleet's") {
			t.Error("the seed comes too late")
		}
		fmt.Printf("<%x>", e.Key().Credential)
		return
	}
	var digits [2][]byte
	for i := range digits {
		command := exec.Command(os.Args[0], "-test.run=^TestModelsThatAreOpenedBeforeTheSeedHashByIt$")
		command.Env = append(os.Environ(), child+"=1")
		out, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		_, after, _ := bytes.Cut(out, []byte("<"))
		digits[i], _, _ = bytes.Cut(after, []byte(">"))
	}
	if len(digits[0]) < 8 || !bytes.Equal(digits[0], digits[1]) {
		t.Errorf("got %s and %s", digits[0], digits[1])
	}
}
