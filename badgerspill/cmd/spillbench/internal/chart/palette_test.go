package chart

import (
	"image/color"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// linear returns red, green and blue as amounts of light, from 0 to 1 (sRGB, IEC 61966-2-1).
func linear(c color.Color) [3]float64 {
	r, g, b, _ := c.RGBA()
	var out [3]float64
	for i, v := range []uint32{r, g, b} {
		x := float64(v) / 0xffff
		if x <= 0.04045 {
			out[i] = x / 12.92
		} else {
			out[i] = math.Pow((x+0.055)/1.055, 2.4)
		}
	}
	return out
}

// contrast is that of the Web Content Accessibility Guidelines 2.1, from 1 to 21.
func contrast(a, b color.Color) float64 {
	luminance := func(c color.Color) float64 {
		l := linear(c)
		return 0.2126*l[0] + 0.7152*l[1] + 0.0722*l[2] + 0.05
	}
	x, y := luminance(a), luminance(b)
	return max(x, y) / min(x, y)
}

// Viénot, Brettel, Mollon: Digital video colourmaps for checking the legibility of displays by
// dichromats (1999): what is left of linear red, green and blue without the long, and without the
// middle wavelength cones.
var dichromats = map[string][3][3]float64{
	"protanopia":   {{0.11238, 0.88762, 0}, {0.11238, 0.88762, 0}, {0.00401, -0.00401, 1}},
	"deuteranopia": {{0.29275, 0.70725, 0}, {0.29275, 0.70725, 0}, {-0.02234, 0.02234, 1}},
	"none":         {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}},
}

func seen(c color.Color, m [3][3]float64) (out [3]float64) {
	l := linear(c)
	for i := range m {
		out[i] = m[i][0]*l[0] + m[i][1]*l[1] + m[i][2]*l[2]
	}
	return out
}

func TestLinesStandOutAndCanBeToldApart(t *testing.T) {
	for name, s := range map[string]Scheme{"light": Light, "dark": Dark} {
		for _, behind := range []color.Color{s.paper, s.calm, s.burst} {
			for _, line := range s.engines {
				require.GreaterOrEqual(t, contrast(line, behind), 3.0, "%s: line on %s", name, hex(behind))
			}
			require.GreaterOrEqual(t, contrast(s.ink, behind), 7.0, "%s: text on %s", name, hex(behind))
			require.GreaterOrEqual(t, contrast(s.faint, behind), 4.5, "%s: small text on %s", name, hex(behind))
		}
		for eye, m := range dichromats {
			a, b := seen(s.engines[Plain], m), seen(s.engines[Layered], m)
			distance := math.Sqrt(math.Pow(a[0]-b[0], 2) + math.Pow(a[1]-b[1], 2) + math.Pow(a[2]-b[2], 2))
			require.Greater(t, distance, 0.3, "%s with %s", name, eye)
		}
	}
}
