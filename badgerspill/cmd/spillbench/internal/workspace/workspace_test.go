package workspace

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTooLittleSpaceNamesDirectoryNeedAndFree(t *testing.T) {
	err := checkSpace("/data", 3<<30, 1<<30+1<<29, "write less")
	require.ErrorContains(t, err, "not enough disk space in /data: about 3.00 GiB needed, 1.50 GiB free; write less, or name another --dir")
	require.NoError(t, checkSpace("/data", 3<<30, 3<<30, "write less"))
}
