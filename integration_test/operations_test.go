package integration_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/badgerspill/badgerspill/badgerspill"
)

const (
	operations = "../docs/operations.md"
	alertRules = "../docs/alerts.yml"
)

func readDoc(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// tables returns the rows of the tables under a heading of the second level, cells trimmed, without
// the rows that head them.
func tables(t *testing.T, doc, heading string) (rows [][]string) {
	t.Helper()
	_, section, ok := strings.Cut(doc, "\n## "+heading+"\n")
	require.True(t, ok, "no heading %q", heading)
	section, _, _ = strings.Cut(section, "\n## ")
	heads := true
	for line := range strings.Lines(section) {
		line = strings.TrimSpace(line)
		switch {
		case !strings.HasPrefix(line, "|"):
			heads = true
		case strings.HasPrefix(line, "| ---"):
			heads = false
		case !heads:
			var cells []string
			for _, c := range strings.Split(strings.Trim(line, "|"), "|") {
				cells = append(cells, strings.TrimSpace(c))
			}
			rows = append(rows, cells)
		}
	}
	require.NotEmpty(t, rows, heading)
	return rows
}

// code returns the text of a cell that is code.
func code(t *testing.T, cell string) string {
	t.Helper()
	require.Regexp(t, "^`[^`]+`$", cell)
	return strings.Trim(cell, "`")
}

// TestOperationsListsEveryMetric: docs/operations.md has a row for each metric, with its name for
// Prometheus, its type, unit and meaning as Metrics gives them, and no other. What it says to alert
// on is nothing, or an alert of docs/alerts.yml that asks for the metric.
func TestOperationsListsEveryMetric(t *testing.T) {
	want := map[string]badgerspill.Metric{}
	withLabels := func(name string, m badgerspill.Metric) string {
		if len(m.Labels) > 1 && name != "" {
			name += "{" + strings.Join(m.Labels[1:], ",") + "}"
		}
		return name
	}
	for _, m := range badgerspill.Metrics() {
		want[withLabels(m.Name, m)] = m
	}
	doc := readDoc(t, operations)
	alerts := alertRulesByName(t)
	unnamed := maps.Clone(alerts)
	seen := map[string]bool{}
	for _, row := range tables(t, doc, "Metrics") {
		require.Len(t, row, 6, "%v", row)
		name := code(t, row[0])
		m, ok := want[name]
		require.True(t, ok, "%s is no metric", name)
		require.False(t, seen[name], "%s twice", name)
		seen[name] = true
		require.Equal(t, withLabels(m.Prometheus, m), strings.Trim(row[1], "`"), name)
		require.Equal(t, []string{m.Type, m.Unit, m.Help}, row[2:5], name)
		requireMetrics(t, "what to alert on of "+name, row[5])
		if strings.HasPrefix(row[5], "nothing") {
			continue
		}
		named := regexp.MustCompile("^`(Badgerspill\\w+)`: ").FindStringSubmatch(row[5])
		require.NotNil(t, named, "%s: what to alert on", name)
		require.Contains(t, metricName.FindAllString(alerts[named[1]], -1), m.Prometheus, "the rule of %s", named[1])
		delete(unnamed, named[1])
	}
	for name := range want {
		require.True(t, seen[name], "docs/operations.md does not list %s", name)
	}
	require.Empty(t, unnamed, "alerts that no metric names")
	// The rest of the page has expvars where it explains their names, else those for Prometheus.
	for _, m := range badgerspill.Metrics() {
		doc = strings.ReplaceAll(doc, "`"+withLabels(m.Name, m)+"`", "")
	}
	requireMetrics(t, "docs/operations.md", doc)
}

// alertRulesByName returns the text of each rule of docs/alerts.yml by the name of the alert.
// Whether they are rules is tested by the module integration_test/alerts.
func alertRulesByName(t *testing.T) map[string]string {
	t.Helper()
	text := readDoc(t, alertRules)
	requireMetrics(t, alertRules, text)
	rules := map[string]string{}
	for _, rule := range strings.Split(text, "- alert: ")[1:] {
		name, rule, _ := strings.Cut(rule, "\n")
		require.NotContains(t, rules, name)
		rules[name] = rule
	}
	require.NotEmpty(t, rules)
	return rules
}

// TestOperationsListsEveryAlert: a row for each alert, with its severity, what it names and what to
// do, and no other.
func TestOperationsListsEveryAlert(t *testing.T) {
	rules := alertRulesByName(t)
	for _, row := range tables(t, readDoc(t, operations), "Alerts") {
		require.Len(t, row, 4, "%v", row)
		name := code(t, row[0])
		require.Contains(t, rules, name)
		require.Contains(t, rules[name], "{severity: "+row[1]+"}", name)
		require.NotEmpty(t, row[2], name)
		require.NotEmpty(t, row[3], name)
		delete(rules, name)
	}
	require.Empty(t, rules, "alerts that docs/operations.md does not list")
}

var (
	metricName = regexp.MustCompile(`badgerspill_\w+`)
	selector   = regexp.MustCompile(`(badgerspill_\w+)\{([^}]*)\}`)
	matcher    = regexp.MustCompile(`(\w+)\s*=~?\s*"([^"]*)"`)
)

// requireMetrics requires that all names of metrics in a text are metrics of the collector, and
// that selectors name labels that they have.
func requireMetrics(t *testing.T, where, text string) (named map[string]bool) {
	t.Helper()
	metrics := map[string]badgerspill.Metric{"badgerspill_up": {}, "badgerspill_append_seconds": {}}
	for _, m := range badgerspill.Metrics() {
		if m.Prometheus != "" {
			metrics[m.Prometheus] = m
		}
	}
	named = map[string]bool{}
	for _, name := range metricName.FindAllString(text, -1) {
		require.Contains(t, metrics, name, "%s names %s", where, name)
		named[name] = true
	}
	for _, s := range selector.FindAllStringSubmatch(text, -1) {
		for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
			require.Contains(t, append(metrics[s[1]].Labels, "job", "instance", "dir"), m[1], "%s: %s", where, s[0])
		}
	}
	return named
}

// TestOperationsListsEveryEvent: a row for each event, with when and how often, and no other.
func TestOperationsListsEveryEvent(t *testing.T) {
	var want []string
	listener := reflect.TypeFor[badgerspill.EventListener]()
	for i := range listener.NumField() {
		want = append(want, listener.Field(i).Name)
	}
	var have []string
	for _, row := range tables(t, readDoc(t, operations), "Events") {
		require.Len(t, row, 4, "%v", row)
		for _, cell := range row {
			require.NotEmpty(t, cell, "%v", row)
		}
		name := code(t, row[0])
		have = append(have, name)
		// What it carries is named in full, so that the row is enough to use it.
		f, ok := listener.FieldByName(name)
		require.True(t, ok, "%s is no event", name)
		info := f.Type.In(0)
		for i := range info.NumField() {
			require.Contains(t, row[3], "`"+info.Field(i).Name+"`", "%s: a field of %s", name, info)
		}
		for _, m := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(row[3], -1) {
			_, ok := info.FieldByName(m[1])
			require.True(t, ok, "%s: %s has no field %s", name, info, m[1])
		}
	}
	slices.Sort(want)
	slices.Sort(have)
	require.Equal(t, want, have)
}

// logged returns the lines that the packages can log, with an ellipsis for each value.
func logged(t *testing.T) (lines []string) {
	t.Helper()
	verb := regexp.MustCompile(`%[-+#.*0-9]*[a-zA-Z]`)
	text := func(e ast.Expr) (string, bool) {
		lit, ok := e.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return "", false
		}
		s, err := strconv.Unquote(lit.Value)
		require.NoError(t, err)
		return verb.ReplaceAllString(s, "…"), true
	}
	for _, dir := range []string{"badgerspill", "badgerspill/internal/*", "spillfile", "spillfile/*", "spillfile/internal/*", "replay", "wbm"} {
		files, err := filepath.Glob(filepath.Join("..", dir, "*.go"))
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			require.NoError(t, err)
			ast.Inspect(file, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				fun, ok := call.Fun.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if x, ok := fun.X.(*ast.Ident); ok && x.Name == "fmt" {
					return true
				}
				var line string
				switch fun.Sel.Name {
				case "Logf", "Debugf", "Infof", "Warningf", "Errorf":
					line, ok = text(call.Args[0])
				case "info", "warn": // of the listener that logs
					line, ok = text(call.Args[1])
				case "backgroundError":
					op, isText := text(call.Args[0])
					then, ok := text(call.Args[2])
					if c, isCall := call.Args[2].(*ast.CallExpr); isCall { // fmt.Sprintf
						then, ok = text(c.Args[0])
					}
					if isText && ok {
						lines = append(lines, "could not "+op+": …; "+then)
					}
					return true
				}
				if ok && line != "" {
					lines = append(lines, strings.TrimSpace(strings.TrimPrefix(line, "badgerspill: ")))
				}
				return true
			})
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// TestOperationsListsEveryLogLine: a row for each line that the layer can log, with what to do, and
// no other.
func TestOperationsListsEveryLogLine(t *testing.T) {
	var have []string
	for _, row := range tables(t, readDoc(t, operations), "Log lines") {
		require.Len(t, row, 3, "%v", row)
		require.Contains(t, []string{"debug", "info", "warning", "error"}, row[1], "%v", row)
		require.NotEmpty(t, row[2], "%v", row)
		have = append(have, code(t, row[0]))
	}
	slices.Sort(have)
	want := logged(t)
	// What other lines are made of: the frame of an error that nobody waits for.
	want = slices.DeleteFunc(want, func(line string) bool { return line == "could not …: …; ……" })
	require.Equal(t, want, have)
}

// TestOperationsCode: the handler for Prometheus is that of a test, which runs it, and the YAML can
// be read. All Go code is compiled by TestDocsCode.
func TestOperationsCode(t *testing.T) {
	doc := readDoc(t, operations)
	source := readDoc(t, "../badgerspill/prometheus/example_test.go")
	blocks := regexp.MustCompile("(?s)```(\\w*)\n(.*?)```").FindAllStringSubmatch(doc, -1)
	seen := map[string]int{}
	for _, b := range blocks {
		seen[b[1]]++
		switch b[1] {
		case "go":
			if strings.Contains(b[2], "prometheus.") {
				require.Contains(t, source, b[2])
			}
		case "yaml":
			require.YAMLEq(t, b[2], b[2])
		default:
			t.Errorf("a block of %q, which no test reads", b[1])
		}
	}
	require.Equal(t, 2, seen["go"])
	require.Equal(t, 1, seen["yaml"])
}

type dashboard struct {
	Title         string
	UID           string
	SchemaVersion int
	Panels        []panel
	Templating    struct {
		List []struct{ Name, Type, Query string }
	}
}

type panel struct {
	ID          int
	Type        string
	Title       string
	Description string
	GridPos     struct{ X, Y, W, H int }
	Datasource  *struct{ Type, UID string }
	Targets     []struct{ RefID, Expr string }
}

// TestDashboard: the dashboard's panels ask for metrics that exist, with labels that they have, and
// do not overlap.
func TestDashboard(t *testing.T) {
	text := readDoc(t, "../docs/grafana-dashboard.json")
	var d dashboard
	require.NoError(t, json.Unmarshal([]byte(text), &d))
	require.NotEmpty(t, d.Title)
	require.NotEmpty(t, d.UID)
	require.Positive(t, d.SchemaVersion)
	variables := map[string]bool{"__rate_interval": true}
	for _, v := range d.Templating.List {
		variables[v.Name] = true
		requireMetrics(t, "variable "+v.Name, v.Query)
	}
	ids, titles, named := map[int]bool{}, map[string]bool{}, map[string]bool{}
	taken := map[[2]int]string{}
	for _, p := range d.Panels {
		where := fmt.Sprintf("panel %q", p.Title)
		require.False(t, ids[p.ID], "%s: id twice", where)
		require.False(t, titles[p.Title], "%s: title twice", where)
		ids[p.ID], titles[p.Title] = true, true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				require.Less(t, x, 24, where)
				require.Empty(t, taken[[2]int{x, y}], "%s overlaps", where)
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		require.NotEmpty(t, p.Description, where)
		require.NotNil(t, p.Datasource, where)
		require.Equal(t, "prometheus", p.Datasource.Type, where)
		require.NotEmpty(t, p.Targets, where)
		refs := map[string]bool{}
		for _, target := range p.Targets {
			require.False(t, refs[target.RefID], "%s: %s twice", where, target.RefID)
			refs[target.RefID] = true
			require.NotEmpty(t, target.Expr, where)
			in := requireMetrics(t, where, target.Expr)
			require.Equal(t, len(metricName.FindAllString(target.Expr, -1)),
				strings.Count(target.Expr, `{job=~"$job",instance=~"$instance",dir=~"$dir"}`), "%s: %s", where, target.Expr)
			require.NotEmpty(t, in, "%s: %s asks for nothing", where, target.Expr)
			for name := range in {
				named[name] = true
			}
			require.Equal(t, strings.Count(target.Expr, "("), strings.Count(target.Expr, ")"), where)
			for _, v := range regexp.MustCompile(`\$(\w+)`).FindAllStringSubmatch(target.Expr, -1) {
				require.True(t, variables[v[1]], "%s: no variable %s", where, v[0])
			}
		}
	}
	// What the page says that the dashboard shows.
	for _, want := range []string{"commits_direct_total", "commits_hedged_total", "commits_spilled_total", "tier", "spill_bytes",
		"append_seconds", "append_seconds_bucket", "replay_rate_bytes_per_second", "blocked_now", "blocked_seconds_total",
		"write_rate_bytes_per_second"} {
		require.True(t, named["badgerspill_"+want], "no panel shows %s", want)
	}
}
