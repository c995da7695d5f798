package main

import (
	"bytes"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	platform := ", go1.26, " + runtime.GOOS + "/" + runtime.GOARCH
	setting := func(key, value string) debug.BuildSetting { return debug.BuildSetting{Key: key, Value: value} }
	for _, c := range []struct {
		version  string
		settings []debug.BuildSetting
		want     string
	}{
		{"", nil, "(devel)"},
		{"v1.2.3", nil, "v1.2.3"},
		{"(devel)", []debug.BuildSetting{setting("vcs.revision", "0123456789abcdef0123"), setting("vcs.modified", "true")}, "(devel) (0123456789ab, modified)"},
		{"v1.2.3", []debug.BuildSetting{setting("vcs.revision", "01"), setting("vcs.modified", "false")}, "v1.2.3 (01)"},
	} {
		info := &debug.BuildInfo{GoVersion: "go1.26", Settings: c.settings}
		info.Main.Version = c.version
		if got := versionOf(info); got != c.want+platform {
			t.Errorf("%q, %v: %q, want %q", c.version, c.settings, got, c.want+platform)
		}
	}
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"--version"}, strings.NewReader(""), &out, &errs); code != 0 || !strings.HasPrefix(out.String(), "llmcall version ") || !strings.Contains(out.String(), runtime.GOOS) {
		t.Errorf("exit %d: %s%s", code, out.String(), errs.String())
	}
}
