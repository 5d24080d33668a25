"""Which parameters the code reads: attribute accesses, followed to their section by annotations."""

from __future__ import annotations

import ast
from pathlib import Path

from pydantic import BaseModel

from pipeline.params import Params

SECTIONS: dict[str, type[BaseModel]] = {}


def _collect(section: type[BaseModel]) -> None:
    SECTIONS[section.__name__] = section
    for field in section.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            _collect(field.annotation)


_collect(Params)
Reads = set[tuple[str, str]]
"""Name of a section's class, and a key of it."""


def keys() -> Reads:
    """Every key of params.yaml, by its section's class."""
    return {
        (name, key)
        for name, section in SECTIONS.items()
        for key, field in section.model_fields.items()
        if getattr(field.annotation, "__name__", "") not in SECTIONS
    }


def reads(package: Path) -> Reads:
    """Keys that the modules of a package read, its folder `params` apart.

    An expression's section is known from an annotation, from an assignment whose value's section
    is known, or from an attribute of either. What a `Protocol` declares and a function reads from
    it counts for each section that has the key: the type checker holds sections against it.
    """
    trees = [
        ast.parse(path.read_text())
        for path in package.rglob("*.py")
        if package / "params" not in path.parents
    ]
    attributes = _attributes_of_classes(trees)
    found: Reads = set()
    for tree in trees:
        _Reader(attributes, found).visit(tree)
    return found


def _attributes_of_classes(trees: list[ast.Module]) -> dict[str, dict[str, set[str]]]:
    """Classes by class and attribute: annotated fields, properties, what methods give to self."""
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    attributes: dict[str, dict[str, set[str]]] = {node.name: {} for node in classes}
    for node in classes:
        if any("Protocol" in ast.unparse(base) for base in node.bases):
            attributes[node.name][PROTOCOL] = set()
    for _ in range(3):  # an attribute may be given from another class's attribute
        for node in classes:
            _Reader(attributes, set()).visit(node)
    return attributes


PROTOCOL = "is a protocol"


class _Reader(ast.NodeVisitor):
    def __init__(self, attributes: dict[str, dict[str, set[str]]], found: Reads) -> None:
        self.attributes, self.found = attributes, found
        self.scopes: list[dict[str, set[str]]] = [{}]
        self.owner = ""

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        outer, self.owner = self.owner, node.name
        own = self.attributes.setdefault(node.name, {})
        for item in node.body:
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                own.setdefault(item.target.id, set()).update(self._named(item.annotation))
            elif isinstance(item, ast.FunctionDef) and item.decorator_list:
                own.setdefault(item.name, set()).update(self._named(item.returns))
        self.generic_visit(node)
        self.owner = outer

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        self.scopes.append({item.arg: self._named(item.annotation) for item in arguments})
        if arguments and arguments[0].arg == "self":
            self.scopes[-1]["self"] = {self.owner}
        self.generic_visit(node)
        self.scopes.pop()

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=True))
            for name, value in pairs:
                self._give(name, self._classes(value))
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._give(node.target, self._named(node.annotation))
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        for name in self._classes(node.value):
            if name in SECTIONS:
                self.found.add((name, node.attr))
            elif PROTOCOL in self.attributes.get(name, {}):
                self.found.update((section, node.attr) for section in SECTIONS)
        self.generic_visit(node)

    def _give(self, target: ast.expr, classes: set[str]) -> None:
        if isinstance(target, ast.Name):
            self.scopes[-1].setdefault(target.id, set()).update(classes)
        elif isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self":
            own = self.attributes.setdefault(self.owner, {})
            own.setdefault(target.attr, set()).update(classes)

    def _named(self, annotation: ast.expr | None) -> set[str]:
        """Classes that an annotation names, `Params | None` included."""
        if annotation is None:
            return set()
        names = {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)}
        return names & (SECTIONS.keys() | self.attributes.keys())

    def _classes(self, node: ast.expr) -> set[str]:
        """Classes that an expression may be an instance of, as far as annotations tell."""
        if isinstance(node, ast.Name):
            return next((scope[node.id] for scope in self.scopes[::-1] if node.id in scope), set())
        if isinstance(node, ast.IfExp):
            return self._classes(node.body) | self._classes(node.orelse)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            # params.override(…) gives a Params again.
            return self._classes(node.func.value) if node.func.attr == "override" else set()
        if not isinstance(node, ast.Attribute):
            return set()
        found: set[str] = set()
        for name in self._classes(node.value):
            if name in SECTIONS:
                field = SECTIONS[name].model_fields.get(node.attr)
                found |= {getattr(field and field.annotation, "__name__", "")} & SECTIONS.keys()
            else:
                found |= self.attributes.get(name, {}).get(node.attr, set())
        return found
