package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A mutant is one changed place.
type mutant struct {
	pkg, file string
	line      int
	was, is   string
	source    []byte // of the whole file
}

func (m mutant) String() string { return fmt.Sprintf("%s:%d: %s -> %s", m.file, m.line, m.was, m.is) }

// swaps are what an operator turns into.
var swaps = map[token.Token][]token.Token{
	token.LSS: {token.LEQ, token.GEQ}, token.LEQ: {token.LSS, token.GTR},
	token.GTR: {token.GEQ, token.LEQ}, token.GEQ: {token.GTR, token.LSS},
	token.EQL: {token.NEQ}, token.NEQ: {token.EQL},
	token.LAND: {token.LOR}, token.LOR: {token.LAND},
	token.ADD: {token.SUB}, token.SUB: {token.ADD},
	token.MUL: {token.QUO}, token.QUO: {token.MUL},
}

// mutants lists those of a package, its tests left out, in the order of its files.
func mutants(dir string) ([]mutant, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	var out []mutant
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, "_other.go") {
			continue
		}
		ms, err := inFile(dir, name)
		if err != nil {
			return nil, err
		}
		out = append(out, ms...)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: nothing to change", dir)
	}
	return out, nil
}

func inFile(dir, name string) ([]mutant, error) {
	source, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, name, source, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	var out []mutant
	// change replaces the text from one place to another.
	change := func(from, to token.Pos, is string) {
		a, b := set.Position(from), set.Position(to).Offset
		if strings.Contains(set.Position(from).Filename, "_gen") {
			return
		}
		changed := bytes.Join([][]byte{source[:a.Offset], []byte(is), source[b:]}, nil)
		if _, err := format.Source(changed); err != nil {
			return
		}
		out = append(out, mutant{pkg: dir, file: name, line: a.Line, was: short(source[a.Offset:b]), is: short([]byte(is)), source: changed})
	}
	text := func(n ast.Node) string {
		return string(source[set.Position(n.Pos()).Offset:set.Position(n.End()).Offset])
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GenDecl:
			return n.Tok != token.IMPORT && n.Tok != token.CONST && n.Tok != token.TYPE
		case *ast.BinaryExpr:
			for _, op := range swaps[n.Op] {
				if n.Op == token.ADD && (isString(n.X) || isString(n.Y)) {
					continue
				}
				change(n.OpPos, n.OpPos+token.Pos(len(n.Op.String())), op.String())
			}
		case *ast.IfStmt:
			change(n.Cond.Pos(), n.Cond.End(), "true || ("+text(n.Cond)+")")
			change(n.Cond.Pos(), n.Cond.End(), "false && ("+text(n.Cond)+")")
		case *ast.UnaryExpr:
			if n.Op == token.NOT {
				change(n.Pos(), n.End(), text(n.X))
			}
		case *ast.BasicLit:
			if v, err := strconv.ParseInt(n.Value, 0, 64); err == nil && n.Kind == token.INT {
				change(n.Pos(), n.End(), strconv.FormatInt(v+1, 10))
			}
		case *ast.ExprStmt:
			if _, ok := n.X.(*ast.CallExpr); ok && !isUninteresting(text(n)) {
				change(n.Pos(), n.End(), "")
			}
		case *ast.AssignStmt:
			if n.Tok == token.ASSIGN || n.Tok == token.ADD_ASSIGN || n.Tok == token.SUB_ASSIGN {
				change(n.Pos(), n.End(), "")
			}
		case *ast.IncDecStmt:
			change(n.Pos(), n.End(), "")
		case *ast.DeferStmt:
			change(n.Pos(), n.End(), "")
		case *ast.BranchStmt:
			if n.Tok == token.CONTINUE && n.Label == nil {
				change(n.Pos(), n.End(), "break")
			} else if n.Tok == token.BREAK && n.Label == nil {
				change(n.Pos(), n.End(), "")
			}
		}
		return true
	})
	return out, nil
}

func isString(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.BasicLit:
		return x.Kind == token.STRING || x.Kind == token.CHAR
	case *ast.BinaryExpr:
		return isString(x.X) || isString(x.Y)
	case *ast.CallExpr:
		f, ok := x.Fun.(*ast.SelectorExpr)
		return ok && (f.Sel.Name == "String" || f.Sel.Name == "FormatInt" || f.Sel.Name == "Itoa" || f.Sel.Name == "Error")
	}
	return false
}

// isUninteresting tells of calls that only a person reads the effect of.
func isUninteresting(call string) bool {
	return strings.Contains(call, ".log.") || strings.Contains(call, "log.Debug") || strings.HasPrefix(call, "panic(")
}

func short(b []byte) string {
	s := strings.Join(strings.Fields(string(b)), " ")
	if s == "" {
		return "(nothing)"
	}
	if len(s) > 60 {
		s = s[:57] + "..."
	}
	return s
}
