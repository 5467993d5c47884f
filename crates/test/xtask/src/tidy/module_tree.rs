//! Parses the modules of one crate, and the paths that each of them uses.
//!
//! Test modules are ignored. Paths in macro calls are found textually (`crate::`, `super::`, `self::`), as macros
//! are not expanded.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, Item, ItemMod, ItemUse, Lit, Meta, UseTree, Visibility};

/// `crate::a::b` is `["a", "b"]`; the crate's root is empty.
pub type ModulePath = Vec<String>;

#[derive(Debug)]
pub struct Module {
    pub path: ModulePath,
    pub file: PathBuf,
    /// Paths as written anywhere in the module, without re-exports (`pub use`).
    pub named: Vec<Vec<String>>,
    /// Maps a name in this module to the path that it was imported or re-exported from.
    pub imports: BTreeMap<String, Vec<String>>,
}

/// Parses the modules of the crate with root file `file`.
pub fn read(file: &Path) -> Result<Vec<Module>> {
    let mut modules = Vec::new();
    // Children of a crate's root and of `mod.rs` are in the same folder.
    let folder = file.parent().unwrap_or(Path::new("")).to_path_buf();
    read_file(file, &folder, Vec::new(), &mut modules)?;
    Ok(modules)
}

fn read_file(file: &Path, folder: &Path, path: ModulePath, modules: &mut Vec<Module>) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let parsed = syn::parse_file(&text).with_context(|| format!("cannot parse {}", file.display()))?;
    read_items(&parsed.items, file, folder, path, modules)
}

fn read_items(
    items: &[Item],
    file: &Path,
    folder: &Path,
    path: ModulePath,
    modules: &mut Vec<Module>,
) -> Result<()> {
    let mut names = Names::default();
    let mut children = Vec::new();
    for item in items {
        match item {
            Item::Mod(child) if is_test(&child.attrs) => {}
            Item::Mod(child) => children.push(child),
            other => names.visit_item(other),
        }
    }
    let Names { named, imports } = names;
    modules.push(Module { path: path.clone(), file: file.to_path_buf(), named, imports });
    for child in children {
        read_child(child, file, folder, &path, modules)?;
    }
    Ok(())
}

fn read_child(
    child: &ItemMod,
    file: &Path,
    folder: &Path,
    parent: &ModulePath,
    modules: &mut Vec<Module>,
) -> Result<()> {
    let name = child.ident.to_string();
    let mut path = parent.clone();
    path.push(name.clone());
    let below = folder.join(&name);
    if let Some((_, items)) = &child.content {
        return read_items(items, file, &below, path, modules);
    }
    if let Some(written) = path_attribute(&child.attrs) {
        let placed = file.parent().unwrap_or(Path::new("")).join(written);
        let folder = placed.parent().unwrap_or(Path::new("")).to_path_buf();
        return read_file(&placed, &folder, path, modules);
    }
    let flat = folder.join(format!("{name}.rs"));
    let nested = below.join("mod.rs");
    read_file(if flat.is_file() { &flat } else { &nested }, &below, path, modules)
}

/// The value of `#[path = "..."]`.
fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    })
}

/// Whether an item is compiled only for tests.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        Meta::NameValue(_) => false,
    })
}

#[derive(Default)]
struct Names {
    named: Vec<Vec<String>>,
    imports: BTreeMap<String, Vec<String>>,
}

impl Names {
    fn flatten(&mut self, tree: &UseTree, mut before: Vec<String>, exported: bool) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.flatten(&path.tree, before, exported);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.flatten(tree, before.clone(), exported);
                }
            }
            UseTree::Glob(_) => self.take(None, before, exported),
            UseTree::Name(name) => {
                let name = name.ident.to_string();
                if name != "self" {
                    before.push(name.clone());
                }
                let known_as = before.last().cloned();
                self.take(known_as, before, exported);
            }
            UseTree::Rename(rename) => {
                let known_as = rename.rename.to_string();
                if rename.ident != "self" {
                    before.push(rename.ident.to_string());
                }
                self.take(Some(known_as), before, exported);
            }
        }
    }

    fn take(&mut self, known_as: Option<String>, path: Vec<String>, exported: bool) {
        if let Some(name) = known_as {
            self.imports.insert(name, path.clone());
        }
        if !exported {
            self.named.push(path);
        }
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Const(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_test(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let exported = !matches!(item.vis, Visibility::Inherited);
        self.flatten(&item.tree, Vec::new(), exported);
    }

    // The path in `pub(super)` is a visibility, not an import.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.named.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let text = call.tokens.to_string().replace("::", " :: ");
        let words: Vec<_> = text.split_whitespace().collect();
        for (start, word) in words.iter().enumerate() {
            if matches!(*word, "crate" | "super" | "self") && words.get(start + 1) == Some(&"::") {
                self.named.push(spelled_path(&words[start..]));
            }
        }
        visit::visit_macro(self, call);
    }
}

/// The path at the start of `words`, in which `::` is a separate word.
fn spelled_path(words: &[&str]) -> Vec<String> {
    let mut path = Vec::new();
    for pair in words.chunks(2) {
        if pair[0].chars().all(|letter| letter.is_alphanumeric() || letter == '_') {
            path.push(pair[0].to_owned());
        }
        if pair.get(1) != Some(&"::") {
            break;
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::testing::with_files;

    #[test]
    fn modules_are_found_where_the_compiler_finds_them() {
        let made = with_files(&[
            ("src/lib.rs", "mod a; mod b { mod c; } #[path = \"odd.rs\"] mod d; #[cfg(test)] mod gone;"),
            ("src/a.rs", "mod deep;"),
            ("src/a/deep.rs", ""),
            ("src/b/c/mod.rs", ""),
            ("src/odd.rs", ""),
        ]);
        let modules = read(&made.workspace.root.join("src/lib.rs")).unwrap();
        let paths: Vec<_> = modules.iter().map(|module| module.path.join("::")).collect();
        assert_eq!(paths, ["", "a", "a::deep", "b", "b::c", "d"]);
    }

    #[test]
    fn names_come_from_uses_types_bodies_and_macros_but_not_from_tests() {
        let made = with_files(&[(
            "src/lib.rs",
            "use a::{b, c as d}; pub use e::F; #[cfg(test)] use gone::Gone;
             pub(super) fn f() -> g::H { println!(\"{}\", crate::i::J) }",
        )]);
        let modules = read(&made.workspace.root.join("src/lib.rs")).unwrap();
        let named: Vec<_> = modules[0].named.iter().map(|path| path.join("::")).collect();
        assert_eq!(named, ["a::b", "a::c", "g::H", "crate::i::J", "println"]);
        assert_eq!(modules[0].imports["d"], ["a", "c"]);
        assert_eq!(modules[0].imports["F"], ["e", "F"]);
    }
}
