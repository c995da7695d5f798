package mcp

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"llmcall"
	"llmcall/internal/say"
)

// settings are a [Server]'s, checked, with the values of the variables in them.
type settings struct {
	name     string
	command  []string
	env      []string // all of it
	dir      string
	url      *url.URL // nil for a command
	headers  map[string]string
	allowed  []string
	progress func(Progress)
	secrets  []string
}

var (
	nameForm  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)
	variable  = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)
	secretive = regexp.MustCompile(`(?i)key|token|secret|passw|credential|auth|cookie`)
)

func newSettings(given Server) (settings, error) {
	s := settings{name: given.Name, allowed: slices.Clone(given.Tools), progress: given.Progress}
	bad := func(field string, got any, takes string) error {
		if given.Name != "" {
			field = "mcp_servers." + given.Name + "." + field
		}
		return &llmcall.ConfigError{Field: field, Got: got, Takes: takes}
	}
	if given.Name != "" && !nameForm.MatchString(given.Name) {
		return s, bad("name", fmt.Sprintf("%.80q", given.Name), "1 to 32 letters, digits, _ and -")
	}
	byCommand, byURL := len(given.Command) > 0, given.URL != ""
	switch {
	case byCommand && byURL:
		return s, bad("url", "one beside a command", "left out where there is a command")
	case !byCommand && !byURL:
		return s, bad("command", "nothing", "a program with its arguments, where there is no url")
	case byCommand && given.Command[0] == "":
		return s, bad("command", `""`, "a program with its arguments")
	case byCommand && len(given.Headers) > 0:
		return s, bad("headers", "some", "left out where there is no url")
	case byURL && (len(given.Env) > 0 || given.Dir != ""):
		return s, bad("env and dir", "some", "left out where there is no command")
	}
	var unset error
	fill := func(field, text string, secret bool) string {
		return variable.ReplaceAllStringFunc(text, func(found string) string {
			name := variable.FindStringSubmatch(found)[1]
			value, ok := os.LookupEnv(name)
			if !ok && unset == nil {
				unset = bad(field, found, "a text with environment variables that are set")
			}
			if secret || secretive.MatchString(name) {
				s.secrets = append(s.secrets, value)
			}
			return value
		})
	}
	for _, word := range given.Command {
		s.command = append(s.command, fill("command", word, false))
	}
	s.dir = fill("dir", given.Dir, false)
	s.env = baseEnv()
	for _, name := range slices.Sorted(maps.Keys(given.Env)) {
		value := fill("env."+name, given.Env[name], secretive.MatchString(name))
		if secretive.MatchString(name) {
			s.secrets = append(s.secrets, value)
		}
		s.env = append(s.env, name+"="+value)
	}
	s.headers = map[string]string{}
	for name, text := range given.Headers {
		value := fill("headers."+name, text, true)
		s.headers[name] = value
		if secretive.MatchString(name) {
			s.secrets = append(s.secrets, value)
			s.secrets = append(s.secrets, strings.Fields(value)...) // "Bearer" is too short to be one
		}
	}
	if byURL {
		u, err := url.Parse(fill("url", given.URL, true))
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return s, bad("url", "another text", `an address like "https://mcp.example.com/mcp"`) // it may have a key
		}
		s.url = u
		if password, ok := u.User.Password(); ok {
			s.secrets = append(s.secrets, password)
		}
		for _, values := range u.Query() {
			s.secrets = append(s.secrets, values...)
		}
	}
	for _, secret := range s.secrets {
		s.secrets = append(s.secrets, url.QueryEscape(secret), url.PathEscape(secret))
	}
	slices.SortFunc(s.secrets, func(a, b string) int { return len(b) - len(a) }) // one may be a part of another
	s.secrets = slices.Compact(s.secrets)
	if s.name == "" {
		s.name = plain(s.where(), 32)
	}
	return s, unset
}

// where is what the server is, for a name: without a key.
func (s *settings) where() string {
	if s.url != nil {
		return s.url.Hostname()
	}
	return strings.TrimSuffix(filepath.Base(s.command[0]), ".exe")
}

// hide takes the keys out of a text.
func (s *settings) hide(text string) string {
	for _, secret := range s.secrets {
		text = say.Hide(text, secret)
	}
	return text
}

// needed are the variables without which programs do not run, or not well: those that the
// reference client passes on, and those of time, language and temporary files.
var needed = map[bool][]string{
	false: {"HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"},
	true: {"APPDATA", "COMSPEC", "HOMEDRIVE", "HOMEPATH", "LOCALAPPDATA", "PATH", "PATHEXT", "PROCESSOR_ARCHITECTURE",
		"PROGRAMFILES", "SYSTEMDRIVE", "SYSTEMROOT", "TEMP", "TMP", "USERNAME", "USERPROFILE"},
}

func baseEnv() []string {
	env := []string{} // nil would be all of the caller's
	for _, name := range needed[runtime.GOOS == "windows"] {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}
