package chart

import "image/color"

// Scheme is a set of colours. Badger and badgerspill are the vermilion and the blue of Okabe and
// Ito (Color Universal Design, 2002), which people with any of the common colour vision
// deficiencies tell apart; on dark, lighter ones of the same hues. The floor is grey, and what else
// there is purple.
type Scheme struct {
	paper, ink, faint, grid color.Color
	// bands of phases: the one with the highest rate has the second
	calm, burst         color.Color
	engines             [4]color.Color
	idle                color.Color // of the strip: direct, normal, not replaying
	flush, spill, block color.Color
	replay              color.Color
}

// The colour schemes.
var (
	Light = Scheme{
		paper: rgb(0xffffff), ink: rgb(0x1b1f23), faint: rgb(0x59636e), grid: rgb(0xd4d9de),
		calm: rgb(0xf5f7f9), burst: rgb(0xfdf2dc),
		engines: [4]color.Color{Plain: rgb(0xd55e00), Layered: rgb(0x0072b2), Floor: rgb(0x59636e), Other: rgb(0x7b3fb0)},
		idle:    rgb(0xdfe4e8),
		flush:   rgb(0xf0d43a), spill: rgb(0xe69f00), block: rgb(0x7a1f4d),
		replay: rgb(0x009e73),
	}
	Dark = Scheme{
		paper: rgb(0x15191d), ink: rgb(0xe6e9ec), faint: rgb(0xa3acb5), grid: rgb(0x363d44),
		calm: rgb(0x1c2126), burst: rgb(0x2d2718),
		engines: [4]color.Color{Plain: rgb(0xf08a3c), Layered: rgb(0x56b4e9), Floor: rgb(0xa3acb5), Other: rgb(0xc79cf2)},
		idle:    rgb(0x363d44),
		flush:   rgb(0xd9c23a), spill: rgb(0xe69f00), block: rgb(0xcc6699),
		replay: rgb(0x1fbf92),
	}
)

func rgb(hex uint32) color.Color {
	return color.NRGBA{R: uint8(hex >> 16), G: uint8(hex >> 8), B: uint8(hex), A: 0xff}
}
