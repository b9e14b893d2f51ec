//go:build !unix && !windows

package badgerspill

const systemMaps = false
