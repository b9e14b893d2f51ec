package integration_test
func (tr *transcript) dump() { for i, l := range tr.lines { tr.t.Logf("%d %q %q", i, l.label, l.values) } }
