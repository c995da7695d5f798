package plot

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"gonum.org/v1/plot/vg/vgsvg"
)

var (
	decimals = regexp.MustCompile(`(\.\d)\d+`)
	data     = regexp.MustCompile(`<path d="[^"]*"`)
	styled   = regexp.MustCompile(`\s+style="([^"]*)"`)
	color6   = regexp.MustCompile(`#[0-9A-F]{6}`)
	beginSVG = regexp.MustCompile(`<svg [^>]*>\n`)
)

// svg writes a canvas as SVG. The library says the looks of each line and text in full; here
// they become classes. That is a third of the bytes, and the classes have a second set of
// colours for readers of dark pages.
func svg(canvas *vgsvg.Canvas) ([]byte, error) {
	var raw bytes.Buffer
	if _, err := canvas.WriteTo(&raw); err != nil {
		return nil, err
	}
	var looks []string // in the order of their classes
	classes := map[string]string{}
	drawn := data.ReplaceAllFunc(raw.Bytes(), func(path []byte) []byte {
		return decimals.ReplaceAll(path, []byte("$1")) // a tenth of a point is seen by nobody
	})
	drawn = styled.ReplaceAllFunc(drawn, func(found []byte) []byte {
		look := string(styled.FindSubmatch(found)[1])
		name, known := classes[look]
		if !known {
			name = fmt.Sprintf("c%d", len(looks))
			classes[look] = name
			looks = append(looks, look)
		}
		return []byte(` class="` + name + `"`)
	})
	var rules, dark strings.Builder
	for i, look := range looks {
		// The library names one font, which few have.
		look = strings.Replace(look, "font-family:Liberation Sans;", "font-family:Liberation Sans,Arial,Helvetica,sans-serif;", 1)
		fmt.Fprintf(&rules, ".c%d{%s}\n", i, look)
		if other := color6.ReplaceAllStringFunc(look, func(c string) string { return onDark[c] }); other != look {
			fmt.Fprintf(&dark, ".c%d{%s}\n", i, other)
		}
	}
	style := "<style>\n" + rules.String() + "@media (prefers-color-scheme: dark) {\n" + dark.String() + "}\n</style>\n"
	at := beginSVG.FindIndex(drawn)
	if at == nil {
		return nil, fmt.Errorf("the picture has no beginning: %.100q", drawn)
	}
	return append(append(append([]byte{}, drawn[:at[1]]...), style...), drawn[at[1]:]...), nil
}
